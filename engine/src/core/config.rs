//! What bounds a connection and a core.

use std::sync::Arc;
use std::time::Duration;

use corecast_protocol::Limits;
use corecast_protocol::handshake::HeadLimits;

use super::addresses::AddressTable;
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

impl Config {
    /// A million: above what one machine's memory holds at the kernel's 4 KB per connection and more.
    pub(crate) const MAX_CONNECTIONS: usize = 1_000_000;
    /// A second's worth of a fast link; see `Hub::is_full` for messages that are larger.
    pub(crate) const BACKLOG: usize = 1 << 20;
    /// Long enough for a mobile network, short enough that slow heads do not pile up.
    pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Three missed pings.
    pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
    /// Below the 60 seconds after which common proxies cut idle connections.
    pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);
    /// For the peer's Close frame and FIN, each.
    pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: Self::MAX_CONNECTIONS,
            slots: Self::MAX_CONNECTIONS,
            limits: Limits::default(),
            head: HeadLimits::default(),
            backlog: Self::BACKLOG,
            slow: SlowPolicy::default(),
            handshake_timeout: Self::HANDSHAKE_TIMEOUT,
            idle_timeout: Some(Self::IDLE_TIMEOUT),
            ping_interval: Some(Self::PING_INTERVAL),
            close_timeout: Self::CLOSE_TIMEOUT,
            busy_poll: None,
            addresses: None,
            upkeep: None,
        }
    }
}
