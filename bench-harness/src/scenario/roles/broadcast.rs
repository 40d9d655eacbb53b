//! Broadcast: each message is published by the connection whose turn it is, and has to come once and in order to every
//! subscriber of its topic that is there. Subscribers may come and go.

use std::collections::{BTreeSet, VecDeque};

use super::Actor;
use super::audience::{Audience, Heard};
use super::published::Published;
use super::turns::{Dues, Turns};
use crate::client::deflate::Deflater;
use crate::client::delivery::{Delivery, DeliveryReader};
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::client::publication::{Publication, Stamp};
use crate::client::recent::Recent;
use crate::client::reply::Verify;
use crate::clock::Nanos;
use crate::error::BenchError;
use crate::scenario::account::{Account, Closed};
use crate::scenario::fleet::{Fleet, Share};
use crate::telemetry::recorder::Recorder;

/// Bytes of messages in one send at most (one message may be longer).
const MAX_BATCH: usize = 256 << 10;

/// The connections of one thread.
pub(crate) struct Broadcast<'a> {
    publication: &'a Publication,
    published: Published<'a>,
    deflater: Option<Deflater>,
    verify: Verify,
    subscribers: Fleet,
    /// Those that only publish; `None` when the subscribers do.
    publishers: Option<Fleet>,
    /// By place among the subscribers, and behind them the publishers.
    readers: Vec<DeliveryReader>,
    recent: Recent,
    audience: Audience<'a>,
    senders: Vec<Sender>,
    turns: Turns,
    dues: Dues,
    /// Slots with something to send.
    dirty: Vec<u32>,
    /// Slots to close when all is sent.
    leaving: BTreeSet<u32>,
    account: Account,
    stopped: bool,
    told: bool,
    over: bool,
}

/// A publisher.
struct Sender {
    /// Its number within the role.
    id: u32,
    /// When each of those was due that wait to be sent.
    queue: VecDeque<Nanos>,
    sent: u32,
    dirty: bool,
}

/// Who is who.
pub(crate) struct Cast {
    pub(crate) share: Share,
    pub(crate) subscribers: u32,
    /// Those that only publish.
    pub(crate) publishers: u32,
    pub(crate) topics: usize,
}

impl<'a> Broadcast<'a> {
    /// With the fleets of those who subscribe, and of those who only publish.
    pub(crate) fn new(
        (publication, published): (&'a Publication, Published<'a>),
        verify: Verify,
        cast: &Cast,
        subscribers: Fleet,
        publishers: Option<Fleet>,
        dues: Dues,
        account: Account,
    ) -> Self {
        let mut readers = Vec::new();
        readers.resize_with(
            (cast.subscribers + cast.publishers) as usize,
            DeliveryReader::default,
        );
        let audience = Audience::new(published, cast.share, cast.subscribers, cast.topics);
        let senders = match publishers {
            Some(_) => cast.publishers,
            None => cast.subscribers,
        };
        let sender = |place| Sender {
            id: cast.share.number(place),
            queue: VecDeque::new(),
            sent: 0,
            dirty: false,
        };
        Self {
            publication,
            published,
            deflater: publication.deflater(),
            verify,
            subscribers,
            publishers,
            readers,
            recent: Recent::new(),
            audience,
            senders: (0..senders).map(sender).collect(),
            turns: Turns::default(),
            dues,
            dirty: Vec::new(),
            leaving: BTreeSet::new(),
            account,
            stopped: false,
            told: false,
            over: false,
        }
    }

    /// A connection takes its part, if it is to stay.
    fn join(&mut self, slot: u32, now: Nanos) {
        let fleet = self.fleet(slot);
        fleet.greeted(slot);
        if !fleet.has(slot) {
            return;
        }
        if self.subscribes(slot) {
            self.audience.join(self.subscribers.place(slot), now);
        }
        if self.sender(slot).is_some() {
            self.turns.join(slot);
        }
    }

    fn subscribes(&self, slot: u32) -> bool {
        (self.subscribers.place(slot) as usize) < self.audience.seats()
    }

    /// The fleet that a connection belongs to.
    fn fleet(&mut self, slot: u32) -> &mut Fleet {
        if self.subscribes(slot) {
            return &mut self.subscribers;
        }
        self.publishers
            .as_mut()
            .expect("a slot behind the subscribers is a publisher's")
    }

    fn sender(&mut self, slot: u32) -> Option<&mut Sender> {
        let fleet = self.publishers.as_ref().unwrap_or(&self.subscribers);
        let place = if self.publishers.is_some() && self.subscribes(slot) {
            return None;
        } else {
            fleet.place(slot)
        };
        self.senders.get_mut(place as usize)
    }

    fn mark(&mut self, slot: u32) {
        if let Some(sender) = self.sender(slot).filter(|sender| !sender.dirty) {
            sender.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Deals out what is due.
    fn assign(&mut self) {
        while let Some(due) = self.dues.take() {
            let Some(slot) = self.turns.take() else {
                self.dues.give_back(due);
                return;
            };
            if let Some(sender) = self.sender(slot) {
                sender.queue.push_back(due);
            }
            self.mark(slot);
        }
    }

    fn flush(&mut self, links: &mut Links<'_>) {
        for slot in std::mem::take(&mut self.dirty) {
            if let Some(sender) = self.sender(slot) {
                sender.dirty = false;
            }
            self.send(links, slot);
        }
    }

    fn send(&mut self, links: &mut Links<'_>, slot: u32) {
        // With a send under way, `writable` comes back here.
        if !links.can_send(slot) {
            return;
        }
        let (publication, published) = (self.publication, self.published);
        let mut deflater = self.deflater.take();
        let now = links.clock().now();
        let sender = self
            .sender(slot)
            .expect("only senders have something to send");
        let most = (MAX_BATCH / publication.frame_len).max(1);
        let count = sender.queue.len().min(most);
        let mut frames = Vec::with_capacity(count * publication.frame_len);
        for due in sender.queue.drain(..count) {
            let stamp = Stamp {
                publisher: sender.id,
                number: sender.sent,
                due,
                sent: now,
            };
            publication.encode(&mut frames, &stamp, &mut deflater);
            sender.sent += 1;
        }
        if count > 0 {
            published.sends(sender.id, sender.sent);
            links.outbox().send(slot, frames);
            self.account.counts().sent += count as u64;
        }
        self.deflater = deflater;
    }

    /// Closes those that are too many, each when all of its messages have been sent.
    fn shrink(&mut self, links: &mut Links<'_>, now: Nanos) {
        while let Some(slot) = self.subscribers.surplus(now) {
            self.turns.leave(slot);
            self.leaving.insert(slot);
        }
        for slot in std::mem::take(&mut self.leaving) {
            if self
                .sender(slot)
                .is_none_or(|sender| sender.queue.is_empty())
            {
                self.audience.leave(self.subscribers.place(slot));
                self.subscribers.part(slot, now, links.outbox());
            } else {
                self.leaving.insert(slot);
            }
        }
    }

    /// A message has come.
    fn delivered(
        &mut self,
        slot: u32,
        stamp: &Stamp,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let place = self.subscribers.place(slot);
        let heard = self.audience.hear(place, stamp.publisher, stamp.number)?;
        let Some(heard) = heard else {
            return Ok(());
        };
        match heard {
            Heard::New { missed } => self.account.faults().lost += missed,
            Heard::Late { missed } => {
                self.account.faults().lost += missed;
                self.account.came_late();
            }
            Heard::Duplicate => {
                self.account.faults().duplicated += 1;
                return Ok(());
            }
        }
        self.account.counts().done += 1;
        self.account.answered(stamp.due, stamp.sent, now);
        if let Some(recorder) = recorder {
            recorder.record(stamp.due, stamp.sent, now);
        }
        Ok(())
    }

    /// This thread has sent its last message.
    fn tell(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.published.tell();
        }
    }

    /// Messages that wait to be sent.
    fn unsent(&self) -> usize {
        let queued: usize = self.senders.iter().map(|sender| sender.queue.len()).sum();
        self.dues.waiting() + queued
    }
}

impl Actor for Broadcast<'_> {
    fn begin(&mut self, start: Nanos) {
        self.account.begin(start);
        self.subscribers.begin(start);
        self.publishers
            .iter_mut()
            .for_each(|fleet| fleet.begin(start));
        self.dues.begin(start);
        self.audience.begin();
    }

    fn act(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<Nanos, BenchError> {
        self.account.look(now, self.subscribers.open());
        let next = self.dues.fall(now, &mut self.account, recorder);
        let (settle, missed) = self.audience.settle(now);
        self.account.faults().lost += missed;
        self.assign();
        self.flush(links);
        self.shrink(links, now);
        let mut look = self.subscribers.dial(links, now, &mut self.account)?;
        if let Some(fleet) = &mut self.publishers {
            look = look.min(fleet.dial(links, now, &mut self.account)?);
        }
        if self.stopped && self.unsent() == 0 {
            self.tell();
        }
        Ok(next.min(settle).min(look))
    }

    fn stop(&mut self, now: Nanos) {
        self.account.end(now, self.subscribers.open());
        self.subscribers.stop();
        self.publishers.iter_mut().for_each(Fleet::stop);
        self.stopped = true;
    }

    fn give_up(&mut self) {
        self.tell();
    }

    fn is_waiting(&self, now: Nanos) -> bool {
        if self.stopped {
            return !self.told || !self.published.is_complete() || self.audience.outstanding() > 0;
        }
        let publishers = self.publishers.as_ref();
        !self.subscribers.is_complete(now)
            || publishers.is_some_and(|fleet| !fleet.is_complete(now))
    }

    fn leave(&mut self, now: Nanos, out: &mut Outbox) {
        self.over = true;
        let publishers = self.publishers.as_ref();
        let publishers = publishers.into_iter().flat_map(Fleet::open_slots);
        let open: Vec<u32> = self.subscribers.open_slots().chain(publishers).collect();
        for slot in open.into_iter().chain(std::mem::take(&mut self.leaving)) {
            self.fleet(slot).part(slot, now, out);
        }
    }

    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, _out: &mut Outbox) {
        let place = self.subscribers.place(slot) as usize;
        let skip = self.subscribers.skip();
        self.readers[place] = DeliveryReader::after(skip);
        let fleet = if self.subscribes(slot) {
            &mut self.subscribers
        } else {
            self.publishers
                .as_mut()
                .expect("who does not subscribe publishes")
        };
        fleet.opened(slot, times, now, &mut self.account);
        if skip == 0 {
            self.join(slot, now);
        }
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let mut input = &*bytes;
        let place = self.subscribers.place(slot) as usize;
        loop {
            let reader = &mut self.readers[place];
            let awaited = reader.awaits_greeting();
            let delivery = reader.next(&mut input, self.publication, self.verify, &mut self.recent);
            if awaited && !reader.awaits_greeting() {
                self.join(slot, now);
            }
            match delivery.map_err(|error| error.to_string())? {
                Some(Delivery::Message(_)) if self.over => {}
                Some(Delivery::Message(stamp)) => self.delivered(slot, &stamp, now, recorder)?,
                Some(Delivery::Control(control)) => {
                    if self.fleet(slot).partings.heed(slot, control, out)? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn writable(&mut self, slot: u32) {
        if self
            .sender(slot)
            .is_some_and(|sender| !sender.queue.is_empty())
        {
            self.mark(slot);
        }
    }

    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos) {
        self.turns.leave(slot);
        self.leaving.remove(&slot);
        if self.over {
            self.fleet(slot).forget(slot);
            return;
        }
        self.audience.leave(self.subscribers.place(slot));
        let waiting = self.sender(slot).map(|sender| {
            let dirty = std::mem::take(&mut sender.dirty);
            (dirty, std::mem::take(&mut sender.queue))
        });
        let (dirty, queue) = waiting.unwrap_or_default();
        if dirty {
            self.dirty.retain(|&other| other != slot);
        }
        let dues = &mut self.dues;
        queue.into_iter().rev().for_each(|due| dues.give_back(due));
        let fleet = if self.subscribes(slot) {
            &mut self.subscribers
        } else {
            self.publishers
                .as_mut()
                .expect("who does not subscribe publishes")
        };
        fleet.ended(slot, opened, end, now, &mut self.account);
    }

    fn account(&self) -> &Account {
        &self.account
    }

    fn close(mut self: Box<Self>) -> Closed {
        self.account.faults().lost += self.audience.close();
        self.account.close()
    }
}
