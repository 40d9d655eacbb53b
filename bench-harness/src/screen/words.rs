//! Figures and texts as a screen shows them: short, harmless, and, other than in a report, of bounded width whatever the figure.

use std::borrow::Cow;

/// Shown where there is no figure.
pub(super) const NOTHING: &str = "–";

/// Stands for a character that a terminal would act upon.
const HARMLESS: char = '·';

/// A count or a rate: `87`, `5,210`, `104,233`, `12.3 M`.
pub(super) fn count(value: f64) -> String {
    match value {
        v if !v.is_finite() => NOTHING.to_owned(),
        v if v < 0.0 => format!("-{}", count(-v)),
        v if v < 99.95 && v.fract() != 0.0 => format!("{v:.1}"),
        v if v < 999_999.5 => grouped(v.round() as u64),
        v => scaled(v, 1e3, &[("M", 1e6), ("G", 1e9), ("T", 1e12)]),
    }
}

/// A count on an axis: `87`, `5.2 k`, `104 k`.
pub(super) fn short_count(value: f64) -> String {
    match value {
        v if !v.is_finite() => NOTHING.to_owned(),
        v if v < 999.5 => format!("{v:.0}"),
        v => scaled(v, 1e3, &[("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12)]),
    }
}

/// Microseconds: `12.3 µs`, `1.23 ms`, `2.00 s`.
pub(super) fn time(micros: f64) -> String {
    match micros {
        m if !m.is_finite() => NOTHING.to_owned(),
        m => scaled(m, 1e3, &[("µs", 1.0), ("ms", 1e3), ("s", 1e6)]),
    }
}

/// Bytes: `812 B`, `12.3 MiB`.
pub(super) fn bytes(count: u64) -> String {
    let unit = 1024.0;
    let units = [
        ("B", 1.0),
        ("KiB", unit),
        ("MiB", unit * unit),
        ("GiB", unit * unit * unit),
        ("TiB", unit * unit * unit * unit),
    ];
    match count {
        0..1024 => format!("{count} B"),
        _ => scaled(count as f64, unit, &units),
    }
}

/// A share of 1: `97.3 %`.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1} %", (share * 100.0).clamp(-999.9, 9_999.9))
    } else {
        NOTHING.to_owned()
    }
}

/// Seconds of a run: `6.2 s`, `2:05`, `3:00:00`.
pub(super) fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOTHING.to_owned();
    }
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..60 => format!("{:.1} s", seconds.max(0.0)),
        60..3_600 => format!("{}:{:02}", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60),
    }
}

/// Several lines without anything that a terminal would act upon; each ends with a line feed then.
pub(crate) fn harmless(text: &str) -> String {
    let line = |line| clean(line).into_owned() + "\n";
    text.lines().map(line).collect()
}

/// A text from outside, such as a URL or what a server said, without anything that a terminal would act upon: control
/// characters, marks that turn the direction of writing, and such as take no room.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(acts) {
        Cow::Owned(
            text.chars()
                .map(|c| if acts(c) { HARMLESS } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(text)
    }
}

fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{061C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

/// With a comma between thousands.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits and the unit that they fit; beyond the last unit a power of ten.
fn scaled(value: f64, step: f64, units: &[(&str, f64)]) -> String {
    let fits = |(_, size): &&(&str, f64)| value.abs() / size < step - 0.5;
    let Some((unit, size)) = units.iter().find(fits) else {
        let (unit, size) = units[units.len() - 1];
        return format!("{:.1e} {unit}", value / size);
    };
    let scaled = value / size;
    let digits = match scaled.abs() {
        s if s < 9.995 => 2,
        s if s < 99.95 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let counts = [
            0.0,
            3.5,
            87.0,
            5_210.4,
            104_233.0,
            999_999.4,
            1e6,
            12_345_678.0,
            1e30,
        ];
        let texts = [
            "0", "3.5", "87", "5,210", "104,233", "999,999", "1.00 M", "12.3 M", "1.0e18 T",
        ];
        assert_eq!(counts.map(count), texts);
        assert_eq!(
            [0.4, 12.34, 1_500.0, 999_600.0, 2e6, 3.6e9].map(time),
            [
                "0.40 µs", "12.3 µs", "1.50 ms", "1.00 s", "2.00 s", "3.6e3 s"
            ]
        );
        assert_eq!(
            [812, 12_900_000, u64::MAX].map(bytes),
            ["812 B", "12.3 MiB", "1.7e7 TiB"]
        );
        assert_eq!(
            [0.0, 999.0, 5_210.0, 104_233.0].map(short_count),
            ["0", "999", "5.21 k", "104 k"]
        );
        assert_eq!(
            [6.24, 59.9, 125.0, 10_800.0].map(seconds),
            ["6.2 s", "59.9 s", "2:05", "3:00:00"]
        );
        assert_eq!(percent(0.9731), "97.3 %");
    }

    #[test]
    fn what_is_no_figure_is_a_dash() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for text in [
                count(value),
                short_count(value),
                time(value),
                percent(value),
                seconds(value),
            ] {
                assert_eq!(text, NOTHING, "{value}");
            }
        }
    }

    #[test]
    fn texts_cannot_drive_the_terminal() {
        assert_eq!(clean("ws://h:1/ä?sub=日本"), "ws://h:1/ä?sub=日本");
        let hostile = "a\x1b]0;x\x07b\u{9b}2J\u{202e}c\u{200b}d\ne";
        assert_eq!(clean(hostile), "a·]0;x·b·2J·c·d·e");
    }
}
