//! What bounds a connection and a core.

use std::sync::Arc;
use std::time::Duration;

use corecast_protocol::Limits;
use corecast_protocol::handshake::HeadLimits;

use super::addresses::AddressTable;
use super::defaults;
use super::upkeep::Upkeep;

/// What happens to a connection whose backlog is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// It is closed with 1013 (try again later).
    #[default]
    Close,
    /// The message is not sent to it.
    DropNewest,
}

/// Settings of every core of a server.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) max_connections: usize,
    /// Connections that one core makes room for: no more than there can be descriptors.
    pub(crate) slots: usize,
    pub(crate) limits: Limits,
    pub(crate) head: HeadLimits,
    /// Bytes accepted for a connection that the kernel has not taken.
    pub(crate) backlog: usize,
    pub(crate) slow: SlowPolicy,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) busy_poll: Option<Duration>,
    /// Shared by all cores, where addresses have limits.
    pub(crate) addresses: Option<Arc<AddressTable>>,
    pub(crate) upkeep: Option<Upkeep>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: defaults::MAX_CONNECTIONS,
            slots: defaults::MAX_CONNECTIONS,
            limits: Limits {
                // A message in one frame is the usual case: a lower limit would only surprise.
                max_frame: defaults::MAX_MESSAGE as u64,
                max_message: defaults::MAX_MESSAGE as u64,
                max_fragments: defaults::MAX_FRAGMENTS,
            },
            head: HeadLimits {
                max_bytes: defaults::MAX_HEAD,
                max_headers: defaults::MAX_HEADERS,
            },
            backlog: defaults::BACKLOG,
            slow: defaults::SLOW,
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            idle_timeout: Some(defaults::IDLE_TIMEOUT),
            ping_interval: Some(defaults::PING_INTERVAL),
            close_timeout: defaults::CLOSE_TIMEOUT,
            busy_poll: None,
            addresses: None,
            upkeep: None,
        }
    }
}
