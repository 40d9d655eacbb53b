//! One row of a run's time series.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, nanos};
use crate::procfs::Memory;
use crate::stats::latency::{Distribution, Latency};

/// Rows of a run, more or less: enough to draw, few enough to read.
const ROWS: u32 = 120;

/// An interval is at least so long: a shorter one has no percentiles, and looking costs the machine something…
const SHORTEST: Duration = Duration::from_millis(250);

/// …and at most so long, for the screen to be alive.
const LONGEST: Duration = Duration::from_secs(1);

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Connections are opened.
    Opening,
    /// Under load, and not in the figures.
    WarmUp,
    /// Under load, and in the figures.
    Measuring,
    /// Waits for what is on the way, and closes.
    Draining,
}

/// An interval of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// End of the interval, in seconds since the run began to open connections.
    pub(crate) at_s: f64,
    /// Its length in seconds.
    pub(crate) length_s: f64,
    /// What the run was doing.
    pub(crate) phase: Phase,
    /// Replies, deliveries or connections done in it.
    pub(crate) done: u64,
    /// Messages sent in it.
    pub(crate) sent: u64,
    /// Connections refused or broken, and messages lost, duplicated or reordered, noticed in it.
    pub(crate) errors: u64,
    /// Connections on the way at its end.
    pub(crate) opening: u64,
    /// Connections open at its end.
    pub(crate) open: u64,
    /// Latencies that ended in it: from the time due, or sent in a closed loop. `None`: there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Distribution>,
    /// The same from the time sent. Open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uncorrected_us: Option<Distribution>,
    /// The client's side.
    pub(crate) client: ClientSample,
    /// The server's side, when it is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<ServerSample>,
}

/// The client in an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientSample {
    /// Share of the time in which its busiest thread ran, 0 to 1.
    pub(crate) running: f64,
    /// The same, with the time that the thread waited for a processor.
    pub(crate) busy: f64,
    /// Processor time of all its threads, in microseconds.
    pub(crate) cpu_us: f64,
    /// The most that a thread turned to a message later than it was due, in microseconds; `None` when none was due at
    /// a time of its own, as in a closed loop.
    pub(crate) timer_lag_us: Option<f64>,
}

/// The server in an interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerSample {
    /// Processor time, user and system, in microseconds.
    pub(crate) cpu_us: f64,
    /// Share of the time in which its busiest thread ran, 0 to 1.
    pub(crate) running: f64,
    /// The same, with the time that the thread waited for a processor.
    pub(crate) busy: f64,
    /// Memory at the end, in bytes.
    pub(crate) memory: Memory,
    /// Descriptors at the end.
    pub(crate) descriptors: Option<u64>,
    /// Times a thread went to sleep; `None` when there are too many threads to look at each time.
    pub(crate) voluntary_switches: Option<u64>,
    /// Times a thread was put aside, likewise.
    pub(crate) involuntary_switches: Option<u64>,
    /// System calls; `None` where nothing counts them.
    pub(crate) syscalls: Option<u64>,
}

/// Latencies of one interval; what `latency.hlog` has a line for.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    /// Begin, in seconds since the run began.
    pub(crate) from_s: f64,
    /// Length in seconds.
    pub(crate) length_s: f64,
    /// From the time due, or sent in a closed loop; packed by [`Latency::pack`].
    pub(crate) corrected: Vec<u8>,
    /// From the time sent. Open loop only.
    pub(crate) uncorrected: Option<Vec<u8>>,
}

/// Where intervals begin: every `step` from the begin of the measurement on, and before it backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    origin: Nanos,
    step: Nanos,
    /// Intervals of the measurement.
    count: u64,
}

impl Grid {
    /// So many whole intervals that the measurement has about as many as a reader wants.
    pub(crate) fn new(measured: &Range<Nanos>) -> Self {
        let length = measured.end - measured.start;
        let wanted = (length / u64::from(ROWS)).clamp(nanos(SHORTEST), nanos(LONGEST));
        let count = length.div_ceil(wanted).max(1);
        Self {
            origin: measured.start,
            step: (length / count).max(1),
            count,
        }
    }

    /// Length of an interval.
    pub(crate) fn step(&self) -> Nanos {
        self.step
    }

    /// Intervals of the measurement.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The interval that a time falls into: 0 is the first of the measurement, those of the warm-up are negative.
    #[inline]
    pub(crate) fn number(&self, at: Nanos) -> i64 {
        if at >= self.origin {
            ((at - self.origin) / self.step) as i64
        } else {
            -((self.origin - at).div_ceil(self.step) as i64)
        }
    }

    /// When an interval begins; 0 for one that would begin before the clock did.
    #[inline]
    pub(crate) fn begin(&self, number: i64) -> Nanos {
        let offset = number.unsigned_abs() * self.step;
        if number >= 0 {
            self.origin + offset
        } else {
            self.origin.saturating_sub(offset)
        }
    }
}

impl Stretch {
    /// What is packed in `corrected`.
    pub(crate) fn latency(&self) -> Latency {
        Latency::unpack(&self.corrected).expect("it was packed by this program")
    }

    /// What is packed in `uncorrected`.
    pub(crate) fn uncorrected_latency(&self) -> Option<Latency> {
        let unpack = |packed| Latency::unpack(packed).expect("it was packed by this program");
        self.uncorrected.as_deref().map(unpack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn a_measurement_has_whole_intervals() {
        let grid = Grid::new(&(5 * SECOND..15 * SECOND));
        assert_eq!((grid.step(), grid.count()), (SECOND / 4, 40));
        assert_eq!((grid.number(5 * SECOND), grid.begin(0)), (0, 5 * SECOND));
        assert_eq!(grid.number(15 * SECOND - 1), 39);
        assert_eq!(grid.number(5 * SECOND - 1), -1);
        assert_eq!(grid.begin(-1), 5 * SECOND - SECOND / 4);
        assert_eq!(grid.begin(grid.number(0)), 0);
        let long = Grid::new(&(0..600 * SECOND));
        assert_eq!((long.step(), long.count()), (SECOND, 600));
        let short = Grid::new(&(0..SECOND / 10));
        assert_eq!((short.step(), short.count()), (SECOND / 10, 1));
    }
}
