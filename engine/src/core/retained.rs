//! The last message of topics whose publisher wants it kept for those who subscribe later.

use std::collections::HashMap;

use bytes::Bytes;

/// What keeping a message takes beside its name and its bytes.
const OVERHEAD: usize = 96;

/// Messages by topic, within a bound.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: HashMap<Box<str>, Bytes>,
    bytes: usize,
    limit: usize,
}

impl Retained {
    /// None so far, and at most so many bytes of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            messages: HashMap::new(),
            bytes: 0,
            limit,
        }
    }

    /// Keeps an encoded message in place of the topic's last one. `false` when there is no room: then neither is kept,
    /// since the last one is not the last any more.
    pub(crate) fn keep(&mut self, topic: &str, frame: &Bytes) -> bool {
        self.forget(topic);
        let bytes = weight(topic, frame);
        if self.bytes + bytes > self.limit {
            return false;
        }
        self.bytes += bytes;
        self.messages.insert(topic.into(), frame.clone());
        true
    }

    /// Keeps nothing of a topic any more; whether something was.
    pub(crate) fn forget(&mut self, topic: &str) -> bool {
        let Some(frame) = self.messages.remove(topic) else {
            return false;
        };
        self.bytes -= weight(topic, &frame);
        true
    }

    /// What is kept of the topics that a filter matches.
    pub(crate) fn matching(&self, filter: &str) -> Vec<Bytes> {
        if !corecast_topics::is_pattern(filter) {
            return self.messages.get(filter).cloned().into_iter().collect();
        }
        let all = self.messages.iter();
        let matching = all.filter(|(topic, _)| corecast_topics::matches(filter, topic));
        matching.map(|(_, frame)| frame.clone()).collect()
    }

    /// What all of it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn weight(topic: &str, frame: &Bytes) -> usize {
    topic.len() + frame.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_is_kept_until_it_is_forgotten() {
        let mut retained = Retained::new(1000);
        assert!(retained.keep("a", &Bytes::from_static(b"first")));
        assert!(retained.keep("a", &Bytes::from_static(b"second")));
        assert_eq!(retained.matching("a"), ["second"]);
        assert!(retained.forget("a"));
        assert!(!retained.forget("a"));
        assert!(retained.matching("a").is_empty());
        assert_eq!(retained.bytes(), 0);
    }

    #[test]
    fn a_wildcard_finds_all_that_it_matches() {
        let mut retained = Retained::new(1000);
        for topic in ["room/1", "room/2", "hall"] {
            assert!(retained.keep(topic, &Bytes::from_static(b"news")));
        }
        assert_eq!(retained.matching("room/*").len(), 2);
        assert_eq!(retained.matching("#").len(), 3);
        assert_eq!(retained.matching("room/3").len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_nothing_outdated_stays() {
        let mut retained = Retained::new(2 * (1 + 100 + OVERHEAD));
        let frame = Bytes::from(vec![0; 100]);
        assert!(retained.keep("a", &frame) && retained.keep("b", &frame));
        assert!(!retained.keep("c", &frame));
        assert!(!retained.keep("a", &Bytes::from(vec![0; 101])));
        assert!(retained.matching("a").is_empty(), "it is not the last");
        assert!(retained.keep("c", &frame));
    }
}
