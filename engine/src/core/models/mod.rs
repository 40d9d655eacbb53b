//! What happens between threads, in every order in which it can happen (`scripts/loom`).
//!
//! Mailboxes, doorbells and the registry are the engine's own, with loom's locks and atomics; only the queue between two cores is [`queue`].
//! The core is as much of one as they concern: [`Turns`] collects mail, reads it and sleeps in the order of `Core::begin_turn` and
//! of the loops. A wake-up that gets lost leaves it asleep for ever, which loom reports as a deadlock.

pub(super) mod bell;
mod interest;
pub(crate) mod queue;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use loom::thread;

use super::mailbox::{self, Full, MAX_MAIL, Mail, Mailboxes, Post, Publication};
use super::stats::{CoreStats, Counter};
use super::sync::AtomicU64;

/// How a core sleeps: on its ring, or in the runtime.
type Sleep = fn(&Post);

const SLEEPS: [Sleep; 2] = [
    |post| {
        post.model_bell().wait_for_completion();
        post.wake();
    },
    |post| {
        post.model_bell().wait_until_readable();
        post.wake();
        post.silence();
    },
];

/// Tries every order of what `model` does.
fn over_every_sleep(model: fn(Sleep)) {
    for sleep in SLEEPS {
        loom::model(move || model(sleep));
    }
}

fn alone() -> (Mailboxes, Post) {
    let (mailboxes, mut posts) = mailbox::set_up(1).unwrap();
    (mailboxes, posts.remove(0))
}

fn two() -> (Mailboxes, Post, Post) {
    let (mailboxes, posts) = mailbox::set_up(2).unwrap();
    let [first, second] = posts.try_into().unwrap();
    (mailboxes, first, second)
}

/// A publication by a publisher, with its number.
fn publication(publisher: u8, number: u8) -> Mail {
    Mail::Publish(Arc::new(Publication {
        topic: "t".into(),
        frames: Bytes::copy_from_slice(&[publisher, number]),
        deflated: Default::default(),
        key: None,
        retain: false,
    }))
}

/// What a core publishes in one turn: how many of so many there was room for.
fn publish(
    post: &mut Post,
    to: usize,
    publisher: u8,
    numbers: std::ops::Range<u8>,
) -> Vec<(u8, u8)> {
    let mut taken = Vec::new();
    for number in numbers {
        if post.reserve(to, "t", 2).is_ok() {
            post.send(to, publication(publisher, number));
            taken.push((publisher, number));
        }
    }
    post.ring();
    taken
}

/// Who sent which, in the order of arrival.
fn publications(mail: &[Mail]) -> Vec<(u8, u8)> {
    let publications = mail.iter().filter_map(|mail| match mail {
        Mail::Publish(publication) => Some((publication.frames[0], publication.frames[1])),
        Mail::Forget(_) | Mail::Drain(_) | Mail::Stop => None,
    });
    publications.collect()
}

/// A core's turns.
struct Turns {
    post: Post,
    sleep: Sleep,
    /// What it reads in one turn, for there is other work.
    at_once: usize,
    mail: Vec<Mail>,
}

impl Turns {
    fn new(post: Post, sleep: Sleep) -> Self {
        Self {
            post,
            sleep,
            at_once: usize::MAX,
            mail: Vec::new(),
        }
    }

    fn read(&mut self) {
        self.post.collect();
        let mail = std::iter::from_fn(|| self.post.next_mail());
        self.mail.extend(mail.take(self.at_once));
    }

    /// Until it has got `enough`.
    fn until(&mut self, enough: impl Fn(&[Mail]) -> bool) {
        loop {
            self.read();
            if enough(&self.mail) {
                return;
            }
            if self.post.try_sleep() {
                (self.sleep)(&self.post);
            }
        }
    }
}

#[test]
fn a_core_that_goes_to_sleep_gets_its_mail_from_a_thread() {
    over_every_sleep(|sleep| {
        let (mailboxes, post) = alone();
        let publisher = thread::spawn(move || {
            for number in 0..2 {
                assert_eq!(mailboxes[0].post(publication(0, number)), Ok(()));
            }
        });
        let mut turns = Turns::new(post, sleep);
        turns.until(|mail| mail.len() == 2);
        assert_eq!(publications(&turns.mail), [(0, 0), (0, 1)]);
        publisher.join().unwrap();
    });
}

#[test]
fn a_core_that_goes_to_sleep_gets_its_mail_from_a_core() {
    over_every_sleep(|sleep| {
        let (_mailboxes, mut from, to) = two();
        let publisher = thread::spawn(move || {
            let turns = [
                publish(&mut from, 1, 0, 0..1),
                publish(&mut from, 1, 0, 1..2),
            ];
            assert_eq!(turns.concat(), [(0, 0), (0, 1)]);
        });
        let mut turns = Turns::new(to, sleep);
        turns.until(|mail| mail.len() == 2);
        assert_eq!(publications(&turns.mail), [(0, 0), (0, 1)]);
        publisher.join().unwrap();
    });
}

#[test]
fn each_publishers_messages_keep_their_order() {
    over_every_sleep(|sleep| {
        let (mailboxes, mut from, to) = two();
        let core = thread::spawn(move || publish(&mut from, 1, 0, 0..2));
        let other = thread::spawn(move || {
            let taken = (0..2).filter(|&n| mailboxes[1].post(publication(1, n)).is_ok());
            taken.map(|n| (1, n)).collect::<Vec<_>>()
        });
        let mut turns = Turns::new(to, sleep);
        turns.until(|mail| mail.len() == 4);
        let mut read = publications(&turns.mail);
        read.sort_by_key(|&(publisher, _)| publisher);
        let sent = [core.join().unwrap(), other.join().unwrap()].concat();
        assert_eq!(read, sent);
    });
}

#[test]
fn what_a_full_mailbox_refuses_a_thread_is_not_delivered_and_all_else_is() {
    over_every_sleep(|sleep| {
        let (mailboxes, post) = alone();
        let publisher = thread::spawn(move || {
            let messages = (0..MAX_MAIL as u8 + 1).map(|n| (0, n));
            let taken: Vec<_> = messages
                .filter(
                    |&(publisher, n)| match mailboxes[0].post(publication(publisher, n)) {
                        Ok(()) => true,
                        Err(Full) => false,
                    },
                )
                .collect();
            // An order is taken by a full mailbox too.
            assert_eq!(mailboxes[0].post(Mail::Stop), Ok(()));
            taken
        });
        let mut turns = Turns::new(post, sleep);
        turns.until(|mail| matches!(mail.last(), Some(Mail::Stop)));
        let taken = publisher.join().unwrap();
        assert!(taken.len() >= MAX_MAIL, "there was room for these");
        assert_eq!(publications(&turns.mail), taken);
    });
}

#[test]
fn what_a_full_queue_refuses_a_core_is_not_delivered_and_all_else_is() {
    over_every_sleep(|sleep| {
        let (_mailboxes, mut from, to) = two();
        let publisher = thread::spawn(move || {
            let mut taken = publish(&mut from, 1, 0, 0..MAX_MAIL as u8);
            assert_eq!(taken.len(), MAX_MAIL, "there was room for these");
            taken.extend(publish(&mut from, 1, 0, 5..6));
            taken
        });
        let mut turns = Turns::new(to, sleep);
        turns.until(|mail| mail.len() >= MAX_MAIL);
        let taken = publisher.join().unwrap();
        turns.until(|mail| mail.len() >= taken.len());
        turns.read();
        assert_eq!(publications(&turns.mail), taken);
    });
}

#[test]
fn room_that_was_reserved_is_there_whatever_the_reader_does() {
    loom::model(|| {
        let (_mailboxes, mut from, to) = two();
        let mut turns = Turns::new(to, SLEEPS[0]);
        let publisher = thread::spawn(move || {
            assert_eq!(publish(&mut from, 1, 0, 0..1), [(0, 0)]);
            let reserved = (0..MAX_MAIL).filter(|_| from.reserve(1, "t", 1).is_ok());
            let reserved: Vec<_> = (1..).zip(reserved).map(|(n, _)| (0, n)).collect();
            for &(publisher, number) in &reserved {
                from.reserve_more(1, 1).expect("what travels with them");
                from.send(1, publication(publisher, number));
            }
            from.ring();
            reserved
        });
        turns.read();
        let reserved = publisher.join().unwrap();
        turns.read();
        assert!(reserved.len() >= MAX_MAIL - 1, "there was room for these");
        assert_eq!(
            publications(&turns.mail),
            [&[(0, 0)], &reserved[..]].concat()
        );
    });
}

/// It collects new mail while some of the old is still to be read.
#[test]
fn a_core_that_reads_a_little_in_each_turn_gets_all() {
    over_every_sleep(|sleep| {
        let (mailboxes, post) = alone();
        mailboxes[0].post(publication(0, 0)).unwrap();
        mailboxes[0].post(Mail::Stop).unwrap();
        let publisher = thread::spawn(move || mailboxes[0].post(Mail::Drain(Instant::now())));
        let mut turns = Turns::new(post, sleep);
        turns.at_once = 1;
        turns.until(|mail| mail.len() == 3);
        assert_eq!(publisher.join().unwrap(), Ok(()));
    });
}

#[test]
fn an_order_reaches_a_core_among_publications() {
    over_every_sleep(|sleep| {
        let (mailboxes, post) = alone();
        let post_by_thread = |mail: Mail| {
            let mailboxes = Arc::clone(&mailboxes);
            thread::spawn(move || mailboxes[0].post(mail))
        };
        let publisher = post_by_thread(publication(0, 0));
        let control = post_by_thread(Mail::Drain(Instant::now()));
        let is_order = |mail: &Mail| matches!(mail, Mail::Drain(_));
        let mut turns = Turns::new(post, sleep);
        turns.until(|mail| mail.iter().any(is_order));
        assert_eq!(publisher.join().unwrap(), Ok(()));
        assert_eq!(control.join().unwrap(), Ok(()));
        turns.read();
        assert_eq!(turns.mail.len(), 2);
    });
}

/// A core that looks whether its bell rings would take one that rings for nothing for news, again and again.
#[test]
fn a_bell_that_is_answered_falls_silent() {
    loom::model(|| {
        let (mailboxes, post) = alone();
        let mut turns = Turns::new(post, SLEEPS[1]);
        let publisher = thread::spawn(move || {
            for number in 0..2 {
                assert_eq!(mailboxes[0].post(publication(0, number)), Ok(()));
            }
        });
        // It is woken by something else, before whoever has news for it rings.
        for _ in 0..2 {
            turns.read();
            if turns.post.try_sleep() {
                turns.post.wake();
                turns.post.silence();
            }
        }
        publisher.join().unwrap();
        turns.read();
        turns.post.silence();
        assert!(!turns.post.model_bell().is_readable());
        assert!(!turns.post.has_mail() && turns.mail.len() == 2);
    });
}

#[test]
fn a_core_that_is_awake_is_not_rung_for() {
    loom::model(|| {
        let (mailboxes, mut post) = alone();
        let publisher = thread::spawn(move || {
            assert_eq!(mailboxes[0].post(publication(0, 0)), Ok(()));
        });
        post.collect();
        let read = post.next_mail().is_some();
        publisher.join().unwrap();
        assert!(!post.model_bell().is_readable());
        assert_eq!(post.has_mail(), !read);
    });
}

#[test]
fn cores_that_publish_to_each_other_both_get_it() {
    over_every_sleep(|sleep| {
        let (_mailboxes, first, second) = two();
        let core = move |mut post: Post, own: u8| {
            let other = 1 - own;
            assert_eq!(publish(&mut post, other.into(), own, 0..1), [(own, 0)]);
            let mut turns = Turns::new(post, sleep);
            turns.until(|mail| !mail.is_empty());
            assert_eq!(publications(&turns.mail), [(other, 0)]);
        };
        let other = thread::spawn(move || core(second, 1));
        core(first, 0);
        other.join().unwrap();
    });
}

#[test]
fn no_more_connections_than_allowed_are_counted_in() {
    loom::model(|| {
        let total = Arc::new(AtomicU64::new(0));
        let core = |total: &Arc<AtomicU64>| Arc::new(CoreStats::new(Arc::clone(total), 1));
        let accept = |stats: Arc<CoreStats>| {
            let counted = stats.count_in();
            stats.accepted.add(u64::from(counted));
            stats.refused.add(u64::from(!counted));
            counted
        };
        let (one, two) = (core(&total), core(&total));
        let other = {
            let two = Arc::clone(&two);
            thread::spawn(move || accept(two))
        };
        let counted = [accept(Arc::clone(&one)), other.join().unwrap()];
        assert_eq!(counted.iter().filter(|&&counted| counted).count(), 1);
        assert_eq!(one.accepted.get() + two.accepted.get(), 1);
        assert_eq!(one.refused.get() + two.refused.get(), 1);
        for (stats, counted) in [one, two].iter().zip(counted) {
            stats.closed(!counted);
        }
        assert!(core(&total).count_in(), "the place is free again");
    });
}

#[test]
fn a_counter_that_is_read_elsewhere_never_runs_backwards() {
    loom::model(|| {
        let counter = Arc::new(Counter::default());
        let writer = {
            let counter = Arc::clone(&counter);
            thread::spawn(move || {
                counter.add(1);
                counter.add(2);
            })
        };
        let seen = [counter.get(), counter.get()];
        assert!(
            seen.is_sorted() && seen.iter().all(|n| [0, 1, 3].contains(n)),
            "{seen:?}"
        );
        writer.join().unwrap();
        assert_eq!(counter.get(), 3);
    });
}
