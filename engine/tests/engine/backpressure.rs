//! Peers that do not read: bounded memory, whole messages, and nobody else notices.

use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use corecast::{Closed, Conn, Handler, Io, Message, Server, SlowPolicy};

use crate::common::client::{BINARY, Client, PING, PONG, TEXT, frame};
use crate::common::payload::{number_of, numbered, pattern};
use crate::common::{Running, eventually, next, over_every_transport, serve_with};

over_every_transport![
    policy_close_ends_with_1013,
    policy_close_cuts_who_never_reads,
    drop_newest_drops_whole_messages_only,
    one_message_larger_than_the_backlog_goes,
    statuses_say_what_happens,
    drain_tells_when_all_is_gone,
    a_stalled_subscriber_does_not_slow_the_others,
    only_the_latest_ping_is_answered_while_the_peer_does_not_read,
    every_ping_is_answered_while_the_peer_reads,
];

const BACKLOG: usize = 256 << 10;
/// One message of a flood.
const PIECE: usize = 10_000;
/// What may wait for a connection: the limit, one message that goes past it, and a Close frame.
const BOUND: usize = BACKLOG + PIECE + 10 + 127;

#[derive(Debug, PartialEq, Eq)]
enum Report {
    /// What became of a burst: messages sent, queued, dropped, and refused because of closing.
    Burst([usize; 4], usize),
    /// `buffered` in the callback.
    Drained(usize),
    Ended(u16, bool),
}

/// Sends numbered messages when it is told to: `burst COUNT SIZE`. Numbers go on over bursts.
struct Source {
    reports: Sender<Report>,
    next: u64,
}

impl Handler for Source {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        let mut words = text.split(' ');
        match (words.next(), number(words.next()), number(words.next())) {
            (Some("burst"), Some(count), Some(size)) => {
                let mut outcome = [0; 4];
                for _ in 0..count {
                    let status = ws.send_binary(&numbered(self.next, size));
                    self.next += 1;
                    outcome[status as usize] += 1;
                }
                self.report(Report::Burst(outcome, ws.buffered()));
            }
            _ => drop(ws.send(message)),
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, ()>) {
        self.report(Report::Drained(ws.buffered()));
    }

    fn close(&mut self, _ws: &mut Conn<'_, ()>, why: Closed<'_>) {
        self.report(Report::Ended(why.code.into(), why.clean));
    }
}

impl Source {
    fn report(&self, report: Report) {
        // Nobody listens any more when the test is over.
        let _ = self.reports.send(report);
    }
}

fn number(word: Option<&str>) -> Option<usize> {
    word?.parse().ok()
}

fn source(io: Io, settings: impl FnOnce(Server) -> Server) -> (Running, Receiver<Report>) {
    let (reports, reported) = mpsc::channel();
    let server = serve_with(
        io,
        |server| settings(server.backlog(BACKLOG)),
        move |_| Source {
            reports: reports.clone(),
            next: 0,
        },
    );
    (server, reported)
}

/// Has the server send until half of the backlog is in use, while nobody reads: the kernel, which may take a little more at
/// any time, cannot empty it then. Gives how many messages the server has taken.
fn fill(client: &mut Client, reports: &Receiver<Report>) -> u64 {
    let mut taken = 0;
    for _ in 0..10_000 {
        client.text(&format!("burst 1 {PIECE}"));
        let report = loop {
            match next(reports) {
                Report::Drained(0) => {}
                report => break report,
            }
        };
        taken += 1;
        match report {
            Report::Burst([1, 0, 0, 0], _) => {}
            Report::Burst([0, 1, 0, 0], buffered) if buffered < BACKLOG / 2 => {}
            Report::Burst([0, 1, 0, 0], _) => return taken,
            other => panic!("{other:?}"),
        }
    }
    panic!("the kernel takes everything");
}

fn policy_close_ends_with_1013(io: Io) {
    let (server, reports) = source(io, |server| server);
    let mut client = Client::connect_narrow(server.address());
    let mut sent = fill(&mut client, &reports);
    let closed = loop {
        client.text(&format!("burst 1 {PIECE}"));
        match next(&reports) {
            Report::Burst([0, 1, 0, 0], buffered) => {
                assert!(buffered <= BOUND, "{buffered} bytes wait");
                sent += 1;
            }
            Report::Burst([0, 0, 0, 1], buffered) => break buffered,
            other => panic!("{other:?}"),
        }
    };
    assert!(closed <= BOUND, "{closed} bytes wait");
    assert_eq!(server.stats().dropped, 1);
    // What was accepted before still arrives, whole and in order, and then the reason.
    let messages = client.until_close(1013);
    let numbers: Vec<_> = messages
        .iter()
        .map(|frame| number_of(&frame.payload, PIECE))
        .collect();
    assert_eq!(numbers, (0..sent).collect::<Vec<_>>());
    client.answer_close(1013);
    client.expect_end();
    assert_eq!(next(&reports), Report::Ended(1013, true));
}

fn policy_close_cuts_who_never_reads(io: Io) {
    let (server, reports) = source(io, |server| {
        server.close_timeout(Duration::from_millis(100))
    });
    let mut client = Client::connect_narrow(server.address());
    client.text(&format!("burst 1000 {PIECE}"));
    let Report::Burst([sent, 0, 0, closed], _) = next(&reports) else {
        panic!("a burst in one turn is sent or refused");
    };
    assert!(closed > 0 && sent + closed == 1000);
    assert_eq!(next(&reports), Report::Ended(1006, false));
    eventually("the slot is free", || server.stats().connections == 0);
}

fn drop_newest_drops_whole_messages_only(io: Io) {
    let (server, reports) = source(io, |server| server.slow(SlowPolicy::DropNewest));
    let mut client = Client::connect_narrow(server.address());
    let (mut accepted, mut dropped) = (0, 0);
    // Reads a little between bursts, so that there is room at times, and not at others.
    let mut numbers = Vec::new();
    for round in 0..100 {
        client.text(&format!("burst 20 {PIECE}"));
        let Report::Burst([sent, queued, lost, 0], buffered) = next_burst(&reports) else {
            panic!("nothing is closed");
        };
        assert!(buffered <= BOUND, "{buffered} bytes wait");
        (accepted, dropped) = (accepted + sent + queued, dropped + lost);
        for _ in 0..round % 10 {
            if numbers.len() < accepted {
                numbers.push(number_of(&client.frame().payload, PIECE));
            }
        }
    }
    assert!(dropped > 0 && accepted > 0, "{accepted} and {dropped}");
    assert_eq!(server.stats().dropped, dropped as u64);
    while numbers.len() < accepted {
        numbers.push(number_of(&client.frame().payload, PIECE));
    }
    assert!(numbers.is_sorted(), "in order");
    assert_eq!(numbers.last().map(|&last| last < 2000), Some(true));
    client.round_trip("and it lives");
    client.close(1000);
}

/// The next burst's outcome, whatever drained before it.
fn next_burst(reports: &Receiver<Report>) -> Report {
    loop {
        match next(reports) {
            Report::Drained(_) => {}
            other => return other,
        }
    }
}

fn one_message_larger_than_the_backlog_goes(io: Io) {
    let size = BACKLOG * 20;
    let (server, reports) = source(io, |server| server);
    let mut client = Client::connect_narrow(server.address());
    client.text(&format!("burst 1 {size}"));
    assert!(matches!(next(&reports), Report::Burst([1, 0, 0, 0], _)));
    client.expect(BINARY, &numbered(0, size));
    assert_eq!(next(&reports), Report::Drained(0));
    client.close(1000);
}

fn statuses_say_what_happens(io: Io) {
    let (server, reports) = source(io, |server| server.slow(SlowPolicy::DropNewest));
    let mut client = Client::connect_narrow(server.address());
    client.text("burst 3 100");
    let Report::Burst(outcome, buffered) = next(&reports) else {
        panic!("a burst");
    };
    assert_eq!(outcome, [3, 0, 0, 0], "sent");
    assert_eq!(buffered, 3 * 102, "with their headers, until the turn ends");
    let taken = fill(&mut client, &reports);
    client.text(&format!("burst 100 {PIECE}"));
    let Report::Burst([0, queued, dropped, 0], _) = next(&reports) else {
        panic!("queued, then dropped");
    };
    assert!(queued > 0 && queued + dropped == 100 && dropped > 0);
    for n in 0..3 {
        client.expect(BINARY, &numbered(n, 100));
    }
    for n in 3..3 + taken + queued as u64 {
        client.expect(BINARY, &numbered(n, PIECE));
    }
    assert_eq!(next(&reports), Report::Drained(0));
    client.text("burst 1 100");
    assert_eq!(
        next(&reports),
        Report::Burst([1, 0, 0, 0], 102),
        "room again"
    );
}

fn drain_tells_when_all_is_gone(io: Io) {
    let (server, reports) = source(io, |server| server);
    let mut client = Client::connect_narrow(server.address());
    for _ in 0..3 {
        let taken = fill(&mut client, &reports);
        for _ in 0..taken {
            number_of(&client.frame().payload, PIECE);
        }
        assert_eq!(next(&reports), Report::Drained(0), "once per backlog");
        client.round_trip("between");
    }
    client.close(1000);
    assert_eq!(
        next(&reports),
        Report::Ended(1000, true),
        "and no more often"
    );
}

/// Everybody subscribes; what anyone says is published.
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

fn a_stalled_subscriber_does_not_slow_the_others(io: Io) {
    let settings = |server: Server| {
        let server = server.backlog(BACKLOG).slow(SlowPolicy::Close);
        server.close_timeout(Duration::from_millis(100))
    };
    let server = serve_with(io, settings, |_| Hall);
    let stalled = Client::connect_narrow(server.address());
    let mut reader = Client::connect(server.address());
    let mut speaker = Client::connect(server.address());
    let message = pattern(1, PIECE);
    for _ in 0..1000 {
        speaker.send(BINARY, &message);
        speaker.expect(BINARY, &message);
        reader.expect(BINARY, &message);
    }
    eventually("the stalled one is out", || server.stats().connections == 2);
    assert_eq!(server.stats().dropped, 1, "one message was too much");
    drop(stalled);
    speaker.text("all is well");
    reader.expect_text("all is well");
}

/// A pong for each ping would be memory at the peer's command (RFC 6455 §5.5.3).
fn only_the_latest_ping_is_answered_while_the_peer_does_not_read(io: Io) {
    let (server, reports) = source(io, |server| server);
    let mut client = Client::connect_narrow(server.address());
    let taken = fill(&mut client, &reports);
    for round in 0..20_u8 {
        client.write(&frame(PING, &[round; 125]).repeat(1_000));
    }
    // With the pings, most likely in one turn, come messages, and find room.
    let burst = frame(TEXT, b"burst 1 100");
    client.write(&[burst.clone(), frame(PING, b"the latest"), burst].concat());
    let Report::Burst([0, 1, 0, 0], _) = next(&reports) else {
        panic!("the pongs have filled the backlog");
    };
    let Report::Burst([0, 1, 0, 0], buffered) = next(&reports) else {
        panic!("the pongs have filled the backlog");
    };
    assert!(
        buffered <= BACKLOG / 2 + PIECE + 400,
        "{buffered} bytes wait"
    );
    for n in 0..taken {
        client.expect(BINARY, &numbered(n, PIECE));
    }
    client.expect(BINARY, &numbered(taken, 100));
    client.expect(PONG, b"the latest");
    client.expect(BINARY, &numbered(taken + 1, 100));
    assert_eq!(next(&reports), Report::Drained(0));
    client.close(1000);
}

fn every_ping_is_answered_while_the_peer_reads(io: Io) {
    let (server, _reports) = source(io, |server| server);
    let mut client = Client::connect(server.address());
    let pings: Vec<u8> = (0..100_u8).flat_map(|n| frame(PING, &[n; 125])).collect();
    client.write(&pings);
    for n in 0..100_u8 {
        client.expect(PONG, &[n; 125]);
    }
    client.close(1000);
}
