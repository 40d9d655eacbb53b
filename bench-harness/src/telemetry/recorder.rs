//! Latencies of one thread, by interval and in all.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::progress::{Cut, Progress};
use super::sample::Grid;
use crate::clock::Nanos;
use crate::stats::latency::{Distribution, Latency, Tally};

/// Records into the histogram of the interval. At its end that is added to the total, and handed over.
#[derive(Debug)]
pub(crate) struct Recorder<'a> {
    progress: &'a Progress,
    grid: Grid,
    measured: Range<Nanos>,
    /// The interval's number, and when it ends.
    number: i64,
    end: Nanos,
    tallies: Tallies,
    /// Of what fell due after the measurement, when a load goes on.
    beyond: Option<Tallies>,
    total: Recorded,
}

/// The histograms of the interval.
#[derive(Debug)]
struct Tallies {
    corrected: Tally,
    /// Open loop only.
    uncorrected: Option<Tally>,
}

/// The latencies of a whole measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// From the time due, or sent in a closed loop.
    pub(crate) corrected: Latency,
    /// From the time sent. Open loop only.
    pub(crate) uncorrected: Option<Latency>,
    /// From the time due until the client turned to the message. Open loop only.
    pub(crate) lag: Option<Latency>,
}

impl<'a> Recorder<'a> {
    /// For a run that is measured then. Every message that was due in the measurement counts, or sent in it in a closed loop,
    /// whenever its reply comes: the slowest are those that come after its end.
    pub(crate) fn new(progress: &'a Progress, measured: Range<Nanos>, open_loop: bool) -> Self {
        let grid = Grid::new(&measured);
        let number = i64::MIN;
        Self {
            progress,
            grid,
            measured,
            number,
            // The first look at the time begins an interval.
            end: 0,
            tallies: Tallies::new(progress, open_loop),
            beyond: None,
            total: Recorded {
                corrected: Latency::new(),
                uncorrected: open_loop.then(Latency::new),
                lag: open_loop.then(Latency::new),
            },
        }
    }

    /// When the interval ends: [`Recorder::look`] should be called then.
    #[inline]
    pub(crate) fn end(&self) -> Nanos {
        self.end
    }

    /// Ends the interval when its time is over.
    #[inline]
    pub(crate) fn look(&mut self, now: Nanos) {
        if now >= self.end {
            self.cut(now);
        }
    }

    /// The client turns to `count` messages now, the first of which was due then: it was late by so much, because its
    /// timer was, it had to wait for a processor, or it was busy. What a message waits beyond that, for others of its
    /// connection to come back, is no fault of the client's. The oldest stands for all of them.
    #[inline]
    pub(crate) fn noticed(&mut self, due: Nanos, count: u64, now: Nanos) {
        if count == 0 {
            return;
        }
        let late = now.saturating_sub(due);
        self.progress.show_lag(late);
        if let (Some(lag), true) = (&mut self.total.lag, self.measured.contains(&due)) {
            lag.record_many(late, count);
        }
    }

    /// A message that was due and sent at these times has been answered or delivered.
    #[inline]
    pub(crate) fn record(&mut self, due: Nanos, sent: Nanos, now: Nanos) {
        self.look(now);
        let Range { start, end } = self.measured;
        // Of the messages of the warm-up, those count for its intervals that came back in it; the others nowhere.
        if due < start && now >= start {
            return;
        }
        let tallies = if due < end {
            &mut self.tallies
        } else {
            self.beyond()
        };
        tallies.corrected.record(now.saturating_sub(due));
        if let Some(uncorrected) = &mut tallies.uncorrected {
            uncorrected.record(now.saturating_sub(sent));
        }
    }

    /// The measurement's latencies. What is left of the interval is handed over.
    pub(crate) fn finish(mut self) -> Recorded {
        self.pass_on();
        self.total
    }

    fn is_open_loop(&self) -> bool {
        self.total.lag.is_some()
    }

    fn beyond(&mut self) -> &mut Tallies {
        let (progress, open_loop) = (self.progress, self.is_open_loop());
        let empty = || Tallies::new(progress, open_loop);
        self.beyond.get_or_insert_with(empty)
    }

    #[cold]
    fn cut(&mut self, now: Nanos) {
        self.pass_on();
        self.number = self.grid.number(now);
        self.end = self.grid.begin(self.number + 1);
    }

    fn pass_on(&mut self) {
        if self.number == i64::MIN {
            return;
        }
        let empty = Tallies::new(self.progress, self.is_open_loop());
        let tallies = std::mem::replace(&mut self.tallies, empty);
        // Intervals before the first one of the measurement are the warm-up.
        let cut = tallies.cut(self.number, self.number >= 0);
        if cut.measured {
            self.total.corrected.merge(&cut.corrected);
            if let (Some(total), Some(one)) = (&mut self.total.uncorrected, &cut.uncorrected) {
                total.merge(one);
            }
        }
        self.progress.hand_over(cut);
        if let Some(beyond) = self.beyond.take() {
            self.progress.hand_over(beyond.cut(self.number, false));
        }
    }
}

impl Tallies {
    fn new(progress: &Progress, open_loop: bool) -> Self {
        Self {
            corrected: Tally::new(progress.empty()),
            uncorrected: open_loop.then(|| Tally::new(progress.empty())),
        }
    }

    fn cut(self, number: i64, measured: bool) -> Cut {
        Cut {
            number,
            measured,
            corrected: self.corrected.finish(),
            uncorrected: self.uncorrected.map(Tally::finish),
        }
    }
}

impl Recorded {
    /// How late the client itself was, in an open loop.
    pub(crate) fn lag(&self) -> Option<Distribution> {
        self.lag.as_ref()?.distribution()
    }

    /// Adds what another thread recorded.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.corrected.merge(&other.corrected);
        if let (Some(all), Some(one)) = (&mut self.uncorrected, &other.uncorrected) {
            all.merge(one);
        }
        if let (Some(all), Some(one)) = (&mut self.lag, &other.lag) {
            all.merge(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn an_open_loop_counts_what_was_due_in_the_measurement() {
        let progress = Progress::default();
        let mut recorder = Recorder::new(&progress, SECOND..2 * SECOND, true);
        recorder.record(SECOND / 2, SECOND / 2, SECOND - 5);
        recorder.record(SECOND / 2, SECOND / 2, SECOND + 5);
        recorder.record(SECOND, SECOND + 3, SECOND + 1_000_000);
        recorder.record(2 * SECOND - 1, 2 * SECOND, 7 * SECOND);
        recorder.record(2 * SECOND, 2 * SECOND, 7 * SECOND);
        recorder.record(3 * SECOND, 3 * SECOND, 7 * SECOND + 5);
        let total = recorder.finish();
        let corrected = total.corrected.distribution().unwrap();
        assert_eq!(corrected.count, 2);
        assert!((corrected.max / 5_000_000.0 - 1.0).abs() < 0.002);
        let uncorrected = total.uncorrected.unwrap().distribution().unwrap();
        assert!(uncorrected.min < 1_000.0 && uncorrected.count == 2);
        let cuts = progress.take_cuts();
        let counted = |cut: &Cut| cut.corrected.distribution().map_or(0, |d| d.count);
        let told = |cut: &Cut| (cut.number, cut.measured, counted(cut));
        let list: Vec<_> = cuts.iter().map(told).collect();
        let expected = [(-1, false, 1), (0, true, 1), (24, true, 1), (24, false, 2)];
        assert_eq!(list, expected, "what fell due later is in rows only");
    }

    #[test]
    fn the_clients_own_lateness_counts_by_message() {
        let progress = Progress::default();
        let mut recorder = Recorder::new(&progress, SECOND..2 * SECOND, true);
        recorder.noticed(SECOND / 2, 5, SECOND + 9);
        recorder.noticed(SECOND, 1, SECOND + 10_000);
        recorder.noticed(SECOND + 20_000, 99, SECOND + 2_020_000);
        recorder.noticed(SECOND + 30_000, 0, SECOND + 9_000_000);
        let lag = recorder.finish().lag.unwrap().distribution().unwrap();
        assert_eq!(lag.count, 100, "only what was due in the measurement");
        assert!((lag.p50 / 2_000.0 - 1.0).abs() < 0.002, "{lag:?}");
        assert_eq!(progress.take_lag(), Some(SECOND / 2 + 9));
    }

    #[test]
    fn a_closed_loop_counts_what_was_sent_in_the_measurement() {
        let progress = Progress::default();
        let mut recorder = Recorder::new(&progress, SECOND..2 * SECOND, false);
        recorder.record(SECOND - 9, SECOND - 9, SECOND + 5);
        recorder.record(SECOND, SECOND, 2 * SECOND - 1);
        recorder.record(2 * SECOND - 1, 2 * SECOND - 1, 5 * SECOND);
        let total = recorder.finish();
        let corrected = total.corrected.distribution().unwrap();
        assert_eq!(corrected.count, 2);
        assert!(corrected.max > 2.9e6, "the slowest came after the end");
        assert!(total.uncorrected.is_none() && total.lag.is_none());
    }
}
