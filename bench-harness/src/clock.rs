//! Time as the client counts it: nanoseconds since the run began.

use std::time::{Duration, Instant};

/// Nanoseconds since the clock's epoch: 584 years fit.
pub(crate) type Nanos = u64;

/// One epoch for all threads of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.0.elapsed().as_nanos() as Nanos
    }

    /// How long until `then`; zero when it has passed.
    pub(crate) fn until(&self, then: Nanos) -> Duration {
        Duration::from_nanos(then.saturating_sub(self.now()))
    }
}

/// A duration in nanoseconds.
pub(crate) const fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}
