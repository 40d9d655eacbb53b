//! Who is who among the connections of one thread.

use std::rc::Rc;

use crate::cli::BroadcastArgs;
use crate::client::links::Manner;
use crate::client::team::Member;

/// The connections of one thread: subscribers first, then those that only publish.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    /// Threads in the team, and which of them this is.
    pub(super) threads: usize,
    index: usize,
    /// Subscribers, those that stall among them.
    pub(super) subscribers: u32,
    /// Connections that only publish.
    publishers: u32,
    /// The subscribers publish, too.
    all_publish: bool,
    /// By slot of a subscriber: it stops reading when it has joined.
    stalling: Vec<bool>,
}

impl Cast {
    /// The share of one thread in what was asked for.
    pub(super) fn new(args: &BroadcastArgs, member: &Member<'_>) -> Self {
        let subscribers = member.share(args.connections);
        let stalled = member.share(args.stalled());
        // Spread evenly, so that they are not the first to join, nor the last.
        let stalls = |n: u64| (n + 1) * stalled / subscribers > n * stalled / subscribers;
        Self {
            threads: member.count,
            index: member.index,
            subscribers: subscribers as u32,
            publishers: member.share(args.only_publish()) as u32,
            all_publish: args.all_publish,
            stalling: (0..subscribers).map(stalls).collect(),
        }
    }

    /// Connections of the thread.
    pub(super) fn slots(&self) -> u32 {
        self.subscribers + self.publishers
    }

    /// The connection receives what is published.
    #[inline]
    pub(super) fn subscribes(&self, slot: u32) -> bool {
        slot < self.subscribers
    }

    /// The connection stops reading when it has joined.
    #[inline]
    pub(super) fn stalls(&self, slot: u32) -> bool {
        self.stalling.get(slot as usize).copied().unwrap_or(false)
    }

    /// The connection has to receive everything.
    #[inline]
    pub(super) fn listens(&self, slot: u32) -> bool {
        self.subscribes(slot) && !self.stalls(slot)
    }

    /// Place among the thread's publishers of a connection that is one.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> Option<usize> {
        if self.all_publish {
            return Some(slot as usize);
        }
        slot.checked_sub(self.subscribers)
            .map(|place| place as usize)
    }

    /// The publishers: each one's slot, and its number within the run.
    pub(super) fn publishers(&self) -> impl Iterator<Item = (u32, u32)> {
        let (first, count) = match self.all_publish {
            true => (0, self.subscribers),
            false => (self.subscribers, self.publishers),
        };
        let id = |place: u32| place * self.threads as u32 + self.index as u32;
        (0..count).map(move |place| (first + place, id(place)))
    }

    /// How the connections are made.
    pub(super) fn manners(&self, args: &BroadcastArgs) -> Vec<Rc<Manner>> {
        let manner = |path: &str, stalls| {
            let path = path.to_owned();
            Rc::new(Manner { path, stalls })
        };
        let target = &args.common.target;
        let publish = args.publish_url.as_ref().unwrap_or(target);
        let listener = manner(&target.path, false);
        let staller = manner(&target.path, true);
        let publisher = manner(&publish.path, false);
        let of = |slot| match (self.subscribes(slot), self.stalls(slot)) {
            (false, _) => Rc::clone(&publisher),
            (true, false) => Rc::clone(&listener),
            (true, true) => Rc::clone(&staller),
        };
        (0..self.slots()).map(of).collect()
    }
}
