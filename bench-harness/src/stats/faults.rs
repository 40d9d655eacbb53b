//! Messages that did not come once and in order.

use serde::{Deserialize, Serialize};

/// What was wrong with what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Messages that never came.
    pub(crate) lost: u64,
    /// Messages that came once more.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
}

impl Faults {
    /// Adds those of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }

    /// Everything that was wrong.
    pub(crate) fn total(&self) -> u64 {
        self.lost + self.duplicated + self.reordered
    }
}
