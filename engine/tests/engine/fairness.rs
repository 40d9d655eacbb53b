//! One busy connection does not starve the others.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use corecast::Io;

use crate::common::client::{BINARY, CLOSE, Client, PING, frame};
use crate::common::flood::Flood;
use crate::common::{Echo, over_every_transport, serve};

over_every_transport![
    a_flood_of_empty_messages_starves_nobody,
    a_flood_of_pings_starves_nobody,
    a_flood_of_middling_messages_starves_nobody,
    a_flood_of_large_messages_starves_nobody,
    a_flood_after_the_close_starves_nobody,
    new_connections_get_in_during_a_flood,
];

/// Generous: a flood is handled in slices of a few hundred messages, each a fraction of a millisecond even in a debug
/// build. Without slices a round trip waits for all that is queued.
const BOUND: Duration = Duration::from_millis(500);

/// How long the slowest of 100 round trips takes beside a flood.
fn slowest_beside(io: Io, bytes: Vec<u8>, at_least: u64) -> Duration {
    let server = serve(io, |_| Echo);
    let flooding = Client::connect(server.address());
    let mut client = Client::connect(server.address());
    let flood = Flood::start(&flooding, bytes);
    let slowest = slowest_of_100(&mut client);
    flood.end(at_least, at_least);
    slowest
}

fn slowest_of_100(client: &mut Client) -> Duration {
    let times = (0..100).map(|n| {
        let start = Instant::now();
        client.round_trip(&format!("round {n}"));
        start.elapsed()
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
    let server = serve(io, |_| Echo);
    let mut client = Client::connect(server.address());
    let mut flooding = Client::connect(server.address());
    flooding.send(CLOSE, &[]);
    flooding.expect(CLOSE, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut writer, stopped) = (flooding.writer(), Arc::clone(&stop));
    let writing = std::thread::spawn(move || {
        let (bytes, mut written) = (vec![7; 1 << 20], 0);
        while !stopped.load(Ordering::Relaxed) && writer.write_all(&bytes).is_ok() {
            written += 1;
        }
        written
    });
    let slowest = slowest_of_100(&mut client);
    stop.store(true, Ordering::Relaxed);
    let written = writing.join().expect("the flood");
    assert!(written > 1, "only {written} MiB");
    assert!(slowest < BOUND, "{slowest:?}");
}

fn new_connections_get_in_during_a_flood(io: Io) {
    let server = serve(io, |_| Echo);
    let flooding = Client::connect(server.address());
    let flood = Flood::start(&flooding, frame(BINARY, &[]).repeat(20_000));
    for _ in 0..20 {
        let start = Instant::now();
        Client::connect(server.address()).close(1000);
        let time = start.elapsed();
        assert!(time < 4 * BOUND, "{time:?}");
    }
    flood.end(100_000, 100_000);
}
