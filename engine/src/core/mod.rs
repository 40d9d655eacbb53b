//! One event loop: bytes in, callbacks, bytes out. Knows no other core but through mailboxes.
//!
//! [`Core`] is driven by one of two loops: [`ring_loop`] over the data ring, [`portable_loop`] over
//! monoio's sockets. Both feed it bytes and completions and carry out what it leaves in its lists.

mod addresses;
mod app;
mod backlog;
#[cfg(test)]
mod bare;
mod batches;
mod bell;
mod closing;
mod compression;
mod config;
mod connection;
pub(crate) mod core_set;
mod deadlines;
pub mod defaults;
mod drain;
mod fanout;
mod forms;
mod gather;
mod hub;
pub(crate) mod interest;
pub(crate) mod mailbox;
#[cfg(all(test, loom))]
pub(crate) mod models;
mod opening;
mod output;
mod portable_loop;
mod posting;
mod retained;
mod ring_loop;
mod seldom;
#[cfg(test)]
mod sim;
mod slab;
pub(crate) mod stats;
mod subscribing;
pub(crate) mod sync;
pub(crate) mod tasks;
mod timers;
mod upkeep;

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::RandomState;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corecast_protocol::{CloseCode, Event, Input, Role, Shared};
use corecast_topics::Topics;

use crate::transport::ring::Chunk;
use addresses::Gate;
pub(crate) use addresses::{AddressLimits, Rate};
pub(crate) use app::{App, Decision, Ended};
pub use app::{CoreId, Message};
use compression::Compression;
pub use compression::Deflate;
pub(crate) use compression::Wire;
pub(crate) use config::Config;
pub use config::{SlowPolicy, TopicOptions};
use connection::{Flags, State};
use defaults::{MESSAGE_INPUT, SURPLUS_CONNECTIONS, TURN_INPUT};
use drain::Drain;
pub(crate) use fanout::{Content, PublishRequest};
pub(crate) use hub::Hub;
pub use hub::{Published, SendStatus};
use interest::Interests;
use mailbox::{Mail, Post};
pub(crate) use portable_loop::run_portable;
use posting::Parcels;
pub(crate) use ring_loop::run_ring;
pub(crate) use slab::ConnId;
use slab::Slab;
use stats::CoreStats;
use timers::{TICK, Wheel};
pub use upkeep::Activity;
pub(crate) use upkeep::Upkeep;

/// Output of one connection after which the rest of the turn's input waits: what it is for is tried on the
/// socket first, so that a policy for slow connections never meets one that was not given a chance.
const TURN_OUTPUT: usize = 512 << 10;

/// What a received byte counts for against a connection's share of a turn where it may be compressed: what takes most time to
/// inflate makes next to nothing (blocks that are all Huffman codes).
const INFLATING: usize = 8;

/// How long accepting rests when descriptors or memory have run out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What the log says then, once a minute and core at most.
const ACCEPTING_RESTS: &str = "accepting rests; if descriptors ran out, raise `ulimit -n`";

/// Whether an accept failed because of the connection it would have brought, which is no reason to rest. Anything
/// else may last.
fn is_passing(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::ECONNABORTED | libc::EPROTO | libc::EINTR)
    )
}

/// A core, shared between its loop and the futures that run beside it.
pub(crate) type SharedCore = Rc<RefCell<Core>>;

/// One core's state.
pub(crate) struct Core {
    pub(crate) hub: Hub,
    app: Box<dyn App>,
    shared: Shared,
    started: Instant,
    /// If the core is on its way out.
    drain: Option<Drain>,
    due: Vec<u32>,
    /// Memory for a response, used again for the next.
    response: Vec<u8>,
    upkeep_due: Option<Instant>,
    /// In this turn mail was read before input that had waited.
    mail_first: bool,
    /// How often a request head was parsed.
    #[cfg(test)]
    heads_parsed: usize,
    worked_at: Instant,
}

impl Core {
    pub(crate) fn new(
        config: Arc<Config>,
        stats: Arc<CoreStats>,
        post: Post,
        interests: Interests,
        app: Box<dyn App>,
    ) -> Self {
        let shared = Shared::new(Role::Server, config.limits);
        let max_retained = config.max_retained;
        let hub = Hub {
            gate: config.addresses.clone().map(Gate::new),
            conns: Slab::new(config.slots.saturating_add(SURPLUS_CONNECTIONS)),
            output: output::Output::new(),
            topics: Topics::new(),
            matched: Vec::new(),
            compression: Compression::new(config.deflate, Arc::clone(&stats)),
            hasher: RandomState::new(),
            retained: retained::Retained::new(max_retained),
            config,
            stats,
            now: Instant::now(),
            wheel: Wheel::new(),
            lists: hub::Lists::default(),
            post,
            parcels: Parcels::default(),
            interests,
            leaving: false,
            closed: false,
            crowded: false,
            surplus: 0,
        };
        Self {
            hub,
            app,
            shared,
            started: Instant::now(),
            drain: None,
            due: Vec::new(),
            response: Vec::new(),
            upkeep_due: None,
            mail_first: false,
            #[cfg(test)]
            heads_parsed: 0,
            worked_at: Instant::now(),
        }
    }

    /// Runs `f` with the application's type-erased half and the connections.
    pub(crate) fn with_app<R>(&mut self, f: impl FnOnce(&mut dyn App, &mut Hub) -> R) -> R {
        f(&mut *self.app, &mut self.hub)
    }

    /// Begins a turn: deadlines, mail, and input that waited for it.
    fn begin_turn(&mut self, now: Instant) {
        // What comes due only now did so while callbacks ran. It is judged in the next turn: first goes out what they left to
        // send, and what has arrived meanwhile is read.
        let due = std::mem::take(&mut self.due);
        self.advance(now);
        self.keep_up(now);
        if self.has_work() {
            self.worked(now);
        }
        for index in due {
            self.hub.timer_fired(index);
        }
        // Either may leave no room for the other's output in this turn, so they take turns in coming first.
        self.mail_first = !self.mail_first;
        if self.mail_first {
            self.read_mail(now);
        }
        self.go_on_draining(now);
        self.handle_held_input();
        if !self.mail_first {
            self.read_mail(now);
        }
    }

    fn handle_held_input(&mut self) {
        for _ in 0..self.hub.lists.ready.len() {
            if self.hub.crowded {
                break;
            }
            if let Some(index) = self.hub.lists.ready.pop_front() {
                self.on_ready(index);
            }
        }
    }

    /// Moves the clock of deadlines on, without acting on those that came due: what arrives now counts from now,
    /// however long the loop has slept, and arrives before it is judged who was silent for too long.
    fn advance(&mut self, now: Instant) {
        self.hub.now = now;
        let tick = (now.duration_since(self.started).as_millis() / TICK.as_millis()) as u32;
        self.hub
            .wheel
            .expire(&mut self.hub.conns, tick, &mut self.due);
    }

    /// Runs the callbacks that are due, until there are none.
    fn settle(&mut self) {
        while let Some((index, ended)) = self.hub.lists.ended.pop_front() {
            self.call(index, |app, hub| app.close(hub, index, &ended));
            self.hub.operation_done(index);
        }
        for index in std::mem::take(&mut self.hub.lists.drained) {
            if self.hub.drain_is_due(index) {
                self.call(index, |app, hub| app.drain(hub, index));
            }
        }
    }

    /// How long the loop may sleep: `None` is until something happens.
    fn time_to_sleep(&self, now: Instant) -> Option<Duration> {
        let timer = self.hub.wheel.next().map(|ticks| {
            let due = TICK * (self.hub.wheel.now() + ticks);
            (self.started + due).saturating_duration_since(now)
        });
        timer
            .into_iter()
            .chain(self.time_to_drain(now))
            .chain(self.time_to_keep_up(now))
            .chain(self.time_to_flush(now))
            .min()
    }

    /// How long until what was published for a later time is due.
    fn time_to_flush(&self, now: Instant) -> Option<Duration> {
        let due = self.hub.output.batches.next_due()?;
        Some(due.saturating_duration_since(now))
    }

    /// Whether there is anything to do before the next completion.
    fn has_work(&self) -> bool {
        !self.hub.output.dirty().is_empty()
            || self.hub.output.batches.due(self.hub.now).next().is_some()
            || !self.hub.lists.is_empty()
            || !self.hub.parcels.is_empty()
            || self.hub.post.owes_ring()
            || self.has_input()
    }

    /// Whether there is something to begin a turn with.
    fn has_input(&self) -> bool {
        !self.due.is_empty() || !self.hub.lists.ready.is_empty() || self.hub.post.has_mail()
    }

    /// Whether the core is on its way out and nothing is left.
    fn is_done(&self) -> bool {
        self.hub.leaving && self.hub.conns.len() == 0 && self.hub.parcels.is_empty()
    }

    fn end_turn(&mut self) {
        let shared = &mut self.shared;
        self.hub.output.end_turn(|buffer| shared.recycle(buffer));
        self.hub.crowded = false;
    }

    fn read_mail(&mut self, now: Instant) {
        self.hub.post.collect();
        while !self.hub.crowded
            && let Some(mail) = self.hub.post.next_mail()
        {
            self.on_mail(now, &mail);
        }
    }

    fn on_mail(&mut self, now: Instant, mail: &Mail) {
        match mail {
            Mail::Publish(publication) => self.hub.deliver_mail(publication),
            Mail::Forget(topic) => self.hub.discard_retained(topic),
            Mail::Drain(deadline) => self.drain(now, *deadline),
            Mail::Stop => self.drain(now, now),
        }
    }
}

/// Open connections and their input.
impl Core {
    /// Bytes from a peer. With a chunk they lie in a receive buffer that outlives the turn's sends, so that payloads may
    /// be sent out of it.
    #[inline]
    fn on_bytes(&mut self, index: u32, bytes: &mut [u8], chunk: Option<Chunk>) {
        let conn = &mut self.hub.conns[index];
        match conn.state {
            State::Open => {
                conn.heard = self.hub.wheel.now();
                conn.flags.set(Flags::PINGED, false);
                self.on_frames(index, bytes, chunk);
            }
            State::Closing => self.on_frames(index, bytes, chunk),
            State::Handshake => self.on_head(index, bytes, chunk),
            // Thrown away, but not for nothing: see `Pump::on_receive_ended`.
            State::Free | State::Finishing | State::Lingering | State::Dead => {
                let turn = self.hub.output.turn();
                let left = conn.share.left(turn).saturating_sub(bytes.len() as u32);
                conn.share.set(turn, left);
            }
        }
    }

    /// Bytes of a connection that is open: they queue behind what is held, or are handled now.
    #[inline]
    fn on_frames(&mut self, index: u32, bytes: &mut [u8], chunk: Option<Chunk>) {
        let conn = &self.hub.conns[index];
        if conn.held.is_some() || conn.flags.has(Flags::PAUSED) || self.hub.crowded {
            return self.hold(index, bytes);
        }
        self.hub.output.lend_received(bytes, chunk);
        let consumed = self.handle_frames(index, bytes);
        self.hub.output.end_lending();
        if consumed < bytes.len() || self.hub.conns[index].receiver.is_inflating() {
            self.hold(index, &bytes[consumed..]);
        }
    }

    /// Held input whose turn has come.
    fn on_ready(&mut self, index: u32) {
        let conn = &mut self.hub.conns[index];
        conn.flags.set(Flags::READY, false);
        if !matches!(conn.state, State::Open | State::Closing) || conn.flags.has(Flags::PAUSED) {
            return;
        }
        let Some(mut held) = conn.held.take() else {
            return;
        };
        let consumed = self.handle_frames(index, held.rest());
        held.advance(consumed);
        let conn = &mut self.hub.conns[index];
        let is_left = !held.rest().is_empty() || conn.receiver.is_inflating();
        if is_left && matches!(conn.state, State::Open | State::Closing) {
            conn.held = Some(held);
            self.hub.make_ready(index);
        } else {
            self.hub.lists.reading.push(index);
        }
        self.end_if_peer_ended(index);
    }

    /// Keeps input for a later turn, and stops receiving until it is used up. What is kept stays below what had been
    /// received when the receive was stopped.
    #[cold]
    fn hold(&mut self, index: u32, bytes: &[u8]) {
        let conn = &mut self.hub.conns[index];
        if matches!(conn.state, State::Open | State::Closing) {
            conn.held.get_or_insert_default().append(bytes);
            self.hub.make_ready(index);
            self.hub.lists.reading.push(index);
        }
    }

    /// Handles frames until the input or the connection's share of the turn is used up. Gives the bytes consumed.
    #[inline]
    fn handle_frames(&mut self, index: u32, bytes: &mut [u8]) -> usize {
        let turn = self.hub.output.turn();
        let conn = &mut self.hub.conns[index];
        let mut share = conn.share.left(turn);
        let inflates = conn.wire != Wire::Plain;
        // Out of the table for the time of the callbacks, which may reach the table.
        let mut receiver = std::mem::take(&mut conn.receiver);
        let mut input = Input::new(bytes);
        let mut consumed = 0;
        while share > 0 {
            let mut made = 0;
            match receiver.poll(&mut self.shared, &mut input) {
                // One step of a large message, or others are before it: the rest is for later turns.
                Ok(Some(Event::Inflating { .. })) => share = 0,
                Ok(Some(event)) => {
                    if inflates {
                        made = payload_len(&event);
                    }
                    self.on_event(index, event);
                }
                Ok(None) => {
                    consumed = input.consumed();
                    break;
                }
                Err(error) => {
                    tracing::debug!(%error, "peer broke the protocol");
                    self.hub.fail(index, error.close_code(), &error.to_string());
                }
            }
            let read = input.consumed() - consumed;
            share = share.saturating_sub(read as u32 + MESSAGE_INPUT);
            if made > 0 {
                share = share.saturating_sub((INFLATING * read + made) as u32);
            }
            consumed = input.consumed();
            let conn = &self.hub.conns[index];
            if !matches!(conn.state, State::Open | State::Closing)
                || conn.flags.has(Flags::PAUSED)
                || self.hub.crowded
            {
                break;
            }
            // Its answers are tried on the socket before more are made: what the kernel takes waits for nobody.
            if conn.pending.bytes(turn) >= TURN_INPUT as usize {
                share = 0;
            }
        }
        let conn = &mut self.hub.conns[index];
        conn.share.set(turn, share);
        if matches!(conn.state, State::Open | State::Closing) {
            conn.receiver = receiver;
        }
        consumed
    }

    #[inline]
    fn on_event(&mut self, index: u32, event: Event<'_>) {
        match event {
            Event::Text(Cow::Borrowed(text)) => self.on_message(index, Message::Text(text)),
            Event::Binary(Cow::Borrowed(bytes)) => self.on_message(index, Message::Binary(bytes)),
            Event::Text(Cow::Owned(text)) => {
                let before = self.hub.output.lend_message(text.as_bytes());
                self.on_message(index, Message::Text(&text));
                self.reclaim(text.into_bytes(), before);
            }
            Event::Binary(Cow::Owned(bytes)) => {
                let before = self.hub.output.lend_message(&bytes);
                self.on_message(index, Message::Binary(&bytes));
                self.reclaim(bytes, before);
            }
            Event::Ping(payload) => self.hub.pong(index, payload),
            Event::Pong(_) | Event::Fragment | Event::Inflating { .. } => {}
            Event::Close(given) => self.hub.peer_closed(index, given),
        }
    }

    #[inline]
    fn on_message(&mut self, index: u32, message: Message<'_>) {
        if self.hub.conns[index].state == State::Open {
            self.call(index, |app, hub| app.message(hub, index, message));
        }
    }

    fn reclaim(&mut self, message: Vec<u8>, before: output::Interrupted) {
        if let Some(unused) = self.hub.output.reclaim_message(message, before) {
            self.shared.recycle(unused);
        }
    }

    /// Runs a callback. A panic costs its connection, never the core.
    #[inline]
    fn call(&mut self, index: u32, callback: impl FnOnce(&mut dyn App, &mut Hub)) {
        let (app, hub) = (&mut *self.app, &mut self.hub);
        if catch_unwind(AssertUnwindSafe(|| callback(app, hub))).is_err() {
            self.on_panic(index);
        }
    }

    #[cold]
    fn on_panic(&mut self, index: u32) {
        self.count_panic(index);
        self.hub.fail(index, CloseCode::INTERNAL, "internal error");
    }

    fn count_panic(&mut self, index: u32) {
        self.hub.stats.panics.add(1);
        tracing::error!(
            connection = index,
            "a handler panicked; its connection ends"
        );
    }

    /// The peer will send no more.
    fn on_end(&mut self, index: u32) {
        self.hub.conns[index].flags.set(Flags::ENDED, true);
        self.end_if_peer_ended(index);
    }

    fn end_if_peer_ended(&mut self, index: u32) {
        let conn = &self.hub.conns[index];
        if !conn.flags.has(Flags::ENDED) {
            return;
        }
        match conn.state {
            // Frames that arrived before the end are still to be handled.
            State::Open | State::Closing if conn.holds_frames() => {}
            // The answer to its Close frame, or a response, still goes out.
            State::Finishing => {}
            _ => self.hub.kill(index),
        }
    }

    /// The backlog send of a connection has ended, with bytes sent or an errno.
    fn on_backlog_sent(&mut self, index: u32, result: Result<usize, i32>) {
        let conn = &mut self.hub.conns[index];
        conn.flags.set(Flags::DRAINING, false);
        if conn.state != State::Dead {
            match result {
                Ok(sent) => {
                    self.hub.backlog_sent(index, sent);
                }
                Err(_) => self.hub.kill(index),
            }
        }
        self.hub.operation_done(index);
    }
}

/// Bytes of a message, which a few received ones may have become; 0 for anything else.
fn payload_len(event: &Event<'_>) -> usize {
    match event {
        Event::Text(text) => text.len(),
        Event::Binary(bytes) => bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use bytes::Bytes;

    use super::mailbox::Publication;
    use super::*;
    use crate::transport::socket::Socket;

    /// An open connection, whose peer is of no interest.
    fn opened(core: &mut Core) -> u32 {
        let (ours, _) = UnixStream::pair().expect("two sockets");
        let id = core.accept(Socket::Ring(OwnedFd::from(ours)));
        let index = id.expect("a place").index;
        core.hub.enter(index, State::Open);
        index
    }

    #[test]
    fn mail_without_end_does_not_keep_held_input_waiting() {
        let (mut core, mut other) = bare::core_and_other(Config::default());
        let (subscriber, sender) = (opened(&mut core), opened(&mut core));
        assert!(core.hub.subscribe(subscriber, "t"));
        let empty_ping = [0x89, 0x80, 0, 0, 0, 0];
        let conn = &mut core.hub.conns[sender];
        conn.held.get_or_insert_default().append(&empty_ping);
        core.hub.make_ready(sender);
        for _ in 0..2 {
            // As much as a turn takes.
            let mut frames = Vec::new();
            corecast_protocol::encode_server(
                &mut frames,
                corecast_protocol::frame::Opcode::Binary,
                &vec![0; TURN_OUTPUT],
            );
            other.reserve(0, "t", frames.len()).expect("room");
            other.send(
                0,
                Mail::Publish(Arc::new(Publication {
                    topic: "t".into(),
                    frames: Bytes::from(frames),
                    deflated: Default::default(),
                    key: None,
                    retain: false,
                })),
            );
            other.ring();
            core.begin_turn(Instant::now());
            assert!(core.hub.crowded);
            core.end_turn();
        }
        assert!(core.hub.conns[sender].held.is_none(), "it had its turn");
    }

    #[test]
    fn who_becomes_slow_keeps_no_memory_of_what_it_had_been_given() {
        let mut core = bare::core(Config {
            flush_delay: Duration::from_secs(1),
            ..Config::default()
        });
        let subscriber = opened(&mut core);
        let hub = &mut core.hub;
        assert!(hub.subscribe(subscriber, "t"));
        let publish = |hub: &mut Hub, len| {
            hub.publish(&PublishRequest {
                topic: "t",
                content: Content::Message(Message::Binary(&vec![7; len])),
                key: None,
                except: None,
                retain: false,
            })
        };
        publish(hub, 100_000);
        hub.catch_up(subscriber);
        publish(hub, 10);
        hub.conns[subscriber].backlog = Some(Box::default());
        hub.becomes_slow(subscriber);
        let waits = hub.conns[subscriber].backlog.as_mut().expect("just now");
        let waits = waits.next_send().expect("the second message");
        assert_eq!(waits.len(), 12);
        let slot = hub
            .output
            .batches
            .due(hub.now + Duration::from_secs(1))
            .next();
        let batch = hub.output.batches.bytes_of(slot.expect("an open batch"));
        assert!(!batch.as_ptr_range().contains(&waits.as_ptr()));
    }

    #[test]
    fn a_core_does_not_end_before_what_it_forwarded_is_posted() {
        let (mut core, mut other) = bare::core_and_other(Config::default());
        core.hub.leaving = true;
        assert!(core.is_done());
        let published = core.hub.publish(&PublishRequest {
            topic: "t",
            content: Content::Message(Message::Text("the last words")),
            key: None,
            except: None,
            retain: true,
        });
        assert_eq!(published.forwarded, 1);
        assert!(!core.is_done());
        core.hub.post_parcels();
        core.hub.post.ring();
        assert!(core.is_done());
        other.collect();
        assert!(matches!(other.next_mail(), Some(Mail::Publish(_))));
    }
}
