//! What figures are measured in, as users type and read it.

/// What a figure is measured in. Values are kept in the base named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Microseconds.
    Time,
    /// Per second.
    Rate,
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Of 1.
    Share,
}

impl Unit {
    /// Reads a value such as `5ms`, `10k`, `2k`, `80%`.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(self, text: &str) -> Result<f64, String> {
        let (factors, expected) = self.factors();
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(digits);
        let suffix = match self {
            Self::Rate => suffix.strip_suffix("/s").unwrap_or(suffix),
            _ => suffix,
        };
        let suffix = suffix.trim_start().to_ascii_lowercase();
        let factor = factors.iter().find(|(name, _)| *name == suffix);
        let number = number
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite());
        match (number, factor) {
            (Some(number), Some((_, factor))) => Ok(number * factor),
            _ => Err(format!("expected {expected} instead of {text:?}")),
        }
    }

    fn factors(self) -> (&'static [(&'static str, f64)], &'static str) {
        match self {
            Self::Time => (
                &[
                    ("ns", 1e-3),
                    ("us", 1.0),
                    ("µs", 1.0),
                    ("ms", 1e3),
                    ("s", 1e6),
                    ("m", 6e7),
                ],
                "a time with its unit such as 250us, 5ms or 1s",
            ),
            Self::Rate => (
                &[("", 1.0), ("k", 1e3), ("m", 1e6)],
                "a number per second such as 500, 10k or 1.5m (k, m count by 1000)",
            ),
            Self::Count => (
                &[("", 1.0), ("k", 1e3), ("m", 1e6)],
                "a number such as 0, 100 or 10k (k, m count by 1000)",
            ),
            Self::Bytes => (
                &[
                    ("", 1.0),
                    ("k", 1024.0),
                    ("m", 1_048_576.0),
                    ("g", 1_073_741_824.0),
                ],
                "a size such as 512, 2k or 1.5m (k, m, g count by 1024)",
            ),
            Self::Share => (&[("%", 0.01)], "a share such as 80%"),
        }
    }

    /// A value for people.
    pub(crate) fn show(self, value: f64) -> String {
        let scaled = |steps: &[(f64, &'static str)]| {
            let fits = steps.iter().rev().find(|step| value.abs() >= step.0);
            let (factor, suffix) = fits.unwrap_or(&steps[0]);
            (value / factor, *suffix)
        };
        let (number, suffix) = match self {
            Self::Time => scaled(&[(1.0, " µs"), (1e3, " ms"), (1e6, " s")]),
            Self::Bytes => scaled(&[
                (1.0, " B"),
                (1024.0, " KiB"),
                (1_048_576.0, " MiB"),
                (1_073_741_824.0, " GiB"),
            ]),
            Self::Share => (value * 100.0, " %"),
            Self::Rate => (value, "/s"),
            Self::Count => (value, ""),
        };
        format!("{}{suffix}", rounded(number))
    }
}

/// Four digits or more, without zeros that say nothing.
fn rounded(number: f64) -> String {
    let decimals = match number.abs() {
        n if n >= 1_000.0 || n.fract() == 0.0 => 0,
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_their_unit() {
        let close = |value: Result<f64, String>, expected: f64| {
            let value = value.unwrap();
            assert!((value / expected - 1.0).abs() < 1e-12, "{value} {expected}");
        };
        close(Unit::Time.parse("5ms"), 5_000.0);
        close(Unit::Time.parse("1.5 s"), 1_500_000.0);
        close(Unit::Time.parse("250µs"), 250.0);
        close(Unit::Time.parse("800ns"), 0.8);
        close(Unit::Rate.parse("10k/s"), 10_000.0);
        close(Unit::Rate.parse("1.5M"), 1_500_000.0);
        close(Unit::Bytes.parse("2k"), 2_048.0);
        close(Unit::Share.parse("80%"), 0.8);
        assert_eq!(Unit::Count.parse("0"), Ok(0.0));
    }

    #[test]
    fn units_have_to_fit() {
        for (unit, text) in [
            (Unit::Time, "5"),
            (Unit::Time, "5k"),
            (Unit::Time, ""),
            (Unit::Time, "ms"),
            (Unit::Rate, "5ms"),
            (Unit::Count, "-1"),
            (Unit::Count, "1..2"),
            (Unit::Count, "1/s"),
            (Unit::Bytes, "80%"),
            (Unit::Share, "0.8"),
        ] {
            let error = unit.parse(text).unwrap_err();
            assert!(error.contains("such as"), "{error}");
        }
    }

    #[test]
    fn values_are_shown_in_the_unit_that_fits() {
        assert_eq!(Unit::Time.show(3_214.7), "3.215 ms");
        assert_eq!(Unit::Time.show(0.25), "0.250 µs");
        assert_eq!(Unit::Time.show(2e6), "2 s");
        assert_eq!(Unit::Rate.show(9_312.4), "9312/s");
        assert_eq!(Unit::Bytes.show(1_536.0), "1.500 KiB");
        assert_eq!(Unit::Share.show(0.97), "97 %");
        assert_eq!(Unit::Count.show(0.0), "0");
    }
}
