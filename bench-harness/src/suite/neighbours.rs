//! How much of the machine others use: figures of a processor that is shared are rough.

use std::fs;
use std::thread;
use std::time::Duration;

/// From which share on figures suffer.
pub(crate) const NOISY: f64 = 0.05;

/// How long it is watched, while nothing of the suite runs.
const LOOK: Duration = Duration::from_millis(500);

/// The share of all processors' time that is used, 0 to 1, seen over a moment; `None` where the system does not tell.
pub(crate) fn busy() -> Option<f64> {
    let before = Ticks::now()?;
    thread::sleep(LOOK);
    let after = Ticks::now()?;
    Some(after.busy_since(&before))
}

/// Time of all processors together since the start, in ticks.
#[derive(Debug, PartialEq)]
struct Ticks {
    idle: u64,
    all: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::of(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// The first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
    fn of(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = fields
            .split_whitespace()
            .take(8)
            .filter_map(|field| field.parse().ok())
            .collect();
        Some(Self {
            idle: ticks.get(3)? + ticks.get(4)?,
            all: ticks.iter().sum(),
        })
    }

    fn busy_since(&self, earlier: &Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all);
        // Idle time is not counted exactly, and may seem to go backwards.
        let idle = self.idle.saturating_sub(earlier.idle).min(all);
        (all - idle) as f64 / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_input_are_not_busy() {
        let before = Ticks::of("cpu  10 0 10 60 20 0 0 0 5 5\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, Ticks { idle: 80, all: 100 });
        let after = Ticks::of("cpu  20 0 20 100 40 10 5 5 0 0\n").unwrap();
        assert_eq!(after.busy_since(&before), 0.4);
        assert_eq!(before.busy_since(&before), 0.0);
        assert_eq!(Ticks::of("nothing"), None);
    }

    #[test]
    fn this_machine_tells() {
        let busy = busy().unwrap();
        assert!((0.0..=1.0).contains(&busy), "{busy}");
    }
}
