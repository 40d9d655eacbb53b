//! Fan-out: from one publication to all who subscribe to its topic.
//!
//! Subscribers without a backlog are *fast*. What is published for them goes into their topic's batch, once, whatever
//! their number; [`Hub::flush`] gives each of them a reference when the turn ends. Those with a backlog are *slow* and
//! visited one by one, since each has its limit and its policy. Which is which is kept by the topic table, so a
//! publication to a thousand fast subscribers looks at none of them.
//!
//! Order: of one topic every subscriber gets the messages in the order in which they were published. What is sent to
//! one connection alone keeps its place among them, too ([`Hub::catch_up`]). Between topics there is none.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use corecast_topics::TopicId;

use super::TURN_OUTPUT;
use super::app::Message;
use super::backlog::Key;
use super::batches::Slot;
use super::compression::Wire;
use super::config::SlowPolicy;
use super::core_set::CoreSet;
use super::forms::{EncodedForms, Forms, KeptForms, parts};
use super::hub::{Hub, Published, SendStatus};
use super::mailbox::Publication;
use super::output::Encoded;

/// Up to so many subscribers are given a message one by one: a batch would cost more than it saves. In the simulation, which
/// has few connections, most topics get one.
const FEW: usize = if cfg!(test) { 1 } else { 4 };

/// Bytes that a turn publishes before no more input is taken until they have been sent. Few in the simulation, which does not
/// publish much.
pub(super) const TURN_BATCHES: usize = if cfg!(test) { 8 << 10 } else { 4 << 20 };

/// A message, or several, on the way to the subscribers of a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PublishRequest<'a> {
    pub(crate) topic: &'a str,
    pub(crate) content: Content<'a>,
    /// Which of the topic's messages it replaces where messages are conflated.
    pub(crate) key: Option<u64>,
    /// A connection that does not get it.
    pub(crate) except: Option<u32>,
    /// It is kept for those who subscribe later.
    pub(crate) retain: bool,
}

/// What is published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    Message(Message<'a>),
    /// Whole frames, as another core or thread has encoded them.
    Frames(&'a Publication),
}

impl Content<'_> {
    /// Bytes on the wire.
    fn len(&self) -> usize {
        match self {
            Self::Message(message) => {
                corecast_protocol::server_header_len(message.len()) + message.len()
            }
            Self::Frames(publication) => publication.frames.len(),
        }
    }
}

/// One frame for each message, to be kept for as long as anybody needs it. Small parts of large batches are copied: they
/// would keep all of it.
fn split(mut frames: Bytes) -> Vec<Bytes> {
    let whole = frames.len();
    let mut split = Vec::new();
    let lengths: Vec<usize> = parts(&frames).map(|part| part.frame.len()).collect();
    for len in lengths {
        let frame = frames.split_to(len);
        split.push(match frame.len() * 2 < whole {
            true => Bytes::copy_from_slice(&frame),
            false => frame,
        });
    }
    split
}

/// Publishing.
impl Hub {
    /// Delivers to this core's subscribers, and posts to the other cores.
    pub(crate) fn publish(&mut self, request: &PublishRequest<'_>) -> Published {
        let others = match request.retain {
            true => self.post.others(),
            false => self.interested(request.topic),
        };
        self.deliver(request, others)
    }

    /// Delivers what another core or thread has published.
    pub(crate) fn deliver_mail(&mut self, publication: &Publication) {
        let request = PublishRequest {
            topic: &publication.topic,
            content: Content::Frames(publication),
            key: publication.key,
            except: None,
            retain: publication.retain,
        };
        self.deliver(&request, CoreSet::default());
    }

    /// Keeps nothing of a topic for later subscribers any more, on all cores; `false` when a core could not be told.
    pub(crate) fn forget_retained(&mut self, topic: &str) -> bool {
        self.discard_retained(topic);
        self.post_forget(topic)
    }

    /// The other cores that have subscribers of a topic.
    fn interested(&mut self, topic: &str) -> CoreSet {
        let id = self.topics.id(topic);
        let share = id.map(|id| &self.topics.data(id).interest);
        self.interests.elsewhere(topic, share)
    }

    fn deliver(&mut self, request: &PublishRequest<'_>, others: CoreSet) -> Published {
        let mut matched = std::mem::take(&mut self.matched);
        matched.clear();
        if self.topics.has_patterns() {
            self.topics.matching(request.topic, &mut matched);
        } else {
            // It may be there for its retained message only.
            let id = self.topics.id(request.topic);
            matched.extend(id.filter(|&id| self.topics.count(id) > 0));
        }
        let mut published = Published::default();
        if request.retain
            && let [frame] = &self.kept(Wire::Plain, request.content)[..]
        {
            published.retained = self.retain(request.topic, frame);
        }
        match matched[..] {
            [id] if !others.is_empty() || self.is_broad(id) => {
                self.deliver_batch(id, request, others, &mut published);
            }
            _ => {
                self.deliver_each(&matched, request, &mut published);
                self.post_alone(request, others, &mut published);
            }
        }
        self.matched = matched;
        published
    }

    /// Whether a topic's messages are gathered in a batch.
    fn is_broad(&self, id: TopicId) -> bool {
        let state = self.topics.data(id);
        self.topics.fast(id).len() > FEW || state.batch.is_some() || !state.delay.is_zero()
    }

    /// To one topic's subscribers: those that are fast get it as a part of the batch.
    fn deliver_batch(
        &mut self,
        id: TopicId,
        request: &PublishRequest<'_>,
        others: CoreSet,
        published: &mut Published,
    ) {
        let slot = self.open_batch(id);
        let limit = self.config.backlog.max(TURN_OUTPUT);
        if self.output.batches.len(slot) as usize >= limit {
            self.batch_is_full(id, request, published);
            return self.post_alone(request, others, published);
        }
        // To leave it out, it is given what comes before, and then the cursor is moved past the message.
        let except = request.except.filter(|&index| {
            self.conns[index].backlog.is_none() && self.topics.ids_of(index).any(|own| own == id)
        });
        if let Some(index) = except {
            self.catch_up(index);
        }
        let range = self.append(slot, request.content);
        let forms = self.topics.data(id).forms;
        let deflated = self.append_compressed(slot, forms, request.content);
        let batches = &mut self.output.batches;
        if let Some(index) = except {
            batches.skip(slot, self.conns[index].wire, index);
        }
        self.crowded |=
            batches.len(slot) as usize >= TURN_OUTPUT || batches.bytes() >= TURN_BATCHES;
        published.sent += self.topics.fast(id).len() - usize::from(except.is_some());
        self.post_range(slot, range, deflated, request, others, published);
        if !self.topics.slow(id).is_empty() {
            let slow = self.topics.slow(id).iter().map(|s| s.conn()).collect();
            self.deliver_slow(slow, request, published);
        }
    }

    /// Adds what is published to a batch.
    pub(crate) fn append(&mut self, slot: Slot, content: Content<'_>) -> Range<u32> {
        let batches = &mut self.output.batches;
        let from = batches.len(slot);
        match content {
            Content::Message(message) => batches.append(slot, |frames| {
                corecast_protocol::encode_server(frames, message.opcode(), message.as_bytes());
            }),
            Content::Frames(publication) => batches.append_shared(slot, &publication.frames),
        }
        from..batches.len(slot)
    }

    /// Adds it in the compressed forms in which subscribers get it. Gives where it lies in the usual one.
    fn append_compressed(
        &mut self,
        slot: Slot,
        forms: Forms,
        content: Content<'_>,
    ) -> Option<(Slot, Range<u32>)> {
        let mut usual = None;
        for wire in forms.compressed_once() {
            let range = match content {
                Content::Message(message) => {
                    let (opcode, payload) = (message.opcode(), message.as_bytes());
                    let (kind, payload) = self.compression.common(wire, opcode, payload);
                    let batches = &mut self.output.batches;
                    batches.append_compressed(slot, wire, |frames| {
                        corecast_protocol::encode_server(frames, kind, payload);
                    })
                }
                Content::Frames(publication) => {
                    let compressed = self.published(wire, publication);
                    let batches = &mut self.output.batches;
                    batches.append_compressed(slot, wire, |frames| {
                        frames.extend_from_slice(&compressed);
                    })
                }
            };
            if wire == Wire::Deflate {
                usual = Some(range);
            }
        }
        usual
    }

    fn open_batch(&mut self, id: TopicId) -> Slot {
        let state = self.topics.data_mut(id);
        let due = || (!state.delay.is_zero()).then(|| self.now + state.delay);
        *state
            .batch
            .get_or_insert_with(|| self.output.batches.begin(Some(id), due()))
    }

    /// One turn publishes more than any connection may have waiting: what the policies say, also to those that are fast.
    #[cold]
    fn batch_is_full(
        &mut self,
        id: TopicId,
        request: &PublishRequest<'_>,
        published: &mut Published,
    ) {
        let policy = self.config.policy_of(request.topic);
        let mut all: Vec<u32> = self.topics.fast(id).iter().map(|s| s.conn()).collect();
        all.extend(self.topics.slow(id).iter().map(|s| s.conn()));
        for index in all {
            if request.except != Some(index) {
                published.dropped += 1;
                self.overflow(index, self.policy(index, policy));
            }
        }
    }

    /// To each subscriber of several topics or of a small one, to each once.
    fn deliver_each(
        &mut self,
        ids: &[TopicId],
        request: &PublishRequest<'_>,
        published: &mut Published,
    ) {
        let mut fast = Vec::new();
        let mut slow = Vec::new();
        for &id in ids {
            fast.extend(self.topics.fast(id).iter().map(|s| s.conn()));
            slow.extend(self.topics.slow(id).iter().map(|s| s.conn()));
        }
        if ids.len() > 1 {
            once_each(&mut fast);
            once_each(&mut slow);
        }
        fast.retain(|&index| request.except != Some(index));
        let mut encoded = EncodedForms::default();
        for index in fast {
            let given = match self.conns[index].wire {
                Wire::Own => self.give_own_content(index, request.content),
                wire => {
                    let frame = encoded.get(wire, || self.encode(wire, request.content));
                    self.give(index, frame)
                }
            };
            if given {
                published.sent += 1;
            } else {
                let of_topic = self.config.policy_of(request.topic);
                self.overflow(index, self.policy(index, of_topic));
                published.dropped += 1;
            }
        }
        if !slow.is_empty() {
            self.deliver_slow(slow, request, published);
        }
    }

    /// What is published as one frame after the other, for this turn, in a form that is the same for everybody.
    fn encode(&mut self, wire: Wire, content: Content<'_>) -> Encoded {
        match content {
            Content::Message(message) => {
                let (opcode, payload) = (message.opcode(), message.as_bytes());
                let (kind, payload) = self.compression.common(wire, opcode, payload);
                self.output.encode(kind, payload)
            }
            Content::Frames(publication) => {
                let frames = self.published(wire, publication);
                self.output.encode_shared(&frames)
            }
        }
    }

    /// The same to be kept, each message by itself.
    fn kept(&mut self, wire: Wire, content: Content<'_>) -> Vec<Bytes> {
        match content {
            Content::Message(message) => vec![self.frame(wire, message)],
            Content::Frames(publication) => split(self.published(wire, publication)),
        }
    }

    /// Gives a frame to a connection that has no backlog; `false` when this turn has made too much for it.
    pub(super) fn give(&mut self, index: u32, frame: Encoded) -> bool {
        if !self.has_room(index, frame.len()) {
            return false;
        }
        let pending = &mut self.conns[index].pending;
        self.output.push_encoded(index, pending, frame);
        self.note_output(index);
        true
    }

    /// The same for what is retained, to a connection with a context of its own.
    pub(super) fn give_own_retained(&mut self, index: u32, frame: &Bytes) -> bool {
        if !self.has_room(index, frame.len()) {
            return false;
        }
        self.give_own_frames(index, frame);
        self.note_output(index);
        true
    }

    /// The same for what is published.
    fn give_own_content(&mut self, index: u32, content: Content<'_>) -> bool {
        if !self.has_room(index, content.len()) {
            return false;
        }
        match content {
            Content::Message(message) => {
                self.give_message(index, Wire::Own, message.opcode(), message.as_bytes());
            }
            Content::Frames(publication) => self.give_own_frames(index, &publication.frames),
        }
        self.note_output(index);
        true
    }

    /// Whether more may be given to a connection that has no backlog, behind what was published for it.
    fn has_room(&mut self, index: u32, len: usize) -> bool {
        self.catch_up(index);
        !self.is_full(index, len)
    }

    fn note_output(&mut self, index: u32) {
        let turn = self.output.turn();
        self.crowded |= self.conns[index].pending.bytes(turn) >= TURN_OUTPUT;
    }

    /// To those with a backlog, by their policies.
    fn deliver_slow(
        &mut self,
        slow: Vec<u32>,
        request: &PublishRequest<'_>,
        published: &mut Published,
    ) {
        let of_topic = self.config.policy_of(request.topic);
        let mut kept = KeptForms::default();
        let mut key = None;
        for index in slow {
            if request.except == Some(index) {
                continue;
            }
            let policy = self.policy(index, of_topic);
            if policy == SlowPolicy::Conflate && key.is_none() {
                key = Some((self.topic_number(request.topic), request.key));
            }
            let wire = self
                .compression
                .without_context(index, self.conns[index].wire);
            for frame in kept.get(wire, || self.kept(wire, request.content)) {
                let key = key.filter(|_| policy == SlowPolicy::Conflate);
                match self.queue(index, frame, key, policy, &mut published.displaced) {
                    SendStatus::Queued => published.queued += 1,
                    _ => published.dropped += 1,
                }
            }
        }
    }

    /// What stands for a topic's name among the keys of messages. The hasher's own key is secret, so nobody can choose
    /// names that meet.
    fn topic_number(&self, topic: &str) -> u64 {
        use std::hash::BuildHasher;
        self.hasher.hash_one(topic)
    }

    /// Queues a frame behind a connection's backlog, or does what the policy says. Counts the earlier messages that
    /// had to go for it.
    pub(crate) fn queue(
        &mut self,
        index: u32,
        frame: &Bytes,
        key: Option<Key>,
        policy: SlowPolicy,
        displaced: &mut usize,
    ) -> SendStatus {
        let limit = self.limit(index);
        let conn = &mut self.conns[index];
        let (true, Some(backlog)) = (conn.is_open(), conn.backlog.as_mut()) else {
            // An earlier frame of the same publication has closed it.
            return SendStatus::Closed;
        };
        let need = frame.len() + super::backlog::PLACE_BYTES * (1 + usize::from(key.is_some()));
        if let Some(key) = &key
            && let Some(before) = backlog.waiting_len(key)
            && backlog.memory() - before + frame.len() <= limit
        {
            backlog.replace(key, frame.clone());
            *displaced += 1;
            self.stats.dropped.add(1);
            return SendStatus::Queued;
        }
        if policy == SlowPolicy::DropOldest && backlog.can_make_room(need, limit) {
            let dropped = backlog.drop_oldest(need, limit);
            *displaced += dropped;
            self.stats.dropped.add(dropped as u64);
        }
        if backlog.memory() + need > limit {
            return self.overflow(index, policy);
        }
        match key {
            Some(key) => backlog.share_keyed(key, frame.clone()),
            None => drop(backlog.share(frame.clone())),
        }
        SendStatus::Queued
    }
}

/// Flushing.
impl Hub {
    /// Gives every subscriber a reference to what was published for it, if it is time.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.output.batches.is_empty() {
            return;
        }
        for slot in self.output.batches.take_due(now) {
            let Some(id) = self.output.batches.topic(slot) else {
                continue;
            };
            self.topics.data_mut(id).batch = None;
            if !self.topics.data(id).forms.is_plain() {
                self.flush_forms(id, slot);
                continue;
            }
            for subscription in self.topics.fast(id) {
                let index = subscription.conn();
                let from = self.output.batches.cursor(slot, index);
                let pending = &mut self.conns[index].pending;
                self.output.push_batch(index, pending, slot, from);
            }
        }
    }

    /// The same for a topic whose subscribers do not all get messages as they are.
    fn flush_forms(&mut self, id: TopicId, slot: Slot) {
        let mut own = Vec::new();
        for subscription in self.topics.fast(id) {
            let index = subscription.conn();
            let conn = &mut self.conns[index];
            if conn.wire == Wire::Own {
                own.push(index);
            } else if let Some(form) = self.output.batches.form(slot, conn.wire) {
                let from = self.output.batches.cursor(form, index);
                self.output.push_batch(index, &mut conn.pending, form, from);
            }
        }
        for index in own {
            let from = self.output.batches.cursor(slot, index);
            self.give_own(index, slot, from);
        }
    }

    /// How many connections the next flush will send to, about: those of several topics count several times.
    pub(crate) fn sends_ahead(&self, now: Instant) -> usize {
        let due = self.output.batches.due(now);
        let topics = due.filter_map(|slot| self.output.batches.topic(slot));
        let of_batches: usize = topics.map(|id| self.topics.fast(id).len()).sum();
        of_batches + self.output.dirty().len()
    }
}

fn once_each(indices: &mut Vec<u32>) {
    indices.sort_unstable();
    indices.dedup();
}
