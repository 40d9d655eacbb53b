//! The limits that hold unless a [`Server`](crate::Server) is told otherwise, and those that cannot be changed. `SECURITY.md` says
//! what happens past each.

use std::time::Duration;

use corecast_protocol::Limits;
use corecast_protocol::handshake::{HeadLimits, HeaderSlots};

use super::SlowPolicy;

/// Connections, on all cores together. A million: above what one machine's memory holds at the kernel's 4 KB per connection and
/// more. The process's limit of descriptors may be lower.
pub const MAX_CONNECTIONS: usize = 1_000_000;

/// Bytes of a request head, from the method to the empty line: what common servers and proxies accept.
pub const MAX_HEAD: usize = HeadLimits::DEFAULT_MAX_BYTES;

/// Header fields of a request. More cannot be asked for: [`Server::MAX_HEADERS`](crate::Server::MAX_HEADERS).
pub const MAX_HEADERS: usize = HeaderSlots::CAPACITY;

/// Time for a request head to arrive. Long enough for a mobile network, short enough that slow heads do not pile up.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Payload bytes of a message, fragments together.
pub const MAX_MESSAGE: usize = Limits::DEFAULT_MAX_MESSAGE as usize;

/// How many times its size a compressed message may become, beyond a mebibyte: [`Deflate::max_ratio`](crate::Deflate::max_ratio).
pub const MAX_INFLATION: u32 = Limits::DEFAULT_MAX_INFLATION;

/// Compressed messages of more than one step that a core inflates at one time. Each may hold up to the limit of a
/// message; the others hold what they were sent. Cannot be changed.
pub const INFLATING_AT_ONCE: usize = corecast_protocol::message::INFLATING_AT_ONCE;

/// Bytes that wait for one connection whose peer does not read: a second's worth of a fast link. A message that is
/// larger is still taken when nothing else waits.
pub const BACKLOG: usize = 1 << 20;

/// What happens to a connection whose backlog is full.
pub const SLOW: SlowPolicy = SlowPolicy::Close;

/// Bytes of the messages that a core keeps for later subscribers, with their topics' names.
pub const MAX_RETAINED: usize = 16 << 20;

/// Silence after which a connection is closed: three missed pings.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Silence after which a connection gets a ping. Below the 60 seconds after which common proxies cut idle connections.
pub const PING_INTERVAL: Duration = Duration::from_secs(30);

/// Time for the peer's Close frame (RFC 6455 §7.1.1), and then for its FIN.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Data frames of one message. Cannot be changed.
pub const MAX_FRAGMENTS: u32 = Limits::DEFAULT_MAX_FRAGMENTS;

/// Input that one connection may have handled in one turn, in bytes. A bounded share of the turn, and well below the
/// default backlog, so that an echo of it fits. Cannot be changed.
pub const TURN_INPUT: u32 = 256 << 10;

/// What handling a message counts for beside its bytes, against [`TURN_INPUT`]. With it a connection that floods with the
/// shortest messages has about 500 of them handled per turn: at some 50 ns each, tens of microseconds that the others
/// wait. Cannot be changed.
pub const MESSAGE_INPUT: u32 = 512;

/// Messages of threads that wait for a core, and batches of messages between two cores at most. With 64-byte messages this is
/// half a megabyte, and more than a core delivers in any turn. Cannot be changed.
pub const MAX_MAIL: usize = 8192;

/// Bytes of threads' messages that wait for a core, topics included, so that few large messages are bounded as well. Cannot be
/// changed.
pub const MAX_MAIL_BYTES: usize = 64 << 20;

/// Batches of messages that wait for a core from all the others together, each of which has an equal part. A batch is what
/// one core publishes to one topic in one turn. Cannot be changed.
pub const MAX_CORE_MAIL: usize = 1 << 16;

/// Bytes that wait for a core from all the others together, topics included. Each has an equal part, and at least
/// [`MIN_PAIR_BYTES`]. Cannot be changed.
pub const MAX_CORE_MAIL_BYTES: usize = 64 << 20;

/// Bytes that may wait between two cores, however many there are: a turn's worth. Cannot be changed.
pub const MIN_PAIR_BYTES: usize = 1 << 20;

/// Connections past a limit that a core tells so at one time; more are closed without a word. Cannot be changed.
pub const SURPLUS_CONNECTIONS: usize = 64;

/// Addresses that are remembered, where they have limits, before those without connections are forgotten; as many as twice the
/// connections, if that is more. Cannot be changed.
pub const MAX_ADDRESSES: usize = 1 << 16;
