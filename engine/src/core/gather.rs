//! Waiting a moment for the rest of a burst before a flush that will take long anyway.
//!
//! A send to a thousand subscribers costs the same for one message as for ten. So before a large flush the loop looks for
//! further input, for a small share of the time that the flush is going to take: what that adds to the
//! latency is bounded relative to the work, and small flushes are never held up.

use std::time::Duration;

/// The share of a flush's time that may be spent on looking: one part in so many. More gains little beyond it and
/// costs all of it where nothing comes (measured in ARCHITECTURE.md).
const SHARE: u32 = 20;

/// Fewer sends are flushed at once: looking costs system calls, too. In the simulation all flushes are small.
const MIN_SENDS: usize = if cfg!(test) { 3 } else { 64 };

/// So many looks in a row may find nothing before flushes go without one: the members of a burst fall out of step at times.
const PATIENCE: u32 = 4;

/// From then on one flush, then two, four and so on, but so many at most.
const LONGEST_PAUSE: u32 = 32;

/// What a send is believed to take at most. A flush that seems to take longer was interrupted, by a pause of the machine for
/// example: by that measure the next ones would wait for minutes.
const MOST_PER_SEND: Duration = Duration::from_micros(200);

/// When to look, and for how long.
#[derive(Debug)]
pub(super) struct Gather {
    /// What a send takes, by the last flushes.
    per_send: Duration,
    /// Looks in a row that found nothing.
    failures: u32,
    /// Flushes that still go without a look.
    pause: u32,
}

impl Gather {
    pub(super) fn new() -> Self {
        Self {
            // Until one has been measured: less than any socket takes, so that the first flush is not late.
            per_send: Duration::from_nanos(500),
            failures: 0,
            pause: 0,
        }
    }

    /// Whether a flush of so many sends is measured and may be preceded by a look.
    pub(super) fn is_large(sends: usize) -> bool {
        sends >= MIN_SENDS
    }

    /// How long to look for more before a flush of so many sends.
    pub(super) fn budget(&mut self, sends: usize) -> Option<Duration> {
        if !Self::is_large(sends) {
            return None;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        let sends = u32::try_from(sends).unwrap_or(u32::MAX);
        Some(self.per_send.saturating_mul(sends) / SHARE)
    }

    /// What a look has brought. Whoever publishes one message at a time pays for few looks in vain.
    pub(super) fn looked(&mut self, found: bool) {
        self.failures = match found {
            true => 0,
            false => self.failures.saturating_add(1),
        };
        let steps = self.failures.checked_sub(PATIENCE);
        self.pause = steps.map_or(0, |steps| LONGEST_PAUSE.min(1 << steps.min(16)));
    }

    /// A flush of so many sends took so long.
    pub(super) fn flushed(&mut self, sends: usize, took: Duration) {
        let sends = u32::try_from(sends).unwrap_or(u32::MAX).max(1);
        self.per_send = (self.per_send * 7 + (took / sends).min(MOST_PER_SEND)) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_flush_is_never_held_up() {
        let mut gather = Gather::new();
        gather.flushed(1, Duration::from_secs(1));
        assert_eq!(gather.budget(MIN_SENDS - 1), None);
        assert!(gather.budget(MIN_SENDS).is_some());
    }

    #[test]
    fn the_look_is_a_small_share_of_the_flush() {
        let mut gather = Gather::new();
        for _ in 0..100 {
            gather.flushed(1_000, Duration::from_millis(4));
        }
        let budget = gather.budget(1_000).expect("a large flush");
        let (least, most) = (Duration::from_micros(190), Duration::from_micros(200));
        assert!((least..=most).contains(&budget), "{budget:?}");
    }

    #[test]
    fn a_pause_of_the_machine_holds_no_flush_up() {
        let mut gather = Gather::new();
        gather.flushed(1_000, Duration::from_secs(86_400));
        let budget = gather.budget(1_000).expect("a large flush");
        assert!(budget < Duration::from_millis(2), "{budget:?}");
    }

    #[test]
    fn looks_in_vain_become_rare_and_one_success_ends_that() {
        let mut gather = Gather::new();
        let mut looks = 0;
        for _ in 0..1_000 {
            if gather.budget(1_000).is_some() {
                looks += 1;
                gather.looked(false);
            }
        }
        assert!((30..45).contains(&looks), "{looks} looks");
        while gather.budget(1_000).is_none() {}
        gather.looked(true);
        assert!((0..10).all(|_| gather.budget(1_000).is_some()));
    }
}
