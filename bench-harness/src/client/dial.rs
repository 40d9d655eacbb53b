//! Opening many connections: so many at once, or at a rate.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::links::{Driver, Links};
use super::schedule::Schedule;
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::ring::Wait;
use crate::telemetry::progress::Progress;

/// Opening gives up when nothing happens for this long: a server that has not answered by then, on
/// a connection it has the whole listen backlog's patience for, will not.
const STALL: Duration = Duration::from_secs(10);

/// What has failed is over after this.
const ENDING: Duration = Duration::from_secs(2);

/// How to open.
#[derive(Clone, Debug)]
pub(crate) struct DialPlan {
    /// Connections of this thread: slots 0 to this.
    pub(crate) connections: u32,
    /// Most on the way at once.
    pub(crate) concurrency: usize,
    /// When to begin each; at once when `None`.
    pub(crate) schedule: Option<Schedule>,
}

/// Different reasons that are told; a server may word each of its refusals differently.
const MAX_REASONS: usize = 100;

/// What the reasons beyond are counted as.
const OTHERS: &str = "other reasons";

/// Why connections failed, and how many for each reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failures(BTreeMap<String, u64>);

impl Failures {
    /// Counts one.
    pub(crate) fn add(&mut self, reason: impl Into<String>) {
        self.add_many(reason.into(), 1);
    }

    /// Counts those of another thread too.
    pub(crate) fn merge(&mut self, other: Self) {
        for (reason, count) in other.0 {
            self.add_many(reason, count);
        }
    }

    fn add_many(&mut self, reason: String, count: u64) {
        let known = self.0.len() < MAX_REASONS || self.0.contains_key(&reason);
        let reason = if known { reason } else { OTHERS.to_owned() };
        *self.0.entry(reason).or_default() += count;
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each reason with its count, the most frequent first.
    pub(crate) fn by_count(&self) -> Vec<(&str, u64)> {
        let mut list: Vec<_> = self
            .0
            .iter()
            .map(|(reason, &count)| (reason.as_str(), count))
            .collect();
        list.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        list
    }
}

/// Opens all connections of the plan. Failed ones stay failed; the caller sees how many are open. With `shown`, where that counts
/// as what the load has done.
///
/// # Errors
/// When the ring fails, or no socket can be made.
pub(crate) fn open_all(
    links: &mut Links,
    driver: &mut impl Driver,
    plan: &DialPlan,
    shown: Option<&Progress>,
) -> Result<(), BenchError> {
    let clock = links.clock();
    let (mut next, mut most) = (0, 0);
    let mut before = (0, 0);
    let mut moved = clock.now();
    while next < plan.connections || links.opening() > 0 {
        let now = clock.now();
        let due = |n: u32| {
            let schedule = plan.schedule.as_ref();
            schedule.map_or(0, |schedule| schedule.due(n.into()))
        };
        while next < plan.connections && links.opening() < plan.concurrency && due(next) <= now {
            // Whoever has to wait for a place waits for the server: that is time to open, too.
            let due = plan.schedule.as_ref().map_or(now, |_| due(next));
            links.dial_due(next, due)?;
            next += 1;
        }
        let limit = moved + nanos(STALL);
        let waits_for_time = next < plan.connections && links.opening() < plan.concurrency;
        let wake = if waits_for_time {
            due(next).min(limit)
        } else {
            limit
        };
        links.turn(Wait::AtMost(clock.until(wake)), driver)?;
        if let Some(progress) = shown {
            // What has been done stays done, also when one breaks.
            most = most.max(links.open_now() as u64);
            let errors = driver.failures().into_iter().map(Failures::total).sum();
            progress.show(most, 0, errors);
        }
        if (next, links.opening()) != before {
            before = (next, links.opening());
            moved = clock.now();
        } else if stalled(moved, clock.now()) && !waits_for_time {
            links.give_up_opening(STALL);
            break;
        }
    }
    // The driver has heard of every failure before the caller looks at them.
    let end = clock.now() + nanos(ENDING);
    while links.ending() > 0 && clock.now() < end {
        links.turn(Wait::AtMost(clock.until(end)), driver)?;
    }
    Ok(())
}

fn stalled(moved: Nanos, now: Nanos) -> bool {
    now.saturating_sub(moved) >= nanos(STALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_all_differ_stay_few() {
        let mut failures = Failures::default();
        for number in 0..5_000 {
            failures.add(format!("request {number} failed"));
        }
        failures.add("request 3 failed");
        assert_eq!(failures.total(), 5_001);
        let list = failures.by_count();
        assert_eq!((list.len(), list[0].0), (MAX_REASONS + 1, OTHERS));
        assert_eq!(list[1], ("request 3 failed", 2));
    }

    #[test]
    fn failures_are_listed_by_frequency() {
        let mut failures = Failures::default();
        failures.add("refused");
        failures.add("reset");
        let mut others = Failures::default();
        others.add("reset");
        failures.merge(others);
        assert_eq!(failures.by_count(), [("reset", 2), ("refused", 1)]);
        assert_eq!(failures.total(), 3);
    }
}
