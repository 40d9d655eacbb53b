//! The topic table of one core: who receives a message.
//!
//! Sans-I/O: the table knows connections by their index in the core's slab and nothing else about
//! them. It reads no clock and no socket, and nothing in it is shared between cores.
//!
//! Each subscription is stored twice, 8 bytes a side, and each side holds the other's position:
//!
//! ```text
//!  topic "a"        [ {conn 7, back 0} , {conn 2, back 1} ]      contiguous: publish walks it
//!                            ▲                   ▲
//!  connection 2     [ {topic "b", 4} , {topic "a", position 1} ]
//! ```
//!
//! So both ends of a subscription are found and swap-removed without a search, and a connection
//! that goes away costs time in proportion to its own subscriptions, never to a topic's size.
#![forbid(unsafe_code)]

mod links;
mod pool;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

use links::{Connections, Link};
use pool::Pool;

/// Tables with fewer entries than this keep their memory: giving back a few KiB is not worth
/// allocating them again for the next subscriber.
const KEEP_CAPACITY: usize = 64;

/// Which connections of one core are subscribed to which topics.
///
/// Connection indices are expected to be dense (a slab's): the table holds 8 bytes for every index
/// up to the highest one that has subscribed. That slot also holds a connection's only
/// subscription; a second one moves them into a list of the connection's own.
///
/// Topic names come from peers, so the hasher must withstand names chosen to collide: the default
/// is the standard library's keyed one.
#[derive(Debug)]
pub struct Topics<S = RandomState> {
    /// Every topic that has a subscriber, by name.
    names: HashMap<Arc<str>, NonZeroU32, S>,
    topics: Pool<Topic>,
    connections: Connections,
}

/// One subscriber of a topic, as [`Topics::subscribers`] lends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    conn: u32,
    /// Where the connection's own list holds its side of this subscription.
    back: u32,
}

// What the memory budget counts on: 8 bytes on the topic's side, 8 on the connection's.
const _: () = assert!(size_of::<Subscription>() == 8 && size_of::<Link>() == 8);

/// A topic with at least one subscriber; one that loses its last is freed.
#[derive(Debug, Default)]
struct Topic {
    name: Arc<str>,
    subscribers: Vec<Subscription>,
}

impl Subscription {
    /// Index of the subscribed connection.
    #[inline]
    #[must_use]
    pub const fn conn(self) -> u32 {
        self.conn
    }
}

impl Topics {
    /// An empty table; allocates nothing until the first subscription.
    #[must_use]
    pub fn new() -> Self {
        Self::with_hasher(RandomState::new())
    }
}

impl<S: BuildHasher + Default> Default for Topics<S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<S: BuildHasher> Topics<S> {
    /// An empty table whose names are hashed by `hasher`.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        Self {
            names: HashMap::with_hasher(hasher),
            topics: Pool::default(),
            connections: Connections::default(),
        }
    }

    /// Subscribes `conn` to `topic`; `false` when it already was.
    ///
    /// Takes time in proportion to the smaller of the connection's subscriptions and the topic's
    /// subscribers.
    ///
    /// # Panics
    /// When a core would hold 2³² topics, or a topic or connection 2³² subscriptions.
    pub fn subscribe(&mut self, conn: u32, topic: &str) -> bool {
        let id = match self.names.get(topic) {
            Some(&id) if self.find(conn, id).is_some() => return false,
            Some(&id) => id,
            None => self.intern(topic),
        };
        let subscribers = &mut self.topics[id.get()].subscribers;
        let position = index(subscribers.len());
        let back = self.connections.push(
            conn,
            Link {
                topic: id,
                position,
            },
        );
        subscribers.push(Subscription { conn, back });
        true
    }

    /// Ends the subscription of `conn` to `topic`; `false` when there was none.
    ///
    /// Costs the same search as [`subscribe`](Self::subscribe).
    pub fn unsubscribe(&mut self, conn: u32, topic: &str) -> bool {
        let Some(back) = self.names.get(topic).and_then(|&id| self.find(conn, id)) else {
            return false;
        };
        let (removed, moved) = self.connections.swap_remove(conn, back);
        if let Some(link) = moved {
            let subscribers = &mut self.topics[link.topic.get()].subscribers;
            subscribers[link.position as usize].back = back;
        }
        self.leave(removed);
        true
    }

    /// Ends every subscription of `conn`, in time proportional to their number.
    pub fn remove(&mut self, conn: u32) {
        while let Some(link) = self.connections.pop(conn) {
            self.leave(link);
        }
    }

    /// The subscribers of `topic`, contiguous and in no particular order; empty when there are none.
    #[inline]
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> &[Subscription] {
        match self.names.get(topic) {
            Some(id) => &self.topics[id.get()].subscribers,
            None => &[],
        }
    }

    /// How many connections are subscribed to `topic`.
    #[must_use]
    pub fn subscriber_count(&self, topic: &str) -> usize {
        self.subscribers(topic).len()
    }

    /// Whether `conn` is subscribed to `topic`; costs the same search as
    /// [`subscribe`](Self::subscribe).
    #[must_use]
    pub fn is_subscribed(&self, conn: u32, topic: &str) -> bool {
        let id = self.names.get(topic);
        id.is_some_and(|&id| self.find(conn, id).is_some())
    }

    /// The topics that `conn` is subscribed to, in no particular order.
    pub fn topics_of(&self, conn: u32) -> impl ExactSizeIterator<Item = &str> {
        let links = self.connections.of(conn).iter();
        links.map(|link| &*self.topics[link.topic.get()].name)
    }

    /// How many topics have a subscriber.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether no topic has a subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Where the connection's list holds its subscription to this topic. Searches whichever side
    /// is shorter.
    fn find(&self, conn: u32, topic: NonZeroU32) -> Option<u32> {
        let links = self.connections.of(conn);
        let subscribers = &self.topics[topic.get()].subscribers;
        if links.len() <= subscribers.len() {
            links.iter().position(|link| link.topic == topic).map(index)
        } else {
            let found = subscribers.iter().find(|s| s.conn == conn);
            found.map(|s| s.back)
        }
    }

    fn intern(&mut self, name: &str) -> NonZeroU32 {
        let name: Arc<str> = name.into();
        let id = self.topics.insert(Topic {
            name: Arc::clone(&name),
            subscribers: Vec::new(),
        });
        self.names.insert(name, id);
        id
    }

    /// Removes the topic's side of a subscription, and the topic when it was the last one.
    fn leave(&mut self, link: Link) {
        let subscribers = &mut self.topics[link.topic.get()].subscribers;
        subscribers.swap_remove(link.position as usize);
        // The moved one belongs to another connection: one connection is in a topic once.
        if let Some(moved) = subscribers.get(link.position as usize) {
            self.connections.link_mut(moved.conn, moved.back).position = link.position;
        }
        if subscribers.is_empty() {
            self.free(link.topic);
        } else {
            give_back(subscribers);
        }
    }

    fn free(&mut self, id: NonZeroU32) {
        let topic = self.topics.remove(id);
        self.names.remove(&*topic.name);
        // A map rarely gets this empty, so shrinking is paid for by the removals before it.
        if self.names.capacity() > KEEP_CAPACITY && self.names.len() < self.names.capacity() / 8 {
            self.names.shrink_to(self.names.len() * 2);
        }
    }
}

/// Halves a vector that is three quarters empty: rare enough to be paid for by the removals before
/// it, and a topic that was once large does not keep its memory.
fn give_back<T>(items: &mut Vec<T>) {
    if items.capacity() > KEEP_CAPACITY && items.len() < items.capacity() / 4 {
        items.shrink_to(items.capacity() / 2);
    }
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("a core holds fewer than 2^32 of anything")
}
