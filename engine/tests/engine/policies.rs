//! What happens to subscribers that are too slow: each policy to the letter, wherever it was set.

use std::cell::Cell;

use corecast::{
    Conn, Io, Message, Publish, Published, SendStatus, Server, SlowPolicy, TopicOptions,
};

use crate::common::client::{BINARY, Client, Frame, PING, PONG};
use crate::common::errands::{Errands, Member, Seen};
use crate::common::payload::{number_of, numbered};
use crate::common::{PATIENCE, eventually, over_every_transport};

over_every_transport![
    close_ends_with_1013_and_nothing_is_missing_before,
    drop_newest_keeps_what_waits,
    drop_oldest_keeps_the_latest_and_control_frames,
    conflate_keeps_the_latest_of_a_topic,
    conflate_keeps_the_latest_of_each_key,
    conflate_closes_who_is_full_of_keys,
    keyed_sends_replace_each_other_and_nothing_else,
    what_is_set_closest_to_the_message_counts,
    a_connections_policy_ends_with_it,
    a_connection_may_have_a_limit_of_its_own,
];

const BACKLOG: usize = 256 << 10;
/// One message of a flood.
const PIECE: usize = 10_000;
/// Publications behind which nothing is left that waited before.
const MANY: usize = 2 * BACKLOG / PIECE + 8;
/// What may wait for a connection: the limit, what one turn makes, and some control frames.
const BOUND: usize = BACKLOG + PIECE + 10 + 3 * 127;
/// What may be on its way into the kernel, which no policy can act on: a chunk, and the message that began the backlog.
const COMMITTED: usize = (64 << 10) + PIECE + 10;

/// A server that gives whoever it closes as much time as the test takes to read what others were sent.
fn patient(server: Server) -> Server {
    server.backlog(BACKLOG).close_timeout(PATIENCE)
}

/// Where a policy is set.
#[derive(Clone, Copy)]
enum Scope {
    Server,
    Connection,
    Topic,
}

/// How large the audience is, and where its policy is set: those few are given messages one by one, those many as a batch.
const AUDIENCES: [(usize, Scope); 3] = [
    (1, Scope::Connection),
    (6, Scope::Topic),
    (2, Scope::Server),
];

/// Subscribers that do not read, and somebody who publishes.
struct Stalled {
    server: Errands,
    subscribers: Vec<Member>,
    publisher: Member,
    /// What became of each message, by its number.
    outcomes: Vec<Published>,
}

impl Stalled {
    /// The policy holds where it is set; what it goes before says something else.
    fn new(io: Io, policy: SlowPolicy, (audience, scope): (usize, Scope)) -> Self {
        let other = match policy {
            SlowPolicy::Close => SlowPolicy::DropNewest,
            _ => SlowPolicy::Close,
        };
        let (of_server, of_connection) = match scope {
            Scope::Server => (policy, None),
            Scope::Connection => (other, Some(policy)),
            Scope::Topic => (other, Some(other)),
        };
        let server = Errands::serve(io, |server| {
            let server = patient(server).slow(of_server);
            match scope {
                Scope::Topic => server.topic("flood", TopicOptions::new().slow(policy)),
                Scope::Server | Scope::Connection => server,
            }
        });
        let subscribers = (0..audience).map(|_| {
            let mut member = server.narrow_member();
            member.run(move |ws| ws.set_slow_policy(of_connection));
            member.subscribe(&["flood"]);
            member
        });
        Self {
            subscribers: subscribers.collect(),
            publisher: server.member(),
            server,
            outcomes: Vec::new(),
        }
    }

    /// Publishes the next message, in a turn of its own.
    fn publish(&mut self, options: Publish) -> Published {
        let message = numbered(self.outcomes.len() as u64, PIECE);
        let outcome = self
            .publisher
            .run(move |ws| ws.publish_with("flood", Message::Binary(&message), options));
        self.outcomes.push(outcome);
        outcome
    }

    /// Publishes until nobody has read anything for long, and all that could wait has been tried.
    fn flood(&mut self, mut options: impl FnMut(u64) -> Publish) {
        let mut stalled = 0;
        while stalled < MANY {
            let next = self.outcomes.len() as u64;
            assert!(next < 20_000, "the kernel takes everything");
            stalled = match self.publish(options(next)).sent {
                0 => stalled + 1,
                _ => 0,
            };
        }
    }

    /// Publishes until everybody has been closed.
    fn flood_until_closed(&mut self, mut options: impl FnMut(u64) -> Publish) {
        while self.count(|outcome| outcome.dropped) < self.subscribers.len() {
            let next = self.outcomes.len() as u64;
            assert!(next < 20_000, "the kernel takes everything");
            self.publish(options(next));
        }
    }

    fn count(&self, of: impl Fn(&Published) -> usize) -> usize {
        self.outcomes.iter().map(of).sum()
    }

    /// Each subscriber is accounted for in each message.
    #[track_caller]
    fn expect_counts(&self, open: usize) {
        for (n, outcome) in self.outcomes.iter().enumerate() {
            let Published {
                sent,
                queued,
                dropped,
                ..
            } = *outcome;
            assert_eq!(sent + queued + dropped, open, "{n}: {outcome:?}");
            assert_eq!((outcome.forwarded, outcome.refused), (0, 0));
        }
    }

    /// What waits for each is bounded, and what `drain` and the next message say once it has been read.
    fn read(&mut self) -> Vec<Vec<Frame>> {
        let mut all = Vec::new();
        for subscriber in &mut self.subscribers {
            let buffered = subscriber.run(|ws| ws.buffered());
            assert!((1..=BOUND).contains(&buffered), "{buffered} bytes wait");
            all.push(subscriber.read_all());
        }
        for subscriber in &mut self.subscribers {
            let drains = subscriber.run(|ws| ws.data().drains.clone());
            assert!(!drains.is_empty(), "it was told");
            assert!(drains.iter().all(|&left| left == 0), "{drains:?}");
        }
        let after = self.publish(Publish::new());
        assert_eq!((after.sent, after.displaced), (self.subscribers.len(), 0));
        let last = self.outcomes.len() as u64 - 1;
        for subscriber in &mut self.subscribers {
            subscriber.expect(BINARY, &numbered(last, PIECE));
        }
        self.outcomes.pop();
        all
    }
}

/// The numbers of the messages among frames, all of them whole, in order and none of them twice.
#[track_caller]
fn numbers(frames: &[Frame]) -> Vec<u64> {
    let messages = frames.iter().filter(|frame| frame.opcode == BINARY);
    let numbers: Vec<_> = messages
        .map(|frame| number_of(&frame.payload, PIECE))
        .collect();
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "in order, each once: {numbers:?}"
    );
    numbers
}

/// Everybody was closed with 1013, and had got all before.
fn expect_all_closed(mut stalled: Stalled) {
    let audience = stalled.subscribers.len();
    let mut received = 0;
    for mut subscriber in stalled.subscribers.drain(..) {
        let numbers = numbers(&subscriber.until_close(1013));
        let expected: Vec<_> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "nothing is missing");
        received += numbers.len();
        subscriber.answer_close(1013);
        subscriber.expect_end();
    }
    assert_eq!(
        received,
        stalled.count(|outcome| outcome.sent + outcome.queued)
    );
    assert_eq!(stalled.count(|outcome| outcome.dropped), audience);
    let displaced = stalled.count(|outcome| outcome.displaced);
    assert_eq!(
        stalled.server.stats().dropped,
        (audience + displaced) as u64
    );
}

fn close_ends_with_1013_and_nothing_is_missing_before(io: Io) {
    for audience in AUDIENCES {
        let mut stalled = Stalled::new(io, SlowPolicy::Close, audience);
        stalled.flood_until_closed(|_| Publish::new());
        assert_eq!(stalled.publish(Publish::new()), Published::default());
        expect_all_closed(stalled);
    }
}

fn drop_newest_keeps_what_waits(io: Io) {
    for audience in AUDIENCES {
        let mut stalled = Stalled::new(io, SlowPolicy::DropNewest, audience);
        stalled.flood(|_| Publish::new());
        stalled.expect_counts(audience.0);
        let (dropped, displaced) = (stalled.count(|o| o.dropped), stalled.count(|o| o.displaced));
        assert!(dropped >= audience.0 * MANY / 2, "{dropped}");
        assert_eq!(displaced, 0);
        let first_dropped = stalled.outcomes.iter().position(|o| o.dropped > 0);
        let received: Vec<_> = stalled
            .read()
            .iter()
            .map(|frames| numbers(frames))
            .collect();
        for numbers in &received {
            let without_gap = numbers
                .iter()
                .zip(0..)
                .take_while(|&(&a, b)| a == b)
                .count();
            assert!(first_dropped.is_some_and(|first| without_gap >= first));
        }
        let count: usize = received.iter().map(Vec::len).sum();
        assert_eq!(count, stalled.count(|o| o.sent + o.queued));
        assert_eq!(stalled.server.stats().dropped, dropped as u64);
    }
}

fn drop_oldest_keeps_the_latest_and_control_frames(io: Io) {
    for audience in AUDIENCES {
        let mut stalled = Stalled::new(io, SlowPolicy::DropOldest, audience);
        stalled.flood(|_| Publish::new());
        for subscriber in &mut stalled.subscribers {
            subscriber.send(PING, b"in between");
            assert_eq!(
                subscriber.run(|ws| ws.ping(b"and back")),
                SendStatus::Queued
            );
        }
        stalled.flood(|_| Publish::new());
        stalled.expect_counts(audience.0);
        assert_eq!(stalled.count(|o| o.dropped), 0);
        let displaced = stalled.count(|o| o.displaced);
        assert!(displaced >= audience.0 * MANY / 2, "{displaced}");
        let published = stalled.outcomes.len();
        let mut received = 0;
        for frames in stalled.read() {
            let numbers = numbers(&frames);
            let latest = numbers.iter().rev().zip((0..published as u64).rev());
            let without_gap = latest.take_while(|(a, b)| *a == b).count();
            assert!(
                without_gap >= (BACKLOG - COMMITTED) / (PIECE + 74) - 2,
                "the latest {without_gap} of {numbers:?}"
            );
            let control: Vec<_> = frames
                .iter()
                .filter(|frame| frame.opcode != BINARY)
                .collect();
            assert_eq!(control.len(), 2, "{control:?}");
            assert_eq!(
                (control[0].opcode, &control[0].payload[..]),
                (PONG, &b"in between"[..])
            );
            assert_eq!(
                (control[1].opcode, &control[1].payload[..]),
                (PING, &b"and back"[..])
            );
            received += numbers.len();
        }
        assert_eq!(received + displaced, audience.0 * published);
        assert_eq!(stalled.server.stats().dropped, displaced as u64);
    }
}

/// Floods an audience that conflates, with so many keys. Checks that of each the latest arrives.
fn conflate(io: Io, audience: (usize, Scope), keys: Option<u64>) {
    let mut stalled = Stalled::new(io, SlowPolicy::Conflate, audience);
    stalled.flood(|n| match keys {
        Some(keys) => Publish::new().key(n % keys),
        None => Publish::new(),
    });
    stalled.expect_counts(audience.0);
    assert_eq!(stalled.count(|o| o.dropped), 0);
    let displaced = stalled.count(|o| o.displaced);
    let published = stalled.outcomes.len();
    let mut received = 0;
    let keys = keys.unwrap_or(1);
    for subscriber in &mut stalled.subscribers {
        let buffered = subscriber.run(|ws| ws.buffered());
        let bound = COMMITTED + keys as usize * (PIECE + 10);
        assert!(buffered <= bound, "{buffered} bytes wait for {keys} keys");
    }
    for frames in stalled.read() {
        let mut latest = vec![None; keys as usize];
        for frame in &frames {
            assert_eq!(frame.opcode, BINARY);
            let n = number_of(&frame.payload, PIECE);
            let before = latest[(n % keys) as usize].replace(n);
            assert!(before < Some(n), "{n} after {before:?}");
        }
        latest.sort_unstable();
        let expected: Vec<_> = (published as u64 - keys..published as u64)
            .map(Some)
            .collect();
        assert_eq!(latest, expected, "of each key the latest");
        received += frames.len();
    }
    assert_eq!(received + displaced, audience.0 * published);
    assert_eq!(stalled.server.stats().dropped, displaced as u64);
}

fn conflate_keeps_the_latest_of_a_topic(io: Io) {
    for audience in AUDIENCES {
        conflate(io, audience, None);
    }
}

fn conflate_keeps_the_latest_of_each_key(io: Io) {
    for audience in AUDIENCES {
        conflate(io, audience, Some(9));
    }
}

fn conflate_closes_who_is_full_of_keys(io: Io) {
    for audience in AUDIENCES {
        let mut stalled = Stalled::new(io, SlowPolicy::Conflate, audience);
        stalled.flood_until_closed(|n| Publish::new().key(n));
        expect_all_closed(stalled);
    }
}

fn keyed_sends_replace_each_other_and_nothing_else(io: Io) {
    const KEYS: u64 = 5;
    let server = Errands::serve(io, patient);
    let mut member = server.narrow_member();
    member.run(|ws| ws.set_slow_policy(Some(SlowPolicy::Conflate)));
    let count = Cell::new(0);
    let send = |member: &mut Member, keyed: bool| {
        let n = count.replace(count.get() + 1);
        let message = numbered(n, PIECE);
        member.run(move |ws| match keyed {
            true => ws.send_keyed(n % KEYS, Message::Binary(&message)),
            false => ws.send_binary(&message),
        })
    };
    let mut queued = 0;
    while queued < MANY {
        match send(&mut member, true) {
            SendStatus::Sent => queued = 0,
            SendStatus::Queued => queued += 1,
            other => panic!("{other:?}"),
        }
    }
    // One of no key between those that have one.
    assert_eq!(send(&mut member, false), SendStatus::Queued);
    for _ in 0..KEYS {
        assert_eq!(send(&mut member, true), SendStatus::Queued);
    }
    let (count, replaced) = (count.get(), server.stats().dropped);
    let frames = member.read_all();
    let received: Vec<_> = frames
        .iter()
        .map(|f| number_of(&f.payload, PIECE))
        .collect();
    assert_eq!(received.len() as u64 + replaced, count);
    let unkeyed = count - 1 - KEYS;
    assert_eq!(received.iter().filter(|&&n| n == unkeyed).count(), 1);
    for n in count - KEYS..count {
        assert!(
            received.contains(&n),
            "the latest of a key: {n} in {received:?}"
        );
    }
    // Where messages are not conflated a key means nothing.
    member.run(|ws| ws.set_slow_policy(Some(SlowPolicy::DropNewest)));
    while send(&mut member, true) != SendStatus::Dropped {}
    let before = server.stats().dropped;
    assert_eq!(send(&mut member, true), SendStatus::Dropped);
    assert_eq!(server.stats().dropped, before + 1);
}

/// Sends until something else than `Sent` or `Queued` comes of it.
fn send_until_full(member: &mut Member) -> SendStatus {
    for n in 0..20_000 {
        let message = numbered(n, PIECE);
        match member.run(move |ws| ws.send_binary(&message)) {
            SendStatus::Sent | SendStatus::Queued => {}
            full => return full,
        }
    }
    panic!("the kernel takes everything");
}

fn what_is_set_closest_to_the_message_counts(io: Io) {
    let of_topics = [
        ("oldest", SlowPolicy::DropOldest),
        ("never/*", SlowPolicy::Close),
    ];
    let server = Errands::serve(io, |server| {
        let server = patient(server).slow(SlowPolicy::DropNewest);
        let server = of_topics.iter().fold(server, |server, (filter, policy)| {
            server.topic(filter, TopicOptions::new().slow(*policy))
        });
        // The first that matches counts, and one that says nothing of it leaves it to the others.
        server
            .topic("#", TopicOptions::new())
            .topic("plain", TopicOptions::new().slow(SlowPolicy::Close))
    });
    let publish = |ws: &mut Conn<'_, Seen>, topic: &str| {
        let published = ws.publish(topic, Message::Binary(&numbered(7, PIECE)));
        (published.queued, published.dropped, published.displaced > 0)
    };
    let mut member = server.narrow_member();
    member.subscribe(&["oldest", "never/miss", "plain"]);
    assert_eq!(
        send_until_full(&mut member),
        SendStatus::Dropped,
        "the server's"
    );
    assert_eq!(member.run(move |ws| publish(ws, "plain")), (0, 1, false));
    assert_eq!(member.run(move |ws| publish(ws, "oldest")), (1, 0, true));
    member.run(|ws| ws.set_slow_policy(Some(SlowPolicy::DropOldest)));
    assert_eq!(member.run(move |ws| publish(ws, "plain")), (1, 0, true));
    assert_eq!(member.run(|ws| ws.send_text("mine")), SendStatus::Queued);
    member.run(|ws| ws.set_slow_policy(None));
    assert_eq!(send_until_full(&mut member), SendStatus::Dropped, "again");
    assert_eq!(member.run(move |ws| publish(ws, "plain")), (0, 1, false));
    assert_eq!(
        member.run(move |ws| publish(ws, "never/miss")),
        (0, 1, false)
    );
    member.until_close(1013);
}

fn a_connections_policy_ends_with_it(io: Io) {
    let server = Errands::serve(io, patient);
    let mut first = server.narrow_member();
    first.run(|ws| ws.set_slow_policy(Some(SlowPolicy::DropNewest)));
    assert_eq!(send_until_full(&mut first), SendStatus::Dropped);
    let gone: Client = first.into_client();
    gone.reset();
    eventually("its slot is free", || server.stats().connections == 0);
    let mut heir = server.narrow_member();
    assert_eq!(send_until_full(&mut heir), SendStatus::Closed);
    heir.until_close(1013);
}

fn a_connection_may_have_a_limit_of_its_own(io: Io) {
    let server = Errands::serve(io, |server| patient(server).slow(SlowPolicy::DropNewest));
    let buffered = |own: Option<usize>| {
        let mut member = server.narrow_member();
        member.run(move |ws| ws.set_backlog(own));
        assert_eq!(send_until_full(&mut member), SendStatus::Dropped);
        member.run(|ws| ws.buffered())
    };
    let most = buffered(None);
    assert!((BACKLOG / 2..=BOUND).contains(&most), "{most} bytes wait");
    let few = buffered(Some(BACKLOG / 4));
    assert!(few <= BOUND - 3 * BACKLOG / 4, "{few} bytes wait");
    let many = buffered(Some(3 * BACKLOG));
    assert!(many > 2 * BACKLOG, "{many} bytes wait");
}
