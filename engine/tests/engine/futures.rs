//! Futures of the application beside the event loop.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use corecast::{CloseCode, Conn, ConnHandle, Handler, Io, Message, Server};
use monoio::time::sleep;

use crate::common::client::{self, BINARY, Client};
use crate::common::stopwatch::{Stopwatch, Threads};
use crate::common::{PATIENCE, Running, next, over_every_transport, serve, serve_with};

over_every_transport![
    a_future_answers_later,
    many_futures_answer,
    a_future_answers_at_once,
    a_future_can_close_its_connection,
    a_connection_that_a_future_closes_has_its_time,
    a_future_can_subscribe_and_publish,
    a_future_finds_its_connection_gone,
    futures_run_beside_traffic,
    futures_run_beside_a_flood,
    a_server_with_futures_stops,
    a_future_reaches_another_server,
];

const LATER: Duration = Duration::from_millis(60);
/// Of which what the machine takes for others is no part.
const LATE: Duration = Duration::from_secs(1);

/// Answers from futures, as the message says.
struct Later {
    gone: Sender<bool>,
    subscriber: Rc<RefCell<Option<ConnHandle<()>>>>,
}

impl Handler for Later {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        let (handle, text, gone) = (ws.handle(), text.to_owned(), self.gone.clone());
        match &*text {
            "later" => drop(corecast::spawn(async move {
                sleep(LATER).await;
                handle.with(|ws| ws.send_text("now"));
            })),
            "at once" => drop(corecast::spawn(async move {
                handle.with(|ws| ws.send_text("now"));
            })),
            "yielding" => drop(corecast::spawn(async move {
                for _ in 0..100 {
                    yield_once().await;
                }
                handle.with(|ws| ws.send_text("now"));
            })),
            "close" => drop(corecast::spawn(async move {
                sleep(LATER).await;
                handle.with(|ws| ws.close(CloseCode::NORMAL, "later"));
            })),
            "last words" => drop(corecast::spawn(async move {
                sleep(10 * LATER).await;
                handle.with(|ws| {
                    ws.send_text("and that was all");
                    ws.close(CloseCode::NORMAL, "later");
                });
            })),
            "subscribe" => {
                *self.subscriber.borrow_mut() = Some(handle);
                corecast::spawn(async move {
                    sleep(LATER).await;
                    handle.with(|ws| {
                        ws.subscribe("t");
                        ws.publish("t", Message::Text("subscribed"));
                    });
                });
            }
            "gone" => drop(corecast::spawn(async move {
                sleep(LATER).await;
                // Nobody listens any more when the test is over.
                let _ = gone.send(handle.with(|_| ()).is_none());
            })),
            _ => drop(ws.send(message)),
        }
    }
}

/// Lets others run once.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// The server, what its futures tell, and the threads of its core and of the test.
fn later(io: Io) -> (Running, mpsc::Receiver<bool>, Threads) {
    let (gone, is_gone) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    // Nothing but the future wakes the server.
    let settings = |server: Server| server.ping_interval(None).idle_timeout(None);
    let server = serve_with(io, settings, move |_| {
        tell.send(Threads::this()).expect("the test listens");
        Later {
            gone: gone.clone(),
            subscriber: Rc::default(),
        }
    });
    let core = next(&told);
    (server, is_gone, core.and(Threads::this()))
}

#[track_caller]
fn assert_later(time: &Stopwatch<'_>) {
    let (wall, own) = (time.wall(), time.elapsed());
    assert!(wall >= LATER && own < LATER + LATE, "{own:?} of {wall:?}");
}

fn a_future_answers_later(io: Io) {
    let (server, _gone, threads) = later(io);
    let mut client = Client::connect(server.address());
    for _ in 0..5 {
        let start = threads.start();
        client.text("later");
        client.expect_text("now");
        assert_later(&start);
    }
    client.round_trip("and none is left");
}

fn many_futures_answer(io: Io) {
    let (server, _gone, threads) = later(io);
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(server.address())).collect();
    let start = threads.start();
    for client in &mut clients {
        for _ in 0..50 {
            client.text("later");
        }
    }
    for client in &mut clients {
        for _ in 0..50 {
            client.expect_text("now");
        }
    }
    assert_later(&start);
}

fn a_future_answers_at_once(io: Io) {
    let (server, _gone, threads) = later(io);
    let mut client = Client::connect(server.address());
    for text in ["at once", "yielding"] {
        for _ in 0..20 {
            let start = threads.start();
            client.text(text);
            client.expect_text("now");
            assert!(start.elapsed() < LATE);
        }
    }
}

fn a_future_can_close_its_connection(io: Io) {
    let (server, _gone, threads) = later(io);
    let mut client = Client::connect(server.address());
    let start = threads.start();
    client.text("close");
    assert_eq!(client.expect_close(1000), "later");
    assert_later(&start);
    client.answer_close(1000);
    client.expect_end();
}

/// The time to close counts from then, however long the loop has slept before.
fn a_connection_that_a_future_closes_has_its_time(io: Io) {
    let (gone, _) = mpsc::channel();
    let server = serve_with(
        io,
        |server| server.close_timeout(5 * LATER),
        move |_| Later {
            gone: gone.clone(),
            subscriber: Rc::default(),
        },
    );
    let mut client = Client::connect(server.address());
    client.text("last words");
    client.expect_text("and that was all");
    client.until_close(1000);
}

fn a_future_can_subscribe_and_publish(io: Io) {
    let (server, _gone, _) = later(io);
    let mut client = Client::connect(server.address());
    client.text("subscribe");
    client.expect_text("subscribed");
}

fn a_future_finds_its_connection_gone(io: Io) {
    let (server, gone, _) = later(io);
    for leave in [(|client| client.close(1000)) as fn(Client), |client| {
        client.reset()
    }] {
        let mut client = Client::connect(server.address());
        client.text("gone");
        client.round_trip("heard");
        leave(client);
        // Its slot is used again, and still it is not found.
        let _heir = Client::connect(server.address());
        assert!(next(&gone));
    }
    let mut client = Client::connect(server.address());
    client.text("gone");
    assert!(!next(&gone), "it is open");
}

fn futures_run_beside_traffic(io: Io) {
    let (server, _gone, threads) = later(io);
    let mut busy = Client::connect(server.address());
    let mut waiting = Client::connect(server.address());
    let address = server.address();
    let (rounds, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (rounds, stop) = (&rounds, &stop);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                busy.round_trip("traffic");
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            Client::connect(address).close(1000);
        });
        let mut answers = Vec::new();
        // Until there was traffic, and enough of it.
        while answers.len() < 3 || rounds.load(Ordering::Relaxed) <= 100 {
            let start = threads.start();
            waiting.text("later");
            let answer = waiting.try_frame();
            answers.push((start.wall(), start.elapsed(), answer.is_ok()));
            if answer.is_err() {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
        for (wall, own, answered) in answers {
            assert!(
                answered && wall >= LATER && own < LATER + LATE,
                "{own:?} of {wall:?}"
            );
        }
    });
}

/// The loop has something to do in every turn, and the futures get theirs all the same.
fn futures_run_beside_a_flood(io: Io) {
    let (server, _gone, threads) = later(io);
    let flooding = Client::connect(server.address());
    let mut waiting = Client::connect(server.address());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (mut writer, stop) = (flooding.writer(), &stop);
        scope.spawn(move || {
            // Nothing comes back for binary messages.
            let bytes = client::frame(BINARY, b"flood").repeat(10_000);
            while !stop.load(Ordering::Relaxed) {
                writer.write_all(&bytes).expect("the server reads");
            }
        });
        let times: Vec<_> = (0..5)
            .map(|_| {
                let start = threads.start();
                waiting.text("later");
                let answer = waiting.try_frame();
                (start.wall(), start.elapsed(), answer.is_ok())
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        for (wall, own, answered) in times {
            assert!(
                answered && wall >= LATER && own < LATER + LATE,
                "{own:?} of {wall:?}"
            );
        }
    });
}

fn a_server_with_futures_stops(io: Io) {
    let (server, _gone, _) = later(io);
    let mut client = Client::connect(server.address());
    for _ in 0..10 {
        client.text("gone");
    }
    client.round_trip("heard");
    server.stop();
    server.join(PATIENCE).expect("a clean end");
}

/// What else runs on the core's runtime works too: here a plain TCP connection.
fn a_future_reaches_another_server(io: Io) {
    use monoio::io::{AsyncReadRent, AsyncWriteRentExt};

    struct Proxy(std::net::SocketAddr);
    impl Handler for Proxy {
        type Data = ();

        fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
            let (handle, backend, bytes) = (ws.handle(), self.0, message.as_bytes().to_owned());
            corecast::spawn(async move {
                let mut stream = monoio::net::TcpStream::connect(backend).await.unwrap();
                let (written, _) = stream.write_all(bytes).await;
                written.unwrap();
                let (read, answer) = stream.read(Vec::with_capacity(100)).await;
                read.unwrap();
                handle.with(|ws| ws.send_binary(&answer));
            });
        }
    }

    let backend = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        for _ in 0..5 {
            let (mut stream, _) = backend.accept().unwrap();
            let mut asked = [0; 5];
            std::io::Read::read_exact(&mut stream, &mut asked).unwrap();
            asked.reverse();
            std::io::Write::write_all(&mut stream, &asked).unwrap();
        }
    });
    let server = serve(io, move |_| Proxy(address));
    let mut client = Client::connect(server.address());
    for _ in 0..5 {
        client.text("hello");
        client.expect(BINARY, b"olleh");
    }
    answering.join().unwrap();
}
