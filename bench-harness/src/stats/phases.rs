//! What a new connection waits for, phase by phase.

use serde::{Deserialize, Serialize};

use super::latency::Latency;

/// How long the phases of opening took, over many connections.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ConnectTimes {
    /// The TCP handshake.
    pub(crate) tcp: Latency,
    /// From the request to the complete 101 response; nothing is recorded for `tcp://`.
    pub(crate) upgrade: Latency,
    /// Both: until the connection can be used; from when it was due where there is a rate.
    pub(crate) open: Latency,
    /// From a connection's first message to its reply. Nothing is recorded where nothing is sent, or where what
    /// comes back is not a reply.
    pub(crate) first_message: Latency,
}

impl ConnectTimes {
    /// Nothing recorded yet.
    pub(crate) fn new() -> Self {
        Self {
            tcp: Latency::new(),
            upgrade: Latency::new(),
            open: Latency::new(),
            first_message: Latency::new(),
        }
    }

    /// Adds what another thread recorded.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.tcp.merge(&other.tcp);
        self.upgrade.merge(&other.upgrade);
        self.open.merge(&other.open);
        self.first_message.merge(&other.first_message);
    }
}

impl Default for ConnectTimes {
    fn default() -> Self {
        Self::new()
    }
}
