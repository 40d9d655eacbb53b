//! An application that does everything that applications may do, at any time, and remembers what it was told.

use std::any::Any;
use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use bytes::Bytes;
use corecast_protocol::CloseCode;
use corecast_protocol::handshake::Request;

use super::admission::Standing;
use super::awaited::Said;
use super::conversation::Conversation;
use super::stage::Stage;
use super::topics::FILTERS;
use crate::core::app::{App, CoreId, Decision, Ended, Message};
use crate::core::connection::Flags;
use crate::core::hub::Hub;
use crate::transport::ring::simulated::{Dice, World};

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
        let agreed = self.with_stage(|stage, dice| stage.frames.compressing().any_params(dice));
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
        if let Some(params) = agreed.filter(|_| accepts) {
            conversation.agree(params);
        }
        match accepts {
            true => Decision::Accept {
                route: 0,
                data: id,
                deflate: agreed,
            },
            false => Decision::Respond,
        }
    }

    fn open(&mut self, hub: &mut Hub, index: u32) {
        let id = self.id(hub, index);
        self.note("open", id, index);
        while self.one_in(2) {
            self.subscribe(hub, index);
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
        self.judge_failure(id);
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
                self.publish_some(hub, message, except);
            }
            55..60 => self.send_own(hub, index),
            60..62 => self.send_own_keyed(hub, index),
            62..64 => {
                for _ in 0..self.among(1..=20) {
                    self.send_own(hub, index);
                }
            }
            64..71 => self.subscribe(hub, index),
            71 => self.set_policy(hub, index),
            72..76 => self.unsubscribe(hub, index),
            93 => self.forget(hub),
            94 => self.publish_in_a_row(hub),
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
            92 if self.one_in(3) => self.flood(hub, index),
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

    fn subscribe(&mut self, hub: &mut Hub, index: u32) {
        let filter = self.with_stage(|stage, dice| stage.play.any_filter(dice));
        self.subscribe_to(hub, index, filter);
    }

    pub(super) fn subscribe_to(&mut self, hub: &mut Hub, index: u32, filter: usize) {
        let open = hub.conns[index].is_open();
        let id = self.id(hub, index);
        let is_new = hub.subscribe(index, FILTERS[filter].0);
        let expected = open && self.conversation(id, |c| c.filters.insert(filter));
        if is_new != expected {
            self.violation(|| format!("subscribing connection {id} says {is_new}"));
        }
        if is_new && self.one_in(2) {
            self.send_retained(hub, index, filter);
        }
    }

    fn unsubscribe(&mut self, hub: &mut Hub, index: u32) {
        let filter = self.with_stage(|stage, dice| stage.play.any_filter(dice));
        self.unsubscribe_from(hub, index, filter);
    }

    pub(super) fn unsubscribe_from(&mut self, hub: &mut Hub, index: u32, filter: usize) {
        let open = hub.conns[index].is_open();
        let id = self.id(hub, index);
        let was = hub.unsubscribe(index, FILTERS[filter].0);
        let expected = open && self.conversation(id, |c| c.filters.remove(&filter));
        if was != expected {
            self.violation(|| format!("unsubscribing connection {id} says {was}"));
        }
    }

    fn set_policy(&mut self, hub: &mut Hub, index: u32) {
        let id = self.id(hub, index);
        if !hub.conns[index].is_open() {
            return;
        }
        let policy = self.with_stage(|stage, dice| {
            let policies = &stage.play.policies;
            let policy = policies[dice.among(0..=policies.len() - 1)];
            (!dice.one_in(3)).then_some(policy)
        });
        hub.conns[index].flags.set_policy(policy);
        self.conversation(id, |c| c.policy = policy);
        if self.one_in(2) {
            let largest = self.stage.borrow().largest;
            let limit = self.with_stage(|_, dice| dice.up_to(2 * largest));
            hub.conns[index].backlog_limit = limit as u32;
            self.conversation(id, |c| c.backlog_limit = c.backlog_limit.max(limit));
        }
    }

    /// What cannot be inflated, or becomes too much, ends with the code that says so.
    fn judge_failure(&mut self, id: u32) {
        let (code, deserved) = self.conversation(id, |c| (c.code, c.deserves));
        match deserved {
            Some(deserved) if deserved == code => {
                let sight = match code {
                    1009 => "refused a bomb",
                    _ => "refused corrupt data",
                };
                self.stage.borrow_mut().saw(sight);
            }
            _ if matches!(code, 1002 | 1007 | 1009) && deserved.is_some() => {
                self.violation(|| format!("connection {id} failed with {code}, not {deserved:?}"));
            }
            _ => {}
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
    pub(super) fn id(&self, hub: &Hub, index: u32) -> u32 {
        hub.conns[index].data
    }

    pub(super) fn any_open(&self, hub: &Hub) -> Option<u32> {
        let mut open = hub.conns.indices();
        open.retain(|&index| hub.conns[index].is_open());
        (!open.is_empty()).then(|| open[self.among(0..=open.len() - 1)])
    }

    /// A connection with a backlog.
    pub(super) fn any_slow(&self, hub: &Hub) -> Option<u32> {
        let mut slow = hub.conns.indices();
        slow.retain(|&index| hub.conns[index].is_open() && hub.conns[index].backlog.is_some());
        (!slow.is_empty()).then(|| slow[self.among(0..=slow.len() - 1)])
    }

    pub(super) fn payload(&self, text: bool) -> Vec<u8> {
        let stage = self.stage.borrow();
        let dice = &mut self.world.borrow_mut().dice;
        let len = dice.length(stage.largest);
        stage.patterns.payload(dice, text, len)
    }

    pub(super) fn some_bytes(&self, len: usize) -> Vec<u8> {
        let stage = self.stage.borrow();
        stage
            .patterns
            .payload(&mut self.world.borrow_mut().dice, false, len)
    }

    pub(super) fn conversation<R>(&self, id: u32, f: impl FnOnce(&mut Conversation) -> R) -> R {
        f(&mut self.stage.borrow_mut().conversations[id as usize])
    }

    /// What depends on chance and on what is known.
    pub(super) fn with_stage<R>(&self, f: impl FnOnce(&mut Stage, &mut Dice) -> R) -> R {
        f(
            &mut self.stage.borrow_mut(),
            &mut self.world.borrow_mut().dice,
        )
    }

    pub(super) fn one_in(&self, n: u32) -> bool {
        self.world.borrow_mut().dice.one_in(n)
    }

    pub(super) fn among(&self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.world.borrow_mut().dice.among(range)
    }

    pub(super) fn note(&self, what: &'static str, a: impl Into<i64>, b: impl Into<i64>) {
        self.world.borrow_mut().note(what, a, b);
    }

    pub(super) fn violation(&self, what: impl FnOnce() -> String) {
        self.world.borrow_mut().log.violation(what);
    }
}

pub(super) fn said(message: Message<'_>) -> Said {
    Said {
        text: matches!(message, Message::Text(_)),
        payload: Bytes::copy_from_slice(message.as_bytes()),
    }
}

/// The message itself.
pub(super) fn message(said: &Said) -> Message<'_> {
    match std::str::from_utf8(&said.payload) {
        Ok(text) if said.text => Message::Text(text),
        _ => Message::Binary(&said.payload),
    }
}
