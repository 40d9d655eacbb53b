//! Figures with their units, as people read them.

/// Microseconds in the unit that reads best.
pub(crate) fn time(micros: f64) -> String {
    match micros {
        m if m < 1_000.0 => format!("{m:.1} µs"),
        m if m < 1_000_000.0 => format!("{:.2} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}

/// Bytes in the binary unit that reads best.
pub(crate) fn bytes(count: f64) -> String {
    match count {
        c if c < 1024.0 => format!("{c:.0} B"),
        c if c < 1024.0 * 1024.0 => format!("{:.1} KiB", c / 1024.0),
        c if c < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", c / (1024.0 * 1024.0)),
        c => format!("{:.2} GiB", c / (1024.0 * 1024.0 * 1024.0)),
    }
}

/// A rate with the digits that matter.
pub(crate) fn rounded(rate: f64) -> String {
    if rate < 1_000.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit_the_size() {
        assert_eq!(
            (time(12.34), time(1_500.0), time(2e6)),
            ("12.3 µs".into(), "1.50 ms".into(), "2.00 s".into())
        );
        assert_eq!(
            (bytes(100.0), bytes(1536.0)),
            ("100 B".to_owned(), "1.5 KiB".to_owned())
        );
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0 * 1024.0), "3.00 GiB");
        assert_eq!(
            (rounded(12.34), rounded(12_345.6)),
            ("12.3".into(), "12346".into())
        );
    }
}
