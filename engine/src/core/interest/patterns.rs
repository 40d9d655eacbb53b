//! Filters with wildcards, and the cores that have a subscriber of them.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use corecast_topics::{Subscribed, TopicId, Topics};

use crate::core::core_set::CoreSet;
use crate::core::sync::{AtomicU64, Mutex};

/// The patterns of all cores. Whoever has matched a topic against them need not do it again before they have changed.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    table: Mutex<Table>,
    /// Counts the changes. Zero is none ever.
    changes: AtomicU64,
}

/// A topic table whose connections are cores.
#[derive(Debug, Default)]
struct Table {
    patterns: Topics,
    /// Memory for the next match.
    matched: Vec<TopicId>,
    /// Cores whose patterns have once been too many for the table: they get everything.
    unknown: CoreSet,
}

impl Patterns {
    /// How often they have changed.
    #[inline]
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The cores that have a subscriber of a pattern which matches the topic, after how many changes that was so, and
    /// what `meanwhile` gives, while no pattern changes.
    pub(super) fn find<R>(&self, topic: &str, meanwhile: impl FnOnce() -> R) -> (CoreSet, u64, R) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        (table.cores(topic), self.changes(), meanwhile())
    }

    pub(super) fn enter(&self, pattern: &str, core: usize) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.patterns.subscribe(core as u32, pattern) == Subscribed::Full {
            table.unknown.insert(core);
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self, pattern: &str, core: usize) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.patterns.unsubscribe(core as u32, pattern);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Table {
    fn cores(&mut self, topic: &str) -> CoreSet {
        self.matched.clear();
        if self.patterns.has_patterns() {
            self.patterns.matching(topic, &mut self.matched);
        }
        let mut cores = self.unknown;
        for &id in &self.matched {
            for subscription in self.patterns.fast(id) {
                cores.insert(subscription.conn() as usize);
            }
        }
        cores
    }
}
