//! What happened, for whoever has to find out why: the last events, and a hash over all of them.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Events that are kept for a report.
const KEPT: usize = 120;

/// The events of one run.
pub(crate) struct Log {
    last: VecDeque<Entry>,
    hash: u64,
    /// Writes every event as it happens.
    aloud: bool,
    violation: Option<String>,
}

#[derive(Clone, Copy)]
struct Entry {
    time: Duration,
    what: &'static str,
    a: i64,
    b: i64,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>14.6} s  {} {} {}",
            self.time.as_secs_f64(),
            self.what,
            self.a,
            self.b
        )
    }
}

impl Log {
    pub(crate) fn new(aloud: bool) -> Self {
        Self {
            last: VecDeque::with_capacity(KEPT),
            hash: 0xcbf2_9ce4_8422_2325,
            aloud,
            violation: None,
        }
    }

    /// Notes an event with two numbers that tell it from others of its kind.
    pub(crate) fn note(&mut self, time: Duration, what: &'static str, a: i64, b: i64) {
        let entry = Entry { time, what, a, b };
        for word in [
            time.as_nanos() as u64,
            what.len() as u64,
            a as u64,
            b as u64,
        ] {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        if self.aloud {
            eprintln!("{entry}");
        }
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(entry);
    }

    /// Notes that something is wrong; the first time counts. A panic would not do: the engine catches those of
    /// callbacks.
    pub(crate) fn violation(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    pub(crate) fn first_violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// The same for the same events in the same order.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, one per line.
    pub(crate) fn tail(&self) -> String {
        self.last.iter().map(|entry| format!("{entry}\n")).collect()
    }
}
