//! Subscribers that stop reading: what the server did about them.
//!
//! Nothing is read from them while the run lasts, so what became of them shows only at the end, when
//! they read on.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::dial::Failures;
use crate::clock::{Nanos, nanos};

/// Reading what the server holds for them takes at most this long.
pub(super) const READING: Duration = Duration::from_secs(5);

/// Whoever has not been heard of for so long is still open.
const QUIET: Duration = Duration::from_millis(500);

/// The fates of those that stalled.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Stalled {
    /// How many have joined.
    pub(super) joined: u64,
    /// Closed by the server with a Close frame, by code.
    pub(super) closed: Failures,
    /// Ended by the server without one, by what was seen of it.
    pub(super) cut: Failures,
    /// Whole messages that they had been sent and could still read.
    pub(super) messages: u64,
    /// Those whose fate is known.
    #[serde(skip)]
    known: HashSet<u32>,
    #[serde(skip)]
    heard: Nanos,
    #[serde(skip)]
    finished: bool,
}

impl Stalled {
    /// One has joined.
    pub(super) fn joined(&mut self) {
        self.joined += 1;
    }

    /// Bytes came, or reading begins.
    pub(super) fn heard(&mut self, now: Nanos) {
        self.heard = now;
    }

    /// A message came.
    pub(super) fn message(&mut self) {
        self.messages += 1;
    }

    /// The server's Close frame came, with this code and reason.
    pub(super) fn closed(&mut self, slot: u32, why: String) {
        if self.known.insert(slot) && !self.finished {
            self.closed.add(why);
        }
    }

    /// The connection is gone.
    pub(super) fn ended(&mut self, slot: u32, reason: String) {
        if self.known.insert(slot) && !self.finished {
            self.cut.add(reason);
        }
    }

    /// Whether more may be learnt by reading on.
    pub(super) fn undecided(&self, now: Nanos) -> bool {
        (self.known.len() as u64) < self.joined && now < self.heard + nanos(QUIET)
    }

    /// Those not heard of by now are open; what happens from here on is the client's doing.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Those that the server has kept.
    pub(super) fn open(&self) -> u64 {
        self.joined - self.closed.total() - self.cut.total()
    }

    /// Adds those of another thread.
    pub(super) fn merge(&mut self, other: Self) {
        self.joined += other.joined;
        self.closed.merge(other.closed);
        self.cut.merge(other.cut);
        self.messages += other.messages;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_fate() {
        let mut stalled = Stalled::default();
        (0..3).for_each(|_| stalled.joined());
        stalled.heard(1_000);
        stalled.closed(0, "1013".into());
        stalled.ended(0, "the server ended the connection".into());
        stalled.ended(1, "reset".into());
        assert!(stalled.undecided(2_000));
        assert!(!stalled.undecided(1_000 + nanos(QUIET)));
        stalled.finish();
        stalled.ended(2, "our own doing".into());
        assert_eq!(stalled.closed.by_count(), [("1013", 1)]);
        assert_eq!(stalled.cut.by_count(), [("reset", 1)]);
        assert_eq!(stalled.open(), 1);
    }
}
