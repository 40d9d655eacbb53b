//! Every byte arrives where it belongs, and nowhere else, when much is under way at the same time.

use std::io::Write;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use corecast::{Conn, Handler, Io, Message};

use crate::common::client::{BINARY, Client, frame};
use crate::common::payload::{Numbers, pattern};
use crate::common::{Echo, over_every_transport, serve, serve_with};

over_every_transport![
    large_messages_of_two_connections_do_not_mix,
    fifty_connections_with_every_size,
    slow_readers_get_every_byte,
    large_publications_reach_slow_and_fast_alike,
    payloads_sent_in_parts_and_copies_are_exact,
];

/// Larger than any test's message; what a message carries is a range of it, told by a header.
const POOL: usize = 512 << 10;
const HEADER: usize = 24;

/// One side's view of what it sends: message `n` of a connection, a range of the pool at random.
struct Script {
    pool: Vec<u8>,
    connection: u64,
    sizes: Numbers,
    largest: usize,
    sent: u64,
}

impl Script {
    fn new(connection: u64, largest: usize) -> Self {
        Self {
            // Other bytes for each connection, so that a mixed-up payload shows.
            pool: pattern(connection + 1000, POOL),
            connection,
            sizes: Numbers::new(connection),
            largest,
            sent: 0,
        }
    }

    fn next(&mut self) -> Vec<u8> {
        let size = self.sizes.size(self.largest);
        let offset = self.sizes.below((POOL - size) as u64) as usize;
        let mut message = Vec::with_capacity(HEADER + size);
        for number in [self.connection, self.sent, size as u64] {
            message.extend_from_slice(&number.to_be_bytes());
        }
        message.extend_from_slice(&self.pool[offset..offset + size]);
        self.sent += 1;
        message
    }
}

/// Sends `messages` from a thread of its own while it reads and compares what comes back.
fn exchange(mut client: Client, script: impl Fn() -> Script + Send, messages: u64, nap: Duration) {
    let (mut writer, mut sent, mut expected) = (client.writer(), script(), script());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..messages {
                writer
                    .write_all(&frame(BINARY, &sent.next()))
                    .expect("the server reads");
            }
        });
        for n in 0..messages {
            if !nap.is_zero() && n % 4 == 0 {
                sleep(nap);
            }
            client.expect(BINARY, &expected.next());
        }
    });
    client.close(1000);
}

fn in_parallel(connections: u64, run: impl Fn(u64) + Send + Sync) {
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let run = &run;
            scope.spawn(move || run(connection));
        }
    });
}

fn large_messages_of_two_connections_do_not_mix(io: Io) {
    let server = serve(io, |_| Echo);
    let address = server.address();
    in_parallel(2, |connection| {
        let script = || Script::new(connection, 400 << 10);
        exchange(Client::connect(address), script, 100, Duration::ZERO);
    });
}

fn fifty_connections_with_every_size(io: Io) {
    let server = serve(io, |_| Echo);
    let address = server.address();
    in_parallel(50, |connection| {
        let script = || Script::new(connection, 200_000);
        exchange(Client::connect(address), script, 200, Duration::ZERO);
    });
}

/// Small receive buffers and pauses: sends fall short all the time, and backlogs come and go.
fn slow_readers_get_every_byte(io: Io) {
    let server = serve(io, |_| Echo);
    let address = server.address();
    in_parallel(10, |connection| {
        let script = || Script::new(connection, 200_000);
        let nap = Duration::from_millis(1);
        exchange(Client::connect_narrow(address), script, 60, nap);
    });
}

/// What anyone says goes to everybody.
struct Hall;

impl Handler for Hall {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.subscribe("hall");
    }

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        ws.publish("hall", message);
    }
}

fn large_publications_reach_slow_and_fast_alike(io: Io) {
    const MESSAGES: u64 = 100;
    // Enough for all that is published: nobody is to be closed here.
    let server = serve_with(io, |server| server.backlog(256 << 20), |_| Hall);
    let address = server.address();
    let mut publisher = Client::connect(address);
    let listeners: Vec<_> = (0..6)
        .map(|n| listener(address, n % 2 == 0, MESSAGES))
        .collect();
    let mut script = Script::new(0, 100_000);
    let messages: Vec<_> = (0..MESSAGES).map(|_| script.next()).collect();
    let mut writer = publisher.writer();
    std::thread::scope(|scope| {
        let messages = &messages;
        scope.spawn(move || {
            for message in messages {
                writer
                    .write_all(&frame(BINARY, message))
                    .expect("the server reads");
            }
        });
        for message in messages {
            publisher.expect(BINARY, message);
        }
    });
    for listener in listeners {
        listener.join().expect("a listener");
    }
}

fn listener(address: SocketAddr, slow: bool, messages: u64) -> std::thread::JoinHandle<()> {
    let mut client = match slow {
        true => Client::connect_narrow(address),
        false => Client::connect(address),
    };
    std::thread::spawn(move || {
        let mut script = Script::new(0, 100_000);
        for n in 0..messages {
            if slow && n % 8 == 0 {
                sleep(Duration::from_millis(2));
            }
            client.expect(BINARY, &script.next());
        }
    })
}

/// Answers each message with it, with its second half, with its first half, and with a copy of its own.
struct Parts;

impl Handler for Parts {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        let bytes = message.as_bytes();
        let (first, second) = bytes.split_at(bytes.len() / 2);
        ws.send(message);
        ws.send_binary(second);
        ws.send_binary(first);
        let copy: Vec<u8> = bytes.iter().rev().copied().collect();
        ws.send_binary(&copy);
    }
}

fn payloads_sent_in_parts_and_copies_are_exact(io: Io) {
    let server = serve_with(io, |server| server.backlog(64 << 20), |_| Parts);
    let address = server.address();
    in_parallel(4, |connection| {
        let mut client = match connection % 2 {
            0 => Client::connect(address),
            _ => Client::connect_narrow(address),
        };
        let (mut sent, mut expected) = (
            Script::new(connection, 300_000),
            Script::new(connection, 300_000),
        );
        // Three at a time: they are handled in one turn, and whatever lies in the receive buffers is sent from there.
        for _ in 0..20 {
            let burst: Vec<_> = (0..3).map(|_| frame(BINARY, &sent.next())).collect();
            client.write(&burst.concat());
            for _ in 0..3 {
                let message = expected.next();
                let (first, second) = message.split_at(message.len() / 2);
                client.expect(BINARY, &message);
                client.expect(BINARY, second);
                client.expect(BINARY, first);
                let copy: Vec<u8> = message.iter().rev().copied().collect();
                client.expect(BINARY, &copy);
            }
        }
        client.close(1000);
    });
}
