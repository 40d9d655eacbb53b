//! Sends without a copy: the same bytes, and memory that comes back. Over the ring only, which is where there are any.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corecast::{Conn, Handler, Io, Message, Publisher, Server, SlowPolicy, Stats};

use crate::common::client::{BINARY, Client, raw_frame, reset_when_dropped};
use crate::common::payload::{Numbers, pattern};
use crate::common::transports::skip;
use crate::common::{PATIENCE, Running, eventually, run, serve_with, within};

/// From where on the tests' servers lend.
const MIN_BYTES: usize = 32 << 10;

/// To be held by each test, so that no other one here locks memory meanwhile: a user may have little. `None` where nothing is
/// lent, and the test is to be skipped.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !lends() {
        skip(
            Io::Ring,
            "zero copy: not with this kernel, or with so low a `ulimit -l`",
        );
        return None;
    }
    Some(alone)
}

fn lends() -> bool {
    let (server, publisher) = hall(|server| server);
    let mut client = members(&server, 1, Client::connect).remove(0);
    let message = numbered(0, MIN_BYTES);
    publisher.publish("all", Message::Binary(&message));
    client.expect(BINARY, &message);
    // Counted by the end of the turn that sent it.
    client.round_trip("welcome");
    server.stats().zero_copy_sends == 1
}

/// Whether memory can be locked without a limit: CAP_IPC_LOCK.
fn locks_freely() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.expect("capabilities") & (1 << 14) != 0
}

/// Subscribes everybody to `all`, and publishes there what it is sent.
struct Hall;

impl Handler for Hall {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.subscribe("all");
        ws.send_text("welcome");
    }

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        ws.publish("all", message);
    }
}

fn hall(settings: impl FnOnce(Server) -> Server) -> (Running, Publisher) {
    let mut publisher = None;
    let settings = |server: Server| {
        publisher = Some(server.publisher());
        settings(server.zero_copy(MIN_BYTES))
    };
    let server = serve_with(Io::Ring, settings, |_| Hall);
    (server, publisher.expect("made with the settings"))
}

fn members(
    server: &Running,
    count: usize,
    connect: fn(std::net::SocketAddr) -> Client,
) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| connect(server.address())).collect();
    for client in &mut clients {
        client.expect_text("welcome");
    }
    clients
}

/// A message that begins with its number.
fn numbered(n: u64, size: usize) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.extend_from_slice(&pattern(n, size - bytes.len()));
    bytes
}

fn number_of(payload: &[u8]) -> u64 {
    let n = u64::from_be_bytes(*payload.first_chunk().expect("a number"));
    assert!(payload == numbered(n, payload.len()), "message {n} is torn");
    n
}

/// Reads messages up to one with this number or a later one. Gives all their numbers.
fn read_to(client: &mut Client, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last().is_none_or(|&number| number < last) {
        let frame = client.frame();
        assert_eq!(frame.opcode, BINARY);
        numbers.push(number_of(&frame.payload));
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    numbers
}

fn all_is_given_back(server: &Running) {
    eventually("all bytes are given back", || {
        server.stats().zero_copy_bytes == 0
    });
}

#[test]
fn large_messages_arrive_whole_and_are_given_back() {
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        // A few for whom there is no batch, and many.
        for count in [2, 40] {
            let (server, publisher) = hall(|server| server.backlog(16 << 20));
            let mut clients = members(&server, count, Client::connect);
            let mut sends = 0;
            for (n, size) in [MIN_BYTES, 64 << 10, 300_000, 1 << 20, 4 << 20]
                .into_iter()
                .enumerate()
            {
                let n = n as u64;
                let message = numbered(n, size);
                let from_outside = n.is_multiple_of(2);
                match from_outside {
                    true => drop(publisher.publish("all", Message::Binary(&message))),
                    false => clients[0].send(BINARY, &message),
                }
                for client in &mut clients {
                    client.expect(BINARY, &message);
                }
                // What a handler publishes to few goes out in two pieces.
                if from_outside || count > 2 {
                    sends += count as u64;
                }
            }
            // Counted by the end of the turn that sent the last of them.
            clients[0].round_trip("welcome");
            let lent = server.stats().zero_copy_sends;
            assert!(
                lent == sends || !locks_freely() && (1..sends).contains(&lent),
                "{lent} of {sends}"
            );
            all_is_given_back(&server);
        }
    });
}

#[test]
fn small_messages_are_copied_and_so_are_all_unless_it_is_asked_for() {
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        for (min_bytes, size) in [(Some(MIN_BYTES), MIN_BYTES - 100), (None, 1 << 20)] {
            let (server, publisher) = hall(|server| server.zero_copy(min_bytes));
            let mut clients = members(&server, 8, Client::connect);
            publisher.publish("all", Message::Binary(&numbered(1, size)));
            for client in &mut clients {
                assert_eq!(read_to(client, 1), [1]);
            }
            assert_eq!(server.stats().zero_copy_sends, 0);
        }
    });
}

/// Publishes one after the other until everybody has been sent all that it gets, and gives the most that was lent meanwhile.
fn flood(server: &Running, publisher: &Publisher, count: u64, size: usize) -> u64 {
    let mut most = 0;
    for n in 0..count {
        let published = publisher.publish("all", Message::Binary(&numbered(n, size)));
        assert_eq!(published.refused, 0);
        thread::sleep(Duration::from_millis(1));
        most = most.max(server.stats().zero_copy_bytes);
    }
    most
}

#[test]
fn slow_readers_get_whole_messages_in_order_and_pin_no_more_than_the_limit() {
    const LIMIT: usize = 128 << 10;
    const SIZE: usize = 48 << 10;
    const COUNT: u64 = 300;
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        let (server, publisher) = hall(|server| server.backlog(LIMIT).slow(SlowPolicy::DropOldest));
        let clients = members(&server, 6, Client::connect);
        let most = flood(&server, &publisher, COUNT, SIZE);
        assert!(most > 0, "nobody was lent anything");
        assert!(
            most <= (16 * LIMIT) as u64,
            "{most} bytes lent to 16 connections"
        );
        let readers = clients.into_iter().map(|mut client| {
            thread::spawn(move || {
                let numbers = read_to(&mut client, COUNT);
                assert!(numbers.len() > 1, "{numbers:?}");
            })
        });
        let readers: Vec<_> = readers.collect();
        // Whoever has just a full backlog may miss any one of these.
        let mut n = COUNT;
        while !readers.iter().all(JoinHandle::is_finished) {
            publisher.publish("all", Message::Binary(&numbered(n, SIZE)));
            thread::sleep(Duration::from_millis(20));
            n += 1;
        }
        for reader in readers {
            reader.join().expect("whole messages in order");
        }
        all_is_given_back(&server);
    });
}

#[test]
fn readers_at_changing_speeds_get_everything() {
    const COUNT: u64 = 120;
    const LARGEST: u64 = 400_000;
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        let (server, publisher) = hall(|server| server.backlog(1 << 30).max_message(1 << 20));
        let clients = members(&server, 4, Client::connect);
        let readers = clients.into_iter().enumerate().map(|(n, mut client)| {
            thread::spawn(move || {
                let mut numbers = Numbers::new(n as u64);
                for expected in 0..COUNT {
                    if numbers.below(10) == 0 {
                        thread::sleep(Duration::from_millis(numbers.below(20)));
                    }
                    assert_eq!(number_of(&client.frame().payload), expected);
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let mut numbers = Numbers::new(99);
        for n in 0..COUNT {
            let size = 8 + numbers.below(LARGEST) as usize;
            publisher.publish("all", Message::Binary(&numbered(n, size)));
            thread::sleep(Duration::from_millis(numbers.below(8)));
        }
        for reader in readers {
            reader.join().expect("all messages, whole and in order");
        }
        let sends = server.stats().zero_copy_sends;
        assert!(sends > COUNT / 2, "{sends} of {}", 4 * COUNT);
        all_is_given_back(&server);
    });
}

/// Has members that do not read hold bytes of the server's.
fn pinned(server: &Running, publisher: &Publisher, count: usize) -> Vec<Client> {
    let stalled = members(server, count, Client::connect_narrow);
    for n in 0..20 {
        publisher.publish("all", Message::Binary(&numbered(n, 64 << 10)));
    }
    let unread = |stats: Stats| stats.zero_copy_bytes > 0;
    eventually("bytes are lent", || unread(server.stats()));
    // They stay: nobody reads.
    thread::sleep(Duration::from_millis(50));
    assert!(unread(server.stats()), "nobody has read them");
    stalled
}

#[test]
fn resets_and_ends_give_back_what_was_lent_and_free_their_slots() {
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        for reset in [true, false] {
            let (server, publisher) =
                hall(|server| server.slow(SlowPolicy::DropNewest).backlog(256 << 10));
            for _ in 0..5 {
                let stalled = pinned(&server, &publisher, 10);
                for client in stalled {
                    if reset {
                        reset_when_dropped(client.stream());
                    }
                    drop(client);
                }
                eventually("their slots are free", || server.stats().connections == 0);
                all_is_given_back(&server);
            }
            let mut clients = members(&server, 10, Client::connect);
            publisher.publish("all", Message::Binary(&numbered(7, 1 << 20)));
            for client in &mut clients {
                assert_eq!(read_to(client, 7), [7]);
            }
        }
    });
}

/// A connection that the server ends keeps its bytes for as long as its socket has them to send; nobody waits for that.
#[test]
fn connections_and_servers_end_while_bytes_are_lent() {
    run(Io::Ring, |_| {
        let Some(_alone) = alone() else { return };
        let settings = |server: Server| {
            let server = server.slow(SlowPolicy::DropNewest).backlog(256 << 10);
            server.close_timeout(Duration::from_millis(100))
        };
        let (server, publisher) = hall(settings);
        let mut stalled = pinned(&server, &publisher, 5);
        for client in &mut stalled {
            // Which breaks the protocol.
            client.write(&raw_frame(0x83, b"reserved"));
        }
        eventually("the server ends them", || server.stats().connections == 0);
        // What their sockets have taken is still theirs to read.
        for client in &mut stalled {
            assert_eq!(number_of(&client.frame().payload), 0);
        }
        let _others = pinned(&server, &publisher, 5);
        server.stop();
        within(PATIENCE, "the end of the server", move || {
            server.join(PATIENCE)
        })
        .expect("a good end");
    });
}
