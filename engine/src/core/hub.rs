//! The core's half that callbacks may reach: connections, and what is sent to them. How they end is in [`super::closing`], what
//! they wait for in [`super::deadlines`].

use std::collections::VecDeque;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use corecast_protocol::CloseCode;
use corecast_protocol::frame::Opcode;
use corecast_topics::{TopicId, Topics};

use super::TURN_OUTPUT;
use super::addresses::Gate;
use super::app::{Ended, Message};
use super::backlog::Backlog;
use super::compression::{Compression, Wire};
use super::config::{Config, SlowPolicy};
use super::connection::{Flags, State};
use super::interest::Interests;
use super::mailbox::Post;
use super::output::{Output, Received};
use super::posting::Parcels;
use super::retained::Retained;
use super::slab::{ConnId, Slab};
use super::stats::CoreStats;
use super::subscribing::TopicState;
use super::timers::{Link, Links, Wheel};

/// Stands for the messages of a connection's own among the topics of keys.
const OWN_KEYS: u64 = 0;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// Goes out at the end of this turn, or of its topic's flush delay.
    Sent,
    /// Waits behind output that the peer has not read yet; `drain` tells when all of it is gone.
    Queued,
    /// Thrown away: the connection's backlog is full, and the policy says so.
    Dropped,
    /// The connection is closing or gone.
    Closed,
}

/// What became of a published message, on this core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Subscribers to whom it goes out at the end of this turn.
    pub sent: usize,
    /// Subscribers for whom it waits behind earlier output.
    pub queued: usize,
    /// Subscribers for whom it was thrown away, their backlog being full.
    pub dropped: usize,
    /// Earlier messages that had been queued and were thrown away for it, as
    /// [`SlowPolicy::DropOldest`] and [`SlowPolicy::Conflate`] have it.
    pub displaced: usize,
    /// It is kept for those who subscribe later, as [`Publish::retain`](crate::Publish::retain) asks; `false` also when
    /// there is no room for it.
    pub retained: bool,
    /// Other cores that took it; their subscribers are not in the counts above.
    pub forwarded: usize,
    /// Other cores that could not take it: their mailboxes are full.
    pub refused: usize,
}

/// Work that callbacks leave for the loop.
#[derive(Default)]
pub(crate) struct Lists {
    /// Their wish for input may have changed.
    pub(crate) reading: Vec<u32>,
    /// They have a backlog and no send in flight.
    pub(crate) draining: Vec<u32>,
    /// To be shut down for writing once their output is gone.
    pub(crate) finishing: Vec<u32>,
    /// Their `close` callback is due.
    pub(crate) ended: VecDeque<(u32, Ended)>,
    /// They hold input that may be processed.
    pub(crate) ready: VecDeque<u32>,
    /// Their `drain` callback may be due.
    pub(crate) drained: Vec<u32>,
}

impl Lists {
    pub(crate) fn is_empty(&self) -> bool {
        self.reading.is_empty()
            && self.draining.is_empty()
            && self.finishing.is_empty()
            && self.ended.is_empty()
            && self.ready.is_empty()
            && self.drained.is_empty()
    }
}

/// Connections and everything that can be done to them.
pub(crate) struct Hub {
    pub(crate) config: Arc<Config>,
    pub(crate) stats: Arc<CoreStats>,
    pub(crate) conns: Slab,
    pub(crate) output: Output,
    pub(crate) compression: Compression,
    pub(crate) topics: Topics<TopicState>,
    /// Those that a publication goes to; memory for the next one.
    pub(crate) matched: Vec<TopicId>,
    pub(crate) hasher: RandomState,
    pub(crate) retained: Retained,
    /// The time at which this turn began, or went on after it had slept.
    pub(crate) now: Instant,
    pub(crate) wheel: Wheel,
    pub(crate) lists: Lists,
    /// The other cores.
    pub(crate) post: Post,
    /// What waits for the turn's end to be posted.
    pub(crate) parcels: Parcels,
    /// What they are subscribed to.
    pub(crate) interests: Interests,
    /// No new connections: the server is on its way out.
    pub(crate) leaving: bool,
    /// Not even to be told so: the deadline has passed.
    pub(crate) closed: bool,
    /// A connection has so much output in this turn that no more is to be made before it has been sent.
    pub(crate) crowded: bool,
    /// Connections past a limit.
    pub(crate) surplus: usize,
    /// Where addresses have limits.
    pub(crate) gate: Option<Gate>,
}

impl Links for Slab {
    fn link(&mut self, index: u32) -> &mut Link {
        &mut self[index].timer
    }
}

/// Sending.
impl Hub {
    /// Queues a message for this turn.
    #[inline]
    pub(crate) fn send(&mut self, index: u32, message: Message<'_>) -> SendStatus {
        self.send_in(index, self.conns[index].wire, message)
    }

    /// The same for a message that is not to be compressed.
    pub(crate) fn send_plain(&mut self, index: u32, message: Message<'_>) -> SendStatus {
        self.send_in(index, Wire::Plain, message)
    }

    #[inline]
    fn send_in(&mut self, index: u32, wire: Wire, message: Message<'_>) -> SendStatus {
        if self.conns[index].state != State::Open {
            return SendStatus::Closed;
        }
        self.catch_up(index);
        if self.conns[index].backlog.is_some() {
            return self.queue_own(index, wire, message);
        }
        let len = corecast_protocol::server_header_len(message.len()) + message.len();
        if self.is_full(index, len) {
            return self.overflow(index, self.policy(index, None));
        }
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        if wire != Wire::Plain {
            self.give_message(index, wire, opcode, payload);
            return SendStatus::Sent;
        }
        let pending = &mut self.conns[index].pending;
        self.output.push_frame(index, pending, opcode, payload);
        SendStatus::Sent
    }

    /// Queues a message of a connection's own behind its backlog.
    #[cold]
    fn queue_own(&mut self, index: u32, wire: Wire, message: Message<'_>) -> SendStatus {
        let policy = self.policy(index, None);
        let limit = self.limit(index);
        let conn = &mut self.conns[index];
        let wire = self.compression.without_context(index, wire);
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        let (kind, payload) = self.compression.common(wire, opcode, payload);
        let len = corecast_protocol::server_header_len(payload.len()) + payload.len();
        let backlog = conn.backlog.as_mut().expect("it has a backlog");
        if policy == SlowPolicy::DropOldest && backlog.can_make_room(len, limit) {
            let dropped = backlog.drop_oldest(len, limit);
            self.stats.dropped.add(dropped as u64);
        }
        // Whoever has not heard of the backlog could not have acted on it.
        if backlog.memory() + len > limit && conn.flags.has(Flags::TOLD) {
            return self.overflow(index, policy);
        }
        conn.flags.set(Flags::TOLD, true);
        backlog.copy_frame(kind, payload);
        SendStatus::Queued
    }

    /// Sends a message that replaces the last one of its key which still waits.
    pub(crate) fn send_keyed(&mut self, index: u32, key: u64, message: Message<'_>) -> SendStatus {
        let policy = self.policy(index, None);
        if policy != SlowPolicy::Conflate || self.conns[index].backlog.is_none() {
            return self.send(index, message);
        }
        let wire = self
            .compression
            .without_context(index, self.conns[index].wire);
        let frame = self.frame(wire, message);
        self.conns[index].flags.set(Flags::TOLD, true);
        let key = Some((OWN_KEYS, Some(key)));
        self.queue(index, &frame, key, policy, &mut 0)
    }

    /// Sends a ping with at most 125 bytes of payload (RFC 6455 §5.5.2). It does not count against the policy, but a
    /// peer that does not read gets none beyond its backlog's limit.
    pub(crate) fn ping(&mut self, index: u32, payload: &[u8]) -> SendStatus {
        if self.conns[index].state != State::Open {
            return SendStatus::Closed;
        }
        if self.is_full(index, payload.len()) {
            return SendStatus::Dropped;
        }
        self.push_control(index, Opcode::Ping, payload);
        match self.conns[index].backlog {
            Some(_) => SendStatus::Queued,
            None => SendStatus::Sent,
        }
    }

    /// Appends a control frame to what goes out to a connection: it overtakes nothing, and nobody's policy drops it.
    pub(crate) fn push_control(&mut self, index: u32, opcode: Opcode, payload: &[u8]) {
        self.catch_up(index);
        let conn = &mut self.conns[index];
        match &mut conn.backlog {
            Some(backlog) => backlog.copy_frame(opcode, payload),
            None => self
                .output
                .push_frame(index, &mut conn.pending, opcode, payload),
        }
    }

    /// Answers a ping (§5.5.3). While the peer does not read, only the latest is answered: a pong for each would be
    /// memory at its command.
    pub(crate) fn pong(&mut self, index: u32, payload: &[u8]) {
        let conn = &mut self.conns[index];
        if conn.state != State::Open {
            return;
        }
        let Some(backlog) = &mut conn.backlog else {
            return self.push_control(index, Opcode::Pong, payload);
        };
        let mut frame = Vec::new();
        corecast_protocol::encode_server(&mut frame, Opcode::Pong, payload);
        backlog.pong(Bytes::from(frame));
    }

    /// Whether a connection's backlog has no room for `len` more bytes. Without a backlog the socket has not
    /// refused anything: then this only bounds what one callback can pile up, since a turn that makes much
    /// output for one connection ends early ([`Self::crowded`]). So a message larger than the limit is still
    /// taken when nothing waits.
    #[inline]
    pub(crate) fn is_full(&self, index: u32, len: usize) -> bool {
        let conn = &self.conns[index];
        let limit = self.limit(index);
        match &conn.backlog {
            Some(backlog) => backlog.memory() + len > limit,
            None => conn.pending.bytes(self.output.turn()) >= limit.max(TURN_OUTPUT),
        }
    }

    /// Bytes accepted for a connection that the kernel has not taken.
    pub(crate) fn buffered(&self, index: u32) -> usize {
        self.conns[index].buffered(self.output.turn()) + self.batched(index)
    }

    /// Bytes that may wait for a connection.
    pub(crate) fn limit(&self, index: u32) -> usize {
        match self.conns[index].backlog_limit {
            0 => self.config.backlog,
            own => own as usize,
        }
    }

    /// What happens to a connection that is too slow: as its message's topic has it, or it itself, or the server.
    pub(crate) fn policy(&self, index: u32, of_topic: Option<SlowPolicy>) -> SlowPolicy {
        let of_connection = || self.conns[index].flags.policy();
        of_topic.or_else(of_connection).unwrap_or(self.config.slow)
    }

    /// A full backlog: what the policy says.
    #[cold]
    pub(crate) fn overflow(&mut self, index: u32, policy: SlowPolicy) -> SendStatus {
        self.stats.dropped.add(1);
        match policy {
            SlowPolicy::DropNewest | SlowPolicy::DropOldest => {
                self.owe_drain(index);
                SendStatus::Dropped
            }
            // Of each key the latest has to arrive: a connection that cannot hold them is of no use.
            SlowPolicy::Close | SlowPolicy::Conflate => {
                self.begin_close(index, CloseCode::TRY_AGAIN_LATER, "too slow");
                SendStatus::Closed
            }
        }
    }
}

/// Backlogs.
impl Hub {
    /// Moves this turn's output of a connection, but for what was sent of it, behind its backlog.
    pub(crate) fn join_backlog(
        &mut self,
        index: u32,
        sent: usize,
        received: &(impl Received + ?Sized),
    ) {
        let conn = &mut self.conns[index];
        let is_new = conn.backlog.is_none();
        let backlog = conn.backlog.get_or_insert_default();
        self.output.keep(conn.pending, sent, received, backlog);
        conn.pending = Default::default();
        if !conn.flags.has(Flags::DRAINING) {
            self.lists.draining.push(index);
        }
        if is_new {
            self.becomes_slow(index);
        }
    }

    /// The kernel took `sent` bytes of a connection's backlog.
    pub(crate) fn backlog_sent(&mut self, index: u32, sent: usize) {
        let now = self.wheel.now();
        let conn = &mut self.conns[index];
        if conn.state > State::Open {
            // It reads, if slowly: what was sent before the end is still wanted.
            conn.heard = now;
        }
        let backlog = conn
            .backlog
            .as_mut()
            .expect("a backlog that was being sent");
        backlog.sent(sent);
        if !backlog.is_empty() {
            return self.lists.draining.push(index);
        }
        conn.backlog = None;
        conn.flags.set(Flags::TOLD, false);
        self.becomes_fast(index);
        match self.conns[index].state {
            State::Finishing => self.lists.finishing.push(index),
            _ => self.owe_drain(index),
        }
    }

    /// The application will be told when nothing is buffered.
    fn owe_drain(&mut self, index: u32) {
        let flags = &mut self.conns[index].flags;
        if !flags.has(Flags::OWED_DRAIN) {
            flags.set(Flags::OWED_DRAIN, true);
            self.lists.drained.push(index);
        }
    }

    /// Whether the `drain` callback is due now. If it is owed for later, it comes back to the list by then.
    pub(crate) fn drain_is_due(&mut self, index: u32) -> bool {
        let turn = self.output.turn();
        if !self.conns[index].flags.has(Flags::OWED_DRAIN) {
            // Another connection's slot by now.
            return false;
        }
        self.catch_up(index);
        if self.conns[index].pending.bytes(turn) > 0 {
            self.lists.drained.push(index);
            return false;
        }
        let conn = &mut self.conns[index];
        conn.flags.set(Flags::OWED_DRAIN, false);
        conn.is_open() && conn.backlog.is_none()
    }

    /// What to send of a connection's backlog, unless a send is in flight already.
    pub(crate) fn next_backlog_send(&mut self, index: u32) -> Option<(ConnId, Bytes)> {
        let id = self.conns.id(index);
        let conn = &mut self.conns[index];
        if conn.flags.has(Flags::DRAINING) || matches!(conn.state, State::Free | State::Dead) {
            return None;
        }
        let next = conn.backlog.as_deref_mut().and_then(Backlog::next_send)?;
        conn.flags.set(Flags::DRAINING, true);
        conn.operations += 1;
        Some((id, next))
    }
}
