//! What happens between threads, in every order in which it can happen (`scripts/loom`).
//!
//! The mailbox is the engine's own, with loom's lock and atomics. The core is as much of one as mail
//! concerns: [`turns`] looks for mail, takes it and sleeps in the order of `Core::begin_turn` and of the
//! loops. A wake-up that gets lost leaves it asleep for ever, which loom reports as a deadlock.

pub(super) mod bell;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use loom::thread;

use self::bell::Bell;
use super::mailbox::{Full, MAX_MAIL, Mail, Mailbox, Post};
use super::stats::{CoreStats, Counter};
use super::sync::AtomicU64;

/// How a core sleeps: on its ring, or in the runtime.
type Sleep = fn(&Bell);

const SLEEPS: [Sleep; 2] = [Bell::wait_for_completion, Bell::wait_until_readable];

/// Tries every order of what `model` does.
fn over_every_sleep(model: fn(Sleep)) {
    for sleep in SLEEPS {
        loom::model(move || model(sleep));
    }
}

fn mailbox() -> Arc<Mailbox> {
    Arc::new(Mailbox::new().unwrap())
}

/// A publication by a publisher, with its number.
fn publication(publisher: u8, number: u8) -> Mail {
    Mail::Publish {
        topic: "t".into(),
        frame: Bytes::copy_from_slice(&[publisher, number]),
    }
}

/// Who sent which, in the order of arrival.
fn publications(mail: &VecDeque<Mail>) -> Vec<(u8, u8)> {
    let publications = mail.iter().filter_map(|mail| match mail {
        Mail::Publish { frame, .. } => Some((frame[0], frame[1])),
        Mail::Drain(_) | Mail::Stop => None,
    });
    publications.collect()
}

/// A core's turns, until it has got `enough`.
fn turns(
    mailbox: &Mailbox,
    sleep: Sleep,
    enough: impl Fn(&VecDeque<Mail>) -> bool,
) -> VecDeque<Mail> {
    let mut mail = VecDeque::new();
    loop {
        if mailbox.has_mail() {
            mailbox.take(&mut mail);
        }
        if enough(&mail) {
            return mail;
        }
        if !mailbox.has_mail() {
            sleep(mailbox.model_bell());
        }
    }
}

#[test]
fn a_core_that_goes_to_sleep_gets_its_mail() {
    over_every_sleep(|sleep| {
        let mailbox = mailbox();
        let publisher = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for number in 0..2 {
                    assert_eq!(mailbox.post(publication(0, number)), Ok(()));
                }
            })
        };
        let mail = turns(&mailbox, sleep, |mail| mail.len() == 2);
        assert_eq!(publications(&mail), [(0, 0), (0, 1)]);
        publisher.join().unwrap();
    });
}

#[test]
fn each_publishers_messages_keep_their_order() {
    over_every_sleep(|sleep| {
        let mailbox = mailbox();
        let publish = |publisher: u8, messages: u8| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                let taken =
                    (0..messages).filter(|&n| mailbox.post(publication(publisher, n)).is_ok());
                taken.count()
            })
        };
        let publishers = [publish(0, 2), publish(1, 1)];
        // At least the first two that were posted have been taken, whatever is refused after them.
        let mut mail = turns(&mailbox, sleep, |mail| mail.len() >= 2);
        let taken: usize = publishers
            .into_iter()
            .map(|publisher| publisher.join().unwrap())
            .sum();
        mailbox.take(&mut mail);
        let publications = publications(&mail);
        assert_eq!(publications.len(), taken);
        for publisher in 0..2 {
            let numbers = publications.iter().filter(|p| p.0 == publisher);
            assert!(
                numbers.map(|p| p.1).is_sorted_by(|a, b| a < b),
                "{publications:?}"
            );
        }
    });
}

#[test]
fn what_a_full_mailbox_refuses_is_not_delivered_and_all_else_is() {
    over_every_sleep(|sleep| {
        let mailbox = mailbox();
        let publisher = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                let messages = (0..MAX_MAIL as u8 + 1).map(|n| (0, n));
                let taken: Vec<_> = messages
                    .filter(
                        |&(publisher, n)| match mailbox.post(publication(publisher, n)) {
                            Ok(()) => true,
                            Err(Full) => false,
                        },
                    )
                    .collect();
                // An order is taken by a full mailbox too.
                assert_eq!(mailbox.post(Mail::Stop), Ok(()));
                taken
            })
        };
        let mail = turns(&mailbox, sleep, |mail| {
            matches!(mail.back(), Some(Mail::Stop))
        });
        let taken = publisher.join().unwrap();
        assert!(taken.len() >= MAX_MAIL, "there was room for these");
        assert_eq!(publications(&mail), taken);
    });
}

#[test]
fn an_order_reaches_a_core_among_publications() {
    over_every_sleep(|sleep| {
        let mailbox = mailbox();
        let post = |mail: Mail| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.post(mail))
        };
        let publisher = post(publication(0, 0));
        let control = post(Mail::Drain(Instant::now()));
        let is_order = |mail: &Mail| matches!(mail, Mail::Drain(_));
        let mut mail = turns(&mailbox, sleep, |mail| mail.iter().any(is_order));
        assert_eq!(publisher.join().unwrap(), Ok(()));
        assert_eq!(control.join().unwrap(), Ok(()));
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), 2);
    });
}

/// A core that waits for the bell to be readable would take one that rings for nothing for news, again and again.
#[test]
fn the_bell_rings_if_and_only_if_there_is_mail() {
    loom::model(|| {
        let mailbox = mailbox();
        let publisher = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for number in 0..2 {
                    assert_eq!(mailbox.post(publication(0, number)), Ok(()));
                }
            })
        };
        let mut mail = VecDeque::new();
        mailbox.take(&mut mail);
        publisher.join().unwrap();
        let left = 2 - mail.len();
        assert_eq!(mailbox.has_mail(), left > 0);
        assert_eq!(mailbox.model_bell().is_readable(), left > 0);
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), 2);
        assert!(!mailbox.has_mail() && !mailbox.model_bell().is_readable());
    });
}

#[test]
fn cores_that_publish_to_each_other_both_get_it() {
    over_every_sleep(|sleep| {
        let boxes: Arc<[_]> = Arc::new([mailbox(), mailbox()]);
        let core = move |boxes: Arc<[Arc<Mailbox>]>, own: usize| {
            let post = Post::new(boxes, own);
            assert_eq!(post.to_others(&publication(own as u8, 0)), (1, 0));
            let mail = turns(post.own(), sleep, |mail| !mail.is_empty());
            assert_eq!(publications(&mail), [(1 - own as u8, 0)]);
        };
        let other = {
            let boxes = Arc::clone(&boxes);
            thread::spawn(move || core(boxes, 1))
        };
        core(boxes, 0);
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
