use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// Few enough of each that connections and topics meet often, and that lists grow, shrink and empty.
const CONNECTIONS: u32 = 6;
const NAMES: [&str; 7] = ["", "a", "b", "room/1", "room/2", "ä/ß", "*"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Subscribe(u32, &'static str),
    Unsubscribe(u32, &'static str),
    Remove(u32),
}

/// Many connections. Miri is some thousand times slower: enough there for every list to grow and shrink.
const CROWD: u32 = if cfg!(miri) { 2_000 } else { 10_000 };

const MAX_STEPS: usize = if cfg!(miri) { 20 } else { 300 };

/// The obvious twin: sets of connections by name.
type Model = HashMap<&'static str, HashSet<u32>>;

proptest! {
    #[test]
    fn behaves_as_sets_of_connections(steps in prop::collection::vec(step(), 1..MAX_STEPS)) {
        let mut topics = Topics::new();
        let mut model = Model::new();
        for step in steps {
            prop_assert_eq!(apply(&mut topics, step), apply_to_model(&mut model, step));
            assert_same(&topics, &model);
            assert_sides_agree(&topics);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let conn = 0..CONNECTIONS;
    let name = prop::sample::select(&NAMES[..]);
    prop_oneof![
        5 => (conn.clone(), name.clone()).prop_map(|(c, n)| Step::Subscribe(c, n)),
        3 => (conn.clone(), name).prop_map(|(c, n)| Step::Unsubscribe(c, n)),
        1 => conn.prop_map(Step::Remove),
    ]
}

fn apply(topics: &mut Topics, step: Step) -> bool {
    match step {
        Step::Subscribe(conn, name) => topics.subscribe(conn, name),
        Step::Unsubscribe(conn, name) => topics.unsubscribe(conn, name),
        Step::Remove(conn) => {
            topics.remove(conn);
            true
        }
    }
}

fn apply_to_model(model: &mut Model, step: Step) -> bool {
    let changed = match step {
        Step::Subscribe(conn, name) => model.entry(name).or_default().insert(conn),
        Step::Unsubscribe(conn, name) => model
            .get_mut(name)
            .is_some_and(|members| members.remove(&conn)),
        Step::Remove(conn) => {
            for members in model.values_mut() {
                members.remove(&conn);
            }
            true
        }
    };
    model.retain(|_, members| !members.is_empty());
    changed
}

fn assert_same(topics: &Topics, model: &Model) {
    assert_eq!(topics.len(), model.len());
    assert_eq!(topics.is_empty(), model.is_empty());
    let nobody = HashSet::new();
    for name in NAMES {
        let expected = model.get(name).unwrap_or(&nobody);
        let subscribers = topics.subscribers(name);
        let found: HashSet<u32> = subscribers.iter().map(|s| s.conn()).collect();
        assert_eq!(&found, expected, "subscribers of {name:?}");
        // Nobody twice: the set would hide it.
        assert_eq!(subscribers.len(), expected.len());
        assert_eq!(topics.subscriber_count(name), expected.len());
    }
    for conn in 0..CONNECTIONS {
        let found: HashSet<&str> = topics.topics_of(conn).collect();
        let joined = NAMES
            .into_iter()
            .filter(|n| model.get(n).is_some_and(|m| m.contains(&conn)));
        assert_eq!(found, joined.collect::<HashSet<_>>(), "topics of {conn}");
        assert_eq!(topics.topics_of(conn).len(), found.len());
        for name in NAMES {
            assert_eq!(topics.is_subscribed(conn, name), found.contains(name));
        }
    }
}

/// Every subscription is found from both sides, at the position that the other side tells.
fn assert_sides_agree(topics: &Topics) {
    for (name, &id) in &topics.names {
        let topic = &topics.topics[id.get()];
        assert_eq!(&topic.name, name);
        for (position, subscription) in topic.subscribers.iter().enumerate() {
            let link = topics.connections.of(subscription.conn)[subscription.back as usize];
            assert_eq!(
                link,
                Link {
                    topic: id,
                    position: index(position)
                }
            );
        }
    }
}

#[test]
fn a_topic_is_freed_with_its_last_subscriber() {
    let mut topics = Topics::new();
    for conn in 0..CROWD {
        topics.subscribe(conn, "crowd");
        topics.subscribe(conn, &format!("own/{conn}"));
    }
    assert_eq!(topics.len(), CROWD as usize + 1);
    for conn in 0..CROWD {
        topics.remove(conn);
    }
    assert!(topics.is_empty());
    assert!(topics.names.capacity() <= KEEP_CAPACITY);
    assert!(topics.subscribers("crowd").is_empty());
}

#[test]
fn a_topic_that_was_large_gives_its_memory_back() {
    let mut topics = Topics::new();
    for conn in 0..CROWD {
        topics.subscribe(conn, "crowd");
    }
    for conn in CROWD / 100..CROWD {
        topics.unsubscribe(conn, "crowd");
    }
    let id = topics.names["crowd"];
    assert!(topics.topics[id.get()].subscribers.capacity() <= CROWD as usize / 10);
    assert_eq!(topics.subscriber_count("crowd"), CROWD as usize / 100);
}

#[test]
fn one_subscription_needs_no_list_of_its_own() {
    let mut topics = Topics::new();
    for conn in 0..CROWD / 10 {
        topics.subscribe(conn, "a");
    }
    topics.subscribe(7, "b");
    topics.unsubscribe(7, "a");
    assert_eq!(topics.topics_of(7).collect::<Vec<_>>(), ["b"]);
    // Only the second subscription made a list, and it is free again.
    assert_eq!(
        format!("{:?}", topics.connections).matches("List(").count(),
        0
    );
}

#[test]
fn connections_that_never_subscribed_are_known_to_have_nothing() {
    let mut topics = Topics::new();
    topics.subscribe(2, "a");
    for conn in [0, 1, 3, u32::MAX] {
        assert_eq!(topics.topics_of(conn).len(), 0);
        assert!(!topics.is_subscribed(conn, "a"));
        assert!(!topics.unsubscribe(conn, "a"));
        topics.remove(conn);
    }
    assert_eq!(topics.subscriber_count("a"), 1);
}

#[test]
fn the_hasher_is_the_callers_choice() {
    use std::hash::{BuildHasherDefault, DefaultHasher};
    let mut topics: Topics<BuildHasherDefault<DefaultHasher>> = Topics::default();
    assert!(topics.subscribe(1, "a"));
    assert!(!topics.subscribe(1, "a"));
}
