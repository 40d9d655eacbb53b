//! Order and exactly once, to everybody who is subscribed, while subscribers come and go.
//!
//! Each message carries its publisher and a number. Whoever begins or ends a subscription is told in the same callback what
//! this core has published so far, so that not even the first message or the last can be missing unseen.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use corecast::{Conn, CoreId, Deflate, Io, Message, Publisher, Server};

use crate::common::client::{BINARY, CLOSE, Frame, TEXT};
use crate::common::errands::{Errands, Member, Offers, Seen};
use crate::common::payload::{Numbers, pattern};
use crate::common::{eventually, over_every_transport};

over_every_transport![
    everybody_gets_everything_once_and_in_order_on_one_core,
    everybody_gets_everything_once_and_in_order_on_two_cores,
    everybody_gets_everything_in_every_form_on_one_core,
    everybody_gets_everything_in_every_form_on_two_cores,
    a_callbacks_own_order_is_kept,
];

/// Connections that publish, and behind them a thread.
const PUBLISHERS: usize = 4;
const THREAD: usize = PUBLISHERS;
/// Callbacks in which each publishes.
const ROUNDS: usize = 250;

thread_local! {
    /// What the connections of this core have published: how many messages each.
    static PUBLISHED: RefCell<[u32; PUBLISHERS]> = const { RefCell::new([0; PUBLISHERS]) };
}

fn roomy(server: Server) -> Server {
    server.backlog(64 << 20)
}

/// With it what clients offer decides in which form each gets its messages.
fn dedicated(server: Server) -> Server {
    roomy(server).deflate(Deflate::dedicated(15))
}

fn everybody_gets_everything_once_and_in_order_on_one_core(io: Io) {
    storm(&Errands::serve(io, roomy), &[Offers::Nothing]);
}

fn everybody_gets_everything_once_and_in_order_on_two_cores(io: Io) {
    if let Some(server) = Errands::serve_on_two_cores(io, roomy) {
        storm(&server, &[Offers::Nothing]);
    }
}

fn everybody_gets_everything_in_every_form_on_one_core(io: Io) {
    storm(&Errands::serve(io, dedicated), &Offers::ALL);
}

fn everybody_gets_everything_in_every_form_on_two_cores(io: Io) {
    if let Some(server) = Errands::serve_on_two_cores(io, dedicated) {
        storm(&server, &Offers::ALL);
    }
}

/// A message that says who published it. Two of three can be compressed.
fn message(publisher: usize, n: u32) -> Vec<u8> {
    let size = match n % 50 {
        0 => 20_000,
        _ => n as usize * 37 % 1_500,
    };
    let head = [&[publisher as u8], &n.to_be_bytes()[..]].concat();
    let body = match n % 3 {
        0 => pattern(u64::from(n), size),
        _ => pattern(u64::from(n), 40)
            .into_iter()
            .cycle()
            .take(size)
            .collect(),
    };
    [head, body].concat()
}

/// Publishes the next messages of a publisher, each between two of the connection's own.
fn publish(ws: &mut Conn<'_, Seen>, publisher: usize, count: u64, others: bool) {
    for _ in 0..count {
        let n = PUBLISHED.with_borrow_mut(|published| {
            published[publisher] += 1;
            published[publisher] - 1
        });
        ws.send_text(&format!("before {n}"));
        let message = message(publisher, n);
        let published = match others {
            true => ws.publish_others("storm/a", Message::Binary(&message)),
            false => ws.publish("storm/a", Message::Binary(&message)),
        };
        assert_eq!((published.dropped, published.refused), (0, 0));
        ws.send_text(&format!("after {n}"));
    }
}

/// Says in the connection's own output what has been published on this core so far.
fn mark(ws: &mut Conn<'_, Seen>, what: &str) {
    let published = PUBLISHED.with_borrow(|published| published.map(|n| n.to_string()));
    ws.send_text(&format!("{what} {}", published.join(",")));
}

fn enter(ws: &mut Conn<'_, Seen>, filter: &str) {
    assert!(ws.subscribe(filter));
    mark(ws, "in");
}

fn leave(ws: &mut Conn<'_, Seen>, filter: &str) {
    assert!(ws.unsubscribe(filter));
    mark(ws, "out");
}

/// A subscriber on each core that has none, for which nobody reads. A core that has lost its last one is sent nothing until
/// there is one again, who may still get what was on the way before: to that one something would be missing in between.
fn anchors(server: &Errands, subscribed: &[Member]) -> Vec<Member> {
    let mut cores: HashSet<CoreId> = subscribed.iter().map(|member| member.core).collect();
    let mut anchors = Vec::new();
    while cores.len() < server.cores() {
        let mut member = server.member();
        if cores.insert(member.core) {
            member.subscribe(&["storm/a"]);
            anchors.push(member);
        }
    }
    anchors
}

fn storm(server: &Errands, kinds: &[Offers]) {
    let kind = |n: usize| kinds[n % kinds.len()];
    let publishers = (0..PUBLISHERS).map(|n| server.member_that(kind(n), false));
    let mut publishers: Vec<_> = publishers.collect();
    let homes: Arc<[CoreId]> = publishers.iter().map(|member| member.core).collect();
    for member in &mut publishers {
        member.subscribe(&["storm/a"]);
    }
    let _anchors = anchors(server, &publishers);
    let over = Arc::new(AtomicBool::new(false));
    let known = Arc::new(Mutex::new(None));
    thread::scope(|scope| {
        let mut restless = Vec::new();
        for seed in 0..6 {
            let (over, homes) = (Arc::clone(&over), Arc::clone(&homes));
            restless.push(scope.spawn(move || come_and_go(server, kinds, seed, &homes, &over)));
        }
        let mut stayers = Vec::new();
        for n in 0..kinds.len().max(3) {
            let (known, homes) = (Arc::clone(&known), Arc::clone(&homes));
            let mut member = server.member_that(kind(n), n % 2 == 1);
            member.run(|ws| enter(ws, "storm/a"));
            stayers.push(scope.spawn(move || stay(member, &homes, &known)));
        }
        let thread = server.publisher();
        let foreign = scope.spawn(move || publish_from_a_thread(&thread));
        let mut published: Vec<_> = publishers
            .into_iter()
            .enumerate()
            .map(|(id, member)| scope.spawn(move || publish_all(member, id)))
            .collect();
        let mut publishers = Vec::new();
        for thread in published.drain(..) {
            publishers.push(thread.join().expect("a publisher"));
        }
        let from_thread = foreign.join().expect("the publishing thread");
        let mut totals: Vec<u32> = publishers.iter().map(|(_, total)| *total).collect();
        totals.push(from_thread);
        over.store(true, Ordering::Release);
        *known.lock().expect("no panic") = Some(totals.clone());
        for (id, (member, total)) in publishers.into_iter().enumerate() {
            read_as_publisher(member, id, total, &totals);
        }
        for stayer in stayers {
            let (first, next) = stayer.join().expect("a stayer");
            let expected: Vec<_> = totals.iter().copied().map(Some).collect();
            assert_eq!(next, expected, "to the last");
            assert_eq!(first, vec![Some(0); PUBLISHERS + 1], "from the first on");
        }
        let stays: usize = restless
            .drain(..)
            .map(|t| t.join().expect("a subscriber"))
            .sum();
        assert!(stays >= 12, "they came and went: {stays} times");
    });
    assert_eq!(server.stats().dropped, 0);
}

/// One connection's part of the storm. Gives the connection, with all of its output still to be read, and how much it has published.
fn publish_all(mut member: Member, id: usize) -> (Member, u32) {
    let mut numbers = Numbers::new(1_000 + id as u64);
    let mut total = 0;
    for _ in 0..ROUNDS {
        let count = 1 + numbers.below(4);
        total += count as u32;
        member.run(move |ws| publish(ws, id, count, id % 2 == 1));
    }
    (member, total)
}

fn publish_from_a_thread(publisher: &Publisher) -> u32 {
    for n in 0..ROUNDS as u32 {
        let published = publisher.publish("storm/a", Message::Binary(&message(THREAD, n)));
        assert_eq!(published.refused, 0);
        thread::yield_now();
    }
    ROUNDS as u32
}

/// What a connection received: what comes next of each publisher, while it is subscribed.
struct Order {
    core: CoreId,
    homes: Arc<[CoreId]>,
    /// The first and the next of each publisher, as far as they are known.
    first: Vec<Option<u32>>,
    next: Vec<Option<u32>>,
    subscribed: bool,
    stays: usize,
}

impl Order {
    fn new(member: &Member, homes: &Arc<[CoreId]>) -> Self {
        Self {
            core: member.core,
            homes: Arc::clone(homes),
            first: vec![None; PUBLISHERS + 1],
            next: vec![None; PUBLISHERS + 1],
            subscribed: false,
            stays: 0,
        }
    }

    fn take(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match frame.opcode {
                TEXT => self.mark(std::str::from_utf8(&frame.payload).expect("text")),
                BINARY => self.message(&frame.payload),
                _ => panic!("{frame:?}"),
            }
        }
    }

    fn mark(&mut self, text: &str) {
        let (what, counts) = text.split_once(' ').expect("two words");
        let counts = counts.split(',').map(|n| n.parse().expect("a number"));
        let begins = what == "in";
        assert_ne!(begins, self.subscribed, "{text}");
        self.subscribed = begins;
        if begins {
            self.next.fill(None);
            self.first.fill(None);
            self.stays += 1;
        }
        for (id, count) in counts.enumerate() {
            if self.homes[id] != self.core {
                continue;
            }
            match begins {
                true => self.next[id] = Some(count),
                false => assert_eq!(self.next[id], Some(count), "the last of {id}: {text}"),
            }
        }
    }

    fn message(&mut self, payload: &[u8]) {
        let (&id, rest) = payload.split_first().expect("a publisher");
        let id = usize::from(id);
        let n = u32::from_be_bytes(*rest.first_chunk().expect("a number"));
        assert!(payload == message(id, n), "torn: {id}, {n}");
        assert!(self.subscribed, "{n} of {id} to nobody who is subscribed");
        assert!(
            self.next[id].is_none_or(|next| n == next),
            "{n} of {id} in place of {:?}",
            self.next[id]
        );
        self.first[id].get_or_insert(n);
        self.next[id] = Some(n + 1);
    }
}

/// Begins and ends subscriptions in many ways, until the storm is over. Gives how often.
fn come_and_go(
    server: &Errands,
    kinds: &[Offers],
    seed: u64,
    homes: &Arc<[CoreId]>,
    over: &AtomicBool,
) -> usize {
    let mut numbers = Numbers::new(seed);
    let mut stays = 0;
    while !over.load(Ordering::Acquire) || stays < 2 {
        let kind = kinds[numbers.below(kinds.len() as u64) as usize];
        let mut member = server.member_that(kind, numbers.below(2) == 1);
        let mut order = Order::new(&member, homes);
        for _ in 0..numbers.below(5) {
            one_stay(&mut member, &mut order, &mut numbers);
            assert!(!order.subscribed);
        }
        stays += order.stays;
        member.run(|ws| enter(ws, "storm/a"));
        match numbers.below(3) {
            0 => order.take(member.read_all()),
            1 => {
                member.send(CLOSE, &1000_u16.to_be_bytes());
                order.take(member.until_close(1000));
                member.expect_end();
            }
            _ => member.into_client().reset(),
        }
        stays += 1;
    }
    stays
}

/// Subscribes, reads, and ends the subscription.
fn one_stay(member: &mut Member, order: &mut Order, numbers: &mut Numbers) {
    let read = |member: &mut Member, order: &mut Order, times: u64| {
        for _ in 0..times {
            order.take(member.read_all());
        }
    };
    match numbers.below(4) {
        0 => {
            member.run(|ws| enter(ws, "storm/a"));
            read(member, order, numbers.below(4));
            member.run(|ws| leave(ws, "storm/a"));
        }
        // Two subscriptions that both match, one after the other and both for a while.
        1 => {
            member.run(|ws| enter(ws, "storm/a"));
            read(member, order, numbers.below(2));
            assert!(member.run(|ws| ws.subscribe("storm/#")));
            read(member, order, numbers.below(3));
            assert!(member.run(|ws| ws.unsubscribe("storm/a")));
            read(member, order, numbers.below(2));
            member.run(|ws| leave(ws, "storm/#"));
        }
        // An end and a beginning in one callback.
        2 => {
            member.run(|ws| enter(ws, "*/a"));
            read(member, order, numbers.below(3));
            member.run(|ws| {
                leave(ws, "*/a");
                enter(ws, "storm/a");
            });
            read(member, order, numbers.below(3));
            member.run(|ws| leave(ws, "storm/a"));
        }
        _ => member.run(|ws| {
            enter(ws, "storm/a");
            leave(ws, "storm/a");
        }),
    }
    read(member, order, 1);
}

/// Reads all the time. Gives what came first and what would come next of each publisher.
fn stay(
    mut member: Member,
    homes: &Arc<[CoreId]>,
    totals: &Mutex<Option<Vec<u32>>>,
) -> (Vec<Option<u32>>, Vec<Option<u32>>) {
    let mut order = Order::new(&member, homes);
    let totals = loop {
        order.take(member.read_all());
        if let Some(totals) = totals.lock().expect("no panic").clone() {
            break totals;
        }
    };
    // What other cores and threads have sent may still be on the way.
    eventually("the last ones come", || {
        order.take(member.read_all());
        order
            .next
            .iter()
            .zip(&totals)
            .all(|(next, total)| *next >= Some(*total))
    });
    member.run(|ws| leave(ws, "storm/a"));
    order.take(member.read_all());
    (order.first, order.next)
}

/// What a publisher received: its own messages in their place, or not at all, and those of the others.
fn read_as_publisher(mut member: Member, id: usize, total: u32, totals: &[u32]) {
    let mut next = vec![0; PUBLISHERS + 1];
    let mut own = Vec::new();
    let mut expected_next = totals.to_vec();
    if id % 2 == 1 {
        expected_next[id] = 0;
    }
    eventually("all has come", || {
        for frame in member.read_all() {
            if frame.opcode == TEXT {
                own.push(String::from_utf8(frame.payload).expect("text"));
                continue;
            }
            let (&from, rest) = frame.payload.split_first().expect("a publisher");
            let n = u32::from_be_bytes(*rest.first_chunk().expect("a number"));
            assert_eq!(n, next[usize::from(from)], "of {from}");
            next[usize::from(from)] += 1;
            if usize::from(from) == id {
                own.push(format!("published {n}"));
            }
        }
        next == expected_next
    });
    let words: &[&str] = match id % 2 {
        0 => &["before", "published", "after"],
        _ => &["before", "after"],
    };
    let expected: Vec<_> = (0..total)
        .flat_map(|n| words.iter().map(move |word| format!("{word} {n}")))
        .collect();
    assert!(own == expected, "its own order is kept: {own:?}");
}

fn a_callbacks_own_order_is_kept(io: Io) {
    let server = Errands::serve(io, |server| server);
    let mut member = server.member();
    // More than those who are given messages one by one.
    let mut crowd: Vec<_> = (0..6).map(|_| server.member()).collect();
    for other in &mut crowd {
        other.subscribe(&["broad"]);
    }
    member.subscribe(&["broad", "small", "sm*", "#"]);
    let mut other = server.member();
    other.subscribe(&["small"]);
    member.run(|ws| {
        for n in 0..20 {
            ws.send_text(&format!("{n} sent"));
            ws.publish("broad", Message::Text(&format!("{n} to many")));
            ws.send_text(&format!("{n} sent again"));
            ws.publish("small", Message::Text(&format!("{n} to few")));
            ws.ping(b"between");
            ws.publish_others("broad", Message::Text(&format!("{n} to others")));
            ws.publish("broad", Message::Text(&format!("{n} to many again")));
            ws.send_text(&format!("{n} sent at last"));
        }
    });
    let expect = |member: &mut Member, words: &[&str]| {
        let frames = member.read_all().into_iter();
        let texts = frames.filter(|frame| frame.opcode == TEXT);
        let texts: Vec<_> = texts
            .map(|f| String::from_utf8(f.payload).expect("text"))
            .collect();
        let expected = (0..20).flat_map(|n| words.iter().map(move |word| format!("{n} {word}")));
        assert_eq!(texts, expected.collect::<Vec<_>>());
    };
    let own = [
        "sent",
        "to many",
        "sent again",
        "to few",
        "to many again",
        "sent at last",
    ];
    expect(&mut member, &own);
    for other in &mut crowd {
        expect(other, &["to many", "to others", "to many again"]);
    }
    expect(&mut other, &["to few"]);
}
