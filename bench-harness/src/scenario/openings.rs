//! Connections that wait for the server: one that takes them and says nothing must not keep them for ever.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::client::links::Links;
use crate::clock::{Nanos, nanos};

/// From the begin of a connection to the answer to its upgrade, and from there to the last message that has to come first.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Why a connection ends that the server has not greeted in that time.
pub(super) const SILENT: &str = "the server has not sent as many messages first as `skip` says";

/// Connections that have been begun and are not open yet, or not greeted.
#[derive(Debug, Default)]
pub(super) struct Openings {
    /// By slot, with the deadline.
    under_way: HashMap<u32, Nanos>,
    /// By deadline. Entries of connections that have opened or failed stay until theirs has passed.
    deadlines: VecDeque<(Nanos, u32)>,
}

impl Openings {
    /// A connection has been begun.
    pub(super) fn begin(&mut self, slot: u32, now: Nanos) {
        let deadline = now + nanos(LIMIT);
        self.under_way.insert(slot, deadline);
        self.deadlines.push_back((deadline, slot));
    }

    /// It is open, or has failed.
    pub(super) fn end(&mut self, slot: u32) {
        self.under_way.remove(&slot);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }

    /// Gives up those whose time is over. Returns when to look again.
    pub(super) fn enforce(&mut self, now: Nanos, links: &mut Links<'_>) -> Nanos {
        let (overdue, next) = self.overdue(now);
        for slot in overdue {
            links.give_up(slot, LIMIT);
        }
        next
    }

    /// Slots whose time is over, and when that of the next one will be.
    pub(super) fn overdue(&mut self, now: Nanos) -> (Vec<u32>, Nanos) {
        let mut overdue = Vec::new();
        while let Some(&(deadline, slot)) = self.deadlines.front() {
            if deadline > now {
                return (overdue, deadline);
            }
            self.deadlines.pop_front();
            if self.under_way.get(&slot) == Some(&deadline) {
                overdue.push(slot);
            }
        }
        (overdue, Nanos::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_still_on_the_way_is_overdue() {
        let mut openings = Openings::default();
        (1..=3).for_each(|slot| openings.begin(slot, 5));
        openings.end(2);
        openings.begin(2, 9);
        openings.end(3);
        assert_eq!(openings.count(), 2);
        let limit = nanos(LIMIT);
        assert_eq!(openings.overdue(limit + 4), (vec![], limit + 5));
        assert_eq!(openings.overdue(limit + 5), (vec![1], limit + 9));
        assert_eq!(openings.overdue(limit + 9), (vec![2], Nanos::MAX));
    }
}
