//! Sizes, counts and durations as people type them.

use std::time::Duration;

/// What a unit's name stands for, in rising order.
type Units = [(&'static str, u64)];

const SIZES: &Units = &[("", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30)];
const COUNTS: &Units = &[("", 1), ("k", 1_000), ("m", 1_000_000)];
/// In microseconds.
const DURATIONS: &Units = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
];

/// Bytes: `65536`, `64k`, `16m`, `1g`, in steps of 1024.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let bytes = scaled(text, SIZES).ok_or("a size is a number of bytes, or 64k, 16m, 1g")?;
    usize::try_from(bytes).map_err(|_| "more than this machine can address".to_owned())
}

/// How many, at least one: `500`, `10k`, `1m`, in steps of 1000.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let count = scaled(text, COUNTS).and_then(|count| usize::try_from(count).ok());
    count
        .filter(|&count| count > 0)
        .ok_or("a count is a number from 1 up, or 10k, 1m".to_owned())
}

/// How many per second, at least one: `20`, `20/s`, `2k/s`.
pub(crate) fn rate(text: &str) -> Result<u32, String> {
    let per_second = text.strip_suffix("/s").unwrap_or(text);
    count(per_second)
        .ok()
        .and_then(|count| u32::try_from(count).ok())
        .ok_or("a rate is a number per second from 1 up, like 20 or 20/s".to_owned())
}

/// A time: `50us`, `200ms`, `30s`, `5m`, or `0`, which needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let micros = scaled(text, DURATIONS);
    micros
        .map(Duration::from_micros)
        .ok_or("a duration has a unit: 50us, 200ms, 30s, 5m".to_owned())
}

/// A size as [`size`] reads it, in the largest unit that divides it.
pub(crate) fn show_size(bytes: usize) -> String {
    show(bytes as u64, SIZES)
}

/// A count as [`count`] reads it, in the largest unit that divides it.
pub(crate) fn show_count(count: usize) -> String {
    show(count as u64, COUNTS)
}

/// A time as [`duration`] reads it, in the largest unit that divides it; what is less than a microsecond is left out.
pub(crate) fn show_duration(time: Duration) -> String {
    show(time.as_micros() as u64, DURATIONS)
}

fn show(number: u64, units: &Units) -> String {
    let fits = |&&(_, factor): &&(&str, u64)| number >= factor && number.is_multiple_of(factor);
    match units.iter().rev().find(fits) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => number.to_string(),
    }
}

/// A whole number times what its unit (in either case) stands for; `None` when it is not one or
/// does not fit.
fn scaled(text: &str, units: &Units) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_go_in_steps_of_1024() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("60000"), Ok(60_000));
        assert_eq!(size("64k"), Ok(65_536));
        assert_eq!(size("16M"), Ok(16 << 20));
        assert_eq!(size("2g"), Ok(2 << 30));
    }

    #[test]
    fn counts_go_in_steps_of_1000() {
        assert_eq!(count("15k"), Ok(15_000));
        assert_eq!(count("1m"), Ok(1_000_000));
        assert!(count("0").is_err());
        assert!(count("1g").is_err());
    }

    #[test]
    fn rates_are_per_second() {
        assert_eq!(rate("20"), Ok(20));
        assert_eq!(rate("20/s"), Ok(20));
        assert_eq!(rate("2k/s"), Ok(2_000));
        for bad in ["0", "/s", "20/m", "20/", "1.5/s", "5000m"] {
            assert!(rate(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_need_a_unit_unless_they_are_zero() {
        assert_eq!(duration("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("10").is_err());
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for (bytes, shown) in [(0, "0"), (1000, "1000"), (8 << 10, "8k"), (1 << 20, "1m")] {
            assert_eq!(show_size(bytes), shown);
            assert_eq!(size(shown), Ok(bytes));
        }
        for (number, shown) in [
            (96, "96"),
            (1024, "1024"),
            (15_000, "15k"),
            (1_000_000, "1m"),
        ] {
            assert_eq!(show_count(number), shown);
            assert_eq!(count(shown), Ok(number));
        }
        for (millis, shown) in [(0, "0"), (90_000, "90s"), (60_000, "1m"), (1, "1ms")] {
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
            assert_eq!(duration(shown), Ok(Duration::from_millis(millis)));
        }
    }

    #[test]
    fn what_is_not_a_whole_number_with_a_known_unit_is_refused() {
        for text in [
            "",
            "k",
            "-1k",
            "+1",
            "1.5m",
            "1 k",
            "1kb",
            "0x10",
            "99999999999g",
        ] {
            assert!(size(text).is_err(), "{text:?}");
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
