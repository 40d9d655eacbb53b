//! A core that stands still, and publishers that are faster than everything: nobody else waits, and what was promised arrives.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use corecast::{Io, Message, Publish, Publisher, SlowPolicy, defaults};

use crate::common::client::BINARY;
use crate::common::errands::{Errands, Member};
use crate::common::payload::numbered;
use crate::common::{PATIENCE, TEST_TIME, next, over_every_transport};

over_every_transport![
    a_stalled_core_holds_nobody_up_and_gets_what_was_forwarded,
    bytes_that_wait_for_a_stalled_core_are_bounded,
    threads_hear_that_a_stalled_core_is_full,
    a_core_without_subscribers_sleeps_on,
    threads_that_publish_without_end_keep_nobody_from_its_turn,
    a_connection_that_publishes_without_end_keeps_nobody_from_its_turn,
];

/// A core that does nothing, until this is dropped.
struct Stall {
    release: Sender<()>,
    is_over: Receiver<()>,
}

impl Stall {
    fn of(member: &mut Member) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (begins, has_begun) = mpsc::channel();
        let is_over = member.begin(move |_| {
            begins.send(()).expect("the test waits");
            // Ends when the sender is dropped.
            let _ = released.recv_timeout(TEST_TIME);
        });
        next(&has_begun);
        Self { release, is_over }
    }

    #[track_caller]
    fn end(self) {
        assert!(
            self.is_over.try_recv().is_err(),
            "the test is too slow to mean anything"
        );
        drop(self.release);
        next(&self.is_over);
    }
}

/// A server on two cores where all that is delivered has room, and one member on each core.
fn two_cores(io: Io) -> Option<(Errands, Member, Member)> {
    let settings = |server: corecast::Server| {
        let server = server.backlog(256 << 20).slow(SlowPolicy::DropNewest);
        server.ping_interval(None).idle_timeout(None)
    };
    let server = Errands::serve_on_two_cores(io, settings)?;
    let [mut here, mut there] = server.members_on_two_cores(1);
    Some((server, here.remove(0), there.remove(0)))
}

fn a_stalled_core_holds_nobody_up_and_gets_what_was_forwarded(io: Io) {
    let Some((server, mut publisher, mut subscriber)) = two_cores(io) else {
        return;
    };
    publisher.subscribe(&["t"]);
    subscriber.subscribe(&["t"]);
    let stall = Stall::of(&mut subscriber);
    // Messages with keys travel one by one, so that these are more than wait between two cores.
    let count = defaults::MAX_MAIL as u64 + 100;
    let forwarded = publisher.run(move |ws| {
        let outcomes = (0..count).map(|n| {
            let message = Message::Binary(&n.to_be_bytes());
            let published = ws.publish_with("t", message, Publish::new().key(n));
            assert_eq!(published.sent, 1, "those here get it");
            assert_eq!(published.forwarded + published.refused, 1);
            published.forwarded == 1
        });
        outcomes.collect::<Vec<_>>()
    });
    assert_eq!(
        forwarded.iter().filter(|&&taken| taken).count(),
        defaults::MAX_MAIL
    );
    // This core's own are not held up, by what has been refused or by what comes now.
    for n in 0..count {
        publisher.expect(BINARY, &n.to_be_bytes());
    }
    let refused = publisher.run(|ws| ws.publish("t", Message::Text("refused")).refused);
    assert_eq!(refused, 1);
    publisher.expect_text("refused");
    stall.end();
    for n in (0..count)
        .zip(&forwarded)
        .filter_map(|(n, &taken)| taken.then_some(n))
    {
        subscriber.expect(BINARY, &n.to_be_bytes());
    }
    let forwarded = publisher.run(|ws| {
        ws.publish("t", Message::Text("there is room again"))
            .forwarded
    });
    assert_eq!(forwarded, 1);
    subscriber.expect_text("there is room again");
    assert_eq!(server.stats().dropped, 0);
}

fn bytes_that_wait_for_a_stalled_core_are_bounded(io: Io) {
    const SIZE: usize = 1 << 20;
    let Some((server, mut publisher, mut subscriber)) = two_cores(io) else {
        return;
    };
    subscriber.subscribe(&["t"]);
    let stall = Stall::of(&mut subscriber);
    let mut forwarded = Vec::new();
    for n in 0..80 {
        let published =
            publisher.run(move |ws| ws.publish("t", Message::Binary(&numbered(n, SIZE))));
        assert_eq!(
            (published.sent, published.forwarded + published.refused),
            (0, 1)
        );
        if published.forwarded == 1 {
            forwarded.push(n);
        }
    }
    let room = defaults::MAX_CORE_MAIL_BYTES / (SIZE + 11);
    assert_eq!(forwarded, (0..room as u64).collect::<Vec<_>>());
    stall.end();
    for n in forwarded {
        subscriber.expect(BINARY, &numbered(n, SIZE));
    }
    assert!(
        subscriber.read_all().is_empty(),
        "and nothing that was refused"
    );
    assert_eq!(server.stats().dropped, 0);
}

fn threads_hear_that_a_stalled_core_is_full(io: Io) {
    let Some((server, mut other, mut subscriber)) = two_cores(io) else {
        return;
    };
    subscriber.subscribe(&["t"]);
    other.subscribe(&["u", "#"]);
    assert!(other.run(|ws| ws.unsubscribe("#")));
    let stall = Stall::of(&mut subscriber);
    let publisher = server.publisher();
    let forwarded: Vec<u64> = (0..defaults::MAX_MAIL as u64 + 100)
        .filter(|n| {
            let published = publisher.publish("t", Message::Binary(&n.to_be_bytes()));
            assert_eq!(published.forwarded + published.refused, 1);
            published.forwarded == 1
        })
        .collect();
    assert_eq!(
        forwarded,
        (0..defaults::MAX_MAIL as u64).collect::<Vec<_>>()
    );
    assert!(
        !publisher.forget_retained("t"),
        "there is no room for that either"
    );
    let retain = publisher.publish_with("t", Message::Text("one of two"), Publish::new().retain());
    assert_eq!((retain.forwarded, retain.refused), (1, 1));
    assert_eq!(
        publisher.publish("u", Message::Text("elsewhere")).forwarded,
        1
    );
    other.expect_text("elsewhere");
    stall.end();
    for n in forwarded {
        subscriber.expect(BINARY, &n.to_be_bytes());
    }
    assert!(subscriber.read_all().is_empty());
}

/// How often a core's thread has gone to sleep so far.
struct Sleeps(PathBuf);

impl Sleeps {
    fn of(member: &mut Member) -> Self {
        let thread = member.run(|_| fs::read_link("/proc/thread-self").expect("procfs"));
        Self(PathBuf::from("/proc").join(thread).join("status"))
    }

    /// `None` while it is awake, which on a busy machine may be long after it was woken.
    fn count(&self) -> Option<u64> {
        let status = fs::read_to_string(&self.0).expect("procfs");
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let count = field("voluntary_ctxt_switches:").expect("a count");
        let is_asleep = field("State:").is_some_and(|state| state.trim().starts_with('S'));
        is_asleep.then(|| count.trim().parse().expect("a number"))
    }

    /// Waits until it has slept for a while.
    fn settle(&self) -> u64 {
        let start = Instant::now();
        let mut before = self.count();
        while start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
            let now = self.count();
            if let (Some(now), true) = (now, now == before) {
                return now;
            }
            before = now;
        }
        panic!("the core does not come to rest");
    }
}

fn a_core_without_subscribers_sleeps_on(io: Io) {
    let Some((server, mut publisher, mut idle)) = two_cores(io) else {
        return;
    };
    publisher.subscribe(&["t", "room/*"]);
    idle.subscribe(&["elsewhere", "hall/#"]);
    let sleeps = Sleeps::of(&mut idle);
    let threads = server.publisher();
    let publish = |publisher: &mut Member, topic: &'static str| {
        for _ in 0..100 {
            let published = publisher.run(move |ws| ws.publish(topic, Message::Text("news")));
            assert_eq!(published.refused, 0);
            threads.publish(topic, Message::Text("news"));
        }
    };
    let before = sleeps.settle();
    for topic in ["t", "room/1", "nobody's"] {
        publish(&mut publisher, topic);
    }
    // What threads have published may still be on its way.
    for _ in 0..400 {
        publisher.expect_text("news");
    }
    assert_eq!(sleeps.settle() - before, 0, "it has been woken");
    // And this is how it shows when it is.
    for topic in ["elsewhere", "hall/1"] {
        let before = sleeps.settle();
        publish(&mut publisher, topic);
        for _ in 0..200 {
            idle.expect_text("news");
        }
        assert!(sleeps.settle() > before, "{topic}");
    }
    for member in [&mut publisher, &mut idle] {
        assert!(
            member.read_all().is_empty(),
            "to each what it is subscribed to"
        );
    }
}

/// Publishes without end, until the test is over.
fn publish_on(publisher: &Publisher, stop: &AtomicBool) -> u64 {
    let message = [7; 1_000];
    let mut published = 0;
    while !stop.load(Ordering::Relaxed) {
        publisher.publish("flood", Message::Binary(&message));
        published += 1;
    }
    published
}

/// Ends what goes on in threads, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn threads_that_publish_without_end_keep_nobody_from_its_turn(io: Io) {
    let settings = |server: corecast::Server| server.slow(SlowPolicy::DropNewest);
    let server = Errands::serve(io, settings);
    let mut subscribers: Vec<_> = (0..6).map(|_| server.member()).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe(&["flood"]);
    }
    let mut other = server.member();
    other.subscribe(&["t"]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let publisher = server.publisher();
                let stop = &stop;
                scope.spawn(move || publish_on(&publisher, stop))
            })
            .collect();
        for n in 0..12 {
            let text = format!("message {n}");
            let sent = other.run(move |ws| ws.publish("t", Message::Text(&text)).sent);
            assert_eq!(sent, 1);
            other.expect_text(&format!("message {n}"));
            // Those who are flooded read now and then.
            for subscriber in &mut subscribers {
                subscriber.expect(BINARY, &[7; 1_000]);
            }
            server.member().into_client().close(1000);
        }
        drop(_stop);
        let published: u64 = threads
            .into_iter()
            .map(|t| t.join().expect("a thread"))
            .sum();
        assert!(published > 50, "{published} messages are no flood");
    });
    for subscriber in &mut subscribers {
        let buffered = subscriber.run(|ws| ws.buffered());
        assert!(
            buffered <= defaults::BACKLOG + (4 << 20),
            "{buffered} bytes wait"
        );
        assert!(
            subscriber
                .read_all()
                .iter()
                .all(|frame| frame.payload == [7; 1_000])
        );
    }
}

fn a_connection_that_publishes_without_end_keeps_nobody_from_its_turn(io: Io) {
    let settings = |server: corecast::Server| server.slow(SlowPolicy::DropNewest);
    let server = Errands::serve(io, settings);
    let mut subscribers: Vec<_> = (0..6).map(|_| server.member()).collect();
    for subscriber in &mut subscribers {
        subscriber.subscribe(&["flood"]);
    }
    let mut other = server.member();
    let mut flooder = server.member();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        let flood = scope.spawn(|| {
            let mut published = 0;
            while !stop.load(Ordering::Relaxed) {
                let outcomes = flooder.begin(|ws| {
                    for _ in 0..50 {
                        ws.publish("flood", Message::Binary(&[7; 1_000]));
                    }
                });
                published += 50;
                // A few hundred callbacks ahead of the server, at most.
                if published % 10_000 == 0 {
                    next(&outcomes);
                }
            }
            published
        });
        for n in 0..12 {
            let text = format!("message {n}");
            other.run(move |ws| ws.send_text(&text));
            other.expect_text(&format!("message {n}"));
            for subscriber in &mut subscribers {
                subscriber.expect(BINARY, &[7; 1_000]);
            }
            server.member().into_client().close(1000);
        }
        drop(_stop);
        assert!(flood.join().expect("the flood") > 1_000, "no flood");
    });
    for subscriber in &mut subscribers {
        let buffered = subscriber.run(|ws| ws.buffered());
        assert!(
            buffered <= defaults::BACKLOG + (1 << 20),
            "{buffered} bytes wait"
        );
        assert!(
            subscriber
                .read_all()
                .iter()
                .all(|frame| frame.payload == [7; 1_000])
        );
    }
}
