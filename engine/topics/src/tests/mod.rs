mod lists;
mod model;
mod wildcards;

use super::*;

/// Many connections. Miri is some thousand times slower: enough there for every list to grow and shrink.
const CROWD: u32 = if cfg!(miri) { 1_100 } else { 10_000 };

fn conns(subscribers: &[Subscription]) -> Vec<u32> {
    let mut conns: Vec<u32> = subscribers.iter().map(|s| s.conn()).collect();
    conns.sort_unstable();
    conns
}

/// Every subscription is found from both ends, at the position that the other one tells.
fn assert_ends_agree<T>(topics: &Topics<T>) {
    let ids = topics.names.iter().map(TopicId::new);
    let mut halves = 0;
    for id in ids {
        let subscribers = topics.by_topic.of(id.get());
        for (position, half) in subscribers.iter().enumerate() {
            let back = topics.by_conn.of(half.conn())[half.at() as usize];
            assert_eq!(back, Half::new(id.get(), position as u32));
        }
        assert!(topics.slow(id).iter().all(|s| topics.is_slow(s.conn())));
        assert!(!topics.fast(id).iter().any(|s| topics.is_slow(s.conn())));
        halves += subscribers.len();
    }
    assert_eq!(topics.by_topic.count(), halves);
    assert_eq!(topics.by_conn.count(), halves);
}

#[test]
fn a_topic_is_freed_with_its_last_subscriber() {
    let mut topics: Topics = Topics::new();
    for conn in 0..CROWD {
        topics.subscribe(conn, "crowd");
        topics.subscribe(conn, &format!("own/{conn}"));
    }
    assert_eq!(topics.len(), CROWD as usize + 1);
    let mut lost = Vec::new();
    for conn in 0..CROWD {
        topics.remove(conn, |name| lost.push(name.to_owned()));
    }
    assert!(topics.is_empty());
    assert_eq!(topics.id("crowd"), None);
    assert_eq!(lost.len(), CROWD as usize + 1);
    assert!(topics.memory().topics < 4096, "{:?}", topics.memory());
    // What stays is the slot of each connection.
    assert!(topics.memory().subscriptions < 7 * CROWD as usize + 4096);
}

#[test]
fn the_last_subscriber_is_told_from_the_others() {
    let mut topics: Topics = Topics::new();
    let Subscribed::New { id, first: true } = topics.subscribe(1, "a") else {
        panic!("nobody was there");
    };
    assert_eq!(topics.subscribe(1, "a"), Subscribed::Already(id));
    assert_eq!(
        topics.subscribe(2, "a"),
        Subscribed::New { id, first: false }
    );
    let name: Arc<str> = "a".into();
    let left = |last| Left {
        id,
        name: Arc::clone(&name),
        last,
    };
    assert_eq!(topics.unsubscribe(1, "a"), Some(left(false)));
    assert_eq!(topics.unsubscribe(1, "a"), None);
    assert_eq!(topics.unsubscribe(2, "a"), Some(left(true)));
    assert_eq!(topics.id("a"), None);
}

#[test]
fn a_pinned_topic_keeps_its_data() {
    let mut topics: Topics<u8> = Topics::new();
    let id = topics.pin("a").unwrap();
    *topics.data_mut(id) = 7;
    assert!(topics.is_empty());
    assert_eq!(
        topics.subscribe(1, "a"),
        Subscribed::New { id, first: true }
    );
    topics.remove(1, |name| assert_eq!(name, "a"));
    assert_eq!(topics.pin("a"), Some(id));
    assert_eq!(*topics.data(id), 7);
    topics.subscribe(2, "a");
    topics.unpin(id);
    topics.unpin(id);
    assert_eq!(*topics.data(id), 7);
    topics.unsubscribe(2, "a");
    assert_eq!(topics.id("a"), None);
    let id = topics.pin("a").unwrap();
    assert_eq!(*topics.data(id), 0);
}

#[test]
#[should_panic(expected = "this number was freed")]
fn a_freed_topic_is_no_topic() {
    let mut topics: Topics = Topics::new();
    let id = topics.pin("a").unwrap();
    topics.pin("b");
    topics.unpin(id);
    let () = topics.data(id);
}

#[test]
fn connections_beyond_the_limit_are_refused() {
    let mut topics: Topics = Topics::new();
    for conn in [MAX_CONNECTIONS, u32::MAX] {
        assert_eq!(topics.subscribe(conn, "a"), Subscribed::Full);
        topics.set_slow(conn, true);
        assert!(!topics.is_slow(conn));
    }
    assert_eq!(topics.id("a"), None);
    assert_eq!(topics.memory().subscriptions, 0);
}

#[test]
fn topics_beyond_the_limit_are_noticed() {
    let mut pool = Pool::default();
    let ids: Vec<u32> = (1..8).map(|item| pool.insert(item).get()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    assert!(pool.reaches(8));
    assert!(!pool.reaches(9));
    pool.remove(3);
    assert!(!pool.reaches(8));
    assert_eq!(pool.insert(0).get(), 3);
}

#[test]
fn connections_that_never_subscribed_are_known_to_have_nothing() {
    let mut topics: Topics = Topics::new();
    topics.subscribe(2, "a");
    for conn in [0, 1, 3, u32::MAX] {
        assert_eq!(topics.topics_of(conn).len(), 0);
        assert!(!topics.is_subscribed(conn, "a"));
        assert_eq!(topics.unsubscribe(conn, "a"), None);
        topics.remove(conn, |name| panic!("{name:?} has a subscriber"));
    }
    assert_eq!(topics.subscriber_count("a"), 1);
}

#[test]
fn the_hasher_is_the_callers_choice() {
    use std::hash::{BuildHasherDefault, DefaultHasher};
    let mut topics: Topics<(), BuildHasherDefault<DefaultHasher>> = Topics::default();
    topics.subscribe(1, "a");
    assert!(topics.is_subscribed(1, "a"));
}

#[test]
fn names_with_the_same_hash_are_told_apart() {
    #[derive(Default)]
    struct Colliding;
    impl std::hash::Hasher for Colliding {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }
    let mut topics: Topics<(), std::hash::BuildHasherDefault<Colliding>> = Topics::default();
    for (conn, filter) in ["a/b", "a/*", "b/*", "*/b", "c"].into_iter().enumerate() {
        topics.subscribe(conn as u32, filter);
    }
    let mut found = Vec::new();
    topics.matching("a/b", &mut found);
    let mut names: Vec<&str> = found.iter().map(|&id| &**topics.name(id)).collect();
    names.sort_unstable();
    assert_eq!(names, ["*/b", "a/*", "a/b"]);
    topics.unsubscribe(0, "a/b");
    topics.unsubscribe(2, "b/*");
    assert_eq!(topics.id("a/b"), None);
    assert_eq!(topics.subscriber_count("c"), 1);
}
