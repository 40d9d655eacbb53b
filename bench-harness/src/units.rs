//! Sizes, counts, rates and durations as users type them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Parses a number of bytes: `512`, `60000`, `16k` (1024), `1m`, `1g`.
///
/// # Errors
/// What was expected, for the command line to show.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let units = [("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)];
    whole(
        text,
        &units,
        "a size such as 512, 60000, 16k or 1m (k, m, g count by 1024)",
    )
}

/// Parses a number of things: `100`, `15k` (1000), `1.5m`.
///
/// # Errors
/// What was expected.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let units = [("k", 1_000), ("m", 1_000_000)];
    let expected = "a count of at least 1 such as 100, 15k or 1m (k, m count by 1000)";
    match whole(text, &units, expected)? {
        0 => Err(format!("expected {expected}")),
        n => Ok(n),
    }
}

/// Parses a time: `250us`, `500ms`, `10s`, `1.5m`.
///
/// # Errors
/// What was expected.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    // "ms" before "s", so that the longer unit is tried first.
    let units = [
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
    ];
    let expected = "a time with its unit such as 500ms, 10s or 2m";
    let (number, unit) = split(text, &units).ok_or_else(|| format!("expected {expected}"))?;
    let unit = unit.ok_or_else(|| format!("the unit is missing; expected {expected}"))?;
    scale(number, unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("expected {expected}"))
}

/// Things per second, from one number to another over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// When the measurement begins.
    pub(crate) from: u64,
    /// When it ends.
    pub(crate) to: u64,
}

impl Rate {
    /// The highest.
    pub(crate) fn peak(self) -> u64 {
        self.from.max(self.to)
    }

    /// The same all the time.
    pub(crate) fn is_constant(self) -> bool {
        self.from == self.to
    }
}

impl From<u64> for Rate {
    fn from(rate: u64) -> Self {
        Self {
            from: rate,
            to: rate,
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_constant() {
            write!(f, "{}", self.from)
        } else {
            write!(f, "{}..{}", self.from, self.to)
        }
    }
}

/// Parses a rate: `50k` all the time, or `0..50k`, which climbs evenly, or falls, over the measurement.
///
/// # Errors
/// What was expected.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let Some((from, to)) = text.split_once("..") else {
        return count(text).map(Rate::from);
    };
    let end = |text: &str| if text == "0" { Ok(0) } else { count(text) };
    match (end(from), end(to)) {
        (Ok(from), Ok(to)) if from.max(to) > 0 => Ok(Rate { from, to }),
        _ => Err("expected a rate such as 50k, or one that climbs such as 0..50k".to_owned()),
    }
}

/// Numbers of bytes that take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

/// Bytes of a message at most: a send is one operation with a 32-bit length.
pub(crate) const MAX_MESSAGE: u64 = 1 << 30;

/// Sizes that take turns at most.
const MAX_SIZES: usize = 64;

/// Parses sizes: `512`, or `64,1k,16k`.
///
/// # Errors
/// What was expected.
pub(crate) fn sizes(text: &str) -> Result<Sizes, String> {
    let sizes: Vec<u64> = text.split(',').map(size).collect::<Result<_, _>>()?;
    if sizes.len() > MAX_SIZES {
        return Err(format!("at most {MAX_SIZES} sizes take turns"));
    }
    if sizes.iter().any(|&size| size > MAX_MESSAGE) {
        return Err("a message has at most 1g".to_owned());
    }
    Ok(Sizes(sizes.into_iter().map(|size| size as usize).collect()))
}

/// A time from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// The shortest.
    pub(crate) least: Duration,
    /// The longest.
    pub(crate) most: Duration,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.least == self.most {
            write!(f, "{:?}", self.least)
        } else {
            write!(f, "{:?} to {:?}", self.least, self.most)
        }
    }
}

/// Parses a time, or a range of times: `100ms`, or `50ms..200ms`.
///
/// # Errors
/// What was expected.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (duration(least)?, duration(most)?);
    if least > most || most.is_zero() {
        return Err("expected a time, or the shorter one first: 50ms..200ms".to_owned());
    }
    Ok(Span { least, most })
}

/// A part of a number of things.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Share {
    /// So many of them.
    Count(u64),
    /// So many hundredths of them.
    Percent(f64),
}

impl Share {
    /// How many that is of `all`, at least one and at most all of them.
    pub(crate) fn of(self, all: u64) -> u64 {
        let count = match self {
            Self::Count(count) => count,
            Self::Percent(percent) => (all as f64 * percent / 100.0).round() as u64,
        };
        count.clamp(1, all)
    }
}

/// Parses a share of things: `1%`, `0.5%`, or a count such as `20`.
///
/// # Errors
/// What was expected.
pub(crate) fn share(text: &str) -> Result<Share, String> {
    let Some(percent) = text.strip_suffix('%') else {
        return count(text).map(Share::Count);
    };
    match percent.parse() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Share::Percent(percent)),
        _ => Err("expected a share such as 1% or a count such as 20".to_owned()),
    }
}

/// Parses hundredths as a part of 1: `3%`, `0.5%`.
///
/// # Errors
/// What was expected.
pub(crate) fn percent(text: &str) -> Result<f64, String> {
    let number = text
        .strip_suffix('%')
        .and_then(|number| number.parse().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("expected a percentage such as 3% or 0.5%".to_owned()),
    }
}

fn whole(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    split(text, units)
        .and_then(|(number, unit)| scale(number, unit.unwrap_or(1)))
        .ok_or_else(|| format!("expected {expected}"))
}

/// The number, and the factor of its unit if it has one.
fn split<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(&'a str, Option<u64>)> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    if suffix.is_empty() {
        return Some((number, None));
    }
    let suffix = suffix.to_ascii_lowercase();
    let (_, factor) = units.iter().find(|(name, _)| *name == suffix)?;
    Some((number, Some(*factor)))
}

/// `number × factor` when that is a whole number that fits; exact, without floating point.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut total = whole.checked_mul(factor)?;
    if number.contains('.') {
        let digits = u32::try_from(fraction.len()).ok()?;
        let part: u64 = fraction.parse().ok()?;
        let product = part.checked_mul(factor)?;
        let divisor = 10_u64.checked_pow(digits)?;
        if product % divisor != 0 {
            return None;
        }
        total = total.checked_add(product / divisor)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_by_1024_and_plain_numbers_are_bytes() {
        assert_eq!(size("512"), Ok(512));
        assert_eq!(size("60000"), Ok(60_000));
        assert_eq!(size("16k"), Ok(16_384));
        assert_eq!(size("1M"), Ok(1_048_576));
        assert_eq!(size("1.5k"), Ok(1_536));
        assert_eq!(size("0"), Ok(0));
    }

    #[test]
    fn counts_count_by_1000_and_are_not_zero() {
        assert_eq!(count("15k"), Ok(15_000));
        assert_eq!(count("1.5m"), Ok(1_500_000));
        assert!(count("0").is_err());
        assert!(count("1g").is_err(), "a count has no giga");
    }

    #[test]
    fn shares_are_percents_or_counts() {
        assert_eq!(share("1%").map(|share| share.of(10_000)), Ok(100));
        assert_eq!(share("0.5%").map(|share| share.of(1_000)), Ok(5));
        assert_eq!(share("1%").map(|share| share.of(20)), Ok(1), "not none");
        assert_eq!(share("1k").map(|share| share.of(2_000)), Ok(1_000));
        assert_eq!(
            share("20").map(|share| share.of(5)),
            Ok(5),
            "not more than all"
        );
        for text in ["0%", "101%", "%", "x", "0", "-1%", "nan%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_constant_or_go_from_one_to_another() {
        assert_eq!(rate("50k"), Ok(Rate::from(50_000)));
        let climbing = rate("0..1.5k").unwrap();
        assert_eq!(
            (climbing.from, climbing.to, climbing.peak()),
            (0, 1_500, 1_500)
        );
        assert_eq!(
            rate("2k..10").map(|rate| rate.to_string()),
            Ok("2000..10".to_owned())
        );
        for text in ["0", "0..0", "..", "1..", "..5", "5..x", "1...5", "-1..5"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percentages_are_parts_of_1() {
        assert_eq!(percent("3%"), Ok(0.03));
        assert_eq!(percent("0%"), Ok(0.0));
        for text in ["3", "101%", "-1%", "%", "nan%", "x%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_take_turns() {
        assert_eq!(sizes("64"), Ok(Sizes(vec![64])));
        assert_eq!(sizes("64,1k,0"), Ok(Sizes(vec![64, 1024, 0])));
        let many = vec!["1"; 65].join(",");
        for text in ["", "64,", "64,x", "2g", &many] {
            assert!(sizes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_times_or_ranges() {
        let span_of = |least, most| Span {
            least: Duration::from_millis(least),
            most: Duration::from_millis(most),
        };
        assert_eq!(span("100ms"), Ok(span_of(100, 100)));
        assert_eq!(span("0s..1s"), Ok(span_of(0, 1_000)));
        assert_eq!(span_of(50, 1_000).to_string(), "50ms to 1s");
        for text in ["0s", "2s..1s", "1s..", "..1s", "1"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert!(duration("10").unwrap_err().contains("unit is missing"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            ".",
            "k",
            "-1",
            "1..2",
            "1.k",
            "1x",
            "1kk",
            "99999999999999999999",
            "1.0001k",
        ] {
            assert!(size(text).is_err(), "size {text:?}");
            assert!(duration(text).is_err(), "duration {text:?}");
        }
    }
}
