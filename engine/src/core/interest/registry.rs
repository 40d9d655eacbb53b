//! What all cores share: for each topic, who has a subscriber.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use corecast_topics::is_pattern;

use super::patterns::Patterns;
use crate::core::core_set::{CoreSet, WORDS};
use crate::core::sync::{AtomicBool, AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks that subscribing is spread over. One where every order of events is tried: names are hashed anew in each.
const SHARDS: usize = if cfg!(all(test, loom)) { 1 } else { 64 };

/// Shards with fewer entries than this keep their memory.
pub(super) const KEEP_CAPACITY: usize = 64;

/// Where a server's topics have subscribers.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Keyed: names come from peers.
    hasher: RandomState,
    pub(super) shards: Box<[Shard]>,
    pub(super) patterns: Patterns,
}

type Entries = HashMap<Arc<str>, Arc<Entry>>;

// Apart from its neighbours: different cores write them.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Counts the entries that were made: what was not there is still not there if this is as it was.
    made: AtomicU64,
    topics: RwLock<Entries>,
}

/// A topic or filter that has a subscriber somewhere.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// A bit for each core that has a subscriber. Changes under the shard's lock.
    cores: [AtomicU64; WORDS],
    /// Subscribers, of all cores.
    pub(super) subscribers: AtomicU64,
    /// No core had a subscriber left, and this is not the topic's entry any more.
    gone: AtomicBool,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            patterns: Patterns::default(),
        }
    }

    /// The cores that have a subscriber of a topic.
    pub(crate) fn cores(&self, topic: &str) -> CoreSet {
        let exact = || {
            let entry = self.shard(self.hash(topic)).read().get(topic).cloned();
            entry.map(|entry| entry.cores()).unwrap_or_default()
        };
        let cores = exact();
        if self.patterns.changes() == 0 {
            return cores;
        }
        let (by_pattern, _, cores) = self.patterns.find(topic, exact);
        cores.union(by_pattern)
    }

    /// Connections that are subscribed to exactly this topic or filter, on all cores.
    pub(crate) fn subscribers(&self, topic: &str) -> u64 {
        let topics = self.shard(self.hash(topic)).read();
        let entry = topics.get(topic);
        entry.map_or(0, |entry| entry.subscribers.load(Ordering::Relaxed))
    }

    /// Topics that have a subscriber.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    pub(super) fn hash(&self, topic: &str) -> u64 {
        self.hasher.hash_one(topic)
    }

    pub(super) fn shard(&self, hash: u64) -> &Shard {
        // The low bits choose the place at which a core remembers it.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// A core has its first subscriber of a filter. A pattern has an entry like a topic, which counts its subscribers: what is
    /// published to the name that is spelt like it, it matches.
    pub(super) fn enter(&self, filter: &Arc<str>, core: usize) -> Arc<Entry> {
        if is_pattern(filter) {
            self.patterns.enter(filter, core);
        }
        let shard = self.shard(self.hash(filter));
        let mut topics = shard.write();
        if let Some(entry) = topics.get(filter) {
            entry.enter(core);
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry::default());
        entry.enter(core);
        topics.insert(Arc::clone(filter), Arc::clone(&entry));
        shard.made.fetch_add(1, Ordering::Relaxed);
        entry
    }

    /// A core has lost its last one.
    pub(super) fn leave(&self, filter: &str, core: usize, entry: &Entry) {
        if is_pattern(filter) {
            self.patterns.leave(filter, core);
        }
        let mut topics = self.shard(self.hash(filter)).write();
        entry.leave(core);
        if !entry.cores().is_empty() {
            return;
        }
        entry.gone.store(true, Ordering::Relaxed);
        topics.remove(filter);
        if topics.capacity() > KEEP_CAPACITY.max(4 * topics.len()) {
            let wanted = 2 * topics.len();
            topics.shrink_to(wanted);
        }
    }
}

impl Shard {
    /// A topic's entry, or how many entries there had been when it had none.
    pub(super) fn find(&self, topic: &str) -> Result<Arc<Entry>, u64> {
        let topics = self.read();
        let entry = topics.get(topic).cloned();
        entry.ok_or_else(|| self.made.load(Ordering::Relaxed))
    }

    /// Whether [`Self::find`] would find the same.
    #[inline]
    pub(super) fn has_still(&self, found: &Result<Arc<Entry>, u64>) -> bool {
        match found {
            Ok(entry) => !entry.gone.load(Ordering::Relaxed),
            Err(made) => *made == self.made.load(Ordering::Relaxed),
        }
    }

    // A panic while it was locked has left nothing half done.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Who sees that a core has left sees, too, what that core had entered before.
    #[inline]
    pub(super) fn cores(&self) -> CoreSet {
        let words = self.cores.each_ref();
        CoreSet::from_words(words.map(|word| word.load(Ordering::Acquire)))
    }

    fn enter(&self, core: usize) {
        self.cores[core / 64].fetch_or(1 << (core % 64), Ordering::Release);
    }

    fn leave(&self, core: usize) {
        self.cores[core / 64].fetch_and(!(1 << (core % 64)), Ordering::Release);
    }
}
