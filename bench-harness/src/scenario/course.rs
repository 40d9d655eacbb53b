//! How a role fares over time: an interval of its notes after the other.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::account::Counts;
use crate::clock::Nanos;
use crate::stats::latency::{Distribution, Latency};
use crate::telemetry::sample::Grid;

/// The intervals of one role on one thread.
pub(super) struct Course {
    step: Nanos,
    /// Intervals that are over.
    rows: Vec<Row>,
    /// All counts when the last of them ended.
    before: Counts,
    /// What has come since.
    latency: Latency,
}

/// An interval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// What was counted in it; with the connections open at its end.
    pub(super) counts: Counts,
    /// Latencies that ended in it, and how often each was seen: a histogram takes a quarter of a megabyte.
    #[serde(serialize_with = "pack", deserialize_with = "unpack")]
    latencies: Vec<(Nanos, u64)>,
}

impl Course {
    /// For a load that goes on for so long.
    pub(super) fn new(length: Nanos) -> Self {
        Self {
            step: step(length),
            rows: Vec::new(),
            before: Counts::default(),
            latency: Latency::new(),
        }
    }

    /// A message has come.
    #[inline]
    pub(super) fn record(&mut self, latency: Nanos) {
        self.latency.record(latency);
    }

    /// Whether an interval is over, so long after the begin of the load.
    #[inline]
    pub(super) fn is_due(&self, passed: Nanos) -> bool {
        passed >= (self.rows.len() as Nanos + 1) * self.step
    }

    /// Ends it; so much has been counted so far.
    #[cold]
    pub(super) fn cut(&mut self, counts: Counts) {
        let row = Row {
            counts: counts.since(&self.before),
            latencies: list(&self.latency),
        };
        self.rows.push(row);
        self.before = counts;
        self.latency.clear();
    }

    /// The intervals. What came after the last one's end is in none.
    pub(super) fn finish(self) -> Vec<Row> {
        self.rows
    }
}

impl Row {
    /// Adds the same interval of another thread.
    pub(super) fn merge(&mut self, other: Self) {
        self.counts.add(&other.counts);
        self.latencies.extend(other.latencies);
    }

    /// The latencies; `None` when nothing came.
    pub(super) fn distribution(&self) -> Option<Distribution> {
        histogram(&self.latencies).distribution()
    }
}

/// Each latency, and how often it was seen.
fn list(latency: &Latency) -> Vec<(Nanos, u64)> {
    let values = latency.histogram().iter_recorded();
    values
        .map(|it| (it.value_iterated_to(), it.count_at_value()))
        .collect()
}

fn histogram(latencies: &[(Nanos, u64)]) -> Latency {
    let mut latency = Latency::new();
    for &(value, count) in latencies {
        latency.record_many(value, count);
    }
    latency
}

/// On the way to a coordinator they are packed as other histograms are: a list in JSON is ten times as long.
fn pack<S: Serializer>(latencies: &[(Nanos, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    histogram(latencies).serialize(serializer)
}

fn unpack<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Nanos, u64)>, D::Error> {
    Ok(list(&Latency::deserialize(deserializer)?))
}

/// Length of an interval: as in the course of the whole run.
pub(super) fn step(length: Nanos) -> Nanos {
    Grid::new(&(0..length)).step()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_what_came_in_them() {
        let second = 1_000_000_000;
        let mut course = Course::new(second);
        assert_eq!(step(second), second / 4);
        assert!(!course.is_due(second / 4 - 1) && course.is_due(second / 4));
        let counts = |done| Counts {
            done,
            open: 3,
            ..Counts::default()
        };
        course.record(5_000_000);
        course.record(5_000_000);
        course.cut(counts(2));
        assert!(!course.is_due(second / 4));
        course.record(90_000);
        course.cut(counts(3));
        course.cut(counts(3));
        let mut rows = course.finish();
        let done: Vec<u64> = rows.iter().map(|row| row.counts.done).collect();
        assert_eq!((done, rows[1].counts.open), (vec![2, 1, 0], 3));
        let other = rows[0].clone();
        rows[1].merge(other);
        let both = rows[1].distribution().unwrap();
        assert_eq!((both.count, rows[1].counts.done), (3, 3));
        assert!((both.p50 / 5_000.0 - 1.0).abs() < 0.002, "{both:?}");
        assert!(rows[2].distribution().is_none());
        let text = serde_json::to_string(&rows).unwrap();
        let back: Vec<Row> = serde_json::from_str(&text).unwrap();
        assert_eq!(back[1].distribution(), rows[1].distribution());
        assert_eq!((back[1].counts, &back[2]), (rows[1].counts, &rows[2]));
    }
}
