//! The topics of a run, and who receives what is published to them: written down, so that nothing of the engine's own
//! matching is used to check it.

use std::time::Duration;

use crate::core::config::{SlowPolicy, TopicOptions};
use crate::transport::ring::simulated::Dice;

/// Topics that may be published to.
pub(super) const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "d"];

/// What can be subscribed to: the topics themselves first, then patterns. With each which of the topics it matches.
pub(super) const FILTERS: [(&str, [bool; TOPICS.len()]); 9] = [
    ("a", [true, false, false, false]),
    ("a/b", [false, true, false, false]),
    ("a/c", [false, false, true, false]),
    ("d", [false, false, false, true]),
    ("#", [true, true, true, true]),
    ("a/#", [true, true, true, false]),
    ("a/*", [false, true, true, false]),
    ("*", [true, false, false, true]),
    ("*/b", [false, true, false, false]),
];

/// Nothing waits longer, whatever the server is told.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// What the server is told about its topics.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicSettings {
    /// By filter, as it was drawn: the first that matches counts.
    of_filters: Vec<(usize, Option<SlowPolicy>, Option<Duration>)>,
    /// Where none does.
    flush_delay: Duration,
}

impl TopicSettings {
    pub(super) fn draw(dice: &mut Dice, policies: &[SlowPolicy], flush_delay: Duration) -> Self {
        let count = if dice.one_in(3) { dice.among(1..=3) } else { 0 };
        let of_filters = (0..count).map(|_| {
            let policy = policies[dice.among(0..=policies.len() - 1)];
            let delay = match flush_delay.is_zero() {
                true => None,
                false => Some(any_delay(dice)),
            };
            (
                dice.among(0..=FILTERS.len() - 1),
                dice.one_in(2).then_some(policy),
                delay.filter(|_| dice.one_in(2)),
            )
        });
        Self {
            of_filters: of_filters.collect(),
            flush_delay,
        }
    }

    pub(super) fn flush_delay(&self) -> Duration {
        self.flush_delay
    }

    /// The same as the server gets it.
    pub(super) fn options(&self) -> Vec<(Box<str>, TopicOptions)> {
        let options = self.of_filters.iter().map(|&(filter, slow, flush_delay)| {
            let options = TopicOptions { slow, flush_delay };
            (FILTERS[filter].0.into(), options)
        });
        options.collect()
    }

    /// The policy of a topic, if it has one of its own.
    pub(super) fn policy(&self, topic: usize) -> Option<SlowPolicy> {
        let mut of_filters = self.of_filters.iter();
        let found = of_filters.find(|(filter, ..)| FILTERS[*filter].1[topic]);
        found.and_then(|(_, policy, _)| *policy)
    }

    /// How long what is published to a topic may wait for more.
    pub(super) fn delay(&self, topic: usize) -> Duration {
        let mut of_filters = self.of_filters.iter();
        let found = of_filters.find(|(filter, ..)| FILTERS[*filter].1[topic]);
        let own = found.and_then(|(.., delay)| *delay);
        own.unwrap_or(self.flush_delay).min(LONGEST_DELAY)
    }

    /// The longest that any message may wait.
    pub(super) fn longest_delay(&self) -> Duration {
        let of_filters = self.of_filters.iter().filter_map(|(.., delay)| *delay);
        let longest = of_filters.fold(self.flush_delay, Duration::max);
        longest.min(LONGEST_DELAY)
    }
}

/// Mostly some milliseconds, sometimes more than what the server allows.
pub(super) fn any_delay(dice: &mut Dice) -> Duration {
    match dice.among(0..=9) {
        0 => Duration::ZERO,
        1 => Duration::from_secs(5),
        _ => Duration::from_micros(dice.up_to(300_000) as u64),
    }
}
