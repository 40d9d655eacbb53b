//! The last message of topics whose publisher wants it kept for those who subscribe later. It lies with its topic, which
//! stays in the table for it.

use bytes::Bytes;
use corecast_topics::TopicId;

use super::compression::Wire;
use super::hub::Hub;

/// What keeping a message takes beside its bytes and its topic's name: the topic, and its places among names and levels.
const OVERHEAD: usize = 320;

/// What all retained messages of a core take.
#[derive(Debug)]
pub(crate) struct Retained {
    bytes: usize,
    limit: usize,
}

impl Retained {
    /// None so far, and at most so many bytes of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: 0, limit }
    }

    /// What they take.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A topic's last message.
#[derive(Debug)]
pub(crate) struct LastMessage {
    /// As it is.
    frame: Bytes,
    /// In the usual compressed form, once somebody has needed it.
    deflated: Option<Bytes>,
}

impl Hub {
    /// Keeps an encoded message in place of the topic's last one. `false` when there is no room: then neither is kept,
    /// since the last one is not the last any more.
    pub(crate) fn retain(&mut self, topic: &str, frame: &Bytes) -> bool {
        self.discard_retained(topic);
        let bytes = self.weight(topic, frame);
        if self.retained.bytes + bytes > self.retained.limit {
            return false;
        }
        let Some(id) = self.topics.pin(topic) else {
            return false;
        };
        self.topics.data_mut(id).retained = Some(LastMessage {
            frame: frame.clone(),
            deflated: None,
        });
        self.retained.bytes += bytes;
        true
    }

    /// Keeps nothing of a topic any more on this core.
    pub(crate) fn discard_retained(&mut self, topic: &str) {
        if let Some(id) = self.topics.id(topic)
            && let Some(last) = self.topics.data_mut(id).retained.take()
        {
            self.retained.bytes -= self.weight(topic, &last.frame);
            self.topics.unpin(id);
        }
    }

    /// Sends what was retained of the topics that a filter matches.
    pub(crate) fn send_retained(&mut self, index: u32, filter: &str) {
        let mut topics = Vec::new();
        self.topics.pinned_matching(filter, &mut topics);
        for id in topics {
            if !self.conns[index].is_open() {
                return;
            }
            let wire = self.conns[index].wire;
            if self.conns[index].backlog.is_some() {
                let wire = self.compression.without_context(index, wire);
                if let Some(frame) = self.retained_frame(id, wire) {
                    self.queue(index, &frame, None, self.policy(index, None), &mut 0);
                }
                continue;
            }
            let Some(frame) = self.retained_frame(id, wire) else {
                continue;
            };
            let given = match wire {
                Wire::Own => self.give_own_retained(index, &frame),
                _ => {
                    let encoded = self.output.encode_shared(&frame);
                    self.give(index, encoded)
                }
            };
            if !given {
                self.overflow(index, self.policy(index, None));
            }
        }
    }

    /// What is retained of a topic, in a form that is the same for everybody, and plain for those with a context of their
    /// own. The usual compressed form is kept beside it: when many come back at once, it is made once.
    fn retained_frame(&mut self, id: TopicId, wire: Wire) -> Option<Bytes> {
        let last = self.topics.data(id).retained.as_ref()?;
        match (wire, &last.deflated) {
            (Wire::Plain | Wire::Own, _) => return Some(last.frame.clone()),
            (Wire::Deflate, Some(deflated)) => return Some(deflated.clone()),
            _ => {}
        }
        let frame = last.frame.clone();
        let compressed = self.compressed(wire, &frame);
        if wire == Wire::Deflate
            && let Some(last) = &mut self.topics.data_mut(id).retained
        {
            last.deflated = Some(compressed.clone());
        }
        Some(compressed)
    }

    /// What is kept of the topics that a filter matches.
    #[cfg(test)]
    pub(crate) fn retained_of(&mut self, filter: &str) -> Vec<Bytes> {
        let mut topics = Vec::new();
        self.topics.pinned_matching(filter, &mut topics);
        let messages = topics.into_iter();
        messages
            .filter_map(|id| Some(self.topics.data(id).retained.as_ref()?.frame.clone()))
            .collect()
    }

    /// What keeping a message counts for. The name is there twice: whole, and by its levels. Where clients may have it
    /// compressed, so is the message: in that form it is never longer.
    fn weight(&self, topic: &str, frame: &Bytes) -> usize {
        let forms = 1 + usize::from(self.compression.is_on());
        2 * topic.len() + forms * frame.len() + OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Config, bare};

    fn frame(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn the_last_message_is_kept_until_it_is_discarded() {
        let mut core = bare::core(Config::default());
        let hub = &mut core.hub;
        assert!(hub.retain("a", &frame(1)));
        assert!(hub.retain("a", &frame(2)));
        assert_eq!(hub.retained_of("a"), [frame(2)]);
        hub.discard_retained("a");
        hub.discard_retained("a");
        assert!(hub.retained_of("a").is_empty());
        assert_eq!((hub.retained.bytes(), hub.topics.id("a")), (0, None));
    }

    #[test]
    fn a_wildcard_finds_all_that_it_matches() {
        let mut core = bare::core(Config::default());
        let hub = &mut core.hub;
        for topic in ["room/1", "room/2", "hall"] {
            assert!(hub.retain(topic, &frame(1)));
        }
        assert_eq!(hub.retained_of("room/*").len(), 2);
        assert_eq!(hub.retained_of("#").len(), 3);
        assert_eq!(hub.retained_of("room/3").len(), 0);
    }

    #[test]
    fn memory_is_bounded_and_nothing_outdated_stays() {
        let config = Config {
            max_retained: 2 * (2 + 100 + OVERHEAD),
            ..Config::default()
        };
        let mut core = bare::core(config);
        let hub = &mut core.hub;
        assert!(hub.retain("a", &frame(100)) && hub.retain("b", &frame(100)));
        assert!(!hub.retain("c", &frame(100)));
        assert!(!hub.retain("a", &frame(101)));
        assert!(hub.retained_of("a").is_empty(), "it is not the last");
        assert!(hub.retain("c", &frame(100)));
    }

    #[test]
    fn no_more_is_taken_than_counts() {
        const MANY: usize = 20_000;
        let long = "x".repeat(250);
        // By levels: each alone, all below one, and two below each.
        let shapes: [&dyn Fn(usize) -> String; 4] = [
            &|n| format!("{n:x}"),
            &|n| format!("{n}/{long}"),
            &|n| format!("room/{n}"),
            &|n| (0..15).map(|bit| ["0/", "1/"][n >> bit & 1]).collect(),
        ];
        for name in shapes {
            let mut core = bare::core(Config {
                max_retained: usize::MAX,
                ..Config::default()
            });
            let hub = &mut core.hub;
            for n in 0..MANY {
                assert!(hub.retain(&name(n), &frame(1)));
            }
            // Beside a frame lie its length, its room, a count and what the allocator adds.
            let frames = MANY * (1 + 3 * size_of::<usize>() + 16);
            let memory = hub.topics.memory();
            let takes = memory.topics + memory.subscriptions + frames;
            let counts = hub.retained.bytes();
            assert!(takes <= counts, "{takes} bytes for names like {}", name(1));
        }
    }
}
