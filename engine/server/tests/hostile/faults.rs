//! What goes wrong in the machine, or in the application.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use crate::client::{
    BINARY, CLOSE, Client, TEXT, close_payload, frame, http, narrow_tcp, request, tcp,
};
use crate::herd::{Herd, unaffordable};
use crate::process::{Process, Program};
use crate::trial::{MEMORY, SPARE, Trial};
use crate::{eventually, transports};

crate::rows![
    accept_emfile,
    ring_overflow,
    recv_buffers_exhausted,
    cancel_in_flight,
    handler_panic,
    core_mailbox_full,
];

/// How long the processor time is watched.
pub(crate) const WATCHED: Duration = Duration::from_millis(600);

/// The share of a processor that a loop which spins takes at least, on a machine that has much else to do.
pub(crate) const SPINNING: f64 = 0.15;

/// Descriptors run out: accepting backs off, says so once, costs nothing, and goes on when there are some.
fn accept_emfile(io: &'static str) {
    const DESCRIPTORS: u64 = 64;
    let process = Process::start_with_descriptors(
        Program::Corecast,
        DESCRIPTORS,
        &["--io", io, "--cores", "1"],
    );
    let trial = Trial::on(process);
    let usual = trial.busy(WATCHED);
    for waiting in [1, 20] {
        let mut inside = Vec::new();
        while trial.process.has_free_descriptors(DESCRIPTORS) {
            inside.push(trial.connect());
        }
        let outside: Vec<_> = (0..waiting)
            .map(|_| {
                let mut stream = tcp(trial.address());
                stream
                    .write_all(request("/echo").as_bytes())
                    .expect("the kernel takes it");
                stream
            })
            .collect();
        let busy = trial.busy(WATCHED);
        assert!(
            busy < 3.0 * usual + SPINNING,
            "{busy:.2}, usually {usual:.2}"
        );
        for client in &mut inside {
            client.round_trip("unaffected");
        }
        // Once a minute at most, however often it is tried.
        trial.logs("accepting rests", 1);
        inside.into_iter().for_each(|client| client.close(1000));
        for stream in outside {
            let mut client = Client::opened(stream);
            client.round_trip("at last");
            client.close(1000);
        }
        eventually("only the witness is left", || {
            trial.process.descriptors() <= trial.descriptors_before()
        });
    }
    trial.over();
}

/// Makes the only core sleep in a callback.
fn stall(trial: &mut Trial, time: Duration) -> Client {
    trial.allow(time);
    let mut client =
        Client::connect_to(trial.address(), &format!("/stall?ms={}", time.as_millis()));
    client.text("sleep");
    client
}

/// More completions in a turn than the queue has places, which are 4,096: of connections that came while the core was
/// busy, as many as came in time; and of messages to connections that all are read from again at the same time.
fn ring_overflow(io: &'static str) {
    const CONNECTIONS: usize = 4_600;
    // Nothing else has a queue that could overflow.
    if io == "ring"
        && let Some(fewer) = unaffordable(CONNECTIONS)
    {
        return transports::skip(corecast::Io::Ring, &fewer);
    }
    let mut trial = Trial::victim(io, &[]);
    let mut stalled = stall(&mut trial, Duration::from_secs(1));
    let mut herd = Herd::connect_at_once(trial.address(), "/orders", CONNECTIONS);
    stalled.expect_text("sleep");
    let connections = herd.streams.len();
    let mut resumer = Client::connect_to(trial.address(), "/orders");
    for round in 0..2_u8 {
        let before = counter(&trial, "ring_overflows");
        herd.write(&frame(TEXT, b"pause"));
        eventually("all are paused", || {
            counter(&trial, "paused") == connections as u64
        });
        herd.write(&frame(TEXT, &[b'0' + round; 20]));
        resumer.text("resume");
        herd.expect(&[&[0x81, 20][..], &[b'0' + round; 20]].concat());
        let overflows = counter(&trial, "ring_overflows") - before;
        assert_eq!(overflows > 0, io == "ring", "{overflows} overflows");
    }
    // Before Linux 6.14 it takes no pause: one `enter` runs all that waits for it.
    stalled.text("sleep");
    herd.write(&frame(TEXT, b"at once"));
    herd.expect(b"\x81\x07at once");
    stalled.expect_text("sleep");
    drop((herd, stalled, resumer));
    trial.over_within(MEMORY + connections * (6 << 10));
}

/// More bytes than the receive buffers hold, which is 4 MiB, from more connections than there are buffers. They are ready
/// when the core comes back to them.
fn recv_buffers_exhausted(io: &'static str) {
    let mut trial = Trial::victim(io, &[]);
    let mut clients: Vec<_> = (0..50).map(|_| trial.connect()).collect();
    // The kernel makes its buffers larger for connections that use them.
    send_at_once(&mut clients, 1 << 20, 0);
    for round in 1..=3 {
        let mut stalled = stall(&mut trial, Duration::from_millis(400));
        send_at_once(&mut clients, 400_000, round);
        stalled.expect_text("sleep");
    }
    drop(clients);
    trial.over_within(4 * MEMORY + SPARE);
}

/// Sends a message on every connection, from as many threads, and expects each back.
fn send_at_once(clients: &mut [Client], length: usize, round: usize) {
    let payload = |number: usize| vec![(number + round) as u8; length];
    let writers: Vec<_> = clients
        .iter()
        .enumerate()
        .map(|(number, client)| {
            let (mut writer, frame) = (client.writer(), frame(BINARY, &payload(number)));
            std::thread::spawn(move || writer.write_all(&frame))
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(BINARY, &payload(number));
    }
    for writer in writers {
        writer
            .join()
            .expect("the writer")
            .expect("the server reads");
    }
}

/// Connections end, from either side, while the kernel works on their receives and sends. What it still uses outlives
/// the connection: other connections' data stay whole, and nothing is lost for good.
fn cancel_in_flight(io: &'static str) {
    // Of a peer that is not read, only the idle timeout tells that it is gone.
    let flags = [
        "--backlog",
        "64m",
        "--close-timeout",
        "1m",
        "--idle-timeout",
        "1s",
    ];
    let trial = Trial::victim(io, &flags);
    let orders = || Client::upgrade(narrow_tcp(trial.address()), &request("/orders"));
    for _ in 0..6 {
        let mut reset = orders();
        reset.text("send 8 1000000");
        let mut closed = orders();
        closed.text("send 8 1000000");
        closed.send(CLOSE, &close_payload(1000, ""));
        let mut dropped = orders();
        dropped.write(&frame(TEXT, b"pause 1").repeat(50));
        let mut paused = orders();
        paused.write(&[frame(TEXT, b"pause"), frame(BINARY, &[7; 100_000])].concat());
        let mut told = orders();
        told.text("send 4 1000000");
        told.text("close 4000");
        // A little of the first reaches the peer, so that the rest is in flight.
        let mut some = [0; 1000];
        reset
            .writer()
            .read_exact(&mut some)
            .expect("the first bytes");
        reset.reset();
        drop(closed);
        paused.reset();
        drop(dropped);
        // Whoever reads gets all of it, whole, and then the end.
        for _ in 0..4 {
            told.expect(BINARY, &vec![7; 1_000_000]);
        }
        told.expect_close(4000);
        told.answer_close(4000);
        told.expect_end();
    }
    trial.over_within(4 * MEMORY);
}

/// The number behind a name in the victim's counters.
fn counter(trial: &Trial, name: &str) -> u64 {
    let mut client = Client::connect_to(trial.address(), "/stats");
    client.text("now");
    let answer = client.frame().payload;
    let answer = String::from_utf8(answer).expect("text");
    client.close(1000);
    let mut words = answer.split(' ').filter_map(|word| word.split_once('='));
    let found = words.find(|(key, _)| *key == name);
    let (_, value) = found.expect("a counter");
    value.parse().expect("a number")
}

fn handler_panic(io: &'static str) {
    const ROUNDS: usize = 5;
    let trial = Trial::victim(io, &[]);
    for _ in 0..ROUNDS {
        let mut client = Client::connect_to(trial.address(), "/panic?at=message");
        client.text("now");
        client.expect_close(1011);
        client.expect_end();
        let mut client = Client::connect_to(trial.address(), "/panic?at=open");
        client.expect_close(1011);
        client.expect_end();
        let response = http(trial.address(), &request("/panic?at=upgrade"));
        assert_eq!(response.status, 500, "{}", response.head);
        Client::connect_to(trial.address(), "/panic?at=close").close(1000);
    }
    trial.logs("a handler panicked", 4 * ROUNDS);
    assert_eq!(counter(&trial, "handler_panics"), 4 * ROUNDS as u64);
    trial.over_after_panics(MEMORY);
}

/// A connection that lives on this core, by trying.
fn connect_on(address: SocketAddr, core: usize, path: &str) -> Client {
    let mut found = None;
    eventually("the kernel chooses the core", || {
        let client = Client::connect_to(address, path);
        if client.head.contains(&format!("\r\nX-Core: {core}\r\n")) {
            found = Some(client);
        }
        found.is_some()
    });
    found.expect("one of them")
}

/// A core stalls while another publishes to its subscribers: the publisher is told what it would not take, and what it
/// did take is bounded, and arrives.
fn core_mailbox_full(io: &'static str) {
    const MESSAGES: usize = 1500;
    let process = Process::start(
        Program::Victim,
        &["--io", io, "--cores", "2", "--backlog", "256m"],
    );
    let address = process.address;
    // On the core that does not stall.
    let trial = Trial::watched_by(process, connect_on(address, 0, "/echo"));
    let mut subscriber = connect_on(address, 1, "/topics?sub=news");
    let mut publisher = connect_on(address, 0, "/topics?pub=news");
    let mut release = connect_on(address, 0, "/release");
    let mut stalled = connect_on(address, 1, "/stall");
    stalled.text("sleep");
    trial.logs("a core stalls", 1);
    let mut writer = publisher.writer();
    let writing = std::thread::spawn(move || {
        for number in 0..MESSAGES {
            let payload = [&(number as u32).to_be_bytes()[..], &[7; 60_000]].concat();
            writer
                .write_all(&frame(BINARY, &payload))
                .expect("its core reads");
        }
    });
    let mut taken = Vec::new();
    for number in 0..MESSAGES {
        let said = String::from_utf8(publisher.frame().payload).expect("text");
        match said.as_str() {
            "sent=0 queued=0 dropped=0 forwarded=1 refused=0" => taken.push(number as u32),
            "sent=0 queued=0 dropped=0 forwarded=0 refused=1" => {}
            other => panic!("{other}"),
        }
    }
    writing.join().expect("all are written");
    let bytes = taken.len() * 60_014;
    assert!(taken.len() < MESSAGES, "nothing was refused");
    assert!(
        (60 << 20..72 << 20).contains(&bytes),
        "{bytes} bytes wait for the core"
    );
    assert!(trial.grown() < (80 << 20) + 2 * MEMORY, "{}", trial.grown());
    trial.witnessed(10);
    release.round_trip("wake up");
    stalled.expect_text("sleep");
    for number in taken {
        let message = subscriber.frame().payload;
        assert_eq!(
            message.first_chunk(),
            Some(&number.to_be_bytes()),
            "in order, none missing"
        );
    }
    // And it takes messages again.
    publisher.text("awake?");
    publisher.expect_text("sent=0 queued=0 dropped=0 forwarded=1 refused=0");
    subscriber.expect_text("awake?");
    drop((subscriber, publisher, stalled, release));
    trial.over_within(4 * MEMORY);
}
