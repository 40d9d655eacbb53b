//! Slow subscribers on compressed connections: what a policy drops is missed by nobody who reads on, whatever was agreed.
//!
//! Every message says which it is, and whoever reads inflates all of it with one inflater that is never reset: had a dropped
//! message been a part of what a later one refers to, it would not come out whole.

use corecast::{
    Conn, Deflate, Io, Message, Publish, Published, SendStatus, Server, SlowPolicy, TopicOptions,
};

use crate::common::client::{Frame, PING, PONG, TEXT};
use crate::common::errands::{Errands, Member, Offers, Seen};
use crate::common::payload::{record, record_of};
use crate::common::{PATIENCE, eventually, next, over_every_transport};

over_every_transport![
    dropping_the_newest_leaves_the_rest_whole,
    dropping_the_oldest_leaves_the_rest_whole,
    conflating_leaves_the_rest_whole,
    conflating_by_key_leaves_the_latest_of_each,
    closing_leaves_what_came_before_whole,
    what_is_sent_to_one_alone_is_dropped_whole,
    a_flush_delay_meets_a_backlog,
];

const BACKLOG: usize = 128 << 10;
/// One message; compressed it is about a third.
const PIECE: usize = 12_000;
/// Publications, behind which nothing is left that waited before.
const MANY: usize = 2 * BACKLOG / (PIECE / 4);

fn settings(server: Server) -> Server {
    server
        .deflate(Deflate::dedicated(15))
        .backlog(BACKLOG)
        .close_timeout(PATIENCE)
}

/// Members of each kind that do not read, one who reads, and somebody who publishes.
struct Audience {
    server: Errands,
    slow: Vec<(Offers, Member)>,
    publisher: Member,
    published: u64,
    outcomes: Vec<Published>,
}

impl Audience {
    fn new(io: Io, policy: SlowPolicy, each: usize) -> Self {
        let options = TopicOptions::new().slow(policy);
        Self::serve(io, each, |server| settings(server).topic("t", options))
    }

    fn serve(io: Io, each: usize, settings: impl FnOnce(Server) -> Server) -> Self {
        let server = Errands::serve(io, settings);
        let kinds = Offers::ALL.into_iter().flat_map(|kind| vec![kind; each]);
        let slow = kinds.map(|kind| {
            let mut member = server.member_that(kind, true);
            member.subscribe(&["t"]);
            (kind, member)
        });
        Self {
            slow: slow.collect(),
            publisher: server.member(),
            server,
            published: 0,
            outcomes: Vec::new(),
        }
    }

    fn publish(&mut self, options: Publish) -> Published {
        let n = self.published;
        self.published += 1;
        let outcome = self
            .publisher
            .run(move |ws| ws.publish_with("t", Message::Text(&record(n, PIECE)), options));
        self.outcomes.push(outcome);
        outcome
    }

    /// Publishes until nobody has taken anything for long.
    fn flood(&mut self, mut options: impl FnMut(u64) -> Publish) {
        let mut stalled = 0;
        while stalled < MANY {
            assert!(self.published < 50_000, "the kernel takes everything");
            stalled = match self.publish(options(self.published)).sent {
                0 => stalled + 1,
                _ => 0,
            };
        }
    }

    fn count(&self, of: impl Fn(&Published) -> usize) -> usize {
        self.outcomes.iter().map(of).sum()
    }

    /// What each reads of all that the server has for it, by number; and that a ping has its answer among it.
    fn read(&mut self) -> Vec<Vec<u64>> {
        let slow = self.slow.iter_mut();
        let read = slow.map(|(kind, member)| numbers(*kind, &member.read_all()));
        read.collect()
    }

    /// Nobody has a backlog any more: what is published now arrives, all of it.
    fn expect_well(&mut self) {
        for _ in 0..5 {
            let outcome = self.publish(Publish::new());
            assert_eq!(outcome.sent, self.slow.len(), "{outcome:?}");
            self.outcomes.pop();
        }
        let expected: Vec<_> = (self.published - 5..self.published).collect();
        for numbers in self.read() {
            assert_eq!(numbers, expected);
        }
    }
}

/// The numbers of the messages among frames, all of which are whole and came in the form of this kind.
#[track_caller]
fn numbers(kind: Offers, frames: &[Frame]) -> Vec<u64> {
    let messages = frames.iter().filter(|frame| frame.opcode == TEXT);
    let numbers = messages.map(|frame| {
        assert_eq!(frame.is_compressed(), kind != Offers::Nothing, "{kind:?}");
        record_of(&frame.payload)
    });
    numbers.collect()
}

#[track_caller]
fn expect_in_order(numbers: &[u64]) {
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// Twice over: with the backlog gone, the next one is as the first.
const BACKLOGS: usize = 2;

fn dropping_the_newest_leaves_the_rest_whole(io: Io) {
    let mut audience = Audience::new(io, SlowPolicy::DropNewest, 2);
    for _ in 0..BACKLOGS {
        audience.outcomes.clear();
        let first = audience.published;
        audience.flood(|_| Publish::new());
        let taken = audience.count(|outcome| outcome.sent + outcome.queued);
        assert!(audience.count(|outcome| outcome.dropped) > MANY);
        let mut received = 0;
        for numbers in audience.read() {
            expect_in_order(&numbers);
            assert_eq!(numbers[0], first, "what came first is there");
            received += numbers.len();
        }
        assert_eq!(received, taken);
        audience.expect_well();
    }
}

fn dropping_the_oldest_leaves_the_rest_whole(io: Io) {
    let mut audience = Audience::new(io, SlowPolicy::DropOldest, 2);
    for _ in 0..BACKLOGS {
        audience.outcomes.clear();
        audience.flood(|_| Publish::new());
        let pinged = audience.slow.iter_mut().map(|(_, member)| {
            member.send(PING, b"in between");
            member.begin(|_| ())
        });
        let pinged: Vec<_> = pinged.collect();
        // What peers send whose receive buffer is full is seen to come by its retransmission only, 200 ms later: that may be
        // after the flood, and with the ping behind it, and then the server answers one of the two.
        for is_handled in &pinged {
            next(is_handled);
        }
        audience.flood(|_| Publish::new());
        assert_eq!(audience.count(|outcome| outcome.dropped), 0);
        let displaced = audience.count(|outcome| outcome.displaced);
        assert!(displaced > 2 * MANY, "{displaced}");
        let (published, count) = (audience.published, audience.outcomes.len());
        let mut received = 0;
        for (kind, member) in &mut audience.slow {
            let frames = member.read_all();
            assert!(frames.iter().any(|frame| frame.opcode == PONG));
            let numbers = numbers(*kind, &frames);
            expect_in_order(&numbers);
            let latest = numbers.iter().rev().zip((0..published).rev());
            let without_gap = latest.take_while(|(a, b)| **a == *b).count();
            // Those that get them compressed have room for more.
            assert!(
                without_gap > BACKLOG / 2 / PIECE,
                "the latest {without_gap}"
            );
            received += numbers.len();
        }
        assert_eq!(received + displaced, audience.slow.len() * count);
        audience.expect_well();
    }
}

fn conflating_leaves_the_rest_whole(io: Io) {
    let mut audience = Audience::new(io, SlowPolicy::Conflate, 2);
    for _ in 0..BACKLOGS {
        audience.outcomes.clear();
        audience.flood(|_| Publish::new());
        assert_eq!(audience.count(|outcome| outcome.dropped), 0);
        let displaced = audience.count(|outcome| outcome.displaced);
        assert!(displaced > MANY, "{displaced}");
        let (published, count) = (audience.published, audience.outcomes.len());
        let mut received = 0;
        for numbers in audience.read() {
            expect_in_order(&numbers);
            assert_eq!(numbers.last(), Some(&(published - 1)), "the latest");
            received += numbers.len();
        }
        assert_eq!(received + displaced, audience.slow.len() * count);
        audience.expect_well();
    }
}

fn conflating_by_key_leaves_the_latest_of_each(io: Io) {
    const KEYS: u64 = 7;
    let mut audience = Audience::new(io, SlowPolicy::Conflate, 1);
    for _ in 0..BACKLOGS {
        audience.flood(|n| Publish::new().key(n % KEYS));
        let published = audience.published;
        for numbers in audience.read() {
            for n in published - KEYS..published {
                assert!(numbers.contains(&n), "the latest of a key: {n}");
            }
            for key in 0..KEYS {
                let of_key = numbers.iter().copied().filter(|n| n % KEYS == key);
                expect_in_order(&of_key.collect::<Vec<_>>());
            }
        }
        audience.expect_well();
    }
}

fn closing_leaves_what_came_before_whole(io: Io) {
    let mut audience = Audience::new(io, SlowPolicy::Close, 2);
    while audience.count(|outcome| outcome.dropped) < audience.slow.len() {
        assert!(audience.published < 50_000, "the kernel takes everything");
        audience.publish(Publish::new());
    }
    let taken = audience.count(|outcome| outcome.sent + outcome.queued);
    let mut received = 0;
    for (kind, member) in std::mem::take(&mut audience.slow) {
        let mut client = member.into_client();
        let numbers = numbers(kind, &client.until_close(1013));
        let expected: Vec<_> = (0..numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "nothing is missing");
        received += numbers.len();
        client.answer_close(1013);
        client.expect_end();
    }
    assert_eq!(received, taken);
}

/// Whether a message to one alone goes out as it is: now and then, between others that do not. Where messages are conflated
/// each has a key.
fn is_plain(policy: SlowPolicy, n: u64) -> bool {
    policy != SlowPolicy::Conflate && n % 10 == 3
}

fn send(ws: &mut Conn<'_, Seen>, policy: SlowPolicy, n: u64) -> SendStatus {
    let message = record(n, PIECE);
    match is_plain(policy, n) {
        true => ws.send_uncompressed(Message::Text(&message)),
        false => ws.send_keyed(n % 5, Message::Text(&message)),
    }
}

/// Sends records from `first` on until so many could not be taken at once. Gives the next one.
fn send_many(member: &mut Member, policy: SlowPolicy, first: u64) -> u64 {
    let mut stalled = 0;
    for n in first.. {
        if stalled == MANY {
            return n;
        }
        assert!(n < 50_000, "the kernel takes everything");
        stalled = match member.run(move |ws| send(ws, policy, n)) {
            SendStatus::Sent => 0,
            SendStatus::Queued | SendStatus::Dropped => stalled + 1,
            SendStatus::Closed => panic!("it is open"),
        };
    }
    unreachable!("it ends before the numbers do")
}

fn what_is_sent_to_one_alone_is_dropped_whole(io: Io) {
    let policies = [
        SlowPolicy::DropNewest,
        SlowPolicy::DropOldest,
        SlowPolicy::Conflate,
    ];
    let server = Errands::serve(io, settings);
    for kind in Offers::ALL {
        let mut member = server.member_that(kind, true);
        let mut first = 0;
        for policy in policies {
            member.run(move |ws| ws.set_slow_policy(Some(policy)));
            let before = server.stats().dropped;
            let next = send_many(&mut member, policy, first);
            let dropped = server.stats().dropped - before;
            assert!(dropped as usize > MANY / 4, "{dropped}");
            let frames = member.read_all();
            for frame in &frames {
                let n = record_of(&frame.payload);
                let plain = is_plain(policy, n) || kind == Offers::Nothing;
                assert_eq!(frame.is_compressed(), !plain, "{n} to {kind:?}");
            }
            assert_eq!(frames.len() as u64 + dropped, next - first);
            first = next;
            // Without a backlog it is as before.
            for n in 0..3 {
                member.run(move |ws| ws.send_text(&record(n, PIECE)));
                assert_eq!(record_of(&member.frame().payload), n);
            }
        }
        member.into_client().close(1000);
    }
}

/// Batches that stay open over turns, while their subscribers come to have a backlog and are rid of it.
fn a_flush_delay_meets_a_backlog(io: Io) {
    let delay = std::time::Duration::from_millis(5);
    let options = TopicOptions::new()
        .slow(SlowPolicy::DropOldest)
        .flush_delay(delay);
    let mut audience = Audience::serve(io, 2, |server| settings(server).topic("t", options));
    for _ in 0..BACKLOGS {
        audience.flood(|_| Publish::new());
        for numbers in audience.read() {
            expect_in_order(&numbers);
        }
    }
    // With a message of its own now and then, which is behind what was published for it.
    let mut all = vec![Vec::new(); audience.slow.len()];
    let first = audience.published;
    // Together less than may wait.
    for n in 0..8 {
        audience.publish(Publish::new());
        let at = n % audience.slow.len();
        audience.slow[at].1.run(|ws| ws.send_text("own"));
    }
    let last = audience.published - 1;
    for ((kind, member), all) in audience.slow.iter_mut().zip(&mut all) {
        eventually("the last one comes", || {
            let frames = member.read_all();
            let published: Vec<_> = frames
                .into_iter()
                .filter(|frame| frame.payload != b"own")
                .collect();
            all.extend(numbers(*kind, &published));
            all.last() == Some(&last)
        });
        assert_eq!(*all, (first..=last).collect::<Vec<_>>(), "{kind:?}");
    }
    drop(audience.server);
}
