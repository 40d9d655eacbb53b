//! What the application sends to one connection, and what the observer concludes from the answer.

use super::application::{Application, message, said};
use super::awaited::{Accepted, Key, Said};
use crate::core::TURN_OUTPUT;
use crate::core::app::Message;
use crate::core::config::SlowPolicy;
use crate::core::connection::State;
use crate::core::hub::{Hub, SendStatus};
use crate::transport::ring::MAX_PIECES;

/// Bytes of the Close frame for whoever is too slow: its header, the code, `too slow`.
pub(super) const CLOSE_FRAME: usize = 2 + 2 + 8;

/// A connection before something is sent to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) index: u32,
    pub(super) id: u32,
    pub(super) open: bool,
    pub(super) slow: bool,
    pub(super) buffered: usize,
    /// Of that, what lies in batches.
    pub(super) batched: usize,
    dropped: u64,
}

impl Before {
    pub(super) fn of(hub: &Hub, index: u32) -> Self {
        Self {
            index,
            id: hub.conns[index].data,
            open: hub.conns[index].is_open(),
            slow: hub.conns[index].backlog.is_some(),
            buffered: hub.buffered(index),
            batched: hub.batched(index),
            dropped: hub.stats.dropped.get(),
        }
    }

    /// By how many bytes more is buffered.
    pub(super) fn grown(&self, hub: &Hub) -> isize {
        hub.buffered(self.index) as isize - self.buffered as isize
    }

    /// Whether anything was added, or is elsewhere now.
    pub(super) fn has_changed(&self, hub: &Hub) -> bool {
        (self.buffered, self.batched) != (hub.buffered(self.index), hub.batched(self.index))
    }

    /// How many messages were thrown away since, of all connections.
    pub(super) fn dropped(&self, hub: &Hub) -> u64 {
        hub.stats.dropped.get() - self.dropped
    }
}

/// How a message is sent to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Usual,
    Uncompressed,
    Keyed(u64),
}

/// Sending.
impl Application {
    /// More pieces for one connection than one system call takes: what goes to another lies between them.
    pub(super) fn storm(&mut self, hub: &mut Hub, index: u32) {
        let other = self.any_open(hub).unwrap_or(index);
        for _ in 0..MAX_PIECES + 10 {
            let numbered = self.stage.borrow().play.drops();
            for (index, text) in [(index, true), (other, false)] {
                let mut payload = if text { b"storm".to_vec() } else { Vec::new() };
                if numbered {
                    self.stage.borrow_mut().number(&mut payload);
                }
                let said = Said {
                    text,
                    payload: payload.into(),
                };
                self.send(hub, index, message(&said));
            }
        }
    }

    pub(super) fn send_own(&mut self, hub: &mut Hub, index: u32) {
        let said = self.own(None);
        self.send(hub, index, message(&said));
    }

    pub(super) fn send_own_keyed(&mut self, hub: &mut Hub, index: u32) {
        let said = self.own(None);
        let key = self.among(0..=2) as u64;
        self.send_said(hub, index, &said, message(&said), Sending::Keyed(key));
    }

    /// Sends a message from wherever it lies.
    pub(super) fn send(&mut self, hub: &mut Hub, index: u32, message: Message<'_>) {
        let original = said(message);
        if self.stage.borrow().is_ambiguous(&original) {
            return self.send_own(hub, index);
        }
        let sending = match self.one_in(12) {
            true => Sending::Uncompressed,
            false => Sending::Usual,
        };
        self.send_said(hub, index, &original, message, sending);
    }

    fn send_said(
        &mut self,
        hub: &mut Hub,
        index: u32,
        said: &Said,
        message: Message<'_>,
        sending: Sending,
    ) {
        if hub.conns[index].state == State::Free {
            return;
        }
        let before = Before::of(hub, index);
        let status = match sending {
            Sending::Usual => hub.send(index, message),
            Sending::Uncompressed => hub.send_plain(index, message),
            Sending::Keyed(key) => hub.send_keyed(index, key, message),
        };
        self.note("app sends", before.id, message.len() as i64);
        self.note("status", before.id, status as u8);
        let as_it_should = self.concludes(hub, &before, status, said, sending);
        as_it_should.unwrap_or_else(|what| {
            self.violation(|| {
                format!(
                    "{status:?} for {said:?} on connection {}: {what}",
                    before.id
                )
            });
        });
    }

    /// Takes note of what became of a message, if it is what should have become of it.
    fn concludes(
        &mut self,
        hub: &Hub,
        before: &Before,
        status: SendStatus,
        said: &Said,
        sending: Sending,
    ) -> Result<(), String> {
        let stage = &mut *self.stage.borrow_mut();
        let drops_any = stage.play.drops();
        let policy = stage.policy(before.id, None);
        let key: Option<Key> = match sending {
            Sending::Keyed(key) if before.slow && policy == SlowPolicy::Conflate => {
                Some((None, Some(key)))
            }
            _ => None,
        };
        let form = stage.conversations[before.id as usize].form;
        let window = form.of_message(before.slow);
        let window = window.filter(|_| sending != Sending::Uncompressed);
        let len = stage.frames.len(window, said);
        let grown = before.grown(hub);
        let dropped = before.dropped(hub);
        let accepted = Accepted {
            said: said.clone(),
            len,
            alone: before.slow,
            topic: None,
            key,
            turn: hub.output.turn(),
            droppable: before.slow,
            due: None,
        };
        let len = len as isize;
        let open = hub.conns[before.index].is_open();
        let wrong = || Err(format!("{before:?}, {policy:?}, grown by {grown}"));
        let conversation = &mut stage.conversations[before.id as usize];
        conversation.owed_drain |= matches!(status, SendStatus::Queued | SendStatus::Dropped);
        if before.open && !before.slow && form.context {
            // How long it has become is not known.
            let right = match status {
                SendStatus::Sent => open && dropped == 0 && before.has_changed(hub),
                SendStatus::Closed => !open && closes(policy) && is_full(hub, before.index),
                SendStatus::Dropped => open && drops(policy) && is_full(hub, before.index),
                SendStatus::Queued => false,
            };
            match status {
                SendStatus::Sent => conversation.to_peer.push(accepted),
                SendStatus::Closed => conversation.ended_by_server = true,
                _ => {}
            }
            return if right { Ok(()) } else { wrong() };
        }
        match status {
            SendStatus::Closed if !before.open => return Ok(()),
            SendStatus::Closed if !open && closes(policy) && grown == CLOSE_FRAME as isize => {
                conversation.ended_by_server = true;
                stage.saw("closed for being slow");
            }
            SendStatus::Sent if open && !before.slow && grown == len && dropped == 0 => {
                conversation.to_peer.push(accepted);
            }
            SendStatus::Queued if open && before.slow && policy == SlowPolicy::DropOldest => {
                let Ok(lost) = usize::try_from(len - grown) else {
                    return wrong();
                };
                conversation.lose(hub, before.index, lost, Some(dropped));
                conversation.to_peer.push(accepted);
                if conversation.to_peer.is_flooded() {
                    stage.saw("flooded with control frames");
                }
            }
            SendStatus::Queued if open && before.slow => {
                let replaced = conversation.queue(accepted, grown, drops_any)?;
                if dropped != u64::from(replaced) {
                    return wrong();
                }
            }
            SendStatus::Dropped if open && drops(policy) && grown <= 0 && dropped > 0 => {
                if grown < 0 && !(before.slow && policy == SlowPolicy::DropOldest) {
                    return wrong();
                }
                conversation.lose(hub, before.index, grown.unsigned_abs(), Some(dropped - 1));
                stage.saw("dropped the newest");
            }
            _ => return wrong(),
        }
        Ok(())
    }

    pub(super) fn ping(&mut self, hub: &mut Hub, index: u32) {
        let len = self.among(1..=125);
        self.ping_with(hub, index, len);
    }

    /// More control frames than are kept when messages are thrown away, and messages for which some have to go.
    pub(super) fn flood(&mut self, hub: &mut Hub, index: u32) {
        let slow = self.any_slow(hub).unwrap_or(index);
        for _ in 0..self.among(16..=40) {
            self.ping_with(hub, slow, 2);
        }
        for _ in 0..self.among(1..=10) {
            self.send_own(hub, slow);
        }
    }

    fn ping_with(&mut self, hub: &mut Hub, index: u32, len: usize) {
        let payload = self.some_bytes(len);
        let status = hub.ping(index, &payload);
        if matches!(status, SendStatus::Sent | SendStatus::Queued) {
            let id = self.id(hub, index);
            self.conversation(id, |c| c.pings_of_application.push_back(payload.into()));
        }
    }

    /// A message of the application's own, for a topic or for one connection.
    pub(super) fn own(&self, topic: Option<usize>) -> Said {
        let text = topic.is_none() && self.one_in(2);
        let mut payload = self.payload(text);
        let mut stage = self.stage.borrow_mut();
        if stage.play.drops() {
            stage.number(&mut payload);
        }
        if let Some(topic) = topic {
            // What is published to one topic cannot be taken for another's.
            payload.insert(0, 0xF0 + topic as u8);
        }
        Said {
            text,
            payload: payload.into(),
        }
    }
}

/// Whether a turn has made so much for a connection that has no backlog that it may get no more.
fn is_full(hub: &Hub, index: u32) -> bool {
    hub.buffered(index) >= hub.limit(index).max(TURN_OUTPUT)
}

/// Whether a connection that is too slow is closed.
pub(super) fn closes(policy: SlowPolicy) -> bool {
    matches!(policy, SlowPolicy::Close | SlowPolicy::Conflate)
}

pub(super) fn drops(policy: SlowPolicy) -> bool {
    !closes(policy)
}
