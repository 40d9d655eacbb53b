//! When things are due in an open loop.

use crate::clock::Nanos;

const SECOND: u128 = 1_000_000_000;

/// Events at a constant total rate, dealt out to `stride` threads in turn. Due times are exact:
/// they are computed from the event's number, so rounding never adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    start: Nanos,
    /// Events per second over all threads.
    rate: u64,
    /// This thread's number, and how many there are.
    offset: u64,
    stride: u64,
}

impl Schedule {
    /// The share of thread `offset` of `stride` in `rate` events per second from `start` on.
    pub(crate) fn new(start: Nanos, rate: u64, offset: usize, stride: usize) -> Self {
        assert!(rate > 0 && offset < stride);
        Self {
            start,
            rate,
            offset: offset as u64,
            stride: stride as u64,
        }
    }

    /// When event `number` (from 0) of this thread is due.
    #[inline]
    pub(crate) fn due(&self, number: u64) -> Nanos {
        let global = u128::from(number) * u128::from(self.stride) + u128::from(self.offset);
        self.start + (global * SECOND / u128::from(self.rate)) as Nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_do_not_drift() {
        let schedule = Schedule::new(5, 3, 0, 1);
        assert_eq!(schedule.due(0), 5);
        assert_eq!(schedule.due(1), 333_333_338);
        assert_eq!(schedule.due(3), 1_000_000_005);
        assert_eq!(schedule.due(3_000_000_000), 1_000_000_000_000_000_005);
    }

    #[test]
    fn threads_share_the_rate_without_overlap() {
        let whole = Schedule::new(0, 7_000, 0, 1);
        let threads: Vec<_> = (0..3).map(|i| Schedule::new(0, 7_000, i, 3)).collect();
        for number in 0..1_000_u64 {
            let thread = &threads[(number % 3) as usize];
            assert_eq!(thread.due(number / 3), whole.due(number));
        }
    }
}
