//! What bounds a connection and a core.

use std::sync::Arc;
use std::time::Duration;

use corecast_protocol::Limits;
use corecast_protocol::handshake::HeadLimits;

use super::addresses::AddressTable;
use super::compression::Deflate;
use super::defaults;
use super::upkeep::Upkeep;

/// What is published waits no longer than this for more, whatever is asked for.
const LONGEST_FLUSH_DELAY: Duration = Duration::from_secs(1);

/// What happens to a connection whose backlog is full. Messages are dropped whole or not at all, and never once the
/// kernel has begun to take them; control frames are not dropped.
///
/// What is set for a topic ([`Server::topic`](crate::Server::topic)) counts for its messages, before what is set for a
/// connection ([`Conn::set_slow_policy`](crate::Conn::set_slow_policy)), and that before what is set for the server
/// ([`Server::slow`](crate::Server::slow)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPolicy {
    /// It is closed with 1013 (try again later): whoever stays has missed nothing.
    #[default]
    Close,
    /// The message is not sent to it: what it gets is old, but without gaps until then.
    DropNewest,
    /// Its oldest messages that wait are dropped to make room: what it gets is recent. A message for which no room can be
    /// made is dropped itself.
    DropOldest,
    /// A message takes the place of the one of its topic and key that waits, full or not, so that of each only the latest
    /// does. A message without either, as from [`Conn::send`](crate::Conn::send), replaces none. If it is full
    /// all the same, the connection is closed as with [`Close`](Self::Close): it would miss the latest of something.
    ///
    /// Messages of different keys may then arrive in another order than they were published in.
    Conflate,
}

/// What holds for the topics of a filter: see [`Server::topic`](crate::Server::topic).
#[derive(Clone, Copy, Debug, Default)]
pub struct TopicOptions {
    pub(crate) slow: Option<SlowPolicy>,
    pub(crate) flush_delay: Option<Duration>,
}

impl TopicOptions {
    /// As the server has it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What happens to subscribers that are too slow for what is published to the topic.
    #[must_use]
    pub fn slow(mut self, policy: SlowPolicy) -> Self {
        self.slow = Some(policy);
        self
    }

    /// How long a message waits for further ones, to leave with them: as
    /// [`Server::flush_delay`](crate::Server::flush_delay).
    #[must_use]
    pub fn flush_delay(mut self, delay: Duration) -> Self {
        self.flush_delay = Some(delay);
        self
    }
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
    /// How long what is published waits for more.
    pub(crate) flush_delay: Duration,
    /// Bytes from which on a send lends them to the kernel.
    pub(crate) zero_copy: Option<usize>,
    /// What holds for topics, by filter; the first one that matches.
    pub(crate) topics: Vec<(Box<str>, TopicOptions)>,
    /// Bytes of messages that are retained.
    pub(crate) max_retained: usize,
    /// What is agreed to with clients that offer compression.
    pub(crate) deflate: Deflate,
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
                max_inflation: Limits::DEFAULT_MAX_INFLATION,
            },
            head: HeadLimits {
                max_bytes: defaults::MAX_HEAD,
                max_headers: defaults::MAX_HEADERS,
            },
            backlog: defaults::BACKLOG,
            slow: defaults::SLOW,
            flush_delay: Duration::ZERO,
            zero_copy: None,
            topics: Vec::new(),
            max_retained: defaults::MAX_RETAINED,
            deflate: Deflate::off(),
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

impl Config {
    /// What is set for a topic.
    fn topic(&self, name: &str) -> Option<&TopicOptions> {
        let mut topics = self.topics.iter();
        let found = topics.find(|(filter, _)| corecast_topics::matches(filter, name));
        found.map(|(_, options)| options)
    }

    /// The policy for subscribers that are too slow for a topic, if it has one of its own.
    pub(crate) fn policy_of(&self, topic: &str) -> Option<SlowPolicy> {
        self.topic(topic)?.slow
    }

    /// How long what is published to a topic waits for more.
    pub(crate) fn flush_delay_of(&self, topic: &str) -> Duration {
        let own = self.topic(topic).and_then(|options| options.flush_delay);
        own.unwrap_or(self.flush_delay).min(LONGEST_FLUSH_DELAY)
    }
}
