//! The figures of a run that tables and plots show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cases::Load;
use crate::report::summary::Summary;

/// A figure, as it is named where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Metric {
    pub(crate) key: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
}

/// A [`Metric`] as a file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MetricName {
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) unit: String,
}

impl From<&Metric> for MetricName {
    fn from(metric: &Metric) -> Self {
        Self {
            key: metric.key.to_owned(),
            title: metric.title.to_owned(),
            unit: metric.unit.to_owned(),
        }
    }
}

/// The key of messages per second, which are the client's when the client was the limit.
pub(crate) const RATE_KEY: &str = "rate";

/// The key of the server's processor time.
pub(crate) const COST_KEY: &str = "cost";

/// The keys of how long a message takes: to come back, or to reach the last subscriber.
pub(crate) const LATENCY_KEYS: [&str; 2] = ["p50", "last"];

/// Whether a key is that of a time that a message takes.
pub(crate) fn is_latency(key: &str) -> bool {
    key == P99.key || LATENCY_KEYS.contains(&key)
}

const fn metric(key: &'static str, title: &'static str, unit: &'static str) -> Metric {
    Metric { key, title, unit }
}

const COST: Metric = metric(COST_KEY, "server CPU per message", "µs");
const DELIVERY_COST: Metric = metric(COST_KEY, "server CPU per delivery", "µs");
const CONNECT_COST: Metric = metric(COST_KEY, "server CPU per connect, upgrade and close", "µs");
const RATE: Metric = metric(RATE_KEY, "messages per second", "/s");
const DELIVERIES: Metric = metric(RATE_KEY, "deliveries per second", "/s");
const CONNECTS: Metric = metric(RATE_KEY, "connections per second", "/s");
const P50: Metric = metric("p50", "median round trip", "µs");
const P99: Metric = metric("p99", "p99 of the round trip", "µs");
const LAST: Metric = metric("last", "median time to the last subscriber", "µs");
const MEBIBYTES: Metric = metric("mib", "payload per second", "MiB/s");
const WIRE: Metric = metric("wire", "bytes on the wire per message", "B");
const IDLE_MEMORY: Metric = metric("idle_memory", "anonymous memory per idle connection", "B");
const TOTAL_MEMORY: Metric = metric("total_memory", "resident memory with all open", "MiB");
const IDLE_CPU: Metric = metric("idle_cpu", "server CPU per idle second", "µs");

pub(crate) const ECHO: [Metric; 3] = [COST, RATE, P50];
pub(crate) const ROUND_TRIP: [Metric; 3] = [P50, P99, COST];
pub(crate) const SCREEN: [Metric; 4] = [COST, RATE, P50, P99];
pub(crate) const PAYLOAD: [Metric; 4] = [COST, RATE, MEBIBYTES, P50];
pub(crate) const DEFLATE: [Metric; 3] = [COST, WIRE, RATE];
pub(crate) const BROADCAST: [Metric; 3] = [DELIVERY_COST, DELIVERIES, LAST];
pub(crate) const CHURN: [Metric; 2] = [CONNECT_COST, CONNECTS];
pub(crate) const IDLE: [Metric; 3] = [IDLE_MEMORY, TOTAL_MEMORY, IDLE_CPU];

const MIB: f64 = (1 << 20) as f64;

/// The figures of a run, by metric key. `empty` is the anonymous memory, in bytes, that is not due to connections; without it, it is
/// what the server has before the first one.
pub(crate) fn of(load: Load, summary: &Summary, empty: Option<u64>) -> BTreeMap<String, f64> {
    let mut figures = BTreeMap::new();
    let mut put = |metric: Metric, value: Option<f64>| {
        if let Some(value) = value {
            figures.insert(metric.key.to_owned(), value);
        }
    };
    let server = summary.server.as_ref();
    let messages = summary.messages.as_ref();
    put(COST, server.and_then(|server| server.cpu_us_per_message));
    put(RATE, messages.map(|it| it.per_second));
    let latency = summary.latency_us.as_ref();
    let corrected = latency.and_then(|latency| latency.corrected.as_ref());
    put(P50, corrected.map(|it| it.p50));
    put(P99, corrected.map(|it| it.p99));
    put(
        MEBIBYTES,
        messages.map(|it| it.payload_bytes_per_second / MIB),
    );
    put(
        WIRE,
        summary
            .compression
            .as_ref()
            .map(|it| it.wire_bytes_per_message),
    );
    let last = summary
        .broadcast
        .as_ref()
        .and_then(|it| it.last_us.as_ref());
    put(LAST, last.map(|it| it.p50));
    if load == Load::Churn {
        put(
            CONNECTS,
            summary.connections.as_ref().map(|it| it.per_second),
        );
    }
    if let (Load::Idle, Some(memory), Some(server)) = (load, &summary.memory, server) {
        let before = empty.unwrap_or(memory.before.anonymous) as f64;
        let grown = memory.after.anonymous as f64 - before;
        put(
            IDLE_MEMORY,
            Some(grown / summary.parameters.connections as f64),
        );
        put(TOTAL_MEMORY, Some(memory.after.resident as f64 / MIB));
        put(IDLE_CPU, Some(server.cpu_us / summary.window_s));
    }
    figures
}
