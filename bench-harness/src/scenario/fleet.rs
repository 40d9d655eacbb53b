//! Keeps as many connections of a role open as the plan wants: dials what is missing, and names those to close.

use std::collections::BTreeSet;
use std::time::Duration;

use super::account::Account;
use super::curve::Curve;
use super::openings::{Openings, SILENT};
use super::partings::Partings;
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;

/// Connections on the way at once, of one role on one thread: fast, and far below any listen backlog.
const OPENING: usize = 64;

/// A connection that could not be opened, or that broke, is dialled again so much later…
pub(super) const RETRY: Duration = Duration::from_millis(100);

/// …and twice as much later each time that it fails again, up to this power of two: 6.4 s.
const MOST_DOUBLINGS: u32 = 6;

/// On a ramp the wanted number is looked at so often.
const STEP: Duration = Duration::from_millis(5);

/// This thread's share in what a role has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Share {
    /// This thread's part of `total` things dealt out in turn.
    pub(super) fn of(self, total: u64) -> u64 {
        (total + self.count as u64 - 1 - self.index as u64) / self.count as u64
    }

    /// The number in the whole role of this thread's thing `place`.
    pub(super) fn number(self, place: u32) -> u32 {
        place * self.count as u32 + self.index as u32
    }
}

/// The connections of a role on one thread, or of a part of it.
pub(super) struct Fleet {
    /// The first slot.
    base: u32,
    share: Share,
    wanted: Curve,
    /// When the load begins, and how long it goes on.
    start: Nanos,
    length: Nanos,
    free: BTreeSet<u32>,
    openings: Openings,
    /// Messages of any kind that the server sends first on each.
    skip: u64,
    /// Those among the open ones that await messages of the server before they can be used.
    greetings: Openings,
    /// Those that have awaited them for too long.
    silent: BTreeSet<u32>,
    /// Open, and meant to stay so.
    open: BTreeSet<u32>,
    pub(super) partings: Partings,
    /// When each of those that failed may be dialled again.
    waiting: BTreeSet<(Nanos, u32)>,
    /// By place.
    trials: Vec<Trial>,
    /// No socket was to be had: none is asked for before.
    sockets_from: Nanos,
    stopped: bool,
}

/// What has come of dialling a connection.
#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    /// Failures in a row, of opening or soon after.
    failures: u32,
    /// It has been told that it cannot be opened.
    told: bool,
    /// When it opened.
    opened: Nanos,
}

/// How a connection of a fleet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It had never been open.
    Refused,
    /// We had closed it, and the server agreed.
    Closed,
    /// It broke.
    Broken,
}

impl Fleet {
    /// `slots` connections from slot `base` on. Close frames are masked with `key`.
    pub(super) fn new(
        base: u32,
        slots: u32,
        share: Share,
        wanted: &Curve,
        length: Nanos,
        key: [u8; 4],
    ) -> Self {
        Self {
            base,
            share,
            wanted: wanted.clone(),
            start: Nanos::MAX,
            length,
            free: (base..base + slots).collect(),
            openings: Openings::default(),
            skip: 0,
            greetings: Openings::default(),
            silent: BTreeSet::new(),
            open: BTreeSet::new(),
            partings: Partings::new(key),
            waiting: BTreeSet::new(),
            trials: vec![Trial::default(); slots as usize],
            sockets_from: 0,
            stopped: false,
        }
    }

    /// Connections can be used when the server has sent so many messages.
    pub(super) fn with_greeting(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// Messages that come first.
    pub(super) fn skip(&self) -> u64 {
        self.skip
    }

    /// The load begins then. Before, what is wanted at its begin is.
    pub(super) fn begin(&mut self, start: Nanos) {
        self.start = start;
    }

    /// Nothing is dialled any more.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Connections that are open and meant to stay so.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Their slots.
    pub(super) fn open_slots(&self) -> impl DoubleEndedIterator<Item = u32> {
        self.open.iter().copied()
    }

    /// As many are open as are wanted now; after the end, none is.
    pub(super) fn is_complete(&self, now: Nanos) -> bool {
        let ready = self.open.len().saturating_sub(self.greetings.count());
        self.stopped || ready >= self.wanted_at(now)
    }

    /// Connections that this thread should have open.
    pub(super) fn wanted_at(&self, now: Nanos) -> usize {
        let time = now.saturating_sub(self.start);
        let value = if time < self.length {
            self.wanted.at(time)
        } else {
            self.wanted.before(self.length)
        };
        self.share.of(value.round() as u64) as usize
    }

    /// Dials what is missing, the lowest slots first, and hangs up where the server does not. Returns when to look again.
    pub(super) fn dial(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        account: &mut Account,
    ) -> Result<Nanos, BenchError> {
        let patience = self.partings.enforce(now, links.outbox());
        let patience = patience.min(self.openings.enforce(now, links));
        let patience = patience.min(self.await_greetings(now, links.outbox()));
        if self.stopped {
            return Ok(patience);
        }
        let retry = self.look_at_waiting(now);
        if now < self.sockets_from {
            return Ok(patience.min(self.sockets_from));
        }
        let wanted = self.wanted_at(now);
        // Those that wait for their next trial count as if they were on the way.
        while self.open.len() + self.openings.count() + self.waiting.len() < wanted
            && self.openings.count() < OPENING
        {
            let Some(slot) = self.free.pop_first() else {
                break;
            };
            if let Err(error) = links.dial(slot) {
                // The next one would not have a socket either.
                self.sockets_from = now + nanos(RETRY);
                self.failed(slot, now, format!("socket: {error}"), account);
                return Ok(patience.min(self.sockets_from));
            }
            self.openings.begin(slot, now);
        }
        Ok(patience.min(retry).min(self.next_change(now)))
    }

    /// Ends those that the server has not greeted in time. Returns when to look again.
    fn await_greetings(&mut self, now: Nanos, out: &mut Outbox) -> Nanos {
        let (overdue, next) = self.greetings.overdue(now);
        for slot in overdue {
            self.silent.insert(slot);
            out.hang_up(slot);
        }
        next
    }

    /// Those whose time has come may be dialled again. Returns when the next one's will.
    fn look_at_waiting(&mut self, now: Nanos) -> Nanos {
        while let Some(&(time, slot)) = self.waiting.first() {
            if time > now {
                return time;
            }
            self.waiting.pop_first();
            self.free.insert(slot);
        }
        Nanos::MAX
    }

    /// A connection could not be opened: it waits for its next trial.
    fn failed(&mut self, slot: u32, now: Nanos, reason: String, account: &mut Account) {
        let trial = &mut self.trials[(slot - self.base) as usize];
        if std::mem::replace(&mut trial.told, true) {
            account.refuse_again();
        } else {
            account.refuse(reason);
        }
        self.wait(slot, now);
    }

    fn wait(&mut self, slot: u32, now: Nanos) {
        let trial = &mut self.trials[(slot - self.base) as usize];
        let pause = nanos(RETRY) << trial.failures.min(MOST_DOUBLINGS);
        trial.failures += 1;
        self.free.remove(&slot);
        self.waiting.insert((now + pause, slot));
    }

    /// The highest slot that is open, when there are too many: it leaves the fleet, and is to be closed with
    /// [`Fleet::part`].
    pub(super) fn surplus(&mut self, now: Nanos) -> Option<u32> {
        if self.stopped || self.open.len() <= self.wanted_at(now) {
            return None;
        }
        self.open.pop_last()
    }

    /// Says goodbye on a connection.
    pub(super) fn part(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        self.open.remove(&slot);
        self.partings.begin(slot, now, out);
    }

    /// Whether a connection is open, and meant to stay so.
    pub(super) fn has(&self, slot: u32) -> bool {
        self.open.contains(&slot)
    }

    /// What the server says first has come.
    pub(super) fn greeted(&mut self, slot: u32) {
        self.greetings.end(slot);
    }

    /// A connection is ready.
    pub(super) fn opened(
        &mut self,
        slot: u32,
        times: OpenTimes,
        now: Nanos,
        account: &mut Account,
    ) {
        self.openings.end(slot);
        self.open.insert(slot);
        if self.skip > 0 {
            self.greetings.begin(slot, now);
        }
        let trial = &mut self.trials[(slot - self.base) as usize];
        (trial.opened, trial.told) = (now, false);
        account.connected(times.tcp + times.upgrade.unwrap_or(0));
    }

    /// A connection is gone. Counts it.
    pub(super) fn ended(
        &mut self,
        slot: u32,
        opened: bool,
        end: End,
        now: Nanos,
        account: &mut Account,
    ) -> Ended {
        self.open.remove(&slot);
        self.openings.end(slot);
        self.greetings.end(slot);
        let end = if self.silent.remove(&slot) {
            End::Failed(SILENT.to_owned())
        } else {
            end
        };
        match (self.partings.ended(slot, end), opened) {
            (Ok(()), _) => {
                self.free.insert(slot);
                self.trials[(slot - self.base) as usize] = Trial::default();
                account.counts().closed += 1;
                Ended::Closed
            }
            (Err(reason), true) => {
                account.break_off(reason);
                let trial = &mut self.trials[(slot - self.base) as usize];
                if now.saturating_sub(trial.opened) > nanos(RETRY) << MOST_DOUBLINGS {
                    trial.failures = 0;
                }
                self.wait(slot, now);
                Ended::Broken
            }
            (Err(reason), false) => {
                self.failed(slot, now, reason, account);
                Ended::Refused
            }
        }
    }

    /// A connection is gone after the end, when nothing counts any more.
    pub(super) fn forget(&mut self, slot: u32) {
        self.open.remove(&slot);
        self.partings.forget(slot);
        self.openings.end(slot);
        self.greetings.end(slot);
    }

    /// Place of a slot in the fleet.
    #[inline]
    pub(super) fn place(&self, slot: u32) -> u32 {
        slot - self.base
    }

    fn next_change(&self, now: Nanos) -> Nanos {
        if now < self.start {
            return self.start;
        }
        let time = now - self.start;
        if time >= self.length {
            return Nanos::MAX;
        }
        if self.wanted.changes_at(time) || self.wanted.before(time) != self.wanted.at(time) {
            return now + nanos(STEP);
        }
        let next = self.wanted.next_piece(time);
        next.map_or(Nanos::MAX, |next| self.start + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::curve::Piece;
    use crate::scenario::plan::Plan;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn what_fails_is_tried_again_later_and_later_and_told_once() {
        let text = "title = 'x'\n[[role]]\nname = 'a'\nkind = 'idle'\nconnections = 5\n\
            [[phase]]\nname = 'p'\nduration = '1s'\n";
        let mut account = Account::new(&Plan::parse(text, 1).unwrap());
        let share = Share { index: 0, count: 1 };
        let all = Curve::constant(2.0, SECOND);
        let mut fleet = Fleet::new(10, 2, share, &all, SECOND, [0; 4]);
        let mut fail = |fleet: &mut Fleet| fleet.failed(11, SECOND, "no".into(), &mut account);
        let pauses: Vec<Nanos> = (0..9)
            .map(|_| {
                fail(&mut fleet);
                let (time, slot) = fleet.waiting.pop_first().unwrap();
                assert_eq!(slot, 11);
                (time - SECOND) / nanos(RETRY)
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        fail(&mut fleet);
        let counts = account.faults();
        assert_eq!((counts.refused, counts.attempts), (1, 10));
        assert!(fleet.free.contains(&10) && fleet.free.len() == 1);
        let next = SECOND + 64 * nanos(RETRY);
        assert_eq!(fleet.look_at_waiting(2 * SECOND), next);
        assert_eq!(fleet.look_at_waiting(9 * SECOND), Nanos::MAX);
        assert_eq!(fleet.free.len(), 2);
    }

    #[test]
    fn threads_share_what_is_wanted() {
        let ramp = Curve::new(vec![Piece {
            length: 10 * SECOND,
            from: 10.0,
            to: 21.0,
        }]);
        let fleets: Vec<Fleet> = (0..3)
            .map(|index| {
                let share = Share { index, count: 3 };
                let mut fleet = Fleet::new(0, 7, share, &ramp, 10 * SECOND, [0; 4]);
                fleet.begin(5 * SECOND);
                fleet
            })
            .collect();
        let wanted =
            |now| -> Vec<usize> { fleets.iter().map(|fleet| fleet.wanted_at(now)).collect() };
        assert_eq!(wanted(0), [4, 3, 3], "before it begins");
        assert_eq!(wanted(10 * SECOND), [6, 5, 5], "half way: 15.5");
        assert_eq!(wanted(99 * SECOND), [7, 7, 7], "it stays as it ended");
        assert_eq!(fleets[1].next_change(6 * SECOND), 6 * SECOND + nanos(STEP));
        assert_eq!(fleets[1].next_change(0), 5 * SECOND);
        assert_eq!(fleets[1].next_change(15 * SECOND), Nanos::MAX);
    }
}
