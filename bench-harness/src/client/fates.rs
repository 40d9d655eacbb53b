//! What became of a thread's connections.

use serde::{Deserialize, Serialize};

use super::dial::Failures;
use super::links::OpenTimes;
use crate::stats::phases::ConnectTimes;

/// How long connections took to open, and why others did not open or did not stay.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fates {
    /// Of those that opened.
    pub(crate) times: ConnectTimes,
    /// Those that were never open.
    pub(crate) refused: Failures,
    /// Those that were, and failed.
    pub(crate) broken: Failures,
}

impl Fates {
    /// One is open.
    pub(crate) fn opened(&mut self, times: OpenTimes) {
        times.record(&mut self.times);
    }

    /// One has ended, which it should not have. `opened` says whether it ever was ready.
    pub(crate) fn ended(&mut self, opened: bool, reason: String) {
        if opened {
            self.broken.add(reason);
        } else {
            self.refused.add(reason);
        }
    }

    /// How many have failed.
    pub(crate) fn errors(&self) -> u64 {
        self.refused.total() + self.broken.total()
    }

    /// Those that were never open, and those that were.
    pub(crate) fn failures(&self) -> [&Failures; 2] {
        [&self.refused, &self.broken]
    }

    /// Adds what became of another thread's.
    pub(crate) fn merge(&mut self, other: Self) {
        self.times.merge(&other.times);
        self.refused.merge(other.refused);
        self.broken.merge(other.broken);
    }
}
