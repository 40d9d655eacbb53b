//! What was asked for.

use serde::{Deserialize, Serialize};

use crate::client::contents::PayloadKind;
use crate::client::reply::Verify;

/// What was asked for. Parts that do not apply are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publishers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish_url: Option<String>,
    /// Subscribers that stop reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<u64>,
    /// Of a message: the mean, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_bytes: Option<u64>,
    /// Of the shortest and of the longest message, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_range: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wire_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opcode: Option<String>,
    /// What messages carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<PayloadKind>,
    /// Where messages were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_file: Option<String>,
    /// permessage-deflate was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deflate: Option<bool>,
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) burst: Option<u64>,
    /// Messages per second asked for; when it climbs, the mean over the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    /// Where a rate that climbs begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_from: Option<u64>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_to: Option<u64>,
    /// Seconds of the climb before the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ramp_s: Option<f64>,
    /// Messages fall due together, once in so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick_s: Option<f64>,
    /// Pauses of a connection before its next message: the shortest and the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) think_s: Option<[f64; 2]>,
    /// Messages of the server on every connection that came first and did not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip: Option<u64>,
    /// Subprotocols offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subprotocols: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    /// Names of the headers added; their values may be secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<Vec<String>>,
    /// Messages that every connection sent once it was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<u64>,
    /// Messages of the server that were answered and did not count, with their answers: `PING=PONG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<Vec<String>>,
    /// Begins of messages of the server that did not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignored: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Verify>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) busy_poll: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) churn: Option<bool>,
    /// Messages that every connection of `--churn` has echoed before it closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warmup_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_s: Option<f64>,
    /// Title of the scenario that was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<String>,
    /// Of its file's text and the changes of --path: tells scenarios of the same title apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario_digest: Option<String>,
    /// It was played so many times as large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scale: Option<u64>,
    /// Further addresses of the server (`--also`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) also: Option<u64>,
    /// Processes that put the load on, when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) processes: Option<u64>,
    /// The server's system calls were counted, which makes each of them slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls: Option<bool>,
    pub(crate) cores: Vec<usize>,
    pub(crate) seed: u64,
}

impl Parameters {
    /// Messages had times at which they were due, from which latency counts.
    pub(crate) fn open_loop(&self) -> bool {
        self.mode.as_deref() == Some("open")
    }
}
