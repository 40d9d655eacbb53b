//! The end of a core: connections are closed a few at a time, so that their clients do not all come back at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use corecast_protocol::CloseCode;

use super::Core;
use super::connection::State;
use super::timers::TICK;

/// Connections that a core closes per tick at least: a thousand a second, which any successor can take, and few
/// connections are closed nearly at once.
const PER_TICK: usize = 32;

/// A core on its way out.
pub(crate) struct Drain {
    /// When the last connections are cut.
    deadline: Instant,
    /// The tick by which all have been told.
    told_by: u32,
    /// The next tick in which some are told.
    next: u32,
    /// Those that have not been told.
    waiting: VecDeque<u32>,
}

impl Drain {
    /// Tells all within the first half of the time; the other half is for their answers.
    fn new(waiting: VecDeque<u32>, now: Instant, tick: u32, deadline: Instant) -> Self {
        let half = deadline.saturating_duration_since(now) / 2;
        let ticks = u32::try_from(half.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX);
        Self {
            deadline,
            told_by: tick.saturating_add(ticks),
            next: tick,
            waiting,
        }
    }

    /// A further order to end: the earlier end counts.
    fn hasten(&mut self, other: &Self) {
        self.deadline = self.deadline.min(other.deadline);
        self.told_by = self.told_by.min(other.told_by);
        self.next = self.next.min(other.next);
    }

    /// How many to tell in this tick. So many in each that is left would tell the last by `told_by`.
    fn share(&mut self, tick: u32) -> usize {
        if tick < self.next {
            return 0;
        }
        self.next = tick.saturating_add(1);
        let ticks = self.told_by.saturating_sub(tick) as usize + 1;
        self.waiting.len().div_ceil(ticks).max(PER_TICK)
    }

    /// When there is something to do next.
    pub(super) fn wakes(&self, started: Instant) -> Instant {
        if self.waiting.is_empty() {
            return self.deadline;
        }
        self.deadline.min(started + TICK * self.next)
    }
}

impl Core {
    /// Begins to end: nobody gets in any more, and every connection is closed with 1001 in the first half of the
    /// time until `deadline`. Handshakes that are not complete are cut.
    pub(super) fn drain(&mut self, now: Instant, deadline: Instant) {
        self.hub.leaving = true;
        let indices = self.hub.conns.indices();
        let (open, others): (VecDeque<u32>, VecDeque<u32>) = indices
            .into_iter()
            .partition(|&index| self.hub.conns[index].is_open());
        for index in others {
            if self.hub.conns[index].state == State::Handshake {
                self.hub.kill(index);
            }
        }
        let ordered = Drain::new(open, now, self.hub.wheel.now(), deadline);
        match &mut self.drain {
            Some(drain) => drain.hasten(&ordered),
            None => self.drain = Some(ordered),
        }
    }

    /// Closes those whose turn it is; at the deadline cuts all.
    pub(super) fn go_on_draining(&mut self, now: Instant) {
        let Some(drain) = &mut self.drain else {
            return;
        };
        if now >= drain.deadline {
            self.drain = None;
            self.hub.closed = true;
            for index in self.hub.conns.indices() {
                self.hub.kill(index);
            }
            return;
        }
        let mut share = drain.share(self.hub.wheel.now());
        while share > 0
            && let Some(index) = drain.waiting.pop_front()
        {
            // Some have ended by themselves. Their slots are not open again: nobody gets in.
            if self.hub.conns[index].is_open() {
                self.hub
                    .begin_close(index, CloseCode::GOING_AWAY, "server shutting down");
                share -= 1;
            }
        }
    }

    /// How long until the drain goes on.
    pub(super) fn time_to_drain(&self, now: Instant) -> Option<Duration> {
        let drain = self.drain.as_ref()?;
        Some(drain.wakes(self.started).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are told in each tick until all are.
    fn told(drain: &mut Drain, ticks: impl Iterator<Item = u32>) -> Vec<usize> {
        let mut told = Vec::new();
        for tick in ticks {
            let share = drain.share(tick).min(drain.waiting.len());
            drain.waiting.drain(..share);
            told.push(share);
            if drain.waiting.is_empty() {
                break;
            }
        }
        told
    }

    fn drain(connections: u32, tick: u32, time: Duration) -> Drain {
        let now = Instant::now();
        Drain::new((0..connections).collect(), now, tick, now + time)
    }

    #[test]
    fn many_are_spread_evenly_over_half_of_the_time() {
        let mut drain = drain(100_000, 7, TICK * 200);
        let told = told(&mut drain, 7..);
        assert_eq!(told.len(), 101, "from now until half of the time is over");
        assert!(told.iter().all(|&n| (980..=991).contains(&n)), "{told:?}");
    }

    #[test]
    fn few_are_told_soon_but_not_at_once() {
        let mut drain = drain(100, 0, Duration::from_secs(3600));
        assert_eq!(told(&mut drain, 0..), [32, 32, 32, 4]);
    }

    #[test]
    fn a_tick_counts_once_and_a_lost_tick_is_made_up_for() {
        let mut drain = drain(10_000, 0, TICK * 20);
        assert_eq!(told(&mut drain, [0, 0, 0].into_iter()), [910, 0, 0]);
        let rest = told(&mut drain, [9, 10].into_iter());
        assert_eq!(rest, [4545, 4545], "all by the tenth tick");
    }

    #[test]
    fn an_earlier_end_counts_and_a_later_one_does_not() {
        let mut slow = drain(100_000, 0, TICK * 20_000);
        assert_eq!(told(&mut slow, 0..3), [32; 3]);
        let fast = drain(0, 3, TICK * 6);
        slow.hasten(&fast);
        let rest = told(&mut slow, 3..);
        assert_eq!((rest.len(), slow.deadline), (4, fast.deadline));
        let mut short = drain(100_000, 0, Duration::ZERO);
        short.hasten(&drain(0, 0, TICK * 1000));
        assert_eq!(told(&mut short, 0..), [100_000]);
    }

    #[test]
    fn it_wakes_for_the_next_tick_and_then_for_the_end() {
        let started = Instant::now();
        let mut drain = Drain::new((0..40).collect(), started, 0, started + TICK * 100);
        assert_eq!(told(&mut drain, 0..1), [32]);
        assert_eq!(drain.wakes(started), started + TICK);
        assert_eq!(told(&mut drain, 1..), [8]);
        assert_eq!(drain.wakes(started), started + TICK * 100);
    }
}
