//! What a turn publishes for other cores. Whether there is room is known at once; what goes to one topic travels
//! together when the turn ends, as a part of the memory from which this core's own subscribers send.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::batches::Slot;
use super::core_set::CoreSet;
use super::fanout::PublishRequest;
use super::hub::{Hub, Published};
use super::mailbox::{Mail, Publication};

/// What a core waits to be sent: a stretch of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    slot: Slot,
    topic: Arc<str>,
    range: Range<u32>,
    /// The same messages in the usual compressed form, if this core needed it.
    deflated: Option<(Slot, Range<u32>)>,
    key: Option<u64>,
    retain: bool,
}

impl Parcel {
    /// Whether a message that takes this range may travel with those that are in it.
    fn takes(&self, slot: Slot, range: &Range<u32>, request: &PublishRequest<'_>) -> bool {
        let alone = self.retain || request.retain || self.key.is_some() || request.key.is_some();
        !alone
            && self.slot == slot
            && self.range.end == range.start
            && *self.topic == *request.topic
    }

    /// A further message travels with it.
    fn join(&mut self, range: &Range<u32>, deflated: &Option<(Slot, Range<u32>)>) {
        self.range.end = range.end;
        match (&mut self.deflated, deflated) {
            (Some((_, all)), Some((_, more))) if all.end == more.start => all.end = more.end,
            (all, _) => *all = None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.slot == other.slot
            && self.range == other.range
            && Arc::ptr_eq(&self.topic, &other.topic)
    }
}

/// What waits to be posted at the end of the turn.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    /// Of each core in the order in which it was published.
    waiting: Vec<(usize, Vec<Parcel>)>,
    /// Holds what no batch of this core's subscribers does.
    alone: Option<Slot>,
}

impl Parcels {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn of(&mut self, core: usize) -> &mut Vec<Parcel> {
        let position = match self.waiting.iter().position(|&(other, _)| other == core) {
            Some(position) => position,
            None => {
                self.waiting.push((core, Vec::new()));
                self.waiting.len() - 1
            }
        };
        &mut self.waiting[position].1
    }
}

impl Hub {
    /// Has a message that lies in a batch posted to other cores, those that have room for it.
    pub(crate) fn post_range(
        &mut self,
        slot: Slot,
        range: Range<u32>,
        deflated: Option<(Slot, Range<u32>)>,
        request: &PublishRequest<'_>,
        others: CoreSet,
        published: &mut Published,
    ) {
        let mut topic: Option<Arc<str>> = None;
        for core in others.iter() {
            let parcels = self.parcels.of(core);
            let last = parcels.last_mut();
            let joined = last.filter(|last| last.takes(slot, &range, request));
            let room = match joined {
                Some(_) => self.post.reserve_more(core, range.len()),
                None => self.post.reserve(core, request.topic, range.len()),
            };
            if room.is_err() {
                published.refused += 1;
                continue;
            }
            published.forwarded += 1;
            match joined {
                Some(parcel) => parcel.join(&range, &deflated),
                None => parcels.push(Parcel {
                    slot,
                    topic: Arc::clone(topic.get_or_insert_with(|| request.topic.into())),
                    range: range.clone(),
                    deflated: deflated.clone(),
                    key: request.key,
                    retain: request.retain,
                }),
            }
        }
    }

    /// The same for one that lies in no batch.
    pub(crate) fn post_alone(
        &mut self,
        request: &PublishRequest<'_>,
        others: CoreSet,
        published: &mut Published,
    ) {
        if others.is_empty() {
            return;
        }
        let batches = &mut self.output.batches;
        let slot = *self
            .parcels
            .alone
            .get_or_insert_with(|| batches.begin(None, None));
        let range = self.append(slot, request.content);
        self.post_range(slot, range, None, request, others, published);
    }

    /// Tells the other cores that nothing of a topic is retained any more; `false` when one could not be told.
    pub(crate) fn post_forget(&mut self, topic: &str) -> bool {
        // Behind what was published before.
        self.post_parcels();
        let mut all = true;
        for core in self.post.others().iter() {
            match self.post.reserve(core, topic, 0) {
                Ok(()) => self.post.send(core, Mail::Forget(topic.into())),
                Err(_) => all = false,
            }
        }
        all
    }

    /// Ends a turn's publishing: posts all of it.
    pub(crate) fn post_parcels(&mut self) {
        self.parcels.alone = None;
        let mut waiting = std::mem::take(&mut self.parcels.waiting);
        // What goes to several cores is one publication.
        let mut last: Option<(Parcel, Arc<Publication>)> = None;
        for (core, parcels) in &mut waiting {
            for parcel in parcels.drain(..) {
                let publication = match &last {
                    Some((same, publication)) if same.is_same(&parcel) => Arc::clone(publication),
                    _ => Arc::new(self.publication(&parcel)),
                };
                self.post
                    .send(*core, Mail::Publish(Arc::clone(&publication)));
                last = Some((parcel, publication));
            }
        }
        waiting.clear();
        self.parcels.waiting = waiting;
    }

    fn publication(&mut self, parcel: &Parcel) -> Publication {
        let batches = &mut self.output.batches;
        let deflated = OnceLock::new();
        if let Some((slot, range)) = &parcel.deflated {
            let _ = deflated.set(batches.share_range(*slot, range.clone()));
        }
        Publication {
            topic: Arc::clone(&parcel.topic),
            frames: batches.share_range(parcel.slot, parcel.range.clone()),
            deflated,
            key: parcel.key,
            retain: parcel.retain,
        }
    }
}
