//! Topics: who receives what, on one core and over several.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use corecast::{Conn, CoreId, Handler, Io, Message, Publish, Published, Publisher, Server};

use crate::common::client::{BINARY, CLOSE, Client, TEXT};
use crate::common::payload::pattern;
use crate::common::{Running, eventually, next, over_every_transport, processors, serve_with};

over_every_transport![
    subscribers_receive_and_others_do_not,
    publish_others_leaves_out_the_publisher,
    unsubscribing_and_closing_end_subscriptions,
    a_connection_may_have_many_topics,
    publishing_in_close_reaches_those_who_stay,
    publishing_for_who_broke_off_reaches_the_other_core,
    a_thread_publishes_in_order,
    publishing_before_the_start_and_after_the_end_harms_nobody,
    two_cores_reach_each_other,
    only_cores_with_subscribers_are_asked,
    each_publishers_order_is_kept_over_cores,
    counts_say_who_got_it,
];

/// Long enough for what clients do meanwhile to have arrived.
const NAP: Duration = Duration::from_millis(300);

/// Obeys: `sub T`, `unsub T`, `pub T TEXT`, `others T TEXT`, `topics`, `nap`. Answers each with what came of it.
struct Board {
    core: CoreId,
    published: Sender<Published>,
}

impl Handler for Board {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        assert_eq!(ws.core(), self.core);
        let core = self.core.0.to_string();
        ws.send_text(&core);
    }

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Text(text) = message else {
            ws.publish("bytes", message);
            return;
        };
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        match (word(), word(), word()) {
            ("sub", topic, _) => {
                let new = ws.subscribe(topic);
                assert!(ws.is_subscribed(topic));
                ws.send_text(&format!("{new}"));
            }
            ("unsub", topic, _) => {
                let was = ws.unsubscribe(topic);
                assert!(!ws.is_subscribed(topic));
                ws.send_text(&format!("{was}"));
            }
            ("topics", _, _) => {
                let mut topics: Vec<_> = ws.topics().map(str::to_owned).collect();
                topics.sort_unstable();
                ws.send_text(&topics.join(" "));
            }
            ("nap", _, _) => std::thread::sleep(NAP),
            ("pub", topic, text) => self.report(ws.publish(topic, Message::Text(text))),
            ("others", topic, text) => self.report(ws.publish_others(topic, Message::Text(text))),
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self, ws: &mut Conn<'_, ()>, _why: corecast::Closed<'_>) {
        ws.publish("farewells", Message::Text("one left"));
    }
}

impl Board {
    fn report(&self, published: Published) {
        // Nobody listens any more when the test is over.
        let _ = self.published.send(published);
    }
}

fn board(io: Io) -> (Running, Receiver<Published>) {
    board_with(io, |server| server)
}

fn board_with(io: Io, settings: impl FnOnce(Server) -> Server) -> (Running, Receiver<Published>) {
    let (published, reports) = mpsc::channel();
    let make = move |core| Board {
        core,
        published: published.clone(),
    };
    (serve_with(io, settings, make), reports)
}

/// A client that has been told its core.
fn member(server: &Running) -> (Client, String) {
    let mut client = Client::connect(server.address());
    let core = String::from_utf8(client.frame().payload).expect("a number");
    (client, core)
}

/// A client with subscriptions.
fn subscriber(server: &Running, topics: &[&str]) -> Client {
    let (mut client, _) = member(server);
    subscribe(&mut client, topics);
    client
}

fn subscribe(client: &mut Client, topics: &[&str]) {
    for topic in topics {
        client.text(&format!("sub {topic}"));
        client.expect_text("true");
    }
}

/// Whatever was published to it before has arrived: nothing else is on the way.
#[track_caller]
fn expect_nothing_more(client: &mut Client) {
    client.text("topics");
    let frame = client.frame();
    let text = String::from_utf8_lossy(&frame.payload);
    assert!(!text.contains("news"), "unexpected: {text}");
}

fn subscribers_receive_and_others_do_not(io: Io) {
    let (server, reports) = board(io);
    let mut a = subscriber(&server, &["a"]);
    let mut both = subscriber(&server, &["a", "b"]);
    let mut b = subscriber(&server, &["b"]);
    let (mut nobody, _) = member(&server);
    nobody.text("pub a news for a");
    assert_eq!(next(&reports).sent, 2);
    a.expect_text("news for a");
    both.expect_text("news for a");
    nobody.text("pub b news for b");
    b.expect_text("news for b");
    both.expect_text("news for b");
    nobody.text("pub c news for c");
    for client in [&mut a, &mut both, &mut b, &mut nobody] {
        expect_nothing_more(client);
    }
    // Topics are compared as they are: neither patterns nor prefixes.
    nobody.text("pub * news for all");
    nobody.text("pub A news for A");
    for client in [&mut a, &mut both, &mut b] {
        expect_nothing_more(client);
    }
}

fn publish_others_leaves_out_the_publisher(io: Io) {
    let (server, reports) = board(io);
    let mut a = subscriber(&server, &["t"]);
    let mut b = subscriber(&server, &["t"]);
    a.text("pub t to all");
    a.expect_text("to all");
    b.expect_text("to all");
    a.text("others t news for others");
    b.expect_text("news for others");
    expect_nothing_more(&mut a);
    assert_eq!((next(&reports).sent, next(&reports).sent), (2, 1));
}

fn unsubscribing_and_closing_end_subscriptions(io: Io) {
    let (server, reports) = board(io);
    let mut publisher = member(&server).0;
    let mut leaving = subscriber(&server, &["t", "u"]);
    let mut staying = subscriber(&server, &["t"]);
    leaving.text("sub t");
    leaving.expect_text("false");
    leaving.text("unsub t");
    leaving.expect_text("true");
    leaving.text("unsub t");
    leaving.expect_text("false");
    publisher.text("pub t news");
    staying.expect_text("news");
    assert_eq!(next(&reports).sent, 1);
    expect_nothing_more(&mut leaving);
    publisher.text("pub u one last");
    leaving.expect_text("one last");
    assert_eq!(next(&reports).sent, 1);
    leaving.close(1000);
    eventually("it is gone", || server.stats().connections == 2);
    publisher.text("pub u news");
    assert_eq!(next(&reports), Published::default());
    // Whoever takes its slot has none of its subscriptions.
    let mut heir = member(&server).0;
    publisher.text("pub u news");
    assert_eq!(next(&reports), Published::default());
    expect_nothing_more(&mut heir);
    staying.reset();
    eventually("it is gone", || server.stats().connections == 2);
    publisher.text("pub t news");
    assert_eq!(next(&reports), Published::default());
}

fn a_connection_may_have_many_topics(io: Io) {
    let (server, reports) = board(io);
    let names: Vec<_> = (0..500).map(|n| format!("room/{n:03}")).collect();
    let topics: Vec<_> = names.iter().map(String::as_str).collect();
    let mut client = subscriber(&server, &topics);
    client.text("topics");
    client.expect_text(&names.join(" "));
    for name in &names {
        client.text(&format!("pub {name} {name}"));
        client.expect_text(name);
        assert_eq!(next(&reports).sent, 1);
    }
    client.close(1000);
}

fn publishing_in_close_reaches_those_who_stay(io: Io) {
    let (server, _reports) = board(io);
    let mut staying = subscriber(&server, &["farewells"]);
    for leave in [
        (|client| client.close(1000)) as fn(Client),
        |client| client.reset(),
        |client| client.half_close(),
    ] {
        leave(subscriber(&server, &["farewells"]));
        staying.expect_text("one left");
    }
}

/// A send to a peer that has reset its connection fails, and with it the connection ends, after what the turn published was
/// posted: what its `close` publishes is posted with the next.
fn publishing_for_who_broke_off_reaches_the_other_core(io: Io) {
    let Some((server, _reports)) = two_cores(io) else {
        return;
    };
    let [here, mut there] = on_two_cores(&server, 3);
    subscribe(&mut there[0], &["farewells"]);
    let mut here = here.into_iter();
    let mut member = || here.next().expect("three of them");
    let (mut sleeper, mut speaker, mut leaver) = (member(), member(), member());
    subscribe(&mut leaver, &["t"]);
    sleeper.text("nap");
    std::thread::sleep(NAP / 3);
    // Both are there when the core looks again, in this order.
    speaker.text("pub t to one who is gone");
    leaver.reset();
    there[0].expect_text("one left");
    // It is still there to be spoken to.
    speaker.text("topics");
    speaker.expect_text("");
}

fn a_thread_publishes_in_order(io: Io) {
    const MESSAGES: usize = 3000;
    // Enough for all of them: how fast the subscribers read is not what this is about.
    let (server, _reports) = board_with(io, |server| server.backlog(64 << 20));
    let mut subscribers: Vec<_> = (0..3).map(|_| subscriber(&server, &["t"])).collect();
    let publisher = server.publisher();
    let thread = std::thread::spawn(move || {
        (0..MESSAGES)
            .filter(|n| {
                let large = n % 100 == 0;
                let bytes = pattern(*n as u64, if large { 70_000 } else { 1 + n % 500 });
                publish(&publisher, "t", Message::Binary(&bytes));
                large
            })
            .count()
    });
    for subscriber in &mut subscribers {
        for n in 0..MESSAGES {
            let size = if n % 100 == 0 { 70_000 } else { 1 + n % 500 };
            subscriber.expect(BINARY, &pattern(n as u64, size));
        }
    }
    assert_eq!(thread.join().unwrap(), MESSAGES / 100);
    let publisher = server.publisher();
    let published = publisher.publish("nobody's", Message::Text("hello?"));
    assert_eq!(published, Published::default(), "no core is asked");
}

/// Publishes, and waits while the mailbox is full.
fn publish(publisher: &Publisher, topic: &str, message: Message<'_>) {
    eventually("the mailbox has room", || {
        publisher.publish(topic, message).refused == 0
    });
}

fn publishing_before_the_start_and_after_the_end_harms_nobody(io: Io) {
    let server = Server::bind("127.0.0.1:0").expect("loopback");
    let server = server.io(io).cores([processors()[0]]);
    let publisher = server.publisher();
    let early = publisher.publish("t", Message::Text("too early"));
    assert_eq!(early, Published::default());
    let server = server
        .route("*", |_| crate::common::Echo)
        .spawn()
        .expect("the server starts");
    let now = publisher.publish_with("t", Message::Text("now"), Publish::new().retain());
    assert_eq!(now.forwarded, 1, "every core keeps it");
    server.stop();
    server.join().expect("a clean end");
    publisher.publish("t", Message::Text("too late"));
}

/// Members on both of two cores, at least `each` of them; connections are spread by the kernel.
fn on_two_cores(server: &Running, each: usize) -> [Vec<Client>; 2] {
    let mut members = [Vec::new(), Vec::new()];
    let first = processors()[0].to_string();
    for _ in 0..200 {
        let (client, core) = member(server);
        members[usize::from(core != first)].push(client);
        if members.iter().all(|members| members.len() >= each) {
            return members;
        }
    }
    panic!("200 connections, and not {each} on each core");
}

/// Two cores, if this machine lets us have them.
fn two_cores(io: Io) -> Option<(Running, Receiver<Published>)> {
    let Some(&[first, second]) = processors().first_chunk() else {
        eprintln!("skipped: this process may use one processor only");
        return None;
    };
    Some(board_with(io, |server| server.cores([first, second])))
}

fn two_cores_reach_each_other(io: Io) {
    let Some((server, reports)) = two_cores(io) else {
        return;
    };
    assert_eq!(server.cores(), 2);
    let mut members: Vec<_> = on_two_cores(&server, 2).into_iter().flatten().collect();
    for member in &mut members {
        subscribe(member, &["t"]);
    }
    for speaker in 0..members.len() {
        let text = format!("from {speaker}");
        members[speaker].text(&format!("pub t {text}"));
        for member in &mut members {
            member.expect_text(&text);
        }
        let published = next(&reports);
        assert_eq!((published.forwarded, published.refused), (1, 0));
    }
    // The publisher is left out on its own core, and nobody on the other.
    members[0].text("others t for the others");
    for member in &mut members[1..] {
        member.expect_text("for the others");
    }
    expect_nothing_more(&mut members[0]);
    let published = server
        .publisher()
        .publish("t", Message::Text("from a thread"));
    assert_eq!((published.forwarded, published.refused), (2, 0));
    for member in &mut members {
        member.expect_text("from a thread");
    }
}

fn only_cores_with_subscribers_are_asked(io: Io) {
    let Some((server, reports)) = two_cores(io) else {
        return;
    };
    let [mut here, mut there] = on_two_cores(&server, 1);
    let (mut publisher, mut subscriber) = (here.pop().unwrap(), there.pop().unwrap());
    let mut publish = |topic: &str| {
        publisher.text(&format!("pub {topic} news of {topic}"));
        let published = next(&reports);
        assert_eq!((published.sent, published.refused), (0, 0), "{topic}");
        published.forwarded
    };
    let threads = server.publisher();
    assert_eq!((publish("room/1"), publish("hall")), (0, 0));
    // What was just not there is there when the subscriber knows of it.
    subscribe(&mut subscriber, &["room/*"]);
    assert_eq!((publish("room/1"), publish("hall")), (1, 0));
    subscriber.expect_text("news of room/1");
    subscribe(&mut subscriber, &["hall"]);
    assert_eq!((publish("room/2"), publish("hall")), (1, 1));
    subscriber.expect_text("news of room/2");
    subscriber.expect_text("news of hall");
    assert_eq!(
        (threads.subscribers("hall"), threads.subscribers("room/1")),
        (1, 0)
    );
    for (topic, forwarded) in [("room/1", 1), ("hall", 1), ("elsewhere", 0)] {
        let published = threads.publish(topic, Message::Text("from a thread"));
        assert_eq!(
            (published.forwarded, published.refused),
            (forwarded, 0),
            "{topic}"
        );
    }
    for _ in 0..2 {
        subscriber.expect_text("from a thread");
    }
    for topic in ["room/*", "hall"] {
        subscriber.text(&format!("unsub {topic}"));
        subscriber.expect_text("true");
    }
    assert_eq!((publish("room/1"), publish("hall")), (0, 0));
    assert_eq!(threads.subscribers("hall"), 0);
    expect_nothing_more(&mut subscriber);
}

fn each_publishers_order_is_kept_over_cores(io: Io) {
    const MESSAGES: u32 = 500;
    let Some((server, _reports)) = two_cores(io) else {
        return;
    };
    let [mut here, mut there] = on_two_cores(&server, 2);
    let mut subscribers = [here.pop().unwrap(), there.pop().unwrap()];
    for subscriber in &mut subscribers {
        subscribe(subscriber, &["bytes"]);
    }
    let publishers = [here.pop().unwrap(), there.pop().unwrap()];
    std::thread::scope(|scope| {
        for (id, mut publisher) in publishers.into_iter().enumerate() {
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    let message = [vec![id as u8], n.to_be_bytes().to_vec()].concat();
                    publisher.send(BINARY, &message);
                }
                publisher.send(CLOSE, &[]);
                publisher.expect(CLOSE, &[]);
            });
        }
        for subscriber in &mut subscribers {
            scope.spawn(move || {
                let mut expected = [0; 2];
                for _ in 0..2 * MESSAGES {
                    let frame = subscriber.frame();
                    let (id, n) = frame.payload.split_first().expect("a publisher");
                    let expected = &mut expected[usize::from(*id)];
                    assert_eq!(n, u32::to_be_bytes(*expected));
                    *expected += 1;
                }
            });
        }
    });
}

fn counts_say_who_got_it(io: Io) {
    let (server, reports) = board(io);
    let mut publisher = subscriber(&server, &["t"]);
    let stalled = {
        let mut client = Client::connect_narrow(server.address());
        assert_eq!(client.frame().opcode, TEXT, "its core");
        subscribe(&mut client, &["t"]);
        client
    };
    let big = "x".repeat(20_000);
    let mut seen = Published::default();
    // Until the kernel takes no more for the stalled one, then until its backlog is full.
    for _ in 0..2000 {
        publisher.text(&format!("pub t {big}"));
        publisher.expect_text(&big);
        seen = next(&reports);
        if seen.dropped > 0 {
            break;
        }
        assert_eq!(seen.sent + seen.queued, 2, "{seen:?}");
    }
    assert_eq!((seen.sent, seen.queued, seen.dropped), (1, 0, 1));
    publisher.text("pub t news");
    assert_eq!(next(&reports).sent, 1, "the stalled one is being closed");
    publisher.expect_text("news");
    stalled
        .stream()
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
}
