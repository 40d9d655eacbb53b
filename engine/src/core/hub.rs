//! The core's half that callbacks may reach: connections, and what is sent to them. How they end is in [`super::closing`], what
//! they wait for in [`super::deadlines`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use corecast_protocol::CloseCode;
use corecast_protocol::frame::Opcode;
use corecast_topics::{Subscribed, Topics};

use super::TURN_OUTPUT;
use super::addresses::Gate;
use super::app::{Ended, Message};
use super::backlog::Backlog;
use super::config::{Config, SlowPolicy};
use super::connection::{Flags, State};
use super::mailbox::{Mail, Post};
use super::output::{Encoded, Output, Received};
use super::slab::{ConnId, Slab};
use super::stats::CoreStats;
use super::timers::{Link, Links, Wheel};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendStatus {
    /// Goes out at the end of this turn.
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
    pub(crate) topics: Topics,
    pub(crate) wheel: Wheel,
    pub(crate) lists: Lists,
    /// The other cores.
    pub(crate) post: Post,
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
        if self.conns[index].state != State::Open {
            return SendStatus::Closed;
        }
        let len = corecast_protocol::server_header_len(message.len()) + message.len();
        match self.admit(index, len) {
            SendStatus::Dropped => self.overflow(index),
            admitted => {
                let pending = &mut self.conns[index].pending;
                self.output
                    .push_frame(index, pending, message.opcode(), message.as_bytes());
                admitted
            }
        }
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
        let pending = &mut self.conns[index].pending;
        self.output
            .push_frame(index, pending, Opcode::Ping, payload);
        match self.conns[index].backlog {
            Some(_) => SendStatus::Queued,
            None => SendStatus::Sent,
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
            return self
                .output
                .push_frame(index, &mut conn.pending, Opcode::Pong, payload);
        };
        let mut frame = Vec::new();
        corecast_protocol::encode_server(&mut frame, Opcode::Pong, payload);
        // Where there is a backlog, this turn's output joins it as a whole.
        let coming = conn.pending.bytes(self.output.turn());
        backlog.pong(Bytes::from(frame), coming);
    }

    /// Whether the application may have `len` more bytes sent.
    #[inline]
    fn admit(&mut self, index: u32, len: usize) -> SendStatus {
        let full = self.is_full(index, len);
        let conn = &mut self.conns[index];
        if conn.backlog.is_none() {
            return if full {
                SendStatus::Dropped
            } else {
                SendStatus::Sent
            };
        }
        // Whoever has not heard of the backlog could not have acted on it.
        if full && conn.flags.has(Flags::TOLD) {
            return SendStatus::Dropped;
        }
        conn.flags.set(Flags::TOLD, true);
        SendStatus::Queued
    }

    /// Whether a connection's backlog has no room for `len` more bytes. Without a backlog the socket has not
    /// refused anything: then this only bounds what one callback can pile up, since a turn that makes much
    /// output for one connection ends early ([`Self::crowded`]). So a message larger than the limit is still
    /// taken when nothing waits.
    #[inline]
    fn is_full(&self, index: u32, len: usize) -> bool {
        let conn = &self.conns[index];
        let (buffered, limit) = (conn.buffered(self.output.turn()), self.config.backlog);
        match conn.backlog {
            Some(_) => buffered + len > limit,
            None => buffered >= limit.max(TURN_OUTPUT),
        }
    }

    /// A full backlog: what the policy says.
    #[cold]
    fn overflow(&mut self, index: u32) -> SendStatus {
        self.stats.dropped.add(1);
        match self.config.slow {
            SlowPolicy::DropNewest => {
                self.owe_drain(index);
                SendStatus::Dropped
            }
            SlowPolicy::Close => {
                self.begin_close(index, CloseCode::TRY_AGAIN_LATER, "too slow");
                SendStatus::Closed
            }
        }
    }

    /// Subscribes an open connection.
    pub(crate) fn subscribe(&mut self, index: u32, topic: &str) -> bool {
        self.conns[index].is_open()
            && matches!(self.topics.subscribe(index, topic), Subscribed::New { .. })
    }

    /// Delivers to this core's subscribers, and posts to the other cores.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        message: Message<'_>,
        except: Option<u32>,
    ) -> Published {
        let mut published = Published::default();
        if !self.post.is_alone() {
            let mut frame = Vec::with_capacity(message.len() + 10);
            corecast_protocol::encode_server(&mut frame, message.opcode(), message.as_bytes());
            let mail = Mail::Publish {
                topic: topic.into(),
                frame: Bytes::from(frame),
            };
            (published.forwarded, published.refused) = self.post.to_others(&mail);
        }
        if self.topics.subscriber_count(topic) > 0 {
            let frame = self.output.encode(message.opcode(), message.as_bytes());
            self.deliver(topic, frame, except, &mut published);
        }
        published
    }

    /// Delivers what another core or thread published.
    pub(crate) fn deliver_mail(&mut self, topic: &str, frame: &Bytes) {
        if self.topics.subscriber_count(topic) > 0 {
            let frame = self.output.encode_shared(frame);
            self.deliver(topic, frame, None, &mut Published::default());
        }
    }

    fn deliver(
        &mut self,
        topic: &str,
        frame: Encoded,
        except: Option<u32>,
        published: &mut Published,
    ) {
        let turn = self.output.turn();
        let mut overflowed = Vec::new();
        let Some(topic) = self.topics.id(topic) else {
            return;
        };
        for subscription in self.topics.fast(topic) {
            let index = subscription.conn();
            if except == Some(index) || !self.conns[index].is_open() {
                continue;
            }
            if self.is_full(index, frame.len()) {
                published.dropped += 1;
                overflowed.push(index);
                continue;
            }
            let conn = &mut self.conns[index];
            match conn.backlog {
                Some(_) => published.queued += 1,
                None => published.sent += 1,
            }
            self.output.push_encoded(index, &mut conn.pending, frame);
            self.crowded |= conn.pending.bytes(turn) >= TURN_OUTPUT;
        }
        for index in overflowed {
            self.overflow(index);
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
        let backlog = conn.backlog.get_or_insert_default();
        self.output.keep(conn.pending, sent, received, backlog);
        conn.pending = Default::default();
        if !conn.flags.has(Flags::DRAINING) {
            self.lists.draining.push(index);
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
        match conn.state {
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
        let conn = &mut self.conns[index];
        if !conn.flags.has(Flags::OWED_DRAIN) {
            // Another connection's slot by now.
            return false;
        }
        if conn.pending.bytes(turn) > 0 {
            self.lists.drained.push(index);
            return false;
        }
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
