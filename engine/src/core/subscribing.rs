//! Subscriptions of connections, and what of a topic's batch each of them has been given.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corecast_topics::{Subscribed, TopicId};

use super::TURN_OUTPUT;
use super::batches::Slot;
use super::compression::Wire;
use super::forms::Forms;
use super::hub::Hub;
use super::interest::TopicInterest;
use super::retained::LastMessage;

/// What a core keeps for each topic that has subscribers.
#[derive(Debug, Default)]
pub(crate) struct TopicState {
    /// What was published and not flushed.
    pub(super) batch: Option<Slot>,
    /// How long a batch may wait for more.
    pub(super) delay: Duration,
    /// What other cores know of it.
    pub(super) interest: TopicInterest,
    /// In which forms its subscribers get messages.
    pub(super) forms: Forms,
    /// Its last message, if that is kept for later subscribers.
    pub(crate) retained: Option<LastMessage>,
}

impl Hub {
    /// Subscribes an open connection; `false` when it was subscribed already, or is not open.
    pub(crate) fn subscribe(&mut self, index: u32, filter: &str) -> bool {
        if !self.conns[index].is_open() {
            return false;
        }
        // It may have had a backlog before it was open.
        self.topics
            .set_slow(index, self.conns[index].backlog.is_some());
        let Subscribed::New { id, first } = self.topics.subscribe(index, filter) else {
            return false;
        };
        if first {
            self.topics.data_mut(id).delay = self.config.flush_delay_of(filter);
        }
        let name = Arc::clone(self.topics.name(id));
        let wire = self.conns[index].wire;
        let state = self.topics.data_mut(id);
        state.forms.add(wire);
        self.interests.subscribed(&mut state.interest, &name);
        // What was published before is not for it.
        if let Some(slot) = self.topics.data(id).batch {
            self.output.batches.skip(slot, wire, index);
        }
        true
    }

    /// Ends a subscription; `false` when there was none.
    pub(crate) fn unsubscribe(&mut self, index: u32, filter: &str) -> bool {
        let Some(id) = self.topics.id(filter) else {
            return false;
        };
        if !self.topics.is_subscribed(index, filter) {
            return false;
        }
        self.catch_up(index);
        self.lose(index, id);
        self.topics.unsubscribe(index, filter).is_some()
    }

    /// Ends all subscriptions. What was published before is still for it, unless it is gone.
    pub(crate) fn unsubscribe_all(&mut self, index: u32) {
        self.catch_up(index);
        let ids: Vec<TopicId> = self.topics.ids_of(index).collect();
        for id in ids {
            self.lose(index, id);
        }
        self.topics.remove(index, |_| {});
    }

    /// A subscriber is about to leave. With the last one the topic goes: other cores send no more, and its batch has
    /// no reader.
    fn lose(&mut self, index: u32, id: TopicId) {
        let last = self.topics.count(id) == 1;
        let name = Arc::clone(self.topics.name(id));
        let state = self.topics.data_mut(id);
        state.forms.remove(self.conns[index].wire);
        self.interests
            .unsubscribed(&mut state.interest, &name, last);
        if last && let Some(slot) = state.batch.take() {
            self.output.batches.detach(slot);
        }
    }

    /// Whether a connection's open batches hold anything for it is settled before anything else is sent to it: the
    /// part that it has not been given becomes a part of its output.
    #[inline]
    pub(crate) fn catch_up(&mut self, index: u32) {
        if !self.output.batches.is_empty() && self.conns[index].backlog.is_none() {
            self.give_batches(index);
        }
    }

    fn give_batches(&mut self, index: u32) {
        let turn = self.output.turn();
        let conn = &mut self.conns[index];
        if conn.wire == Wire::Own {
            return self.give_batches_own(index);
        }
        for id in self.topics.ids_of(index) {
            if let Some(slot) = self.topics.data(id).batch
                && let Some(form) = self.output.batches.form(slot, conn.wire)
            {
                let from = self.output.batches.cursor(form, index);
                self.output.push_batch(index, &mut conn.pending, form, from);
                self.output.batches.skip(slot, conn.wire, index);
            }
        }
        self.crowded |= conn.pending.bytes(turn) >= TURN_OUTPUT;
    }

    /// The same where messages are compressed for it alone.
    fn give_batches_own(&mut self, index: u32) {
        let slots = self.topics.ids_of(index);
        let slots: Vec<Slot> = slots.filter_map(|id| self.topics.data(id).batch).collect();
        for slot in slots {
            let from = self.output.batches.cursor(slot, index);
            self.give_own(index, slot, from);
            self.output.batches.skip(slot, Wire::Own, index);
        }
        let turn = self.output.turn();
        self.crowded |= self.conns[index].pending.bytes(turn) >= TURN_OUTPUT;
    }

    /// Bytes that are published for a connection and not among its output yet; before they are compressed, where it has a
    /// context of its own.
    pub(crate) fn batched(&self, index: u32) -> usize {
        if self.output.batches.is_empty() || self.conns[index].backlog.is_some() {
            return 0;
        }
        let wire = self.conns[index].wire;
        let batches = &self.output.batches;
        let slots = self.topics.ids_of(index);
        slots
            .filter_map(|id| batches.form(self.topics.data(id).batch?, wire))
            .map(|form| (batches.len(form) - batches.cursor(form, index)) as usize)
            .sum()
    }

    /// A connection has a backlog from now on.
    pub(crate) fn becomes_slow(&mut self, index: u32) {
        let conn = &mut self.conns[index];
        if !conn.is_open() {
            // It has no subscriptions, and nothing may stay behind when its slot is used again.
            return;
        }
        let backlog = conn.backlog.as_mut().expect("it has a backlog");
        // Published for a later time than this turn's end, when it was fast. Whoever has a context of its own gets it as it is.
        for id in self.topics.ids_of(index) {
            if let Some(slot) = self.topics.data(id).batch
                && let Some(form) = self.output.batches.form(slot, conn.wire)
            {
                let from = self.output.batches.cursor(form, index);
                let batch = self.output.batches.share(form);
                let rest = batch.slice(from as usize..);
                // A small part would keep all of it.
                match 2 * rest.len() < batch.len() {
                    _ if rest.is_empty() => {}
                    true => drop(backlog.share(Bytes::copy_from_slice(&rest))),
                    false => drop(backlog.share(rest)),
                }
                self.output.batches.skip(slot, conn.wire, index);
            }
        }
        // From now on messages may be dropped, so none may refer to another.
        self.compression.forget(index);
        self.topics.set_slow(index, true);
    }

    /// A connection's backlog is gone. What was published meanwhile was a part of it.
    pub(crate) fn becomes_fast(&mut self, index: u32) {
        let wire = self.conns[index].wire;
        for id in self.topics.ids_of(index) {
            if let Some(slot) = self.topics.data(id).batch {
                self.output.batches.skip(slot, wire, index);
            }
        }
        self.topics.set_slow(index, false);
    }
}
