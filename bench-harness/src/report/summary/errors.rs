//! What went wrong.

use serde::{Deserialize, Serialize};

use crate::client::dial::Failures;
use crate::stats::faults::Faults;

/// What went wrong.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// Connections that could not be opened.
    pub(crate) refused: u64,
    /// Connections that broke, or on which a reply was wrong or unexpected.
    pub(crate) broken: u64,
    /// Messages without a reply, or that did not reach a subscriber.
    pub(crate) lost: u64,
    /// Messages that came back, or were delivered, more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duplicated: Option<u64>,
    /// Messages that came after a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reordered: Option<u64>,
    /// The most frequent reasons.
    pub(crate) reasons: Vec<ErrorReason>,
}

/// One reason, and how often it was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorReason {
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// Reasons listed; more would only repeat themselves.
const LISTED_REASONS: usize = 5;

impl Errors {
    /// Counts by kind, with the reasons of both kinds of failure. `faults`: where messages are checked.
    pub(crate) fn new(refused: &Failures, broken: &Failures, faults: Option<Faults>) -> Self {
        let mut reasons = refused.by_count();
        reasons.extend(broken.by_count());
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        reasons.truncate(LISTED_REASONS);
        let listed = |(reason, count): (&str, u64)| ErrorReason {
            reason: reason.to_owned(),
            count,
        };
        Self {
            refused: refused.total(),
            broken: broken.total(),
            lost: faults.map_or(0, |faults| faults.lost),
            duplicated: faults.map(|faults| faults.duplicated),
            reordered: faults.map(|faults| faults.reordered),
            reasons: reasons.into_iter().map(listed).collect(),
        }
    }
}
