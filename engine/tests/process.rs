//! What shows on a process that has nothing else to do: its descriptors, its processor time and its memory.

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use corecast::{Io, Message, Server};

use common::alone::{alone, resident};
use common::client::{BINARY, CLOSE, Client, fragment, frame, http, raw_frame, request, tcp};
use common::transports::test_each_over;
use common::{Echo, eventually, run, serve, serve_with};

test_each_over![
    crate::run_alone: descriptors_come_back,
    a_server_leaves_no_descriptor,
    an_idle_server_takes_no_time,
    many_large_messages_leave_no_memory,
];

/// Not even the server that shows whether a transport can be had runs beside another test.
fn run_alone(io: Io, test: fn(Io)) {
    alone(|| run(io, test));
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// Ends a connection in one of many ways.
fn end(way: usize, address: std::net::SocketAddr) {
    if way == 0 {
        return drop(http(address, &request("/").replace("GET", "PUT")));
    }
    if way == 1 {
        let mut stream = tcp(address);
        stream.write_all(b"GET / HT").expect("half a request");
        return;
    }
    let mut client = Client::connect(address);
    match way {
        2 => client.close(1000),
        3 => client.reset(),
        4 => client.half_close(),
        5 => {
            client.write(&raw_frame(0x83, b"broken"));
            client.expect_close(1002);
            client.expect_end();
        }
        6 => client.write(&fragment(BINARY, &[7; 50_000])),
        7 => {
            // Leaves without reading what it asked for.
            client.write(&frame(BINARY, &[7; 500_000]));
        }
        8 => {
            client.send(CLOSE, &[]);
            client.reset();
        }
        _ => {
            client.round_trip("hello");
            drop(client);
        }
    }
}

fn descriptors_come_back(io: Io) {
    let server = serve(io, |_| Echo);
    // Whatever is opened once and kept.
    (0..10).for_each(|way| end(way, server.address()));
    eventually("all are gone", || server.stats().connections == 0);
    let before = descriptors();
    (0..200).for_each(|n| end(n % 10, server.address()));
    eventually("all are gone", || server.stats().connections == 0);
    eventually("as many as before", || descriptors() == before);
    assert_eq!(server.stats().accepted, 210);
}

fn a_server_leaves_no_descriptor(io: Io) {
    let run = || {
        let server = serve(io, |_| Echo);
        let clients: Vec<_> = (0..5).map(|_| Client::connect(server.address())).collect();
        server.stop();
        server.join(common::PATIENCE).expect("a clean end");
        drop(clients);
    };
    run();
    let before = descriptors();
    (0..5).for_each(|_| run());
    eventually("as many as before", || descriptors() <= before);
}

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn an_idle_server_takes_no_time(io: Io) {
    let settings = |server: Server| server.ping_interval(None).idle_timeout(None);
    let server = serve_with(io, settings, |_| Echo);
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.round_trip("hello");
    }
    // Everything that wakes it once must not keep it awake.
    server.publisher().publish("t", Message::Text("hello"));
    server
        .publisher()
        .publish("t", Message::Text("hello again"));
    clients[0].round_trip("awake");
    // Other threads of the process may still have something to end. A loop that spins takes all it can get, always.
    eventually("it takes no time", || {
        let before = processor_time();
        sleep(Duration::from_millis(500));
        processor_time() - before < Duration::from_millis(20)
    });
    for client in clients {
        client.close(1000);
    }
}

fn many_large_messages_leave_no_memory(io: Io) {
    let server = serve(io, |_| Echo);
    let large = frame(BINARY, &[7; 4 << 20]);
    let round = || {
        let mut client = Client::connect(server.address());
        client.write(&large);
        assert_eq!(client.frame().payload.len(), 4 << 20);
        client.close(1000);
    };
    (0..10).for_each(|_| round());
    let before = resident();
    (0..40).for_each(|_| round());
    let grown = resident().saturating_sub(before);
    // One message kept per round would be 160 MiB.
    assert!(grown < 32 << 20, "{} MiB more", grown >> 20);
}
