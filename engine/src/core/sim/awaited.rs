//! What a peer is still to get, in which order, and what of it may have been thrown away.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use corecast_protocol::server_header_len;

/// A data message.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: bool,
    pub(super) payload: Bytes,
}

impl Said {
    /// Bytes that it takes on the wire as it is.
    pub(super) fn frame_len(&self) -> usize {
        server_header_len(self.payload.len()) + self.payload.len()
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.payload[..self.payload.len().min(24)];
        write!(
            f,
            "{} bytes {:?}",
            self.payload.len(),
            String::from_utf8_lossy(start)
        )
    }
}

/// What makes messages replace each other: their topic, which those to one connection alone do not have, and the
/// application's key.
pub(super) type Key = (Option<usize>, Option<u64>);

/// A message on its way to a peer.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) said: Said,
    /// Bytes that it counts for where it waits.
    pub(super) len: usize,
    /// It must not refer to other messages.
    pub(super) alone: bool,
    /// The topic that it was published to. Messages of different topics may overtake each other.
    pub(super) topic: Option<usize>,
    /// Where it lies in a backlog as the latest of its key.
    pub(super) key: Option<Key>,
    /// The core's turn in which it was accepted.
    pub(super) turn: u32,
    /// It may have to go for a later one.
    pub(super) droppable: bool,
    /// When it has to go out at the latest, if it does not wait for the peer.
    pub(super) due: Option<Duration>,
}

/// Messages on their way to a peer.
#[derive(Debug)]
pub(super) struct Awaited {
    messages: VecDeque<Accepted>,
    /// Bytes that were thrown away of those that are still in `messages`.
    lost: usize,
    /// How many messages the server said it has thrown away, if it was said for this connection alone, and how many were
    /// missed.
    told: Option<u64>,
    missed: u64,
    /// So many control frames waited that some of them may be among what was thrown away.
    flooded: bool,
}

impl Default for Awaited {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            lost: 0,
            told: Some(0),
            missed: 0,
            flooded: false,
        }
    }
}

/// What was accepted.
impl Awaited {
    pub(super) fn push(&mut self, accepted: Accepted) {
        self.messages.push_back(accepted);
    }

    pub(super) fn contains(&self, said: &Said) -> bool {
        self.messages.iter().any(|accepted| accepted.said == *said)
    }

    /// The last message of a key, unless it has arrived.
    pub(super) fn latest(&self, key: Key) -> Option<&Accepted> {
        let mut latest_first = self.messages.iter().rev();
        latest_first.find(|accepted| accepted.key == Some(key))
    }

    /// A message takes the place of the last one of its key.
    pub(super) fn replace(&mut self, key: Key, accepted: Accepted) {
        let position = self.messages.iter().rposition(|a| a.key == Some(key));
        self.messages[position.expect("one was found")] = accepted;
    }

    /// Messages of so many bytes were thrown away for a later one; `count` is how many, if that is known.
    pub(super) fn lose(&mut self, bytes: usize, count: Option<u64>) {
        self.lost += bytes;
        self.told = self.told.zip(count).map(|(told, count)| told + count);
    }

    /// Control frames may be among what is thrown away.
    pub(super) fn flood(&mut self) {
        self.flooded = true;
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.flooded
    }
}

/// What waits for others, to go out with them.
impl Awaited {
    /// Bytes that may still wait after a turn that began at this time.
    pub(super) fn not_due(&self, turn_began: Duration) -> usize {
        let messages = self.messages.iter();
        let waiting = messages.filter(|accepted| accepted.due.is_some_and(|due| due >= turn_began));
        waiting.map(|accepted| accepted.len).sum()
    }

    /// The peer does not read, so whatever is on its way waits for that.
    pub(super) fn wait_for_peer(&mut self) {
        for accepted in &mut self.messages {
            accepted.due = None;
        }
    }
}

/// What arrives.
impl Awaited {
    /// Whether nothing is on its way: what has not arrived was thrown away.
    pub(super) fn is_complete(&self) -> bool {
        let bytes = self.bytes();
        let explained = bytes == self.lost || (self.flooded && bytes < self.lost);
        explained && self.messages.iter().all(|accepted| accepted.droppable)
    }

    fn bytes(&self) -> usize {
        let lens = self.messages.iter().map(|a| a.len);
        lens.sum()
    }

    /// Nothing is on its way any more, so that what was told can be compared with what was missed.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if !self.is_complete() {
            return Err(format!("not all has arrived: {self:?}"));
        }
        self.missed += self.messages.len() as u64;
        if self.told.is_some_and(|told| told != self.missed) && !self.flooded {
            return Err(format!(
                "{:?} were dropped, and {} are missing",
                self.told, self.missed
            ));
        }
        *self = Self::default();
        Ok(())
    }

    /// A message arrives; `None` when it must not come now. What was sent to the peer alone overtakes nothing and is
    /// overtaken by nothing, and what was published to a topic nothing of that topic, but for what was thrown away.
    pub(super) fn arrive(&mut self, said: &Said) -> Option<Accepted> {
        let (position, missing) = self.find(said)?;
        for &missing in missing.iter().rev() {
            let missing = self.messages.remove(missing).expect("found just now");
            self.lost -= missing.len;
            self.missed += 1;
        }
        self.messages.remove(position - missing.len())
    }

    /// Where the message is that arrives, and those before it that should have come first.
    fn find(&self, said: &Said) -> Option<(usize, Vec<usize>)> {
        for (position, accepted) in self.messages.iter().enumerate() {
            if accepted.said == *said {
                let missing = self.missing_before(position);
                let lens = missing.iter().map(|&m| self.messages[m].len);
                let may_be = missing.iter().all(|&m| self.messages[m].droppable)
                    && lens.sum::<usize>() <= self.lost;
                if may_be {
                    return Some((position, missing));
                }
            }
            if self.lost == 0 && accepted.topic.is_none() {
                // Nothing behind it may come.
                return None;
            }
        }
        None
    }

    /// Those that a message has to wait for.
    fn missing_before(&self, position: usize) -> Vec<usize> {
        let topic = self.messages[position].topic;
        let before = || self.messages.iter().take(position).enumerate();
        let barrier = match topic {
            None => position,
            Some(_) => before()
                .filter(|(_, accepted)| accepted.topic.is_none())
                .last()
                .map_or(0, |(alone, _)| alone + 1),
        };
        before()
            .filter(|&(at, accepted)| at < barrier || accepted.topic == topic)
            .map(|(at, _)| at)
            .collect()
    }
}
