//! What fan-out takes of a process: the memory of subscriptions, and of what waits.

#[path = "common/mod.rs"]
mod common;

use std::env;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use corecast::{Deflate, Io, Message, SlowPolicy};

use common::alone::resident;
use common::client::{Client, TEXT, frame, header, raw_frame, request_with, tcp};
use common::errands::{Errands, Member, Offers};
use common::payload::record;
use common::{Echo, Running, TEST_TIME, eventually, next, over_every_transport, serve_with};

over_every_transport![
    a_million_subscriptions_are_small_and_gone_at_once,
    a_large_message_waits_once_for_all_who_do_not_read,
    what_waits_for_a_stalled_core_is_not_kept_with_what_it_waited_with,
    a_shared_compressor_costs_a_connection_nothing,
    a_context_costs_a_connection_no_more_than_is_said,
];

/// Set in the process that a test has to itself.
const OWN: &str = "CORECAST_OWN_PROCESS";

/// Runs a test in a process in which no other has left its memory: what the allocator makes of a new request hangs on what
/// was freed before.
fn in_its_own_process(name: &str, io: Io, test: impl FnOnce()) {
    if env::var_os(OWN).is_some() {
        return test();
    }
    let name = format!("{name}::{}", format!("{io:?}").to_lowercase());
    let this = env::current_exe().expect("procfs");
    let ran = Command::new(this)
        .args([&name, "--exact", "--nocapture"])
        .env(OWN, "1")
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// How much more memory is resident than was.
#[track_caller]
fn expect_growth(before: usize, bound: usize) {
    let grown = resident().saturating_sub(before);
    assert!(
        grown < bound,
        "{} KiB more, not {}",
        grown >> 10,
        bound >> 10
    );
}

fn a_million_subscriptions_are_small_and_gone_at_once(io: Io) {
    const CONNECTIONS: usize = 10;
    const TOPICS: usize = 100_000;
    in_its_own_process(
        "a_million_subscriptions_are_small_and_gone_at_once",
        io,
        || {
            let server = Errands::serve(io, |server| server);
            let subscribe = |member: &mut Member| {
                // In several callbacks, as it would be.
                for tenth in 0..10 {
                    let all_new = member.run(move |ws| {
                        let mut topics = (0..TOPICS).filter(|n| n % 10 == tenth);
                        topics.all(|n| ws.subscribe(&format!("topics/{n}")))
                    });
                    assert!(all_new);
                }
                assert_eq!(member.run(|ws| ws.topics().len()), TOPICS);
            };
            // The topics with their names, and in the table of all cores, are there with the first.
            let mut first = server.member();
            let mut members: Vec<_> = (1..CONNECTIONS).map(|_| server.member()).collect();
            let before = resident();
            subscribe(&mut first);
            expect_growth(before, TOPICS * 400);
            let before = resident();
            members.iter_mut().for_each(subscribe);
            // Each takes 16 bytes, and as much again at most where tables have room to grow.
            expect_growth(before, (CONNECTIONS - 1) * TOPICS * 32 + (4 << 20));
            assert_eq!(
                server.publisher().subscribers("topics/99999"),
                CONNECTIONS as u64
            );
            let mut publisher = server.member();
            let sent = publisher.run(|ws| ws.publish("topics/4711", Message::Text("to all")).sent);
            assert_eq!(sent, CONNECTIONS);
            for member in &mut members {
                member.expect_text("to all");
            }
            // They end together, in every way.
            for (n, member) in members.into_iter().enumerate() {
                match n % 2 {
                    0 => member.into_client().reset(),
                    _ => member.into_client().close(1000),
                }
            }
            let threads = server.publisher();
            eventually("they are gone", || threads.subscribers("topics/99999") == 1);
            assert_eq!(
                publisher.run(|ws| ws.publish("topics/1", Message::Text("to one")).sent),
                1
            );
            first.expect_text("to all");
            first.expect_text("to one");
            first.into_client().close(1000);
            eventually("all are gone", || server.stats().connections == 1);
            assert_eq!(threads.subscribers("topics/0"), 0);
        },
    );
}

fn a_large_message_waits_once_for_all_who_do_not_read(io: Io) {
    const SUBSCRIBERS: usize = 40;
    const SIZE: usize = 1 << 20;
    in_its_own_process(
        "a_large_message_waits_once_for_all_who_do_not_read",
        io,
        || {
            let settings =
                |server: corecast::Server| server.backlog(64 << 20).slow(SlowPolicy::Close);
            let server = Errands::serve(io, settings);
            let mut members: Vec<_> = (0..SUBSCRIBERS).map(|_| server.narrow_member()).collect();
            for member in &mut members {
                member.subscribe(&["t"]);
            }
            let mut publisher = server.member();
            let mut publish = || {
                let message = vec![7; SIZE];
                publisher.run(move |ws| ws.publish("t", Message::Binary(&message)))
            };
            // Until none of them takes any more.
            while publish().queued < SUBSCRIBERS {}
            publish();
            let before = resident();
            for _ in 0..10 {
                assert_eq!(publish().queued, SUBSCRIBERS);
            }
            // One copy for each of them would be 400 MiB. The kernel's memory is not counted.
            expect_growth(before, 10 * SIZE + (20 << 20));
            for member in &mut members {
                let buffered = member.run(|ws| ws.buffered());
                assert!(buffered > 10 * SIZE, "{buffered} bytes wait");
            }
        },
    );
}

fn what_waits_for_a_stalled_core_is_not_kept_with_what_it_waited_with(io: Io) {
    const MESSAGES: usize = 1_000;
    const SIZE: usize = 400;
    in_its_own_process(
        "what_waits_for_a_stalled_core_is_not_kept_with_what_it_waited_with",
        io,
        || {
            // Long enough for all messages to wait together on the core that publishes.
            let settings = |server: corecast::Server| server.flush_delay(Duration::from_secs(1));
            let Some(server) = Errands::serve_on_two_cores(io, settings) else {
                return;
            };
            let [mut here, mut there] = server.members_on_two_cores(1);
            let (mut publisher, mut subscriber) = (here.remove(0), there.remove(0));
            publisher.subscribe(&["t"]);
            subscriber.subscribe(&["t"]);
            let (release, released) = mpsc::channel::<()>();
            let (begins, has_begun) = mpsc::channel();
            let stalled = subscriber.begin(move |_| {
                begins.send(()).expect("the test waits");
                let _ = released.recv_timeout(TEST_TIME);
            });
            next(&has_begun);
            let before = resident();
            let mut forwarded = 0;
            for _ in 0..MESSAGES {
                let published = publisher.run(|ws| ws.publish("t", Message::Binary(&[7; SIZE])));
                forwarded += published.forwarded;
            }
            assert_eq!(forwarded, MESSAGES, "there is room for all");
            // With each message the batch that it was a part of would be 200 MiB.
            expect_growth(before, 20 << 20);
            drop(release);
            next(&stalled);
            for _ in 0..MESSAGES {
                assert_eq!(subscriber.frame().payload, [7; SIZE]);
                assert_eq!(publisher.frame().payload, [7; SIZE]);
            }
        },
    );
}

/// So many connections that have had messages echoed, compressed if that was agreed. Gives them, and how much memory each
/// takes.
fn connections(server: &Running, offers: Offers, count: usize) -> (Vec<TcpStream>, usize) {
    let text = record(1, 10_000);
    let request = request_with("/", offers.header());
    let mut client = Client::upgrade(tcp(server.address()), &request);
    let message = match offers {
        Offers::Nothing => frame(TEXT, text.as_bytes()),
        _ => raw_frame(0xc0 | TEXT, &client.deflate(text.as_bytes())),
    };
    client.write(&message);
    let echo = client.frame();
    assert_eq!(echo.is_compressed(), offers != Offers::Nothing);
    let payload = echo.deflated.unwrap_or(echo.payload);
    let answers = [
        client.head.as_bytes(),
        &header(0x80, payload.len(), false),
        &payload,
    ]
    .concat();
    // With what this end needs already there, so that it is no part of what is measured.
    let mut answer = vec![0; answers.len()];
    let mut streams = Vec::with_capacity(200 + count);
    let mut connect = |streams: &mut Vec<TcpStream>| {
        let mut stream = tcp(server.address());
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.write_all(&message).expect("it reads");
        stream.read_exact(&mut answer).expect("its answers");
        assert!(answer.ends_with(&payload));
        streams.push(stream);
    };
    // What is there once is there with the first ones.
    (0..200).for_each(|_| connect(&mut streams));
    let before = resident();
    (0..count).for_each(|_| connect(&mut streams));
    let taken = resident().saturating_sub(before) / count;
    (streams, taken)
}

fn a_shared_compressor_costs_a_connection_nothing(io: Io) {
    in_its_own_process("a_shared_compressor_costs_a_connection_nothing", io, || {
        // Both ends of all of them are here.
        let descriptors = corecast::raise_descriptor_limit() as usize;
        let count = 5_000.min(descriptors / 5);
        assert!(count >= 500, "{descriptors} descriptors are too few");
        let settings = |server: corecast::Server| server.deflate(Deflate::shared());
        let server = serve_with(io, settings, |_| Echo);
        let (_plain, usual) = connections(&server, Offers::Nothing, count);
        let (_compressed, each) = connections(&server, Offers::Context, count);
        println!("{usual} bytes each, {each} where it was agreed");
        assert!(each < usual + 16, "{each} instead of {usual} bytes");
    });
}

fn a_context_costs_a_connection_no_more_than_is_said(io: Io) {
    const CONNECTIONS: usize = 100;
    in_its_own_process(
        "a_context_costs_a_connection_no_more_than_is_said",
        io,
        || {
            let [small, large] = [9, 15].map(|bits| {
                let settings = |server: corecast::Server| server.deflate(Deflate::dedicated(bits));
                let server = serve_with(io, settings, |_| Echo);
                let (_streams, each) = connections(&server, Offers::Context, CONNECTIONS);
                println!("{each} bytes each with {bits} bits");
                // The compressor: its tables, and four bytes for each of its window. What the client may refer to: as much as
                // its window. And what any connection takes, with a pending read of up to 64 KiB.
                let most = (248 << 10) + (4 << bits) + (1 << bits) + (72 << 10);
                assert!(each < most, "{each} bytes with {bits} bits, not {most}");
                each
            });
            assert!(
                small <= large,
                "{small} bytes, {large} with the larger window"
            );
        },
    );
}
