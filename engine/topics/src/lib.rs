//! The topic table of one core: who receives a message.
//!
//! Sans-I/O: the table knows connections by their index in the core's slab and nothing else about
//! them. It reads no clock and no socket, and nothing in it is shared between cores.
//!
//! Each subscription is stored twice, 6 bytes at either end, and each half holds the other's position:
//!
//! ```text
//!                         slow  |  fast
//!  topic "a"        [ {conn 7, at 0} , {conn 2, at 1} ]      contiguous: publish walks it
//!                            ▲                  ▲
//!  connection 2     [ {topic "b", at 4} , {topic "a", at 1} ]
//! ```
//!
//! So both ends of a subscription are found and swap-removed without a search, and a connection
//! that goes away costs time in proportion to its own subscriptions, never to a topic's size.
//!
//! Subscriptions are to *filters*: names, or patterns as [`matches()`] describes them. Every filter with a subscriber
//! is a topic of its own, found by its spelling; what is published to a name goes to the topics that
//! [`Topics::matching`] lists.
#![forbid(unsafe_code)]

mod filter;
mod half;
mod index;
mod lists;
mod pages;
mod pool;
mod slow;
#[cfg(test)]
mod tests;
mod trie;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

pub use filter::{is_pattern, matches};
pub use half::Subscription;
use half::{Half, LIMIT};
use index::Index;
use lists::Lists;
use pool::Pool;
use slow::SlowSet;
use trie::Trie;

/// Tables with fewer entries than this keep their memory: giving back a few KiB is not worth
/// allocating them again for the next subscriber.
const KEEP_CAPACITY: usize = 64;

/// Connections that can subscribe have an index below this.
pub const MAX_CONNECTIONS: u32 = LIMIT;

/// A table holds fewer topics than this at a time.
pub const MAX_TOPICS: u32 = LIMIT;

/// Which connections of one core are subscribed to which topics.
///
/// `T` is what the table's owner keeps for each topic, made by `T::default()` and dropped when the topic is freed:
/// when it has no subscriber and is not [pinned](Self::pin).
///
/// Connection indices are expected to be dense (a slab's): the table holds 6 bytes for every index up to the
/// highest one that has subscribed. A connection's only subscription lies there, too.
///
/// Filters come from peers, so the hasher must withstand names chosen to collide: the default
/// is the standard library's keyed one.
#[derive(Debug)]
pub struct Topics<T = (), S = RandomState> {
    hasher: S,
    /// Every topic, by its spelling.
    names: Index,
    topics: Pool<Topic<T>>,
    /// How many of them have a subscriber.
    subscribed: usize,
    /// The topics' halves of all subscriptions.
    by_topic: Lists,
    /// The connections' halves.
    by_conn: Lists,
    slow: SlowSet,
    /// Patterns with a subscriber.
    patterns: Trie,
    pinned: Trie,
}

/// A topic of one table: valid until it is freed, then perhaps another topic's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(NonZeroU32);

/// What [`Topics::subscribe`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// Nothing: the connection was subscribed.
    Already(TopicId),
    /// The connection is subscribed now.
    New {
        /// The filter's topic.
        id: TopicId,
        /// Whether nobody was subscribed to it before.
        first: bool,
    },
    /// Nothing: the connection's index is not below [`MAX_CONNECTIONS`], or there are [`MAX_TOPICS`] topics.
    Full,
}

/// A subscription that [`Topics::unsubscribe`] ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The filter's topic; freed if this was its last subscriber and it is not pinned.
    pub id: TopicId,
    /// The filter.
    pub name: Arc<str>,
    /// Whether nobody is subscribed to it any more.
    pub last: bool,
}

/// Bytes of heap memory that a table holds, as requested from the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Both halves of all subscriptions, and 6 bytes for each connection that has none or several.
    pub subscriptions: usize,
    /// Topics and their names, with `T` but not what it owns; 6 bytes for each that has no subscriber or several.
    pub topics: usize,
}

#[derive(Debug)]
struct Topic<T> {
    name: Arc<str>,
    /// How many of its subscribers, from the first on, are slow.
    slow: u32,
    pinned: bool,
    data: T,
}

impl<T: Default> Topics<T> {
    /// An empty table; allocates nothing until the first subscription.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl<T: Default, S: BuildHasher + Default> Default for Topics<T, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

/// Subscriptions.
impl<T: Default, S: BuildHasher> Topics<T, S> {
    /// An empty table whose names are hashed by `hasher`.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        Self {
            hasher,
            names: Index::default(),
            topics: Pool::default(),
            subscribed: 0,
            by_topic: Lists::default(),
            by_conn: Lists::default(),
            slow: SlowSet::default(),
            patterns: Trie::default(),
            pinned: Trie::default(),
        }
    }

    /// Subscribes `conn` to a filter.
    ///
    /// Takes time in proportion to the smaller of the connection's subscriptions and the topic's
    /// subscribers.
    pub fn subscribe(&mut self, conn: u32, filter: &str) -> Subscribed {
        let known = self.id(filter);
        if let Some(id) = known
            && self.position(conn, id).is_some()
        {
            return Subscribed::Already(id);
        }
        if conn >= MAX_CONNECTIONS {
            return Subscribed::Full;
        }
        let Some(id) = known.or_else(|| self.intern(filter)) else {
            return Subscribed::Full;
        };
        let first = self.by_topic.of(id.get()).is_empty();
        if first {
            self.subscribed += 1;
            if is_pattern(filter) {
                self.patterns.insert_filter(&self.hasher, filter, id.get());
            }
        }
        self.join(conn, id.get());
        Subscribed::New { id, first }
    }

    /// Ends the subscription of `conn` to a filter; `None` when there was none.
    ///
    /// Costs the same search as [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&mut self, conn: u32, filter: &str) -> Option<Left> {
        let id = self.id(filter)?;
        let at = self.position(conn, id)?;
        self.leave(self.by_conn.of(conn)[at as usize]);
        self.by_conn.swap_remove(conn, at, &self.by_topic);
        if let Some(moved) = self.by_conn.of(conn).get(at as usize) {
            self.by_topic.moved(moved.other(), moved.at(), at);
        }
        let name = Arc::clone(self.name(id));
        let last = self.by_topic.of(id.get()).is_empty();
        if last {
            self.end(id);
        }
        Some(Left { id, name, last })
    }

    /// Ends every subscription of `conn`, in time proportional to their number, and forgets that it was slow.
    /// `left` is called with each topic that lost its last subscriber.
    pub fn remove(&mut self, conn: u32, mut left: impl FnMut(&str)) {
        for at in 0..self.by_conn.of(conn).len() {
            let half = self.by_conn.of(conn)[at];
            self.leave(half);
            let id = TopicId::new(half.other());
            if self.by_topic.of(id.get()).is_empty() {
                left(self.name(id));
                self.end(id);
            }
        }
        self.by_conn.clear(conn, &self.by_topic);
        self.slow.set(conn, false);
    }

    /// Has a connection's subscriptions, those to come included, count as slow or as fast until it is
    /// [removed](Self::remove). Takes time in proportion to their number.
    pub fn set_slow(&mut self, conn: u32, slow: bool) {
        if conn >= MAX_CONNECTIONS || !self.slow.set(conn, slow) {
            return;
        }
        for at in 0..self.by_conn.of(conn).len() {
            let half = self.by_conn.of(conn)[at];
            self.change_side(half, slow);
        }
    }

    /// Keeps a topic though nobody may subscribe to it, as long as it is not [unpinned](Self::unpin); pinning it again
    /// changes nothing. `None` when it is not there and there are [`MAX_TOPICS`] topics.
    pub fn pin(&mut self, name: &str) -> Option<TopicId> {
        let id = self.id(name).or_else(|| self.intern(name))?;
        let topic = &mut self.topics[id.get()];
        if !topic.pinned {
            topic.pinned = true;
            self.pinned.insert_name(&self.hasher, name, id.get());
        }
        Some(id)
    }

    /// Undoes [`pin`](Self::pin): the topic is freed if it has no subscriber.
    ///
    /// # Panics
    /// When the topic was freed.
    pub fn unpin(&mut self, id: TopicId) {
        let topic = &mut self.topics[id.get()];
        if topic.pinned {
            topic.pinned = false;
            self.pinned.remove_name(&self.hasher, &topic.name);
            self.free_if_done(id);
        }
    }
}

/// Questions.
impl<T, S: BuildHasher> Topics<T, S> {
    /// The topic of this spelling, be it a name or a pattern.
    #[must_use]
    pub fn id(&self, filter: &str) -> Option<TopicId> {
        let hash = self.hasher.hash_one(filter);
        let found = self.names.find(hash, |id| &*self.topics[id].name == filter);
        found.map(TopicId::new)
    }

    /// Adds every topic whose subscribers receive what is published to `name`, each once: the one of that name, and all
    /// patterns that match it. Only topics with a subscriber are added.
    ///
    /// Looks at no pattern but those that begin as the name does. When there are none at all
    /// ([`has_patterns`](Self::has_patterns)), [`id`](Self::id) tells the same.
    pub fn matching(&mut self, name: &str, into: &mut Vec<TopicId>) {
        let exact = self.id(name).filter(|&id| self.count(id) > 0);
        into.extend(exact.filter(|_| !is_pattern(name)));
        let found = |id| into.push(TopicId::new(id));
        self.patterns.filters_matching(&self.hasher, name, found);
    }

    /// Whether anybody is subscribed to a pattern.
    #[inline]
    #[must_use]
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Adds every pinned topic whose name matches a filter. Looks at no name but those that begin as the filter does.
    pub fn pinned_matching(&mut self, filter: &str, into: &mut Vec<TopicId>) {
        let found = |id| into.push(TopicId::new(id));
        self.pinned.names_matching(&self.hasher, filter, found);
    }

    /// How many connections are subscribed to the topic of this spelling.
    #[must_use]
    pub fn subscriber_count(&self, filter: &str) -> usize {
        self.id(filter).map_or(0, |id| self.count(id))
    }

    /// Whether `conn` is subscribed to a filter; costs the same search as
    /// [`subscribe`](Self::subscribe).
    #[must_use]
    pub fn is_subscribed(&self, conn: u32, filter: &str) -> bool {
        let id = self.id(filter);
        id.is_some_and(|id| self.position(conn, id).is_some())
    }
}

/// What lies at a number.
impl<T, S> Topics<T, S> {
    /// The subscribers of a topic that are slow, and those that are not: contiguous, and in no particular order.
    ///
    /// # Panics
    /// When the topic was freed.
    #[inline]
    #[must_use]
    pub fn subscribers(&self, id: TopicId) -> (&[Subscription], &[Subscription]) {
        let slow = self.topics[id.get()].slow;
        self.by_topic.of(id.get()).split_at(slow as usize)
    }

    /// The subscribers of a topic that are [slow](Self::set_slow), as [`subscribers`](Self::subscribers).
    ///
    /// # Panics
    /// When the topic was freed.
    #[inline]
    #[must_use]
    pub fn slow(&self, id: TopicId) -> &[Subscription] {
        self.subscribers(id).0
    }

    /// The subscribers of a topic that are not [slow](Self::set_slow), as [`subscribers`](Self::subscribers).
    ///
    /// # Panics
    /// When the topic was freed.
    #[inline]
    #[must_use]
    pub fn fast(&self, id: TopicId) -> &[Subscription] {
        self.subscribers(id).1
    }

    /// How many connections are subscribed to a topic.
    #[inline]
    #[must_use]
    pub fn count(&self, id: TopicId) -> usize {
        self.by_topic.of(id.get()).len()
    }

    /// The spelling of a topic.
    ///
    /// # Panics
    /// When the topic was freed.
    #[must_use]
    pub fn name(&self, id: TopicId) -> &Arc<str> {
        &self.topics[id.get()].name
    }

    /// What the owner keeps for a topic.
    ///
    /// # Panics
    /// When the topic was freed.
    #[inline]
    #[must_use]
    pub fn data(&self, id: TopicId) -> &T {
        &self.topics[id.get()].data
    }

    /// What the owner keeps for a topic.
    ///
    /// # Panics
    /// When the topic was freed.
    #[inline]
    #[must_use]
    pub fn data_mut(&mut self, id: TopicId) -> &mut T {
        &mut self.topics[id.get()].data
    }

    /// Whether a topic is [pinned](Self::pin).
    ///
    /// # Panics
    /// When the topic was freed.
    #[must_use]
    pub fn is_pinned(&self, id: TopicId) -> bool {
        self.topics[id.get()].pinned
    }

    /// Whether a connection counts as [slow](Self::set_slow).
    #[must_use]
    pub fn is_slow(&self, conn: u32) -> bool {
        self.slow.has(conn)
    }

    /// The filters that `conn` is subscribed to, in no particular order.
    pub fn topics_of(&self, conn: u32) -> impl ExactSizeIterator<Item = &str> {
        self.ids_of(conn).map(|id| &**self.name(id))
    }

    /// The topics that `conn` is subscribed to, in no particular order.
    pub fn ids_of(&self, conn: u32) -> impl ExactSizeIterator<Item = TopicId> {
        let halves = self.by_conn.of(conn).iter();
        halves.map(|half| TopicId::new(half.other()))
    }

    /// How many filters `conn` is subscribed to.
    #[inline]
    #[must_use]
    pub fn subscriptions_of(&self, conn: u32) -> usize {
        self.by_conn.of(conn).len()
    }

    /// How many topics have a subscriber.
    #[must_use]
    pub fn len(&self) -> usize {
        self.subscribed
    }

    /// Whether no topic has a subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscribed == 0
    }

    /// What the table holds. Visits every topic.
    #[must_use]
    pub fn memory(&self) -> Memory {
        // Beside the text of a name lie two counts.
        let name = |topic: &Topic<T>| {
            (topic.name.len() + 2 * size_of::<usize>()).next_multiple_of(size_of::<usize>())
        };
        let names = self.topics.iter().map(name).sum::<usize>() + self.names.memory();
        let tries = self.patterns.memory() + self.pinned.memory();
        let (topic_halves, topic_slots) = self.by_topic.memory();
        let (conn_halves, conn_slots) = self.by_conn.memory();
        Memory {
            subscriptions: topic_halves + conn_halves + conn_slots + self.slow.memory(),
            topics: self.topics.memory() + topic_slots + names + tries,
        }
    }

    /// Where the connection's list holds its subscription to this topic. Searches whichever side
    /// is shorter.
    fn position(&self, conn: u32, id: TopicId) -> Option<u32> {
        let halves = self.by_conn.of(conn);
        let subscribers = self.by_topic.of(id.get());
        if halves.len() <= subscribers.len() {
            let found = halves.iter().position(|half| half.other() == id.get());
            found.map(|at| at as u32)
        } else {
            let found = subscribers.iter().find(|s| s.conn() == conn);
            found.map(|s| s.at())
        }
    }
}

/// The two ends of a subscription, kept in step.
impl<T: Default, S: BuildHasher> Topics<T, S> {
    fn intern(&mut self, name: &str) -> Option<TopicId> {
        if self.topics.reaches(MAX_TOPICS) {
            return None;
        }
        let id = self.topics.insert(Topic {
            name: name.into(),
            slow: 0,
            pinned: false,
            data: T::default(),
        });
        let hash = self.hasher.hash_one(name);
        self.names.insert(hash, id.get());
        Some(TopicId(id))
    }

    /// Adds both halves of a subscription.
    fn join(&mut self, conn: u32, id: u32) {
        let position = self.by_topic.of(id).len() as u32;
        let at = self.by_conn.of(conn).len() as u32;
        let half = Half::new(id, position);
        self.by_conn.push(conn, half, &self.by_topic);
        let other = Half::new(conn, at);
        self.by_topic.push(id, other, &self.by_conn);
        if self.slow.has(conn) {
            self.change_side(half, true);
        }
    }

    /// Removes the topic's half of a subscription, of which this is the connection's.
    fn leave(&mut self, half: Half) {
        let id = half.other();
        let mut hole = half.at();
        if hole < self.topics[id].slow {
            hole = self.change_side(half, false);
        }
        let last = self.by_topic.of(id).len() as u32 - 1;
        self.swap(id, hole, last);
        self.by_topic.pop(id, &self.by_conn);
    }

    /// Moves a topic's half over the boundary between the slow and the fast, to where the result says.
    fn change_side(&mut self, half: Half, slow: bool) -> u32 {
        let boundary = &mut self.topics[half.other()].slow;
        let to = if slow {
            *boundary += 1;
            *boundary - 1
        } else {
            *boundary -= 1;
            *boundary
        };
        self.swap(half.other(), half.at(), to);
        to
    }

    /// Exchanges two subscribers of a topic.
    fn swap(&mut self, id: u32, one: u32, other: u32) {
        if one == other {
            return;
        }
        self.by_topic.swap(id, one, other);
        for position in [one, other] {
            let half = self.by_topic.of(id)[position as usize];
            self.by_conn.moved(half.conn(), half.at(), position);
        }
    }

    /// A topic has lost its last subscriber.
    fn end(&mut self, id: TopicId) {
        self.subscribed -= 1;
        let name = &self.topics[id.get()].name;
        if is_pattern(name) {
            self.patterns.remove_filter(&self.hasher, name);
        }
        self.free_if_done(id);
    }

    fn free_if_done(&mut self, id: TopicId) {
        if self.topics[id.get()].pinned || self.count(id) > 0 {
            return;
        }
        let topic = self.topics.remove(id.get());
        let hash = self.hasher.hash_one(&*topic.name);
        self.names.remove(hash, id.get());
        if self.topics.is_empty() {
            self.by_topic.forget_owners();
        }
    }
}

impl TopicId {
    fn new(id: u32) -> Self {
        Self(NonZeroU32::new(id).expect("topics are numbered from 1 on"))
    }

    fn get(self) -> u32 {
        self.0.get()
    }
}
