//! Which cores have a subscriber of a topic: what the cores of a server know of each other's topics.
//!
//! [`Registry`] is shared. A core that gets its first subscriber of a topic enters itself, one that loses its last takes itself out, and
//! both take the lock of one of many shards. Nothing else takes a lock twice for the same topic: [`Interests`], a
//! core's own view, remembers the entries of what it published to.
//!
//! A core enters itself before its client can hear of the subscription. So whoever has heard of it, by whatever way, and
//! publishes then on any core or thread, finds the entry: nothing but the order of events makes it so, and no fence is needed.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::core_set::{CoreSet, WORDS};
use super::sync::{AtomicBool, AtomicU64, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Locks that subscribing is spread over. One where every order of events is tried: names are hashed anew in each.
const SHARDS: usize = if cfg!(all(test, loom)) { 1 } else { 64 };

/// Topics of which a core remembers where their subscribers are, by a part of their hash. A power of two.
const REMEMBERED: usize = if cfg!(all(test, loom)) { 1 } else { 1024 };

/// Bytes of the longest name that is remembered: names come from peers.
const LONGEST_REMEMBERED: usize = 256;

/// Shards with fewer entries than this keep their memory.
const KEEP_CAPACITY: usize = 64;

/// Where a server's topics have subscribers.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Keyed: names come from peers.
    hasher: RandomState,
    shards: Box<[Shard]>,
}

// Apart from its neighbours: different cores write them.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Shard {
    /// Counts the entries that were made: what was not there is still not there if this is as it was.
    made: AtomicU64,
    topics: RwLock<HashMap<Arc<str>, Arc<Entry>>>,
}

/// A topic that has a subscriber somewhere.
#[derive(Debug, Default)]
struct Entry {
    /// A bit for each core that has a subscriber. Changes under the shard's lock.
    cores: [AtomicU64; WORDS],
    /// Subscribers, of all cores.
    subscribers: AtomicU64,
    /// No core had a subscriber left, and this is not the topic's entry any more.
    gone: AtomicBool,
}

/// A core's share in a topic's entry, to be kept with the topic while it has subscribers on that core.
#[derive(Debug, Default)]
pub(crate) struct TopicInterest(Option<Arc<Entry>>);

impl Entry {
    fn cores(&self) -> CoreSet {
        let words = self.cores.each_ref();
        CoreSet::from_words(words.map(|word| word.load(Ordering::Relaxed)))
    }

    fn enter(&self, core: usize) {
        self.cores[core / 64].fetch_or(1 << (core % 64), Ordering::Relaxed);
    }

    fn leave(&self, core: usize) {
        self.cores[core / 64].fetch_and(!(1 << (core % 64)), Ordering::Relaxed);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    /// The cores that have a subscriber of a topic.
    pub(crate) fn cores(&self, topic: &str) -> CoreSet {
        let topics = self.shard(self.hasher.hash_one(topic)).read();
        topics
            .get(topic)
            .map(|entry| entry.cores())
            .unwrap_or_default()
    }

    /// Connections that are subscribed to exactly this topic, on all cores.
    pub(crate) fn subscribers(&self, topic: &str) -> u64 {
        let topics = self.shard(self.hasher.hash_one(topic)).read();
        let entry = topics.get(topic);
        entry.map_or(0, |entry| entry.subscribers.load(Ordering::Relaxed))
    }

    /// Topics that have a subscriber.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    fn shard(&self, hash: u64) -> &Shard {
        // The low bits choose the place to remember it at.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    fn enter(&self, topic: &Arc<str>, core: usize) -> Arc<Entry> {
        let shard = self.shard(self.hasher.hash_one(topic));
        let mut topics = shard.write();
        if let Some(entry) = topics.get(topic) {
            entry.enter(core);
            return Arc::clone(entry);
        }
        let entry = Arc::new(Entry::default());
        entry.enter(core);
        topics.insert(Arc::clone(topic), Arc::clone(&entry));
        shard.made.fetch_add(1, Ordering::Relaxed);
        entry
    }

    fn leave(&self, topic: &str, core: usize, entry: &Entry) {
        let mut topics = self.shard(self.hasher.hash_one(topic)).write();
        entry.leave(core);
        if !entry.cores().is_empty() {
            return;
        }
        entry.gone.store(true, Ordering::Relaxed);
        topics.remove(topic);
        if topics.capacity() > KEEP_CAPACITY.max(4 * topics.len()) {
            let wanted = 2 * topics.len();
            topics.shrink_to(wanted);
        }
    }
}

impl Shard {
    // A panic while it was locked has left nothing half done.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Arc<str>, Arc<Entry>>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Arc<str>, Arc<Entry>>> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One core's view of the registry.
#[derive(Debug)]
pub(crate) struct Interests {
    registry: Arc<Registry>,
    own: usize,
    remembered: Box<[Option<Remembered>]>,
}

/// What was found when a topic was last published to.
#[derive(Debug)]
struct Remembered {
    name: Box<str>,
    /// Its entry, or how many its shard had made when it had none.
    found: Result<Arc<Entry>, u64>,
}

impl Interests {
    pub(crate) fn new(registry: Arc<Registry>, own: usize) -> Self {
        Self {
            registry,
            own,
            remembered: (0..REMEMBERED).map(|_| None).collect(),
        }
    }

    /// A connection of this core has subscribed to a topic. To be told before its client can hear of it.
    pub(crate) fn subscribed(&self, interest: &mut TopicInterest, topic: &Arc<str>) {
        let entry = interest
            .0
            .get_or_insert_with(|| self.registry.enter(topic, self.own));
        entry.subscribers.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of this core is subscribed no more; with `last`, this core has no other subscriber of the topic.
    pub(crate) fn unsubscribed(&self, interest: &mut TopicInterest, topic: &str, last: bool) {
        let Some(entry) = &interest.0 else {
            debug_assert!(false, "a subscriber that was never told of");
            return;
        };
        entry.subscribers.fetch_sub(1, Ordering::Relaxed);
        if last {
            self.registry.leave(topic, self.own, entry);
            interest.0 = None;
        }
    }

    /// Connections that are subscribed to exactly this topic, on all cores.
    pub(crate) fn subscribers(&self, topic: &str) -> u64 {
        self.registry.subscribers(topic)
    }

    /// The other cores that have a subscriber of a topic, of which this core has none.
    pub(crate) fn elsewhere(&mut self, topic: &str) -> CoreSet {
        let hash = self.registry.hasher.hash_one(topic);
        let place = &mut self.remembered[hash as usize % REMEMBERED];
        let shard = self.registry.shard(hash);
        let mut cores = match place {
            Some(known) if *known.name == *topic && known.is_current(shard) => known.cores(),
            _ => {
                let found = Remembered::look(shard, topic);
                let cores = found.cores();
                if topic.len() <= LONGEST_REMEMBERED {
                    *place = Some(found);
                }
                cores
            }
        };
        cores.remove(self.own);
        cores
    }

    /// The other cores that have a subscriber of a topic, of which this core has one.
    pub(crate) fn beside(&self, interest: &TopicInterest) -> CoreSet {
        let mut cores = interest
            .0
            .as_ref()
            .map(|entry| entry.cores())
            .unwrap_or_default();
        cores.remove(self.own);
        cores
    }
}

impl Remembered {
    fn look(shard: &Shard, topic: &str) -> Self {
        let topics = shard.read();
        Self {
            name: topic.into(),
            found: match topics.get(topic) {
                Some(entry) => Ok(Arc::clone(entry)),
                None => Err(shard.made.load(Ordering::Relaxed)),
            },
        }
    }

    fn is_current(&self, shard: &Shard) -> bool {
        match &self.found {
            Ok(entry) => !entry.gone.load(Ordering::Relaxed),
            Err(made) => *made == shard.made.load(Ordering::Relaxed),
        }
    }

    fn cores(&self) -> CoreSet {
        self.found
            .as_ref()
            .map(|entry| entry.cores())
            .unwrap_or_default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn cores(count: usize) -> (Arc<Registry>, Vec<Interests>) {
        let registry = Arc::new(Registry::new());
        let views = (0..count).map(|own| Interests::new(Arc::clone(&registry), own));
        let views = views.collect();
        (registry, views)
    }

    fn positions(cores: CoreSet) -> Vec<usize> {
        cores.iter().collect()
    }

    #[test]
    fn a_core_is_entered_with_its_first_subscriber_and_leaves_with_its_last() {
        let (registry, mut cores) = cores(3);
        let topic = Arc::from("t");
        let (mut first, mut second) = (TopicInterest::default(), TopicInterest::default());
        assert!(cores[2].elsewhere("t").is_empty());
        cores[0].subscribed(&mut first, &topic);
        cores[0].subscribed(&mut first, &topic);
        cores[1].subscribed(&mut second, &topic);
        assert_eq!(registry.subscribers("t"), 3);
        assert_eq!(positions(cores[2].elsewhere("t")), [0, 1]);
        assert_eq!(positions(cores[0].elsewhere("t")), [1]);
        assert_eq!(positions(cores[0].beside(&first)), [1]);
        assert_eq!(positions(registry.cores("t")), [0, 1]);

        cores[0].unsubscribed(&mut first, "t", false);
        assert_eq!(positions(cores[2].elsewhere("t")), [0, 1]);
        cores[0].unsubscribed(&mut first, "t", true);
        assert_eq!(positions(cores[2].elsewhere("t")), [1]);
        assert_eq!(registry.subscribers("t"), 1);
        cores[1].unsubscribed(&mut second, "t", true);
        assert!(cores[2].elsewhere("t").is_empty());
        assert_eq!((registry.subscribers("t"), registry.len()), (0, 0));
    }

    #[test]
    fn what_is_remembered_does_not_outlive_the_topic() {
        let (_registry, mut cores) = cores(3);
        let topic = Arc::from("t");
        for entered in [0, 1, 0] {
            let mut interest = TopicInterest::default();
            assert!(cores[2].elsewhere("t").is_empty());
            cores[entered].subscribed(&mut interest, &topic);
            assert_eq!(positions(cores[2].elsewhere("t")), [entered]);
            cores[entered].unsubscribed(&mut interest, "t", true);
        }
        assert!(cores[2].elsewhere("t").is_empty());
    }

    #[test]
    fn many_topics_are_told_apart_and_leave_no_memory() {
        let (registry, mut cores) = cores(2);
        let count = if cfg!(miri) { 300 } else { 20_000 };
        let names: Vec<Arc<str>> = (0..count).map(|n| format!("topic {n}").into()).collect();
        let mut interests: Vec<_> = names
            .iter()
            .map(|name| {
                let mut interest = TopicInterest::default();
                cores[0].subscribed(&mut interest, name);
                interest
            })
            .collect();
        assert_eq!(registry.len(), count);
        for (n, name) in names.iter().enumerate() {
            assert_eq!(positions(cores[1].elsewhere(name)), [0]);
            if n % 2 == 0 {
                cores[0].unsubscribed(&mut interests[n], name, true);
            }
        }
        for (n, name) in names.iter().enumerate() {
            assert_eq!(cores[1].elsewhere(name).is_empty(), n % 2 == 0, "{name}");
        }
        for (name, interest) in names.iter().zip(&mut interests).skip(1).step_by(2) {
            cores[0].unsubscribed(interest, name, true);
        }
        assert_eq!(registry.len(), 0);
        let room = |shard: &Shard| shard.read().capacity();
        let kept: usize = registry.shards.iter().map(room).max().unwrap_or_default();
        assert!(kept <= 2 * KEEP_CAPACITY, "room for {kept} entries");
    }

    #[test]
    fn long_names_are_found_and_not_remembered() {
        let (_registry, mut cores) = cores(2);
        let name: Arc<str> = "x".repeat(LONGEST_REMEMBERED + 1).into();
        let mut interest = TopicInterest::default();
        cores[0].subscribed(&mut interest, &name);
        assert_eq!(positions(cores[1].elsewhere(&name)), [0]);
        assert!(cores[1].remembered.iter().all(Option::is_none));
    }
}
