//! An application that does everything that applications may do, at any time, and remembers what it was told.

use std::any::Any;
use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use bytes::Bytes;
use corecast_protocol::handshake::Request;
use corecast_protocol::{CloseCode, server_header_len};

use super::admission::Standing;
use super::conversation::{Accepted, Conversation, Mailed, Said};
use super::scenario::Patterns;
use crate::core::app::{App, CoreId, Decision, Ended, Message};
use crate::core::connection::{Flags, State};
use crate::core::fanout::{Content, PublishRequest};
use crate::core::hub::{Hub, SendStatus};
use crate::transport::ring::MAX_PIECES;
use crate::transport::ring::simulated::World;

/// What the application, the peers and the observer share.
pub(super) struct Stage {
    /// By the number of their connection.
    pub(super) conversations: Vec<Conversation>,
    pub(super) mailed: Mailed,
    pub(super) patterns: Patterns,
    pub(super) largest: usize,
    /// Topics that are in use.
    pub(super) topics: usize,
    /// The application does nothing of its own any more.
    pub(super) calm: bool,
}

/// The application, shared with whoever calls it between turns.
#[derive(Clone)]
pub(super) struct Application {
    pub(super) world: Rc<RefCell<World>>,
    pub(super) stage: Rc<RefCell<Stage>>,
}

impl App for Application {
    fn request(
        &mut self,
        request: &Request<'_>,
        _socket: BorrowedFd<'_>,
        response: &mut Vec<u8>,
    ) -> Decision {
        let id: u32 = request.path()[1..].parse().expect("a peer's number");
        self.note("request", id, 0);
        let standing = self.conversation(id, |c| c.standing);
        if standing != Standing::Within {
            self.violation(|| format!("connection {id} is {standing:?} and was let in"));
        }
        if self.one_in(60) {
            self.conversation(id, |c| c.request_failed = true);
            self.panic();
        }
        let accepts = !self.one_in(20);
        let text = match accepts {
            true => format!("HTTP/1.1 101 Switching Protocols\r\nX-Number: {id}\r\n\r\n"),
            false => {
                format!("HTTP/1.1 404 Not Found\r\nX-Number: {id}\r\nContent-Length: 0\r\n\r\n")
            }
        };
        response.extend_from_slice(text.as_bytes());
        let mut stage = self.stage.borrow_mut();
        let conversation = &mut stage.conversations[id as usize];
        if conversation.response.replace(Bytes::from(text)).is_some() {
            self.violation(|| format!("connection {id} was answered twice"));
        }
        // From here on `open` may come.
        conversation.opened = accepts;
        match accepts {
            true => Decision::Accept { route: 0, data: id },
            false => Decision::Respond,
        }
    }

    fn open(&mut self, hub: &mut Hub, index: u32) {
        let id = self.id(hub, index);
        self.note("open", id, index);
        while self.one_in(2) {
            let topic = self.topic();
            hub.subscribe(index, &topic);
        }
        self.improvise(hub, index, None);
    }

    fn message(&mut self, hub: &mut Hub, index: u32, message: Message<'_>) {
        let id = self.id(hub, index);
        self.note("message", id, message.len() as i64);
        let said = said(message);
        let expected = self.conversation(id, |c| {
            let next = c.to_application.pop_front();
            (c.closed, next)
        });
        if expected != (false, Some(said)) {
            let len = message.len();
            self.violation(|| {
                format!("connection {id} gave a message of {len} bytes instead of {expected:?}")
            });
        }
        self.improvise(hub, index, Some(message));
    }

    fn drain(&mut self, hub: &mut Hub, index: u32) {
        let id = self.id(hub, index);
        self.note("drain", id, index);
        let buffered = hub.buffered(index);
        let closed = self.conversation(id, |c| {
            c.owed_drain = false;
            c.closed
        });
        if closed || buffered > 0 || hub.conns[index].backlog.is_some() {
            self.violation(|| {
                format!("drain on connection {id} with {buffered} bytes left, closed: {closed}")
            });
        }
        self.improvise(hub, index, None);
    }

    fn close(&mut self, hub: &mut Hub, index: u32, ended: &Ended) {
        let id = self.id(hub, index);
        self.note("closed", id, u16::from(ended.code));
        let in_order = self.conversation(id, |c| {
            let in_order = c.opened && !c.closed;
            c.closed = true;
            c.code = u16::from(ended.code);
            c.owed_drain = false;
            in_order
        });
        if !in_order {
            self.violation(|| format!("close on connection {id} which is not open"));
        }
        if hub.topics.topics_of(index).len() > 0 {
            self.violation(|| format!("connection {id} is closed and still subscribed"));
        }
        self.improvise(hub, index, None);
    }

    fn data(&mut self, _route: u16, _slot: u32) -> Option<(CoreId, &mut dyn Any)> {
        None
    }
}

/// What it does.
impl Application {
    /// What a future does between two turns.
    pub(super) fn between_turns(&mut self, hub: &mut Hub) {
        if let Some(index) = self.any_open(hub) {
            // A future that panics ends without its connection.
            let _ = catch_unwind(AssertUnwindSafe(|| self.improvise(hub, index, None)));
        }
    }

    /// Reads again from every connection that is paused.
    pub(super) fn resume_all(&mut self, hub: &mut Hub) {
        for index in hub.conns.indices() {
            if hub.conns[index].flags.has(Flags::PAUSED) {
                hub.resume(index);
            }
        }
    }

    /// Does something to this connection or to another, sometimes several things.
    fn improvise(&mut self, hub: &mut Hub, index: u32, message: Option<Message<'_>>) {
        loop {
            let index = match self.one_in(5) {
                true => self.any_open(hub).unwrap_or(index),
                false => index,
            };
            self.do_something(hub, index, message);
            if !self.one_in(4) {
                return;
            }
        }
    }

    fn do_something(&mut self, hub: &mut Hub, index: u32, message: Option<Message<'_>>) {
        if self.stage.borrow().calm {
            return;
        }
        match self.among(0..=99) {
            0..40 => match message {
                Some(message) => self.send(hub, index, message),
                None => self.send_own(hub, index),
            },
            40..55 => {
                let except = self.one_in(2).then_some(index);
                self.publish(hub, message, except);
            }
            55..62 => self.send_own(hub, index),
            62..64 => {
                for _ in 0..self.among(1..=20) {
                    self.send_own(hub, index);
                }
            }
            64..72 => {
                let topic = self.topic();
                hub.subscribe(index, &topic);
            }
            72..76 => {
                let topic = self.topic();
                hub.unsubscribe(index, &topic);
            }
            76..80 => self.ping(hub, index),
            80..83 => hub.pause(index),
            83..89 => {
                let index = self.any_open(hub).unwrap_or(index);
                if hub.conns[index].flags.has(Flags::PAUSED) || self.one_in(8) {
                    hub.resume(index);
                }
            }
            89 => self.end(hub, index),
            90 if self.one_in(3) => {
                let id = self.id(hub, index);
                self.conversation(id, |c| c.ended_by_server = true);
                self.panic()
            }
            91 if self.one_in(8) => self.storm(hub, index),
            _ => {}
        }
    }

    fn end(&mut self, hub: &mut Hub, index: u32) {
        if hub.conns[index].is_open() {
            let id = self.id(hub, index);
            self.conversation(id, |c| c.ended_by_server = true);
        }
        hub.begin_close(index, CloseCode::NORMAL, "enough");
    }

    /// More pieces for one connection than one system call takes: what goes to another lies between them.
    fn storm(&mut self, hub: &mut Hub, index: u32) {
        let other = self.any_open(hub).unwrap_or(index);
        for _ in 0..MAX_PIECES + 10 {
            self.send(hub, index, Message::Text("storm"));
            self.send(hub, other, Message::Binary(b""));
        }
    }

    fn send_own(&mut self, hub: &mut Hub, index: u32) {
        let text = self.one_in(2);
        let payload = self.payload(text);
        let message = match std::str::from_utf8(&payload) {
            Ok(payload) if text => Message::Text(payload),
            _ => Message::Binary(&payload),
        };
        self.send(hub, index, message);
    }

    fn send(&mut self, hub: &mut Hub, index: u32, message: Message<'_>) {
        if hub.conns[index].state == State::Free {
            return;
        }
        let id = self.id(hub, index);
        let status = hub.send(index, message);
        self.note("app sends", id, message.len() as i64);
        self.note("status", id, status as u8);
        self.conversation(id, |c| {
            match status {
                SendStatus::Sent => c.to_peer.push_back(accepted(message, None)),
                SendStatus::Queued => {
                    c.to_peer.push_back(accepted(message, None));
                    c.owed_drain = true;
                }
                SendStatus::Dropped => c.owed_drain = true,
                SendStatus::Closed => c.ended_by_server = true,
            }
            if c.closed && status != SendStatus::Closed {
                c.owed_drain = false;
                return Err(format!("{status:?} on connection {id} after its end"));
            }
            Ok(())
        })
        .unwrap_or_else(|what| self.violation(|| what));
    }

    fn ping(&mut self, hub: &mut Hub, index: u32) {
        let len = self.among(1..=125);
        let payload = self.some_bytes(len);
        let status = hub.ping(index, &payload);
        if matches!(status, SendStatus::Sent | SendStatus::Queued) {
            let id = self.id(hub, index);
            self.conversation(id, |c| c.pings_of_application.push_back(payload.into()));
        }
    }

    /// Publishes, and finds out for each subscriber whether it was taken: what is buffered grows by a frame.
    fn publish(&mut self, hub: &mut Hub, message: Option<Message<'_>>, except: Option<u32>) {
        let number = self.topic_number();
        let topic = topic_name(number);
        // What is published to one topic cannot be taken for another's.
        let mut own = self.payload(false);
        own.insert(0, 0xF0 + number as u8);
        let relayed = message.filter(|_| self.stage.borrow().topics == 1);
        let message = relayed.unwrap_or(Message::Binary(&own));
        let before: Vec<(u32, usize)> = subscribers(hub, &topic)
            .filter(|&index| Some(index) != except && hub.conns[index].is_open())
            .map(|index| (index, hub.buffered(index)))
            .collect();
        let published = hub.publish(&PublishRequest {
            topic: &topic,
            content: Content::Message(message),
            key: None,
            except,
            retain: false,
        });
        let frame = server_header_len(message.len()) + message.len();
        let mut taken = 0;
        for &(index, buffered) in &before {
            let conn = &hub.conns[index];
            let id = conn.data;
            let grown = hub.buffered(index) - buffered;
            let took = conn.is_open() && grown == frame;
            if took {
                taken += 1;
            } else if conn.is_open() && grown > 0 {
                self.violation(|| format!("a frame of {frame} bytes became {grown}"));
            }
            self.conversation(id, |c| {
                if took {
                    c.to_peer.push_back(accepted(message, Some(number)));
                } else if conn.is_open() {
                    c.owed_drain = true;
                } else {
                    c.ended_by_server = true;
                }
            });
        }
        self.note("publish", taken as i64, published.dropped as i64);
        if published.sent + published.queued != taken || published.dropped != before.len() - taken {
            self.violation(|| format!("{published:?}, but {taken} of {} took it", before.len()));
        }
    }

    fn panic(&mut self) -> ! {
        self.note("panic", 0, 0);
        // As a panic, but without the message.
        resume_unwind(Box::new("a panic of the application"));
    }
}

/// Chance and memory.
impl Application {
    fn id(&self, hub: &Hub, index: u32) -> u32 {
        hub.conns[index].data
    }

    fn any_open(&self, hub: &Hub) -> Option<u32> {
        let mut open = hub.conns.indices();
        open.retain(|&index| hub.conns[index].is_open());
        (!open.is_empty()).then(|| open[self.among(0..=open.len() - 1)])
    }

    fn payload(&self, text: bool) -> Vec<u8> {
        let stage = self.stage.borrow();
        let dice = &mut self.world.borrow_mut().dice;
        let len = dice.length(stage.largest);
        stage.patterns.payload(dice, text, len)
    }

    fn some_bytes(&self, len: usize) -> Vec<u8> {
        let stage = self.stage.borrow();
        stage
            .patterns
            .payload(&mut self.world.borrow_mut().dice, false, len)
    }

    fn topic(&self) -> String {
        topic_name(self.topic_number())
    }

    fn topic_number(&self) -> usize {
        let topics = self.stage.borrow().topics;
        self.among(1..=topics)
    }

    fn conversation<R>(&self, id: u32, f: impl FnOnce(&mut Conversation) -> R) -> R {
        f(&mut self.stage.borrow_mut().conversations[id as usize])
    }

    fn one_in(&self, n: u32) -> bool {
        self.world.borrow_mut().dice.one_in(n)
    }

    fn among(&self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.world.borrow_mut().dice.among(range)
    }

    fn note(&self, what: &'static str, a: impl Into<i64>, b: impl Into<i64>) {
        self.world.borrow_mut().note(what, a, b);
    }

    fn violation(&self, what: impl FnOnce() -> String) {
        self.world.borrow_mut().log.violation(what);
    }
}

/// The connections that are subscribed to a topic.
fn subscribers(hub: &Hub, topic: &str) -> impl Iterator<Item = u32> {
    let id = hub.topics.id(topic).into_iter();
    let halves = id.flat_map(|id| [hub.topics.slow(id), hub.topics.fast(id)]);
    halves.flatten().map(|subscription| subscription.conn())
}

pub(super) fn topic_name(number: usize) -> String {
    format!("topic {number}")
}

fn accepted(message: Message<'_>, topic: Option<usize>) -> Accepted {
    Accepted {
        said: said(message),
        topic,
    }
}

fn said(message: Message<'_>) -> Said {
    Said {
        text: matches!(message, Message::Text(_)),
        payload: Bytes::copy_from_slice(message.as_bytes()),
    }
}
