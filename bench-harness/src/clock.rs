//! Time as the client counts it: nanoseconds since the run began.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the clock's epoch: 584 years fit.
pub(crate) type Nanos = u64;

/// One epoch for all threads of a run, in whatever process they are: a time of the system's monotonic clock, which all
/// processes of a machine share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    epoch: Nanos,
}

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self::at(monotonic())
    }

    /// Began, or begins, at this time of the system's monotonic clock.
    pub(crate) fn at(epoch: Nanos) -> Self {
        Self { epoch }
    }

    /// The time of the system's monotonic clock at which it began.
    pub(crate) fn epoch(&self) -> Nanos {
        self.epoch
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        monotonic().saturating_sub(self.epoch)
    }

    /// How long until `then`; zero when it has passed.
    pub(crate) fn until(&self, then: Nanos) -> Duration {
        Duration::from_nanos(then.saturating_sub(self.now()))
    }
}

/// The system's monotonic clock.
#[inline]
pub(crate) fn monotonic() -> Nanos {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux always has this clock");
    time.tv_sec() as Nanos * 1_000_000_000 + time.tv_nsec() as Nanos
}

/// A duration in nanoseconds.
pub(crate) const fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}
