//! Which cores have a subscriber of a topic: what the cores of a server know of each other's topics.
//!
//! The [`Registry`] is shared. A core that gets its first subscriber of a topic enters itself, one that loses its last takes itself
//! out, and both take the lock of one of many shards. Nothing else takes a lock twice for the same topic: [`Interests`], a
//! core's own view, remembers what it found for the topics that it publishes to.
//!
//! A core enters itself before its client can hear of the subscription. So whoever has heard of it, by whatever way, and
//! publishes then on any core or thread, finds the entry: what was written before is seen by whoever was told after.
//! For the same reason whatever says that the remembered is outdated is written before that client is told.
//!
//! A subscriber may go over from a topic to a pattern that matches it, or back, and must not be missed on the way: it has both for
//! a moment, but whoever looks for the one first and for the other then may see neither. So a look at a topic's entry
//! counts if the patterns are found unchanged after it, or cannot change meanwhile.

mod patterns;
mod registry;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core_set::CoreSet;
pub(crate) use registry::Registry;
use registry::{Entry, Shard};

/// Topics of which a core remembers where their subscribers are, by a part of their hash. A power of two.
const REMEMBERED: usize = if cfg!(all(test, loom)) { 1 } else { 1024 };

/// Bytes of the longest name that is remembered: names come from peers.
const LONGEST_REMEMBERED: usize = 256;

/// A core's share in a topic's entry, to be kept with the topic while it has subscribers on that core.
#[derive(Debug, Default)]
pub(crate) struct TopicInterest(Option<Arc<Entry>>);

/// One core's view of the registry.
#[derive(Debug)]
pub(crate) struct Interests {
    registry: Arc<Registry>,
    own: usize,
    remembered: Box<[Option<Remembered>]>,
}

/// Where a topic had subscribers when it was last published to.
#[derive(Debug)]
struct Remembered {
    name: Box<str>,
    exact: Result<Arc<Entry>, u64>,
    by_pattern: CoreSet,
    /// How often the patterns had changed then.
    changes: u64,
}

impl Interests {
    pub(crate) fn new(registry: Arc<Registry>, own: usize) -> Self {
        Self {
            registry,
            own,
            remembered: (0..REMEMBERED).map(|_| None).collect(),
        }
    }

    /// A connection of this core has subscribed to a filter. To be told before its client can hear of it.
    pub(crate) fn subscribed(&self, interest: &mut TopicInterest, filter: &Arc<str>) {
        let entry = interest
            .0
            .get_or_insert_with(|| self.registry.enter(filter, self.own));
        entry.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this core is subscribed no more; with `last`, this core has no other subscriber of the filter.
    pub(crate) fn unsubscribed(&self, interest: &mut TopicInterest, filter: &str, last: bool) {
        let Some(entry) = &interest.0 else {
            debug_assert!(false, "a subscriber that was never told of");
            return;
        };
        entry.subscribers.fetch_sub(1, Ordering::Relaxed);
        if last {
            self.registry.leave(filter, self.own, entry);
            interest.0 = None;
        }
    }

    /// The other cores that have a subscriber of a topic. Faster where this core has its own share at hand.
    pub(crate) fn elsewhere(&mut self, topic: &str, share: Option<&TopicInterest>) -> CoreSet {
        let at_hand = match share {
            Some(TopicInterest(Some(entry))) => {
                let cores = entry.cores();
                (self.registry.patterns.changes() == 0).then_some(cores)
            }
            _ => None,
        };
        let mut cores = at_hand.unwrap_or_else(|| self.look_up(topic));
        cores.remove(self.own);
        cores
    }

    /// Connections that are subscribed to exactly this topic or filter, on all cores.
    pub(crate) fn subscribers(&self, topic: &str) -> u64 {
        self.registry.subscribers(topic)
    }

    fn look_up(&mut self, topic: &str) -> CoreSet {
        let hash = self.registry.hash(topic);
        let shard = self.registry.shard(hash);
        let mut passing = None;
        let place = match topic.len() <= LONGEST_REMEMBERED {
            true => &mut self.remembered[hash as usize % REMEMBERED],
            false => &mut passing,
        };
        match place {
            Some(known) if *known.name == *topic => known.refresh(&self.registry, shard),
            _ => place
                .insert(Remembered::new(shard, topic))
                .refresh(&self.registry, shard),
        }
    }
}

impl Remembered {
    /// Of a topic of which nothing is known; no pattern has ever changed.
    fn new(shard: &Shard, topic: &str) -> Self {
        Self {
            name: topic.into(),
            exact: shard.find(topic),
            by_pattern: CoreSet::default(),
            changes: 0,
        }
    }

    /// The cores that have a subscriber now.
    #[inline]
    fn refresh(&mut self, registry: &Registry, shard: &Shard) -> CoreSet {
        let exact = self.exact(shard);
        if registry.patterns.changes() == self.changes {
            return exact.union(self.by_pattern);
        }
        let name = self.name.clone();
        let (by_pattern, changes, exact) = registry.patterns.find(&name, || self.exact(shard));
        (self.by_pattern, self.changes) = (by_pattern, changes);
        exact.union(by_pattern)
    }

    /// The cores that have a subscriber of exactly this topic.
    #[inline]
    fn exact(&mut self, shard: &Shard) -> CoreSet {
        if !shard.has_still(&self.exact) {
            self.exact = shard.find(&self.name);
        }
        let entry = self.exact.as_ref();
        entry.map(|entry| entry.cores()).unwrap_or_default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
