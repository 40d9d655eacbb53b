//! The table beside its obvious twin.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Few enough of each that connections and topics meet often, and that lists grow, shrink and empty.
const CONNECTIONS: u32 = 6;
const NAMES: [&str; 14] = [
    "", "a", "b", "a/b", "a/b/c", "a/c", "ä/ß", "*", "#", "a/*", "a/#", "*/b", "*/b/#", "a/b/*",
];

/// What bulk steps reach: beyond the length at which lists become vectors.
const MANY: u32 = 40;

const MAX_STEPS: usize = if cfg!(miri) { 20 } else { 300 };

#[derive(Debug, Clone, Copy)]
enum Step {
    Subscribe(u32, &'static str),
    SubscribeMany(&'static str),
    Unsubscribe(u32, &'static str),
    UnsubscribeMany(&'static str),
    Remove(u32),
    SetSlow(u32, bool),
    Pin(&'static str),
    Unpin(&'static str),
}

#[derive(Debug, Default)]
struct Model {
    subscribers: BTreeMap<&'static str, BTreeSet<u32>>,
    slow: BTreeSet<u32>,
    pinned: BTreeSet<&'static str>,
}

proptest! {
    #[test]
    fn behaves_as_sets_of_connections(steps in prop::collection::vec(step(), 1..MAX_STEPS)) {
        let mut topics = Topics::new();
        let mut model = Model::default();
        for step in steps {
            apply(&mut topics, &mut model, step);
            assert_same(&mut topics, &model);
            assert_ends_agree(&topics);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let conn = || 0..CONNECTIONS;
    let name = || prop::sample::select(&NAMES[..]);
    prop_oneof![
        12 => (conn(), name()).prop_map(|(c, n)| Step::Subscribe(c, n)),
        9 => (conn(), name()).prop_map(|(c, n)| Step::Unsubscribe(c, n)),
        3 => conn().prop_map(Step::Remove),
        3 => (conn(), any::<bool>()).prop_map(|(c, slow)| Step::SetSlow(c, slow)),
        2 => name().prop_map(Step::Pin),
        2 => name().prop_map(Step::Unpin),
        1 => name().prop_map(Step::SubscribeMany),
        1 => name().prop_map(Step::UnsubscribeMany),
    ]
}

/// The data of each topic is the length of its name, set when the topic is made: so freed ones are noticed.
fn apply(topics: &mut Topics<Option<usize>>, model: &mut Model, step: Step) {
    match step {
        Step::Subscribe(conn, name) => subscribe(topics, model, conn, name),
        Step::SubscribeMany(name) => {
            (0..MANY).for_each(|conn| subscribe(topics, model, conn, name));
        }
        Step::Unsubscribe(conn, name) => unsubscribe(topics, model, conn, name),
        Step::UnsubscribeMany(name) => {
            (0..MANY).for_each(|conn| unsubscribe(topics, model, conn, name));
        }
        Step::Remove(conn) => {
            let mut left = BTreeSet::new();
            topics.remove(conn, |name| assert!(left.insert(name.to_owned())));
            assert_eq!(left, model.remove(conn));
        }
        Step::SetSlow(conn, slow) => {
            topics.set_slow(conn, slow);
            model.slow.remove(&conn);
            model.slow.extend(slow.then_some(conn));
        }
        Step::Pin(name) => {
            let id = topics.pin(name).unwrap();
            *topics.data_mut(id) = Some(name.len());
            model.pinned.insert(name);
        }
        Step::Unpin(name) => {
            if let Some(id) = topics.id(name) {
                topics.unpin(id);
            }
            model.pinned.remove(name);
        }
    }
}

fn subscribe(topics: &mut Topics<Option<usize>>, model: &mut Model, conn: u32, name: &'static str) {
    let members = model.subscribers.entry(name).or_default();
    let (first, new) = (members.is_empty(), members.insert(conn));
    match topics.subscribe(conn, name) {
        Subscribed::New {
            id,
            first: was_first,
        } => {
            assert!(new);
            assert_eq!(was_first, first);
            *topics.data_mut(id) = Some(name.len());
        }
        Subscribed::Already(id) => {
            assert!(!new);
            assert_eq!(topics.id(name), Some(id));
        }
        Subscribed::Full => panic!("there is room"),
    }
}

fn unsubscribe(
    topics: &mut Topics<Option<usize>>,
    model: &mut Model,
    conn: u32,
    name: &'static str,
) {
    let id = topics.id(name);
    let left = topics.unsubscribe(conn, name);
    let known = model
        .subscribers
        .get_mut(name)
        .is_some_and(|members| members.remove(&conn));
    assert_eq!(left.is_some(), known);
    let emptied = model.forget_empty();
    if let Some(left) = left {
        assert_eq!(Some(left.id), id);
        assert_eq!(&*left.name, name);
        assert_eq!(left.last, !emptied.is_empty());
    }
}

impl Model {
    /// The names that nobody is subscribed to any more.
    fn remove(&mut self, conn: u32) -> BTreeSet<String> {
        self.subscribers.values_mut().for_each(|members| {
            members.remove(&conn);
        });
        self.slow.remove(&conn);
        self.forget_empty()
    }

    fn forget_empty(&mut self) -> BTreeSet<String> {
        let mut empty = BTreeSet::new();
        self.subscribers.retain(|name, members| {
            if members.is_empty() {
                empty.insert((*name).to_owned());
            }
            !members.is_empty()
        });
        empty
    }

    fn of(&self, name: &str, slow: bool) -> Vec<u32> {
        let members = self.subscribers.get(name).into_iter().flatten();
        members
            .copied()
            .filter(|conn| self.slow.contains(conn) == slow)
            .collect()
    }
}

fn assert_same(topics: &mut Topics<Option<usize>>, model: &Model) {
    assert_eq!(topics.len(), model.subscribers.len());
    assert_eq!(topics.is_empty(), model.subscribers.is_empty());
    for name in NAMES {
        assert_same_topic(topics, model, name);
        assert_same_matches(topics, model, name);
    }
    // Those that bulk steps reach are alike: a few of them will do.
    for conn in (0..CONNECTIONS).chain((CONNECTIONS..MANY).step_by(11)) {
        assert_same_connection(topics, model, conn);
    }
    let patterns = model.subscribers.keys().any(|name| is_pattern(name));
    assert_eq!(topics.has_patterns(), patterns);
}

fn assert_same_topic(topics: &Topics<Option<usize>>, model: &Model, name: &str) {
    let members = model.subscribers.get(name).map_or(0, BTreeSet::len);
    assert_eq!(topics.subscriber_count(name), members);
    let Some(id) = topics.id(name) else {
        assert_eq!(members, 0);
        assert!(!model.pinned.contains(name));
        return;
    };
    assert!(members > 0 || model.pinned.contains(name));
    assert_eq!(topics.is_pinned(id), model.pinned.contains(name));
    assert_eq!(&**topics.name(id), name);
    assert_eq!(*topics.data(id), Some(name.len()));
    assert_eq!(topics.count(id), members);
    assert_eq!(conns(topics.slow(id)), model.of(name, true));
    assert_eq!(conns(topics.fast(id)), model.of(name, false));
}

/// As a name, and as a filter.
fn assert_same_matches(topics: &mut Topics<Option<usize>>, model: &Model, name: &str) {
    let mut found = Vec::new();
    topics.matching(name, &mut found);
    let receivers = model
        .subscribers
        .keys()
        .copied()
        .filter(|filter| matches(filter, name));
    assert_eq!(names(topics, &found), receivers.collect::<Vec<_>>());
    found.clear();
    topics.pinned_matching(name, &mut found);
    let retained = model
        .pinned
        .iter()
        .copied()
        .filter(|pinned| matches(name, pinned));
    assert_eq!(names(topics, &found), retained.collect::<Vec<_>>());
}

fn names<'a, T>(topics: &'a Topics<T>, ids: &[TopicId]) -> Vec<&'a str> {
    let mut names: Vec<&str> = ids.iter().map(|&id| &**topics.name(id)).collect();
    names.sort_unstable();
    names
}

fn assert_same_connection(topics: &Topics<Option<usize>>, model: &Model, conn: u32) {
    let ids: Vec<TopicId> = topics.ids_of(conn).collect();
    let joined = model
        .subscribers
        .iter()
        .filter(|(_, members)| members.contains(&conn));
    let joined: Vec<&str> = joined.map(|(name, _)| *name).collect();
    assert_eq!(names(topics, &ids), joined, "topics of {conn}");
    assert_eq!(topics.topics_of(conn).len(), joined.len());
    assert_eq!(topics.subscriptions_of(conn), joined.len());
    assert_eq!(topics.is_slow(conn), model.slow.contains(&conn));
    if conn < CONNECTIONS {
        for name in NAMES {
            assert_eq!(topics.is_subscribed(conn, name), joined.contains(&name));
        }
    }
}
