//! Too much of what is allowed.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{
    BINARY, CLOSE, Client, PING, PONG, TEXT, close_payload, frame, header, narrow_tcp, request,
};
use crate::flood::Flood;
use crate::herd::Herd;
use crate::process::{Process, Program};
use crate::queued::queued_bytes;
use crate::trial::{MEMORY, Trial};
use crate::{PATIENCE, eventually};

crate::rows![
    empty_message_flood,
    ping_flood,
    pong_flood,
    ping_flood_not_reading,
    flood_not_reading,
    slow_reader,
    slow_reader_dropping,
    claim_and_stall,
    memory_given_back,
    memory_given_back_of_whole_messages,
];

/// The witness is served a hundred times while connections flood. Gives the median of its round trips before and meanwhile.
fn beside_floods(io: &'static str, bytes: &[u8]) -> [Duration; 2] {
    let trial = Trial::corecast(io, &[]);
    let usual = trial.witness_times(100)[50];
    let clients: Vec<_> = (0..3).map(|_| trial.connect()).collect();
    let floods: Vec<_> = clients
        .iter()
        .map(|client| Flood::start(client, bytes.repeat(1 + 60_000 / bytes.len())))
        .collect();
    let meanwhile = trial.witness_times(100)[50];
    // New ones get in as well.
    for _ in 0..5 {
        trial.connect().close(1000);
    }
    floods.into_iter().for_each(|flood| flood.end(200_000, 0));
    assert!(trial.grown() < 4 * MEMORY, "{}", trial.grown());
    drop(clients);
    trial.over_within(2 * MEMORY);
    [usual, meanwhile]
}

/// Every turn handles a few hundred messages of each flood, and not all that has come.
fn empty_message_flood(io: &'static str) {
    /// Seen: 7 times, on a machine with three times as much to do as it has processors.
    const SLOWER: u32 = 20;
    // What is no starving anywhere, however fast the round trips usually are. Without a budget for each turn, monoio takes
    // 7 ms in a debug build, and the ring does not come back for seconds. Where the portable loop did not let go between
    // turns, epoll took 25.
    let floor = Duration::from_millis(5);
    let [usual, meanwhile] = beside_floods(io, &frame(BINARY, b""));
    println!("round trips take {usual:?}, beside floods {meanwhile:?}");
    assert!(
        meanwhile < floor.max(usual * SLOWER),
        "{meanwhile:?} instead of {usual:?}"
    );
}

fn ping_flood(io: &'static str) {
    beside_floods(io, &frame(PING, b"p"));
}

/// Pongs that nobody asked for are no messages, and are not answered.
fn pong_flood(io: &'static str) {
    beside_floods(io, &frame(PONG, &[7; 125]));
    let trial = Trial::corecast(io, &[]);
    let mut client = trial.connect();
    client.write(&frame(PONG, b"unasked").repeat(1000));
    client.round_trip("nothing before this");
    client.close(1000);
    trial.over();
}

/// Pings without end from a peer that never reads: what waits for it is bounded, and the answer to the latest ping is
/// among it (§5.5.3).
fn ping_flood_not_reading(io: &'static str) {
    const PINGS: u32 = 150_000;
    let trial = Trial::corecast(io, &[]);
    let mut client = Client::upgrade(narrow_tcp(trial.address()), &request("/echo"));
    let payload = |number: u32| [&number.to_be_bytes()[..], &[7; 121]].concat();
    let (mut all, mut grown) = (Vec::new(), 0);
    for number in 0..PINGS {
        all.extend_from_slice(&frame(PING, &payload(number)));
        if all.len() > 1 << 20 {
            client.write(&all);
            all.clear();
            grown = grown.max(trial.grown());
        }
    }
    client.write(&all);
    eventually("all pings are read", || {
        grown = grown.max(trial.grown());
        is_all_received(client.stream())
    });
    // Meanwhile input may have waited for its turn, at most as much as the receive buffers hold.
    assert!(
        grown < MEMORY + (4 << 20),
        "{grown} bytes for a peer that does not read"
    );
    // What was read is handled in slices, one per turn; then only its answers wait.
    trial.witnessed(100);
    let waiting = trial.grown();
    assert!(waiting < MEMORY, "{waiting} bytes of answers wait");
    // It reads after all: pongs in order, each whole, the latest at the end.
    let (mut last, mut pongs) = (None, 0);
    while last != Some(PINGS - 1) {
        let pong = client.frame();
        assert_eq!(pong.opcode, PONG);
        let number = u32::from_be_bytes(*pong.payload.first_chunk().expect("a number"));
        assert!(
            last.is_none_or(|last| number > last),
            "{number} after {last:?}"
        );
        assert_eq!(pong.payload, payload(number));
        last = Some(number);
        pongs += 1;
    }
    // Those that the sockets' buffers took, and the last.
    println!("{pongs} pongs, {grown} bytes at most, {waiting} at the end");
    assert!(pongs < PINGS / 3, "{pongs} pongs to {PINGS} pings");
    client.round_trip("and well");
    client.close(1000);
    trial.over();
}

/// Whether the program at the other end, on this machine, has read all that was sent.
fn is_all_received(stream: &TcpStream) -> bool {
    let ours = stream.local_addr().expect("it is connected");
    let theirs = stream.peer_addr().expect("it is connected");
    let queued = |local, remote| queued_bytes(local, remote).expect("the connection is open");
    let (unsent, _) = queued(ours, theirs);
    let (_, unread) = queued(theirs, ours);
    (unsent, unread) == (0, 0)
}

/// Writes until the socket takes no more for a while. Gives the bytes taken.
fn fill(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .expect("a timeout");
    let (start, mut taken) = (Instant::now(), 0);
    while let Ok(more @ 1..) = stream.write(bytes) {
        taken += more;
        assert!(
            start.elapsed() < PATIENCE,
            "it takes everything: {taken} bytes"
        );
    }
    taken
}

/// Messages to echo from a peer that never reads: it is held back, and what waits is bounded.
fn flood_not_reading(io: &'static str) {
    /// What one of them can make the server hold: what had been received when it was paused (at most the receive
    /// buffers), the backlog's limit, and what one turn makes.
    const HELD: usize = (4 << 20) + (256 << 10) + (512 << 10);
    let trial = Trial::corecast(io, &["--backlog", "256k"]);
    let clients: Vec<_> = (0..4)
        .map(|_| Client::upgrade(narrow_tcp(trial.address()), &request("/echo")))
        .collect();
    let payload = frame(BINARY, &[7; 10_000]);
    for client in &clients {
        let taken = fill(client.stream(), &payload);
        assert!(taken < 64 << 20, "{taken} bytes");
    }
    let grown = trial.grown();
    assert!(grown < MEMORY + clients.len() * HELD, "{grown} bytes wait");
    drop(clients);
    trial.over();
}

/// A broadcast with one subscriber that does not read, and two that get every message.
fn broadcast(trial: &Trial) -> Client {
    const MESSAGES: u32 = 300;
    let subscribe = |path: &str| Client::connect_to(trial.address(), path);
    let slow = Client::upgrade(narrow_tcp(trial.address()), &request("/topics?sub=news"));
    let mut readers = [subscribe("/topics?sub=news"), subscribe("/topics?sub=news")];
    let mut publisher = subscribe("/topics?pub=news");
    for number in 0..MESSAGES {
        let payload = [&number.to_be_bytes()[..], &vec![7; 64 << 10]].concat();
        publisher.send(BINARY, &payload);
        for reader in &mut readers {
            reader.expect(BINARY, &payload);
        }
    }
    assert!(trial.grown() < 2 * MEMORY, "{} bytes wait", trial.grown());
    publisher.send(CLOSE, &close_payload(1000, ""));
    // The victim has answered each message, too.
    publisher.until_close(1000);
    publisher.expect_end();
    readers.into_iter().for_each(|reader| reader.close(1000));
    slow
}

/// Reads messages, numbered without a gap from zero, until another frame comes. Gives it and their number.
fn numbered(client: &mut Client) -> (crate::client::Frame, u32) {
    let mut expected = 0_u32;
    loop {
        let frame = client.frame();
        if frame.opcode != BINARY {
            return (frame, expected);
        }
        assert_eq!(frame.payload.first_chunk(), Some(&expected.to_be_bytes()));
        assert_eq!(frame.payload.len(), (64 << 10) + 4, "whole");
        expected += 1;
    }
}

fn slow_reader(io: &'static str) {
    // How long it has to take its Close frame is not the question here.
    let trial = Trial::victim(io, &["--backlog", "512k", "--close-timeout", "5m"]);
    let mut slow = broadcast(&trial);
    let (end, messages) = numbered(&mut slow);
    assert_eq!(
        end.close_code().map(|(code, _)| code),
        Some(1013),
        "after {messages}"
    );
    assert!(
        (8..300).contains(&messages),
        "{messages} messages before the policy acted"
    );
    slow.answer_close(1013);
    slow.expect_end();
    drop(slow);
    trial.logs("connection ended code=1013", 1);
    trial.over_within(2 * MEMORY);
}

fn slow_reader_dropping(io: &'static str) {
    let trial = Trial::corecast(io, &["--backlog", "512k", "--slow", "drop-newest"]);
    let mut slow = broadcast(&trial);
    // Behind what had been queued when its backlog was full comes what is sent when it reads again.
    slow.send(PING, b"still here");
    let (pong, messages) = numbered(&mut slow);
    assert_eq!((pong.opcode, &pong.payload[..]), (PONG, &b"still here"[..]));
    assert!((8..300).contains(&messages), "{messages} messages");
    let mut publisher = Client::connect_to(trial.address(), "/topics?pub=news");
    publisher.text("news again");
    slow.expect(TEXT, b"news again");
    slow.close(1000);
    publisher.close(1000);
    trial.over_within(2 * MEMORY);
}

/// Ten thousand connections announce the largest message, and send nothing of it; then next to nothing.
fn claim_and_stall(io: &'static str) {
    let mut idle = Duration::from_secs(6);
    while !is_claimed_before_it_is_idle(io, idle) {
        idle *= 4;
        assert!(
            idle < 2 * PATIENCE,
            "ten thousand connections take for ever"
        );
    }
}

/// The same with an idle timeout. `false` if the machine takes longer than that to open and use so many connections.
fn is_claimed_before_it_is_idle(io: &'static str, idle: Duration) -> bool {
    let timeout = format!("{}s", idle.as_secs());
    let trial = Trial::corecast(io, &["--idle-timeout", &timeout, "--ping-interval", "0"]);
    // On the portable transports a read is pending for each: 4 KiB, and its task.
    let most = if io == "ring" { 1 << 10 } else { 12 << 10 };
    let start = Instant::now();
    let mut herd = Herd::connect(trial.address(), "/echo", 10_000);
    let connections = herd.streams.len();
    // The allocator keeps some of what ten thousand connections took.
    let may_stay = MEMORY + connections * (most / 2);
    let address_space = trial.process.address_space();
    // Below the limit, which is 16 MiB: nothing is wrong with them.
    let mut claim = header(0x80 | BINARY, 16 << 20, true);
    claim.extend_from_slice(&[1, 2, 3, 4]);
    let written = herd.try_write(&claim);
    trial.witnessed(5);
    if start.elapsed() > idle * 3 / 4 {
        drop(herd);
        trial.over_within(may_stay);
        return false;
    }
    written.expect("the server reads");
    let per_connection = trial.grown() / connections;
    println!("{connections} connections, {per_connection} bytes each");
    assert!(
        per_connection < most,
        "{per_connection} bytes per connection"
    );
    // With a little of the payload there is something to make room for: for that, not for what is announced.
    herd.write(&[7; 100]);
    trial.witnessed(5);
    let reserved = trial.process.address_space().saturating_sub(address_space);
    let per_connection = reserved / connections;
    assert!(
        per_connection < 256 << 10,
        "{per_connection} bytes are reserved for each"
    );
    // It may be more than anybody here is waited for.
    thread::sleep(idle.saturating_sub(start.elapsed() + PATIENCE / 2));
    // The idle timeout ends each. What they would answer is payload to their frame, so the end counts as broken off.
    herd.expect(&[&[0x88, 14][..], &close_payload(1001, "idle timeout")].concat());
    drop(herd);
    trial.logs("connection ended code=1006", connections);
    trial.over_within(may_stay);
    true
}

/// What a storm has taken goes back to the system within seconds, though nobody needs memory any more.
fn memory_given_back(io: &'static str) {
    let process = Process::start_as_shipped(Program::Corecast, &["--io", io, "--cores", "1"]);
    let trial = Trial::on(process);
    let mut clients: Vec<_> = (0..20).map(|_| trial.connect()).collect();
    let part = &frame(BINARY, &[7; 4 << 20])[..3 << 20];
    for client in &mut clients {
        client.write(part);
    }
    eventually("the parts are held", || trial.grown() > 55 << 20);
    drop(clients);
    eventually("the memory is given back", || trial.grown() < MEMORY);
    trial.over();
}

/// Whole messages of many sizes, each of which the allocator keeps apart; and those that are whole first, whose buffers
/// the engine keeps to use them again, lie far from each other.
fn memory_given_back_of_whole_messages(io: &'static str) {
    const KIB: [usize; 8] = [160, 192, 224, 256, 320, 384, 448, 512];
    const AT_ONCE: usize = 16;
    let process = Process::start_as_shipped(Program::Corecast, &["--io", io, "--cores", "1"]);
    let mut trial = Trial::on(process);
    let sizes = [KIB, KIB].concat();
    let mut talks: Vec<_> = sizes
        .iter()
        .flat_map(|kib| [kib << 10; AT_ONCE])
        .map(|size| (trial.connect(), vec![7; size]))
        .collect();
    for (client, payload) in &mut talks {
        let frame = frame(BINARY, payload);
        client.write(&frame[..frame.len() - 1]);
    }
    let waiting = talks.iter().map(|(_, payload)| payload.len()).sum();
    eventually("all but the ends are held", || trial.grown() > waiting);
    for first in 0..AT_ONCE {
        for (client, payload) in talks.iter_mut().skip(first).step_by(AT_ONCE) {
            let end = frame(BINARY, payload).pop().expect("a last byte");
            client.write(&[end]);
            client.expect(BINARY, payload);
        }
    }
    drop(talks);
    trial.unwitnessed(|trial| {
        eventually("the memory is given back", || trial.grown() < MEMORY);
    });
    trial.over();
}
