//! One busy connection does not starve the others.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corecast::defaults::{MESSAGE_INPUT, TURN_INPUT};
use corecast::{Conn, Handler, Io, Message};

use crate::common::client::{BINARY, CLOSE, Client, PING, frame};
use crate::common::flood::Flood;
use crate::common::stopwatch::Threads;
use crate::common::{Echo, PATIENCE, Running, eventually, next, over_every_transport, serve};

over_every_transport![
    a_flood_of_empty_messages_starves_nobody,
    a_flood_of_pings_starves_nobody,
    a_flood_of_middling_messages_starves_nobody,
    a_flood_of_large_messages_starves_nobody,
    a_flood_after_the_close_starves_nobody,
    new_connections_get_in_during_a_flood,
    what_arrives_waits_for_a_few_slices_of_a_flood,
];

/// Generous: a flood is handled in slices of a few hundred messages, each a fraction of a millisecond even in a debug
/// build. Without slices a round trip waits for all that is queued. What the machine takes for others does not count.
const BOUND: Duration = Duration::from_millis(500);

/// A server that echoes, and its core's thread.
fn echo_server(io: Io) -> (Running, Threads) {
    let (tell, told) = mpsc::channel();
    let server = serve(io, move |_| {
        tell.send(Threads::this()).expect("the test listens");
        Echo
    });
    (server, next(&told))
}

/// How long the slowest of 100 round trips takes beside a flood.
fn slowest_beside(io: Io, bytes: Vec<u8>, at_least: u64) -> Duration {
    let (server, core) = echo_server(io);
    let flooding = Client::connect(server.address());
    let mut client = Client::connect(server.address());
    let flood = Flood::start(&flooding, bytes);
    let slowest = slowest_of_100(&mut client, core);
    flood.end(at_least, at_least);
    slowest
}

fn slowest_of_100(client: &mut Client, core: Threads) -> Duration {
    let threads = core.and(Threads::this());
    let times = (0..100).map(|n| {
        let time = threads.start();
        client.round_trip(&format!("round {n}"));
        time.elapsed()
    });
    times.max().expect("100 rounds")
}

fn a_flood_of_empty_messages_starves_nobody(io: Io) {
    let slowest = slowest_beside(io, frame(BINARY, &[]).repeat(20_000), 100_000);
    assert!(slowest < BOUND, "{slowest:?}");
}

fn a_flood_of_pings_starves_nobody(io: Io) {
    let slowest = slowest_beside(io, frame(PING, b"p").repeat(20_000), 20_000);
    assert!(slowest < BOUND, "{slowest:?}");
}

fn a_flood_of_middling_messages_starves_nobody(io: Io) {
    let slowest = slowest_beside(io, frame(BINARY, &[7; 2000]).repeat(500), 1 << 20);
    assert!(slowest < BOUND, "{slowest:?}");
}

fn a_flood_of_large_messages_starves_nobody(io: Io) {
    let slowest = slowest_beside(io, frame(BINARY, &[7; 1 << 20]), 1 << 20);
    assert!(slowest < BOUND, "{slowest:?}");
}

/// Whatever comes after the closing handshake is thrown away, which is quick, but not for nothing.
fn a_flood_after_the_close_starves_nobody(io: Io) {
    let (server, core) = echo_server(io);
    let mut client = Client::connect(server.address());
    let mut flooding = Client::connect(server.address());
    flooding.send(CLOSE, &[]);
    flooding.expect(CLOSE, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let (mut writer, stopped, counted) =
        (flooding.writer(), Arc::clone(&stop), Arc::clone(&written));
    let writing = std::thread::spawn(move || {
        let bytes = vec![7; 1 << 20];
        while !stopped.load(Ordering::Relaxed) && writer.write_all(&bytes).is_ok() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    eventually("the flood flows", || written.load(Ordering::Relaxed) > 1);
    let slowest = slowest_of_100(&mut client, core);
    stop.store(true, Ordering::Relaxed);
    writing.join().expect("the flood");
    assert!(slowest < BOUND, "{slowest:?}");
}

fn new_connections_get_in_during_a_flood(io: Io) {
    let (server, core) = echo_server(io);
    let flooding = Client::connect(server.address());
    let flood = Flood::start(&flooding, frame(BINARY, &[]).repeat(20_000));
    let threads = core.and(Threads::this());
    for _ in 0..20 {
        let time = threads.start();
        Client::connect(server.address()).close(1000);
        let time = time.elapsed();
        assert!(time < 4 * BOUND, "{time:?}");
    }
    flood.end(100_000, 100_000);
}

/// Counts a flood's messages. It stops at one of them until it is told to go on, and reports its number; and how many
/// there were before each text.
struct Counting {
    flood: u32,
    reports: Sender<u32>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

/// Far enough into the flood for the reads to be large.
const STOP_AT: u32 = 2_000;

impl Handler for Counting {
    type Data = ();

    fn message(&mut self, _: &mut Conn<'_, ()>, message: Message<'_>) {
        let is_flood = matches!(message, Message::Binary(_));
        self.flood += u32::from(is_flood);
        if is_flood && self.flood != STOP_AT {
            return;
        }
        self.reports.send(self.flood).expect("the test listens");
        if is_flood {
            let go_on = self.go_on.lock().expect("no panic here");
            go_on.recv_timeout(PATIENCE).expect("the test goes on");
        }
    }
}

/// A slice is handled, and then whatever has arrived meanwhile: not all that a large read has brought.
fn what_arrives_waits_for_a_few_slices_of_a_flood(io: Io) {
    let (reporting, reports) = mpsc::channel();
    let (going_on, go_on) = mpsc::channel();
    let go_on = Arc::new(Mutex::new(go_on));
    let server = serve(io, move |_| Counting {
        flood: 0,
        reports: reporting.clone(),
        go_on: Arc::clone(&go_on),
    });
    let mut other = Client::connect(server.address());
    let flooding = Client::connect(server.address());
    let mut writer = flooding.writer();
    let flood = frame(BINARY, &[]).repeat(40_000);
    let writing = std::thread::spawn(move || writer.write_all(&flood));
    assert_eq!(next(&reports), STOP_AT);
    other.text("now");
    going_on.send(()).expect("the handler waits");
    let waited = next(&reports) - STOP_AT;
    let slice = TURN_INPUT / MESSAGE_INPUT;
    assert!(waited <= 4 * slice, "{waited} messages of a flood");
    writing.join().expect("the flood").expect("it is read");
}
