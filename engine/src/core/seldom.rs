//! What the log tells of now and then, however often it happens.

use std::time::{Duration, Instant};

/// How often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Something that may happen a thousand times a second, on one core.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// It has happened. `Some` with how often it did since the last time, when it is time to tell.
    pub(crate) fn happened(&mut self, now: Instant) -> Option<u64> {
        self.times += 1;
        if self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TELL_EVERY)
        {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_at_first_and_then_once_a_minute() {
        let start = Instant::now();
        let mut seldom = Seldom::default();
        assert_eq!(seldom.happened(start), Some(1));
        for n in 0..1000 {
            let soon = start + n * Duration::from_millis(50);
            assert_eq!(seldom.happened(soon), None);
        }
        assert_eq!(seldom.happened(start + TELL_EVERY), Some(1001));
    }
}
