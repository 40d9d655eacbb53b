//! Latency histograms (HDR).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use crate::clock::Nanos;

/// Nanoseconds that need not be told apart; keeps the histogram small enough for the cache.
const RESOLUTION: u64 = 64;

/// Longer latencies are recorded as this: ten minutes, more than any run waits for a reply.
const LONGEST: u64 = 600_000_000_000;

/// Three significant digits: 0.1 % of the value.
const DIGITS: u8 = 3;

/// How long things took.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

/// A distribution in figures; all times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    /// Values recorded.
    pub(crate) count: u64,
    /// Shortest.
    pub(crate) min: f64,
    /// Arithmetic mean.
    pub(crate) mean: f64,
    /// Median.
    pub(crate) p50: f64,
    /// 90th percentile.
    pub(crate) p90: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// 99.9th percentile.
    pub(crate) p99_9: f64,
    /// Longest.
    pub(crate) max: f64,
}

impl Latency {
    /// Nothing recorded yet.
    pub(crate) fn new() -> Self {
        let bounds = Histogram::new_with_bounds(RESOLUTION, LONGEST, DIGITS);
        Self(bounds.expect("the fixed bounds are in range"))
    }

    /// Records one.
    #[inline]
    pub(crate) fn record(&mut self, time: Nanos) {
        self.0.saturating_record(time);
    }

    /// Records so many equal ones.
    #[inline]
    pub(crate) fn record_many(&mut self, time: Nanos, count: u64) {
        self.0.saturating_record_n(time, count);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// The histogram in HDR's V2 format, deflated.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .expect("a vector takes everything");
        bytes
    }

    /// What was packed.
    ///
    /// # Errors
    /// When the bytes are no such histogram, or one of other bounds.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, String> {
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut &*bytes)
            .map_err(|error| format!("not a histogram: {error:?}"))?;
        let mut latency = Self::new();
        let added = latency.0.add(&read);
        added.map_err(|error| format!("not a histogram of latencies: {error}"))?;
        Ok(latency)
    }

    /// The histogram itself.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// Adds what another thread recorded.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("histograms of equal bounds add up");
    }

    /// The time in microseconds that so many hundredths take at most; `None` when nothing was recorded.
    pub(crate) fn percentile(&self, percent: f64) -> Option<f64> {
        let nanos = self.0.value_at_quantile(percent / 100.0);
        (!self.0.is_empty()).then_some(nanos as f64 / 1e3)
    }

    /// The distribution; `None` when nothing was recorded.
    pub(crate) fn distribution(&self) -> Option<Distribution> {
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(self.0.value_at_quantile(quantile));
        (!self.0.is_empty()).then(|| Distribution {
            count: self.0.len(),
            min: micros(self.0.min()),
            mean: self.0.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros(self.0.max()),
        })
    }
}

/// As it is packed, in Base64.
impl Serialize for Latency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.pack()))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Self::unpack(&bytes).map_err(serde::de::Error::custom)
    }
}

/// Records latencies of which many in a row are the same, as when one turn brings a message to a thousand
/// subscribers: each run of equal ones costs one access to the histogram.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    latency: Latency,
    last: Nanos,
    count: u64,
}

impl Tally {
    /// Records into this one.
    pub(crate) fn new(latency: Latency) -> Self {
        Self {
            latency,
            last: 0,
            count: 0,
        }
    }

    /// Records one.
    #[inline]
    pub(crate) fn record(&mut self, time: Nanos) {
        if time != self.last {
            self.flush();
            self.last = time;
        }
        self.count += 1;
    }

    /// All that was recorded.
    pub(crate) fn finish(mut self) -> Latency {
        self.flush();
        self.latency
    }

    #[inline]
    fn flush(&mut self) {
        if self.count > 0 {
            self.latency.record_many(self.last, self.count);
            self.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_loses_nothing() {
        let (mut tally, mut latency) = (Tally::new(Latency::new()), Latency::new());
        for time in [5_000, 5_000, 5_000, 70_000, 5_000, 0, 0] {
            tally.record(time);
            latency.record(time);
        }
        assert_eq!(tally.finish().distribution(), latency.distribution());
    }

    #[test]
    fn what_was_packed_comes_back() {
        let mut latency = Latency::new();
        for time in [70, 5_000, 1_000_000_000] {
            latency.record(time);
        }
        let packed = latency.pack();
        assert!(packed.len() < 1_000, "{}", packed.len());
        let back = Latency::unpack(&packed).unwrap();
        assert_eq!(back.distribution(), latency.distribution());
        assert!(Latency::unpack(&packed[1..]).is_err());
        let json = serde_json::to_string(&latency).unwrap();
        let back: Latency = serde_json::from_str(&json).unwrap();
        assert_eq!(back.distribution(), latency.distribution());
        assert!(serde_json::from_str::<Latency>("\"AAAA\"").is_err());
        latency.clear();
        assert_eq!(latency.distribution(), None);
    }

    #[test]
    fn quantiles_are_right_to_three_digits() {
        let mut latency = Latency::new();
        (1..=100_000).for_each(|n| latency.record(n * 1_000));
        let mut other = Latency::new();
        other.record(5_000_000_000);
        latency.merge(&other);
        let d = latency.distribution().unwrap();
        let close = |value: f64, expected: f64| (value / expected - 1.0).abs() < 0.002;
        assert_eq!(d.count, 100_001);
        assert!(close(d.p50, 50_000.0) && close(d.p90, 90_000.0), "{d:?}");
        assert!(close(d.p99, 99_000.0) && close(d.p99_9, 99_900.0), "{d:?}");
        assert!(close(d.max, 5_000_000.0) && d.min <= 1.0, "{d:?}");
        assert!(Latency::new().distribution().is_none());
    }
}
