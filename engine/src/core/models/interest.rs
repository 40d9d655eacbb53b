//! Subscribing on one core, publishing on another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use loom::thread;

use super::super::interest::{Interests, Registry, TopicInterest};
use super::super::sync::AtomicBool;

const TOPIC: &str = "t";

fn cores() -> (Arc<Registry>, Interests, Interests) {
    let registry = Arc::new(Registry::new());
    let core = |own| Interests::new(Arc::clone(&registry), own);
    let (first, second) = (core(0), core(1));
    (registry, first, second)
}

/// A client's word, from one core's connection to another's.
fn word() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let word = Arc::new(AtomicBool::new(false));
    (Arc::clone(&word), word)
}

/// A client that knows of a subscription reaches it, however it came to know and by whatever core it publishes.
#[test]
fn whoever_has_heard_of_a_subscription_reaches_it() {
    loom::model(|| {
        let (_registry, subscriber, mut publisher) = cores();
        let (said, heard) = word();
        // What there was before is remembered.
        assert!(publisher.elsewhere(TOPIC, None).is_empty());
        let other = thread::spawn(move || {
            let mut interest = TopicInterest::default();
            subscriber.subscribed(&mut interest, &TOPIC.into());
            said.store(true, Ordering::Release);
        });
        let heard = heard.load(Ordering::Acquire);
        let found = publisher.elsewhere(TOPIC, None);
        assert!(
            !heard || found.iter().eq([0]),
            "it was confirmed, and is not found"
        );
        other.join().unwrap();
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
    });
}

/// As above, where what is remembered is an entry that is none any more.
#[test]
fn whoever_subscribes_again_is_reached_again() {
    loom::model(|| {
        let (_registry, subscriber, mut publisher) = cores();
        let (said, heard) = word();
        let mut interest = TopicInterest::default();
        subscriber.subscribed(&mut interest, &TOPIC.into());
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
        let other = thread::spawn(move || {
            subscriber.unsubscribed(&mut interest, TOPIC, true);
            subscriber.subscribed(&mut interest, &TOPIC.into());
            said.store(true, Ordering::Release);
        });
        let heard = heard.load(Ordering::Acquire);
        let found = publisher.elsewhere(TOPIC, None);
        assert!(
            !heard || found.iter().eq([0]),
            "it was confirmed, and is not found"
        );
        other.join().unwrap();
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
    });
}

/// As above, where the filter has a wildcard.
#[test]
fn whoever_has_heard_of_a_wildcard_reaches_its_subscriber() {
    loom::model(|| {
        let (_registry, subscriber, mut publisher) = cores();
        let (said, heard) = word();
        assert!(publisher.elsewhere(TOPIC, None).is_empty());
        let other = thread::spawn(move || {
            let mut interest = TopicInterest::default();
            subscriber.subscribed(&mut interest, &"*".into());
            said.store(true, Ordering::Release);
        });
        let heard = heard.load(Ordering::Acquire);
        let found = publisher.elsewhere(TOPIC, None);
        assert!(
            !heard || found.iter().eq([0]),
            "it was confirmed, and is not found"
        );
        other.join().unwrap();
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
    });
}

/// As above, while the publisher looks through other wildcards for the first time.
#[test]
fn a_wildcard_that_comes_while_others_are_tried_is_not_missed_for_long() {
    loom::model(|| {
        let (_registry, subscriber, mut publisher) = cores();
        let (said, heard) = word();
        let mut interests = [(); 2].map(|()| TopicInterest::default());
        subscriber.subscribed(&mut interests[0], &"other/*".into());
        let other = thread::spawn(move || {
            subscriber.subscribed(&mut interests[1], &"*".into());
            said.store(true, Ordering::Release);
        });
        let heard = heard.load(Ordering::Acquire);
        let found = publisher.elsewhere(TOPIC, None);
        assert!(
            !heard || found.iter().eq([0]),
            "it was confirmed, and is not found"
        );
        other.join().unwrap();
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
    });
}

#[test]
fn cores_that_come_and_go_at_one_time_leave_the_right_ones() {
    loom::model(|| {
        let (registry, leaving, staying) = cores();
        let mut left = TopicInterest::default();
        leaving.subscribed(&mut left, &TOPIC.into());
        let other = thread::spawn(move || leaving.unsubscribed(&mut left, TOPIC, true));
        let mut interest = TopicInterest::default();
        staying.subscribed(&mut interest, &TOPIC.into());
        assert!(registry.cores(TOPIC).iter().any(|core| core == 1));
        other.join().unwrap();
        assert!(registry.cores(TOPIC).iter().eq([1]));
        assert_eq!((registry.subscribers(TOPIC), registry.len()), (1, 1));
        staying.unsubscribed(&mut interest, TOPIC, true);
        assert_eq!((registry.subscribers(TOPIC), registry.len()), (0, 0));
    });
}

/// A subscriber goes over from the topic to a pattern and back, and is subscribed to one of them all the time.
#[test]
fn whoever_goes_over_to_a_pattern_is_reached_on_the_way() {
    loom::model(|| {
        let (registry, subscriber, mut publisher) = cores();
        let (mut topic, mut pattern) = (TopicInterest::default(), TopicInterest::default());
        subscriber.subscribed(&mut topic, &TOPIC.into());
        // What there was before is remembered.
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]));
        let other = thread::spawn(move || {
            subscriber.subscribed(&mut pattern, &"*".into());
            subscriber.unsubscribed(&mut topic, TOPIC, true);
            let mut topic = TopicInterest::default();
            subscriber.subscribed(&mut topic, &TOPIC.into());
            subscriber.unsubscribed(&mut pattern, "*", true);
        });
        assert!(publisher.elsewhere(TOPIC, None).iter().eq([0]), "a core");
        assert!(registry.cores(TOPIC).iter().eq([0]), "a thread");
        other.join().unwrap();
    });
}
