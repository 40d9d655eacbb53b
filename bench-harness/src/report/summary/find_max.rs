//! What was expected, and the search for the rate at which it still holds.

use serde::{Deserialize, Serialize};

/// A search for the highest rate that holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FindMax {
    /// What had to hold.
    pub(crate) objective: Vec<String>,
    /// The lowest rate that failed is at most so much above the one found, as a share.
    pub(crate) precision: f64,
    /// The rate found, or the highest that held; not there when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    /// How the search ended.
    pub(crate) ended: Ended,
    /// The same for people.
    pub(crate) text: String,
    /// Its runs.
    pub(crate) steps: Vec<Step>,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// With the highest rate, confirmed.
    Found,
    /// At a rate that was the client's limit.
    ClientLimit,
    /// At a rate at which others took the processors.
    OthersLimit,
    /// Without a rate that held.
    NothingHolds,
}

/// One run of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Asked for, per second.
    pub(crate) rate: u64,
    /// Per second.
    pub(crate) reached: f64,
    /// `held`, `failed`, `client-limit` or `others-limit`.
    pub(crate) outcome: StepOutcome,
    /// It confirmed a rate that was found.
    pub(crate) confirms: bool,
    /// What came of the objective.
    pub(crate) expectations: Vec<Expected>,
    /// Everything against the run.
    pub(crate) reasons: Vec<String>,
}

/// What a run of a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepOutcome {
    /// It held the objective and the rate.
    Held,
    /// The server did not.
    Failed,
    /// It did not, and the client was the limit.
    ClientLimit,
    /// It did not, and others kept the server or the client from running.
    OthersLimit,
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Such as `p99 < 5 ms`.
    pub(crate) expectation: String,
    /// The figure's name.
    pub(crate) figure: String,
    /// Its value in microseconds, bytes, per second or as a share of 1; not there when it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// The same for people.
    pub(crate) shown: String,
    /// Whether it is as expected.
    pub(crate) held: bool,
}
