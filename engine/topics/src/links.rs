//! The connections' side of the subscriptions.

use std::num::NonZeroU32;
use std::slice;

use crate::pool::{EMPTY, Pool};
use crate::{give_back, index};

/// One subscription as its connection holds it: the topic, and where the topic's list of
/// subscribers holds the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) topic: NonZeroU32,
    pub(crate) position: u32,
}

/// Every connection's links, by connection index.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    slots: Vec<Slot>,
    lists: Pool<Vec<Link>>,
}

/// What one connection has. Most have no subscription or one, so these cost nothing beyond the slot.
#[derive(Debug, Clone, Copy)]
enum Slot {
    One(Link),
    /// An entry of the lists with at least two links, or [`EMPTY`] for none.
    List(u32),
}

// An idle connection's share of the memory budget: the zero that `topic` cannot be marks a list.
const _: () = assert!(size_of::<Slot>() == 8);

impl Connections {
    /// The links of `conn`.
    pub(crate) fn of(&self, conn: u32) -> &[Link] {
        match self.slots.get(conn as usize) {
            Some(Slot::One(link)) => slice::from_ref(link),
            None | Some(Slot::List(EMPTY)) => &[],
            Some(&Slot::List(list)) => &self.lists[list],
        }
    }

    /// Adds a link and says where it lies among the connection's.
    pub(crate) fn push(&mut self, conn: u32, link: Link) -> u32 {
        let conn = conn as usize;
        if conn >= self.slots.len() {
            self.slots.resize(conn + 1, Slot::List(EMPTY));
        }
        match self.slots[conn] {
            Slot::List(EMPTY) => {
                self.slots[conn] = Slot::One(link);
                0
            }
            Slot::One(first) => {
                let list = self.lists.insert(vec![first, link]);
                self.slots[conn] = Slot::List(list.get());
                1
            }
            Slot::List(list) => {
                let links = &mut self.lists[list];
                links.push(link);
                index(links.len() - 1)
            }
        }
    }

    /// The link at `at` among those of `conn`, to be kept in step with its topic.
    pub(crate) fn link_mut(&mut self, conn: u32, at: u32) -> &mut Link {
        match &mut self.slots[conn as usize] {
            Slot::One(link) => link,
            Slot::List(list) => &mut self.lists[*list][at as usize],
        }
    }

    /// Removes the link at `at`; also returns the link that moved there, if one did.
    pub(crate) fn swap_remove(&mut self, conn: u32, at: u32) -> (Link, Option<Link>) {
        let slot = &mut self.slots[conn as usize];
        let list = match *slot {
            Slot::One(link) => {
                *slot = Slot::List(EMPTY);
                return (link, None);
            }
            Slot::List(list) => list,
        };
        let links = &mut self.lists[list];
        let removed = links.swap_remove(at as usize);
        let moved = links.get(at as usize).copied();
        if let [last] = links[..] {
            *slot = Slot::One(last);
            self.lists
                .remove(NonZeroU32::new(list).expect("two links lie in a list of their own"));
        } else {
            give_back(links);
        }
        (removed, moved)
    }

    /// Removes the last link of `conn`, if it has one.
    pub(crate) fn pop(&mut self, conn: u32) -> Option<Link> {
        let last = self.of(conn).len().checked_sub(1)?;
        let (link, _) = self.swap_remove(conn, index(last));
        Some(link)
    }
}
