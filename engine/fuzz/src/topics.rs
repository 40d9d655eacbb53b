//! The topic table, beside a map of sets.
//!
//! Input: operations of three bytes each: what, which connection, which topic.

use std::collections::{BTreeMap, BTreeSet};

use corecast_topics::{Subscribed, TopicId, Topics, matches};

use crate::input::Reader;

/// Operations at most: enough to fill lists beyond the size at which they begin to give memory back.
const MAX_STEPS: usize = 600;

/// The whole table is compared after so many operations, and at the end.
const COMPARE_EVERY: usize = 32;

/// Connections that one bulk operation touches.
const BULK: u32 = 80;

/// Names and filters that meet each other at every level.
const FILTERS: [&str; 16] = [
    "*", "#", "room/*", "room/#", "*/*", "*/#", "room/2/#", "room/2/*", "room", "room/2/a",
    "room/*/a", "/", "#/a", "room/#/a", "*/2/*/#", "room/",
];

/// Runs the operations on both, and empties the table in the end.
///
/// # Panics
/// When table and model differ.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut pair = Pair::default();
    for step in 0..MAX_STEPS {
        if reader.is_empty() {
            break;
        }
        let [what, conn, topic] = reader.array();
        pair.step(what, connection(conn), &name(topic));
        if step % COMPARE_EVERY == 0 {
            pair.compare();
        }
    }
    pair.compare();
    pair.empty();
}

/// Table and model, changed together.
#[derive(Default)]
struct Pair {
    /// With the length of each topic's name.
    table: Topics<Option<usize>>,
    model: BTreeMap<String, BTreeSet<u32>>,
    slow: BTreeSet<u32>,
    pinned: BTreeSet<String>,
}

/// Mostly neighbours, as in a slab, and a few far away.
fn connection(byte: u8) -> u32 {
    match byte {
        0..=250 => byte.into(),
        far => 1000 * u32::from(far - 250),
    }
}

fn name(byte: u8) -> String {
    match byte {
        0 => String::new(),
        1 => "ä/ß".repeat(100),
        2..240 => format!("room/{byte}"),
        filter => FILTERS[usize::from(filter) - 240].to_owned(),
    }
}

impl Pair {
    fn step(&mut self, what: u8, conn: u32, topic: &str) {
        match what % 16 {
            0..=2 => self.subscribe(conn, topic),
            3 | 4 => self.unsubscribe(conn, topic),
            5 => self.remove(conn),
            6 => (conn..conn + BULK).for_each(|conn| self.subscribe(conn, topic)),
            7 => (conn..conn + BULK).for_each(|conn| self.unsubscribe(conn, topic)),
            8 => self.set_slow(conn, true),
            9 => self.set_slow(conn, false),
            10 => self.pin(topic),
            11 => self.unpin(topic),
            12 | 13 => self.compare_receivers(topic),
            _ => self.compare_pinned(topic),
        }
        let members = self.model.get(topic).map_or(0, BTreeSet::len);
        assert_eq!(self.table.subscriber_count(topic), members, "{topic:?}");
    }

    fn subscribe(&mut self, conn: u32, topic: &str) {
        let members = self.model.entry(topic.to_owned()).or_default();
        let (nobody, new) = (members.is_empty(), members.insert(conn));
        match self.table.subscribe(conn, topic) {
            Subscribed::New { id, first } => {
                assert!(new, "{conn} {topic:?}");
                assert_eq!(first, nobody, "{topic:?}");
                *self.table.data_mut(id) = Some(topic.len());
            }
            Subscribed::Already(_) => assert!(!new, "{conn} {topic:?}"),
            Subscribed::Full => panic!("there is room"),
        }
        assert!(self.table.is_subscribed(conn, topic));
    }

    fn unsubscribe(&mut self, conn: u32, topic: &str) {
        let members = self.model.get_mut(topic);
        let known = members.is_some_and(|members| members.remove(&conn));
        let emptied = self.model.get(topic).is_some_and(BTreeSet::is_empty);
        if emptied {
            self.model.remove(topic);
        }
        let left = self.table.unsubscribe(conn, topic);
        assert_eq!(left.is_some(), known);
        if let Some(left) = left {
            assert_eq!(&*left.name, topic);
            assert_eq!(left.last, emptied, "{topic:?}");
        }
        assert!(!self.table.is_subscribed(conn, topic));
    }

    fn remove(&mut self, conn: u32) {
        let mut emptied = BTreeSet::new();
        self.model.retain(|topic, members| {
            if members.remove(&conn) && members.is_empty() {
                emptied.insert(topic.clone());
            }
            !members.is_empty()
        });
        let left = |topic: &str| assert!(emptied.remove(topic), "{topic:?} has a subscriber");
        self.table.remove(conn, left);
        assert!(emptied.is_empty(), "not told of {emptied:?}");
        self.slow.remove(&conn);
    }

    fn set_slow(&mut self, conn: u32, slow: bool) {
        self.table.set_slow(conn, slow);
        self.slow.remove(&conn);
        self.slow.extend(slow.then_some(conn));
    }

    fn pin(&mut self, topic: &str) {
        let id = self.table.pin(topic).expect("there is room");
        *self.table.data_mut(id) = Some(topic.len());
        self.pinned.insert(topic.to_owned());
    }

    fn unpin(&mut self, topic: &str) {
        if let Some(id) = self.table.id(topic) {
            self.table.unpin(id);
        }
        self.pinned.remove(topic);
    }

    fn compare_receivers(&mut self, name: &str) {
        let mut found = Vec::new();
        self.table.matching(name, &mut found);
        let fitting = self.model.keys().filter(|filter| matches(filter, name));
        assert_eq!(self.names(&found), fitting.collect::<Vec<_>>(), "{name:?}");
    }

    fn compare_pinned(&mut self, filter: &str) {
        let mut found = Vec::new();
        self.table.pinned_matching(filter, &mut found);
        let fitting = self.pinned.iter().filter(|name| matches(filter, name));
        assert_eq!(
            self.names(&found),
            fitting.collect::<Vec<_>>(),
            "{filter:?}"
        );
    }

    fn names(&self, ids: &[TopicId]) -> Vec<&str> {
        let mut names: Vec<&str> = ids.iter().map(|&id| &**self.table.name(id)).collect();
        names.sort_unstable();
        names
    }

    fn compare(&self) {
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.table.is_empty(), self.model.is_empty());
        let everyone: BTreeSet<u32> = self.model.values().flatten().copied().collect();
        for topic in self.model.keys().chain(&self.pinned) {
            self.compare_topic(topic);
        }
        for conn in everyone {
            self.compare_connection(conn);
        }
    }

    fn compare_topic(&self, topic: &str) {
        let id = self.table.id(topic).expect("a topic that is needed");
        assert_eq!(&**self.table.name(id), topic);
        assert_eq!(*self.table.data(id), Some(topic.len()), "{topic:?}");
        assert_eq!(self.table.is_pinned(id), self.pinned.contains(topic));
        let nobody = BTreeSet::new();
        let members = self.model.get(topic).unwrap_or(&nobody);
        for (slow, found) in [(true, self.table.slow(id)), (false, self.table.fast(id))] {
            let set: BTreeSet<u32> = found.iter().map(|s| s.conn()).collect();
            let expected = members
                .iter()
                .filter(|conn| self.slow.contains(conn) == slow);
            assert!(set.iter().eq(expected), "{topic:?}: {set:?}");
            assert_eq!(found.len(), set.len(), "{topic:?}: somebody twice");
        }
        assert_eq!(self.table.count(id), members.len());
    }

    fn compare_connection(&self, conn: u32) {
        let found = self.table.topics_of(conn);
        let len = found.len();
        let set: BTreeSet<&str> = found.collect();
        let members = self.model.iter().filter(|(_, set)| set.contains(&conn));
        let expected: BTreeSet<&str> = members.map(|(topic, _)| topic.as_str()).collect();
        assert_eq!(set, expected, "topics of {conn}");
        assert_eq!(len, set.len(), "a topic of {conn} twice");
    }

    /// Connection by connection, as when a server goes down; then what is pinned.
    fn empty(mut self) {
        let everyone: BTreeSet<u32> = self.model.values().flatten().copied().collect();
        for conn in everyone {
            self.remove(conn);
            self.compare_connection(conn);
        }
        assert!(self.model.is_empty());
        self.compare();
        for topic in self.pinned.clone() {
            self.unpin(&topic);
            assert_eq!(self.table.id(&topic), None);
        }
        assert!(!self.table.has_patterns());
    }
}
