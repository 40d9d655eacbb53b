//! Connections that take turns in sending, and messages that fall due.

use std::collections::VecDeque;

use crate::client::schedule::{Profile, Schedule, Segment};
use crate::clock::Nanos;
use crate::scenario::account::Account;
use crate::scenario::curve::{Curve, Piece};
use crate::scenario::fleet::Share;
use crate::telemetry::recorder::Recorder;

/// So many turns of connections that have left may wait, and as many as are there.
const ROOM: usize = 64;

/// Connections that may send, each in its turn. They come and go.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// In the order of their turns, each with its ticket. Those that have left stay until it is their turn.
    queue: VecDeque<(u32, u64)>,
    /// By slot: the ticket of the connection that is there, 0 when none is.
    tickets: Vec<u64>,
    there: usize,
    /// The latest ticket.
    last: u64,
}

impl Turns {
    /// A connection may send, after all others.
    pub(super) fn join(&mut self, slot: u32) {
        self.leave(slot);
        // Nobody may ever take a turn, while connections come and go.
        if self.queue.len() > 2 * self.there + ROOM {
            let tickets = &self.tickets;
            self.queue
                .retain(|&(slot, ticket)| tickets[slot as usize] == ticket);
        }
        if self.tickets.len() <= slot as usize {
            self.tickets.resize(slot as usize + 1, 0);
        }
        self.last += 1;
        self.there += 1;
        self.tickets[slot as usize] = self.last;
        self.queue.push_back((slot, self.last));
    }

    /// A connection may not send any more; no harm if it did not.
    pub(super) fn leave(&mut self, slot: u32) {
        if let Some(ticket) = self.tickets.get_mut(slot as usize) {
            self.there -= usize::from(std::mem::take(ticket) != 0);
        }
    }

    /// Whose turn it is.
    #[inline]
    pub(super) fn take(&mut self) -> Option<u32> {
        while let Some((slot, ticket)) = self.queue.pop_front() {
            if self.tickets[slot as usize] == ticket {
                self.queue.push_back((slot, ticket));
                return Some(slot);
            }
        }
        None
    }
}

/// What falls due on one thread, and waits for somebody to send it.
#[derive(Debug)]
pub(crate) struct Dues {
    /// Per second, of the whole role; `None`: this thread has nothing to send.
    profile: Option<Profile>,
    share: Share,
    /// From the begin of the load on; [`Profile`] ends with it.
    schedule: Option<Schedule>,
    next: u64,
    /// When each of those was due that wait.
    waiting: VecDeque<Nanos>,
}

impl Dues {
    /// This thread's share of `rate`, when at most `senders` threads of the role have one.
    pub(crate) fn new(rate: &Curve, share: Share, senders: u64) -> Self {
        let count = share.count.min(senders as usize);
        let share = Share { count, ..share };
        let segment = |piece: &Piece| Segment {
            length: piece.length,
            from: piece.from,
            to: piece.to,
        };
        let end = Segment {
            length: 0,
            from: 0.0,
            to: 0.0,
        };
        let segments: Vec<Segment> = rate.pieces().iter().map(segment).chain([end]).collect();
        let sends = share.index < count && rate.most() > 0.0;
        Self {
            profile: sends.then(|| Profile::new(&segments)),
            share,
            schedule: None,
            next: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The load begins then.
    pub(super) fn begin(&mut self, start: Nanos) {
        let profile = self.profile.as_ref();
        let Share { index, count } = self.share;
        self.schedule = profile.map(|profile| Schedule::new(start, profile, index, count));
    }

    /// Makes due what the schedule says by now, and notes it down. Returns when the next one will be.
    #[inline]
    pub(super) fn fall(
        &mut self,
        now: Nanos,
        account: &mut Account,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Nanos {
        let Some(schedule) = &self.schedule else {
            return Nanos::MAX;
        };
        let first = schedule.due(self.next);
        let (mut time, mut count) = (first, 0);
        while time <= now {
            self.waiting.push_back(time);
            account.due(time);
            self.next += 1;
            count += 1;
            time = schedule.due(self.next);
        }
        if let Some(recorder) = recorder {
            recorder.noticed(first, count, now);
        }
        time
    }

    /// The longest due that waits.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Nanos> {
        self.waiting.pop_front()
    }

    /// It waits again, before all others.
    pub(super) fn give_back(&mut self, due: Nanos) {
        self.waiting.push_front(due);
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::Plan;

    #[test]
    fn everybody_has_a_turn_while_others_come_and_go() {
        let mut turns = Turns::default();
        assert_eq!(turns.take(), None);
        (1..=3).for_each(|slot| turns.join(slot));
        assert_eq!([turns.take(), turns.take()], [Some(1), Some(2)]);
        turns.leave(1);
        turns.join(4);
        turns.leave(9);
        let order: Vec<_> = (0..4).filter_map(|_| turns.take()).collect();
        assert_eq!(order, [3, 2, 4, 3]);
    }

    #[test]
    fn those_who_leave_take_no_room_and_no_turn() {
        let mut turns = Turns::default();
        turns.join(7);
        for _ in 0..10_000 {
            turns.join(3);
            turns.leave(3);
            turns.leave(3);
        }
        assert!(turns.queue.len() <= 2 * ROOM, "{}", turns.queue.len());
        assert_eq!([turns.take(), turns.take()], [Some(7), Some(7)]);
        turns.join(3);
        turns.join(3);
        assert_eq!(
            [turns.take(), turns.take(), turns.take()],
            [Some(7), Some(3), Some(7)]
        );
        turns.leave(7);
        turns.leave(3);
        assert_eq!((turns.take(), turns.there), (None, 0));
    }

    #[test]
    fn what_is_due_waits_in_order_and_ends_with_the_curve() {
        let text = "title = 'x'\n[[role]]\nname = 'a'\nkind = 'idle'\nconnections = 5\n\
            [[phase]]\nname = 'p'\nduration = '1s'\n";
        let mut account = Account::new(&Plan::parse(text, 1).unwrap());
        account.begin(100);
        let rate = Curve::new(vec![Piece {
            length: 1_000,
            from: 4e6,
            to: 4e6,
        }]);
        let dues = |index, senders| {
            let mut dues = Dues::new(&rate, Share { index, count: 2 }, senders);
            dues.begin(100);
            dues
        };
        let mut fall = |dues: &mut Dues, now| dues.fall(now, &mut account, &mut None);
        let mut second = dues(1, 9);
        assert_eq!(fall(&mut second, 99), 350);
        assert_eq!(fall(&mut second, 350), 850);
        assert_eq!(fall(&mut second, 5_000), Nanos::MAX);
        assert_eq!(second.waiting(), 2);
        let first = second.take().unwrap();
        second.give_back(first);
        let taken = [second.take(), second.take(), second.take()];
        assert_eq!(taken, [Some(350), Some(850), None]);
        assert_eq!(fall(&mut dues(1, 1), 5_000), Nanos::MAX);
        let mut alone = dues(0, 1);
        fall(&mut alone, 5_000);
        assert_eq!(alone.waiting(), 4, "the other thread has no sender");
        assert_eq!(account.counts().due, 6);
    }
}
