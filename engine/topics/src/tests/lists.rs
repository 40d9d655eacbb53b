//! Lists of all lengths: where they lie, and what they give back.

use super::*;

#[test]
fn one_subscription_needs_no_list_of_its_own() {
    let mut topics: Topics = Topics::new();
    for conn in 0..CROWD / 10 {
        topics.subscribe(conn, "a");
    }
    let before = topics.by_conn.memory().0;
    topics.subscribe(7, "b");
    topics.unsubscribe(7, "a");
    assert_eq!(topics.topics_of(7).collect::<Vec<_>>(), ["b"]);
    // Only the second subscription made a list, and it is free again.
    assert_eq!(topics.by_conn.memory().0, before);
}

/// Up through every length of a block to vectors and down again, many owners at each length.
#[test]
fn lists_of_every_length_keep_their_entries() {
    // Beyond the longest block in any case.
    const LONGEST: u32 = if cfg!(miri) { 36 } else { 70 };
    let mut topics: Topics = Topics::new();
    let name = |number: u32| format!("topic {number}");
    for number in 0..LONGEST {
        for conn in number..LONGEST {
            topics.subscribe(conn, &name(number));
        }
    }
    assert!(topics.by_conn.large() > 0 && topics.by_topic.large() > 0);
    assert_ends_agree(&topics);
    for conn in 0..LONGEST {
        let mut found: Vec<String> = topics.topics_of(conn).map(str::to_owned).collect();
        let mut expected: Vec<String> = (0..=conn).map(name).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    for conn in (0..LONGEST).step_by(2) {
        for number in (0..=conn).step_by(3) {
            assert!(topics.unsubscribe(conn, &name(number)).is_some());
        }
        if conn % 8 == 0 {
            assert_ends_agree(&topics);
        }
    }
    for conn in 0..LONGEST {
        topics.remove(conn, |_| {});
        assert_eq!(topics.subscriptions_of(conn), 0);
        if conn % 8 == 0 {
            assert_ends_agree(&topics);
        }
    }
    assert!(topics.is_empty());
    assert_eq!(topics.by_conn.large(), 0);
}

#[test]
fn a_topic_that_was_large_gives_its_memory_back() {
    let mut topics: Topics = Topics::new();
    for conn in 0..CROWD {
        topics.subscribe(conn, "crowd");
    }
    let before = topics.by_topic.memory().0;
    for conn in CROWD / 100..CROWD {
        topics.unsubscribe(conn, "crowd");
    }
    assert!(topics.by_topic.memory().0 < before / 10);
    assert_eq!(topics.subscriber_count("crowd"), CROWD as usize / 100);
}

#[test]
fn slow_connections_stay_apart_in_a_crowd() {
    let mut topics: Topics = Topics::new();
    for conn in 0..CROWD {
        topics.set_slow(conn, conn % 3 == 0);
        topics.subscribe(conn, "crowd");
        topics.subscribe(conn, if conn % 2 == 0 { "even" } else { "odd" });
    }
    for conn in (0..CROWD).step_by(7) {
        topics.set_slow(conn, !topics.is_slow(conn));
    }
    for conn in (0..CROWD).step_by(5) {
        topics.remove(conn, |_| {});
        assert!(!topics.is_slow(conn));
    }
    assert_ends_agree(&topics);
    let id = topics.id("crowd").unwrap();
    let left = (0..CROWD).filter(|conn| conn % 5 != 0);
    let (slow, fast): (Vec<u32>, Vec<u32>) =
        left.partition(|conn| (conn % 3 == 0) != (conn % 7 == 0));
    assert_eq!(conns(topics.slow(id)), slow);
    assert_eq!(conns(topics.fast(id)), fast);
}
