//! What `summary.json` says of a scenario: roles, phases, and each role in each phase.

use serde::{Deserialize, Serialize};

use super::file::Kind;
use crate::report::summary::Latencies;
use crate::stats::latency::Distribution;
use crate::stats::validity::Reason;

/// A scenario's figures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ScenarioFigures {
    pub(crate) title: String,
    /// Connections, rates and topics are so many times those of the file.
    pub(crate) scale: u64,
    /// In order.
    pub(crate) phases: Vec<PhaseFigures>,
    /// In the file's order.
    pub(crate) roles: Vec<RoleFigures>,
}

/// A phase, over all roles.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PhaseFigures {
    pub(crate) name: String,
    /// From the begin of the load on.
    pub(crate) from_s: f64,
    pub(crate) length_s: f64,
    /// It is in the figures of the whole.
    pub(crate) measured: bool,
    /// Replies and deliveries that came in it; where no role has any, connections that were opened.
    pub(crate) messages: u64,
    pub(crate) per_second: f64,
    /// Server processor time in it per reply or delivery; what connections cost that opened and closed is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_us_per_message: Option<f64>,
    /// Share of the time in which the server's busiest thread ran, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_running: Option<f64>,
    /// Share of the time in which the client's busiest thread ran or waited for a processor, 0 to 1.
    pub(crate) client_busy: f64,
}

/// A role.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RoleFigures {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Connections at most; for churn, at a time.
    pub(crate) connections: u64,
    /// Nothing is against its throughput and latencies.
    pub(crate) valid: bool,
    /// What is.
    pub(crate) reasons: Vec<Reason>,
    /// Over all measured phases.
    pub(crate) total: Figures,
    /// Phase by phase.
    pub(crate) phases: Vec<Figures>,
    /// What came after the last phase: too late to be in its rates.
    #[serde(default)]
    pub(crate) after_end: AfterEnd,
    /// Interval by interval.
    pub(crate) course: Vec<Interval>,
}

/// A role after the end of the load, while what is on the way is waited for. What was wrong with it is counted in the last phase.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AfterEnd {
    /// Messages sent (for churn: connections begun) that had fallen due before.
    pub(crate) sent: u64,
    /// Replies, or deliveries, that came; for churn, replies.
    pub(crate) done: u64,
    /// Connections opened, and closed in order.
    pub(crate) opened: u64,
    pub(crate) closed: u64,
}

/// A role in an interval of its course.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// When it ends, from the begin of the load on.
    pub(crate) at_s: f64,
    /// Messages (for churn: connections) that fell due in it.
    pub(crate) due: u64,
    /// Replies, or deliveries, that came in it; for churn, replies.
    pub(crate) done: u64,
    /// Connections opened in it.
    pub(crate) opened: u64,
    /// Connections open at its end.
    pub(crate) open: u64,
    /// Connections refused or broken, and messages lost, duplicated or reordered, noticed in it.
    pub(crate) errors: u64,
    /// Latencies that ended in it, from the time due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Distribution>,
}

/// A role in a phase, or in all that are measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Messages (for churn: connections) that fell due in it.
    pub(crate) due: u64,
    /// Messages sent (for churn: connections begun) in it.
    pub(crate) sent: u64,
    /// Replies, or deliveries, that came in it; for churn, replies.
    pub(crate) done: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// Of what fell due in it, replies and deliveries (for churn: connections) that came when it was over.
    #[serde(default)]
    pub(crate) late: u64,
    /// Latencies of what fell due in it; for churn, until the connection was open.
    pub(crate) latency_us: Latencies,
    /// How long connections took that were opened in it, TCP and upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_us: Option<Distribution>,
    /// Connections that should have been open at its end; does not apply to churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wanted: Option<u64>,
    /// Connections open at its end.
    pub(crate) open: u64,
    /// Connections opened, and closed in order, in it.
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    /// Connections that could not be opened; a connection counts once, however often it was tried.
    pub(crate) refused: u64,
    /// Attempts at them that failed.
    #[serde(default)]
    pub(crate) attempts: u64,
    /// Connections that broke.
    pub(crate) broken: u64,
    /// Messages that had no reply or did not come to a subscriber; noticed in it, what was missing in the end in the last phase.
    pub(crate) lost: u64,
    /// Messages that came more than once.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one of the same connection or publisher.
    pub(crate) reordered: u64,
}
