//! Deadlines: nobody holds a connection for longer than the server allows, and nobody loses one earlier.

use std::io::Write;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use corecast::{Closed, Conn, Handler, Io, Message};

use crate::common::client::{self, Client, PING, PONG, TEXT, read_response, tcp};
use crate::common::{Echo, PATIENCE, Running, next, over_every_transport, serve_with};

over_every_transport![
    a_silent_handshake_is_cut,
    half_a_request_gets_408,
    a_dribbled_request_gets_no_more_time,
    a_server_that_slept_gives_a_new_connection_its_time,
    an_idle_connection_is_closed_with_1001,
    a_connection_that_speaks_is_not_idle,
    speaking_once_after_a_long_sleep_counts,
    pings_are_sent_and_answering_keeps_open,
    silence_after_a_ping_ends_as_idle,
    a_peer_that_never_answers_a_close_is_cut,
    a_peer_that_never_ends_its_side_is_cut,
    what_callbacks_take_is_no_part_of_a_peers_time,
];

/// The limit under test.
const LIMIT: Duration = Duration::from_millis(200);
/// Far longer than the limit.
const LONG: Duration = Duration::from_millis(700);
/// The wheel's resolution, and a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// Whether the time since `start` fits the limit.
#[track_caller]
fn assert_on_time(start: Instant) {
    let time = start.elapsed();
    // The clock of deadlines has ticks of 32 ms.
    let early = LIMIT - Duration::from_millis(40);
    assert!((early..LIMIT + LATE).contains(&time), "after {time:?}");
}

fn a_silent_handshake_is_cut(io: Io) {
    let server = serve_with(io, |server| server.handshake_timeout(LIMIT), |_| Echo);
    let start = Instant::now();
    let answer = read_to_end(tcp(server.address()));
    assert_eq!(answer, "", "nothing was asked, so nothing is answered");
    // The kernel may keep a silent connection to itself for a second or two before that.
    assert!((LIMIT..LIMIT + 2 * LATE).contains(&start.elapsed()));
}

fn half_a_request_gets_408(io: Io) {
    let server = serve_with(io, |server| server.handshake_timeout(LIMIT), |_| Echo);
    let start = Instant::now();
    let mut stream = tcp(server.address());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a").unwrap();
    assert_eq!(read_response(stream).status, 408);
    assert_on_time(start);
}

fn a_dribbled_request_gets_no_more_time(io: Io) {
    let server = serve_with(io, |server| server.handshake_timeout(LIMIT), |_| Echo);
    let start = Instant::now();
    let mut stream = tcp(server.address());
    let mut dribble = stream.try_clone().unwrap();
    let dribbler = std::thread::spawn(move || {
        // Ends with the first write that the server no longer takes.
        while start.elapsed() < PATIENCE && dribble.write_all(b"G").is_ok() {
            sleep(Duration::from_millis(20));
        }
    });
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut stream, &mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_on_time(start);
    drop(stream);
    dribbler.join().unwrap();
}

/// Time that a server spends asleep is no connection's fault.
fn a_server_that_slept_gives_a_new_connection_its_time(io: Io) {
    let settings = |server: corecast::Server| {
        let server = server.handshake_timeout(LIMIT).idle_timeout(LIMIT);
        server.ping_interval(None)
    };
    let server = serve_with(io, settings, |_| Echo);
    for _ in 0..3 {
        sleep(LONG);
        let mut client = Client::connect(server.address());
        client.round_trip("good morning");
        client.close(1000);
    }
}

fn an_idle_connection_is_closed_with_1001(io: Io) {
    let (server, closes) = idle_server(io, LIMIT);
    let start = Instant::now();
    let mut client = Client::connect(server.address());
    client.expect_close(1001);
    assert_on_time(start);
    client.answer_close(1001);
    client.expect_end();
    assert_eq!(next(&closes), (1001, true));
}

fn a_connection_that_speaks_is_not_idle(io: Io) {
    let (server, _closes) = idle_server(io, LIMIT);
    let mut client = Client::connect(server.address());
    let start = Instant::now();
    while start.elapsed() < LIMIT * 4 {
        sleep(LIMIT / 4);
        client.round_trip("still here");
    }
    let start = Instant::now();
    client.expect_close(1001);
    assert_on_time(start);
}

/// The server sleeps through most of the timeout; what then arrives counts from its arrival.
fn speaking_once_after_a_long_sleep_counts(io: Io) {
    let limit = Duration::from_millis(600);
    let (server, _closes) = idle_server(io, limit);
    let mut client = Client::connect(server.address());
    sleep(limit * 3 / 4);
    client.round_trip("late");
    client.expect_silence(limit / 2);
    client.expect_close(1001);
}

fn pings_are_sent_and_answering_keeps_open(io: Io) {
    let settings = |server: corecast::Server| {
        let server = server.ping_interval(Duration::from_millis(100));
        server.idle_timeout(Duration::from_millis(400))
    };
    let server = serve_with(io, settings, |_| Echo);
    let mut client = Client::connect(server.address());
    let start = Instant::now();
    let mut pings = 0;
    while start.elapsed() < Duration::from_millis(1200) {
        let ping = client.frame();
        assert_eq!(ping.opcode, PING, "{ping:?}");
        client.send(PONG, &ping.payload);
        pings += 1;
    }
    assert!((4..=14).contains(&pings), "{pings} pings in 1.2 s");
    client.text("and open");
    while client.frame().opcode != TEXT {}
}

fn silence_after_a_ping_ends_as_idle(io: Io) {
    let settings = |server: corecast::Server| {
        let server = server.ping_interval(Duration::from_millis(60));
        server.idle_timeout(LIMIT)
    };
    let server = serve_with(io, settings, |_| Echo);
    let start = Instant::now();
    let mut client = Client::connect(server.address());
    let pings = client.until_close(1001);
    assert_on_time(start);
    assert!((1..=4).contains(&pings.len()), "{} pings", pings.len());
    assert!(pings.iter().all(|ping| ping.opcode == PING));
}

fn a_peer_that_never_answers_a_close_is_cut(io: Io) {
    let (reports, closes) = mpsc::channel();
    let server = serve_with(
        io,
        |server| server.close_timeout(LIMIT),
        move |_| Closer(reports.clone()),
    );
    let mut client = Client::connect(server.address());
    client.text("close");
    client.expect_close(4000);
    let start = Instant::now();
    client.expect_cut();
    assert_on_time(start);
    assert_eq!(next(&closes), (1006, false));
}

/// The closing handshake is over, but the peer keeps its TCP connection open.
fn a_peer_that_never_ends_its_side_is_cut(io: Io) {
    let server = serve_with(io, |server| server.close_timeout(LIMIT), |_| Echo);
    let mut client = Client::connect(server.address());
    client.send(client::CLOSE, &client::close_payload(1000, ""));
    client.expect_close(1000);
    client.expect_end();
    assert_eq!(server.stats().connections, 1, "it waits for our FIN");
    let start = Instant::now();
    crate::common::eventually("the connection is gone", || server.stats().connections == 0);
    assert!(start.elapsed() < LIMIT + LATE);
}

/// The close timeout is over before the callback is: the Close frame goes out all the same.
fn what_callbacks_take_is_no_part_of_a_peers_time(io: Io) {
    let (reports, _closes) = mpsc::channel();
    let server = serve_with(
        io,
        |server| server.close_timeout(LIMIT),
        move |_| Closer(reports.clone()),
    );
    let mut client = Client::connect(server.address());
    client.text("close slowly");
    client.expect_close(4000);
}

fn read_to_end(mut stream: std::net::TcpStream) -> String {
    let mut all = String::new();
    std::io::Read::read_to_string(&mut stream, &mut all).expect("an orderly end");
    all
}

/// Never pings; reports how connections end.
fn idle_server(io: Io, limit: Duration) -> (Running, mpsc::Receiver<(u16, bool)>) {
    let (reports, closes) = mpsc::channel();
    let settings = move |server: corecast::Server| server.ping_interval(None).idle_timeout(limit);
    let server = serve_with(io, settings, move |_| Closer(reports.clone()));
    (server, closes)
}

/// Echoes, closes with 4000 when it is told to, and reports ends: code and whether clean.
struct Closer(mpsc::Sender<(u16, bool)>);

impl Handler for Closer {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        match message {
            Message::Text(text @ ("close" | "close slowly")) => {
                ws.close(
                    corecast::CloseCode::new(4000).expect("may be sent"),
                    "as told",
                );
                if text == "close slowly" {
                    sleep(LONG);
                }
            }
            other => drop(ws.send(other)),
        }
    }

    fn close(&mut self, _ws: &mut Conn<'_, ()>, why: Closed<'_>) {
        // Tests that do not care drop the receiver.
        let _ = self.0.send((why.code.into(), why.clean));
    }
}
