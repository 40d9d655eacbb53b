//! `summary.json`: the figures of a run. `summary.schema.json` describes it; a test keeps the two
//! together.

mod errors;
mod find_max;
mod measured;
mod parameters;
mod sides;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::scenario::figures::ScenarioFigures;
use crate::stats::validity::{JudgedBy, Judgement, LimitedBy, Reason};
pub(crate) use errors::{ErrorReason, Errors};
pub(crate) use find_max::{Ended, Expected, FindMax, Step, StepOutcome};
pub(crate) use measured::{
    Broadcast, BroadcastMemory, CompressionCounts, ConnectPhases, Connections, HeardCounts,
    Latencies, MemoryPerConnection, Messages, StalledFates,
};
pub(crate) use parameters::Parameters;
pub(crate) use sides::{AgentPart, Client, Server, micros};

/// Version of the format; raised when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// All figures of a run. Parts that a command does not measure are left out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// `echo`, `broadcast`, `connect`, `idle` or `scenario`.
    pub(crate) command: String,
    /// The URL.
    pub(crate) target: String,
    /// The run does for what it is judged by.
    pub(crate) valid: bool,
    /// What it is judged by.
    pub(crate) judged_by: JudgedBy,
    /// Throughput and latency are the server's.
    pub(crate) throughput_valid: bool,
    /// The server's processor time per message is right.
    pub(crate) cost_valid: bool,
    /// Everything against the run.
    pub(crate) reasons: Vec<Reason>,
    /// What set the pace.
    pub(crate) limited_by: LimitedBy,
    /// What was asked for.
    pub(crate) parameters: Parameters,
    /// Seconds measured.
    pub(crate) window_s: f64,
    /// Messages in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages>,
    /// How long replies took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latencies>,
    /// How long connections took to open, phase by phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_us: Option<ConnectPhases>,
    /// What came compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<CompressionCounts>,
    /// Publishers and subscribers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broadcast: Option<Broadcast>,
    /// Connections opened and closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<Connections>,
    /// Roles and phases of a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<ScenarioFigures>,
    /// Memory of the server before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<MemoryPerConnection>,
    /// The server in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Server>,
    /// The client in the window.
    pub(crate) client: Client,
    /// The processes that put the load on, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<AgentPart>,
    /// What went wrong.
    pub(crate) errors: Errors,
    /// What came of what was expected (`--expect`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) expectations: Vec<Expected>,
    /// The search that this run ended (`--find-max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) find_max: Option<FindMax>,
}

impl Summary {
    /// A summary with its verdict and nothing else yet.
    pub(crate) fn new(
        command: &str,
        target: String,
        judgement: Judgement,
        judged_by: JudgedBy,
        parameters: Parameters,
        window: Duration,
    ) -> Self {
        Self {
            schema: SCHEMA,
            command: command.to_owned(),
            target,
            valid: judgement.valid(judged_by),
            judged_by,
            throughput_valid: judgement.throughput_valid(),
            cost_valid: judgement.cost_valid(),
            limited_by: judgement.limited_by,
            reasons: [
                judgement.against_all,
                judgement.against_throughput,
                judgement.against_cost,
            ]
            .concat(),
            parameters,
            window_s: window.as_secs_f64(),
            messages: None,
            latency_us: None,
            connect_us: None,
            compression: None,
            broadcast: None,
            connections: None,
            scenario: None,
            memory: None,
            server: None,
            client: Client::default(),
            agents: Vec::new(),
            errors: Errors::default(),
            expectations: Vec::new(),
            find_max: None,
        }
    }
}
