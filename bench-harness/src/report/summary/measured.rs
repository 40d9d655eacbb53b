//! What came of messages and connections.

use serde::{Deserialize, Serialize};

use super::ErrorReason;
use crate::client::deflate::WireCounts;
use crate::procfs::Memory;
use crate::stats::latency::{Distribution, Latency};
use crate::stats::phases::ConnectTimes;
use crate::telemetry::recorder::Recorded;

/// Messages in the window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Messages {
    /// Replies, or for `broadcast` deliveries, received.
    pub(crate) count: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// Their payload bytes per second.
    pub(crate) payload_bytes_per_second: f64,
}

/// What came, and how much smaller than what it stands for: over the whole run, with warm-up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CompressionCounts {
    /// Messages that came compressed.
    pub(crate) compressed: u64,
    /// Messages that came as they are.
    pub(crate) uncompressed: u64,
    /// Compressed ones that the client inflated. The others are byte for byte what one of these was.
    pub(crate) inflated: u64,
    /// Bytes of a message on the wire, server to client, with its frame headers: the mean over the payloads that take turns,
    /// however often each came.
    pub(crate) wire_bytes_per_message: f64,
    /// Bytes of a message once it is inflated: the mean over the payloads that came.
    pub(crate) payload_bytes_per_message: u64,
    /// Payload bytes per byte on the wire.
    pub(crate) ratio: f64,
}

/// How long replies took.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// From the time a message was due; in a closed loop, when it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corrected: Option<Distribution>,
    /// From the time a message was sent: hides how long it waited in the client. Open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uncorrected: Option<Distribution>,
}

/// How long connections took to open, phase by phase.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectPhases {
    /// The TCP handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tcp: Option<Distribution>,
    /// The upgrade, from the request to the 101 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade: Option<Distribution>,
    /// Both: until the connection can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<Distribution>,
    /// From a connection's first message to its reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_message: Option<Distribution>,
}

impl Latencies {
    /// From what was recorded.
    pub(crate) fn new(recorded: &Recorded) -> Self {
        let uncorrected = recorded.uncorrected.as_ref();
        Self {
            corrected: recorded.corrected.distribution(),
            uncorrected: uncorrected.and_then(Latency::distribution),
        }
    }
}

impl ConnectPhases {
    /// From what was recorded.
    pub(crate) fn new(times: &ConnectTimes) -> Self {
        Self {
            tcp: times.tcp.distribution(),
            upgrade: times.upgrade.distribution(),
            open: times.open.distribution(),
            first_message: times.first_message.distribution(),
        }
    }
}

/// What became of what was published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Broadcast {
    /// Messages sent by publishers in the window.
    pub(crate) published: u64,
    /// The same per second.
    pub(crate) published_per_second: f64,
    /// Subscribers that had to receive everything.
    pub(crate) listening: u64,
    /// Deliveries to connections that only publish; they are among the messages counted.
    pub(crate) to_publishers: u64,
    /// From the time a message was due until the first subscriber had it. One client thread only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_us: Option<Distribution>,
    /// The same for the last subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_us: Option<Distribution>,
    /// Deliveries that never came, over the whole run.
    pub(crate) lost: u64,
    /// Deliveries that came more than once.
    pub(crate) duplicated: u64,
    /// Deliveries that came after a later message of the same publisher.
    pub(crate) reordered: u64,
    /// What became of subscribers that stopped reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<StalledFates>,
    /// The server's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<BroadcastMemory>,
}

/// What became of subscribers that stopped reading.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StalledFates {
    /// How many joined.
    pub(crate) count: u64,
    /// Still open at the end.
    pub(crate) open: u64,
    /// Closed with a Close frame, by code.
    pub(crate) closed: Vec<ErrorReason>,
    /// Ended without one, or with one that a reset destroyed.
    pub(crate) cut: Vec<ErrorReason>,
    /// Messages that they could read when they read on at the end.
    pub(crate) messages_read_at_the_end: u64,
}

/// The server's memory during a broadcast, in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BroadcastMemory {
    /// Before the first connection.
    pub(crate) empty: Memory,
    /// With all connections, before the first message.
    pub(crate) joined: Memory,
    /// Most resident at once from then on; not there where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) most_resident: Option<u64>,
}

/// Connections opened and closed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Connections that were opened (with `--churn`: opened, upgraded and closed).
    pub(crate) count: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// The TCP handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tcp_us: Option<Distribution>,
    /// The upgrade, from the request to the 101 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade_us: Option<Distribution>,
    /// The closing handshake, from our Close frame to the end of the TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close_us: Option<Distribution>,
    /// Closed per second, when all were closed at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed_per_second: Option<f64>,
    /// Server processor time per connection closed at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_close_cpu_us: Option<f64>,
    /// Messages that came without being asked for, and pings (answered).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<HeardCounts>,
    /// Connections that ended in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
}

/// What came on idle connections in the window.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HeardCounts {
    pub(crate) messages: u64,
    pub(crate) pings: u64,
}

/// Server memory in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryPerConnection {
    /// Before the first connection.
    pub(crate) before: Memory,
    /// With all of them open and idle.
    pub(crate) after: Memory,
    /// Growth of resident memory per connection.
    pub(crate) resident_per_connection: f64,
    /// Growth of anonymous memory per connection.
    pub(crate) anonymous_per_connection: f64,
}

impl CompressionCounts {
    /// From what was counted of each payload; `payload_len` says how long one is. Those that came count alike: which of them
    /// happens to come most often must not decide which of two servers makes them smaller.
    pub(crate) fn new(counts: &[WireCounts], payload_len: impl Fn(usize) -> usize) -> Self {
        let came = || {
            let all = counts.iter().enumerate();
            all.filter(|(_, payload)| payload.messages() > 0)
        };
        let mean = |sum: f64| sum / came().count().max(1) as f64;
        let each = |payload: &WireCounts| payload.wire_bytes as f64 / payload.messages() as f64;
        let wire = mean(came().map(|(_, payload)| each(payload)).sum());
        let payload = mean(came().map(|(number, _)| payload_len(number) as f64).sum());
        let total = |field: fn(&WireCounts) -> u64| counts.iter().map(field).sum();
        Self {
            compressed: total(|payload| payload.compressed),
            uncompressed: total(|payload| payload.uncompressed),
            inflated: total(|payload| payload.inflated),
            wire_bytes_per_message: wire,
            payload_bytes_per_message: payload.round() as u64,
            // Without a message there is no ratio; 1 divides nothing by nothing.
            ratio: payload / wire.max(1.0),
        }
    }
}

impl MemoryPerConnection {
    /// Growth from `before` to `after` spread over the connections.
    pub(crate) fn new(before: Memory, after: Memory, connections: u64) -> Self {
        let each =
            |after: u64, before: u64| (after as f64 - before as f64) / connections.max(1) as f64;
        Self {
            before,
            after,
            resident_per_connection: each(after.resident, before.resident),
            anonymous_per_connection: each(after.anonymous, before.anonymous),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_count_alike_however_often_they_came() {
        let came = |messages, each| WireCounts {
            compressed: messages,
            uncompressed: 0,
            inflated: 1,
            wire_bytes: messages * each,
        };
        let counts = [came(10, 100), came(1, 200), came(0, 0)];
        // The last one never came: what it would have taken says nothing about the others.
        let part = CompressionCounts::new(&counts, |number| [200, 400, 9_000][number]);
        assert_eq!((part.compressed, part.inflated), (11, 3));
        assert_eq!((part.wire_bytes_per_message, part.ratio), (150.0, 2.0));
        assert_eq!(part.payload_bytes_per_message, 300);
        assert_eq!(CompressionCounts::new(&[], |_| 300).compressed, 0);
    }
}
