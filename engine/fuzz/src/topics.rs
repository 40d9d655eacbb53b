//! The topic table, beside a map of sets.
//!
//! Input: operations of three bytes each: what, which connection, which topic.

use std::collections::{BTreeMap, BTreeSet};

use corecast_topics::Topics;

use crate::input::Reader;

/// Operations at most: enough to fill lists beyond the size at which they begin to give memory back.
const MAX_STEPS: usize = 600;

/// The whole table is compared after so many operations, and at the end.
const COMPARE_EVERY: usize = 32;

/// Connections that one bulk operation touches.
const BULK: u32 = 80;

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
    table: Topics,
    model: BTreeMap<String, BTreeSet<u32>>,
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
        other => format!("room/{other}"),
    }
}

impl Pair {
    fn step(&mut self, what: u8, conn: u32, topic: &str) {
        match what % 8 {
            0..=2 => self.subscribe(conn, topic),
            3 | 4 => self.unsubscribe(conn, topic),
            5 => self.remove(conn),
            6 => (conn..conn + BULK).for_each(|conn| self.subscribe(conn, topic)),
            _ => (conn..conn + BULK).for_each(|conn| self.unsubscribe(conn, topic)),
        }
        let members = self.model.get(topic).map_or(0, BTreeSet::len);
        assert_eq!(self.table.subscriber_count(topic), members, "{topic:?}");
    }

    fn subscribe(&mut self, conn: u32, topic: &str) {
        let new = match self.model.get_mut(topic) {
            Some(members) => members.insert(conn),
            None => {
                self.model.insert(topic.to_owned(), BTreeSet::from([conn]));
                true
            }
        };
        assert_eq!(self.table.subscribe(conn, topic), new);
        assert!(self.table.is_subscribed(conn, topic));
    }

    fn unsubscribe(&mut self, conn: u32, topic: &str) {
        let known = self
            .model
            .get_mut(topic)
            .is_some_and(|members| members.remove(&conn));
        assert_eq!(self.table.unsubscribe(conn, topic), known);
        assert!(!self.table.is_subscribed(conn, topic));
        if self.model.get(topic).is_some_and(BTreeSet::is_empty) {
            self.model.remove(topic);
        }
    }

    fn remove(&mut self, conn: u32) {
        for members in self.model.values_mut() {
            members.remove(&conn);
        }
        self.model.retain(|_, members| !members.is_empty());
        self.table.remove(conn);
    }

    fn compare(&self) {
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.table.is_empty(), self.model.is_empty());
        let everyone: BTreeSet<u32> = self.model.values().flatten().copied().collect();
        for topic in self.model.keys() {
            self.compare_topic(topic);
        }
        for conn in everyone {
            self.compare_connection(conn);
        }
    }

    fn compare_topic(&self, topic: &str) {
        let found = self.table.subscribers(topic);
        let set: BTreeSet<u32> = found.iter().map(|s| s.conn()).collect();
        let nobody = BTreeSet::new();
        assert_eq!(&set, self.model.get(topic).unwrap_or(&nobody), "{topic:?}");
        assert_eq!(found.len(), set.len(), "{topic:?}: somebody twice");
        assert_eq!(self.table.subscriber_count(topic), set.len());
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

    /// Connection by connection, as when a server goes down.
    fn empty(mut self) {
        let everyone: BTreeSet<u32> = self.model.values().flatten().copied().collect();
        for conn in everyone {
            self.remove(conn);
            self.compare_connection(conn);
        }
        assert!(self.model.is_empty());
        self.compare();
    }
}
