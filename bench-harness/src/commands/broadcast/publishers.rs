//! The publishing side on one thread: what is due when, and sending it.

use crate::client::deflate::Deflater;
use crate::client::links::Links;
use crate::client::publication::{Publication, Stamp};
use crate::client::schedule::Schedule;
use crate::clock::{Clock, Nanos};

/// Bytes of messages in one send at most (one message may be longer): what is due together leaves together, and a long
/// wait in the client does not become one huge buffer.
const MAX_BATCH: usize = 256 << 10;

/// What makes messages due.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// Nothing any more.
    Stopped,
    /// That an earlier one of the same publisher has been delivered to all.
    InFlight(u32),
    /// That everything has been delivered to all: then so many by every publisher.
    Burst(u32),
    /// Time; with the number of the thread's next message.
    Open { schedule: Schedule, next: u64 },
}

/// The publishers of one thread.
pub(super) struct Publishers {
    list: Vec<Publisher>,
    pub(super) pace: Pace,
    /// Places of publishers with something to send.
    dirty: Vec<usize>,
    /// Where messages are sent compressed.
    deflater: Option<Deflater>,
}

struct Publisher {
    slot: u32,
    /// Number within the run.
    id: u32,
    due: u32,
    sent: u32,
    dirty: bool,
    open: bool,
}

impl Publishers {
    /// `slots` with the publishers' numbers within the run.
    pub(super) fn new(slots: impl Iterator<Item = (u32, u32)>, publication: &Publication) -> Self {
        let publisher = |(slot, id)| Publisher {
            slot,
            id,
            due: 0,
            sent: 0,
            dirty: false,
            open: false,
        };
        Self {
            list: slots.map(publisher).collect(),
            pace: Pace::Stopped,
            dirty: Vec::new(),
            deflater: publication.deflater(),
        }
    }

    /// The publisher's connection is open, or has ended.
    pub(super) fn set_open(&mut self, place: usize, open: bool) {
        self.list[place].open = open;
    }

    /// Messages sent by all of them so far.
    pub(super) fn sent(&self) -> u64 {
        self.list
            .iter()
            .map(|publisher| u64::from(publisher.sent))
            .sum()
    }

    /// Messages sent by publisher `place` so far.
    pub(super) fn sent_by(&self, place: usize) -> u32 {
        self.list[place].sent
    }

    /// Sets the pace and makes the first messages of a closed loop due.
    pub(super) fn begin(&mut self, pace: Pace) {
        let first = match &pace {
            Pace::InFlight(count) | Pace::Burst(count) => *count,
            Pace::Open { .. } | Pace::Stopped => 0,
        };
        self.pace = pace;
        if first > 0 {
            self.all_due(first);
        }
    }

    /// Makes `count` messages of every publisher due.
    pub(super) fn all_due(&mut self, count: u32) {
        for place in 0..self.list.len() {
            self.add_due(place, count);
        }
    }

    /// Makes `count` more messages of a publisher due.
    #[inline]
    pub(super) fn add_due(&mut self, place: usize, count: u32) {
        if self.list[place].open {
            self.list[place].due += count;
            self.mark(place);
        }
    }

    /// Makes due what the schedule says, and returns when the next message will be. Tells `noticed` when the first of
    /// them was due, and how many they are.
    #[inline]
    pub(super) fn fall_due(&mut self, now: Nanos, noticed: impl FnOnce(Nanos, u64)) -> Nanos {
        let Pace::Open { schedule, next } = &mut self.pace else {
            return Nanos::MAX;
        };
        let mut due = schedule.due(*next);
        let (first, first_due) = (*next, due);
        while due <= now {
            let place = (*next % self.list.len() as u64) as usize;
            let publisher = &mut self.list[place];
            publisher.due += 1;
            publisher.mark(place, &mut self.dirty);
            *next += 1;
            due = schedule.due(*next);
        }
        noticed(first_due, *next - first);
        due
    }

    /// Whether something is due that could not be sent yet.
    pub(super) fn behind(&self) -> bool {
        self.list
            .iter()
            .any(|publisher| publisher.open && publisher.due > publisher.sent)
    }

    /// A publisher's connection takes bytes again.
    #[inline]
    pub(super) fn writable(&mut self, place: usize) {
        if self.list[place].due > self.list[place].sent {
            self.mark(place);
        }
    }

    /// Sends what is due, one send per publisher, and tells `sent` of each message.
    #[inline]
    pub(super) fn flush(
        &mut self,
        links: &mut Links,
        clock: Clock,
        publication: &Publication,
        mut sent: impl FnMut(&Stamp),
    ) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for place in dirty.drain(..) {
            self.list[place].dirty = false;
            self.send(place, links, clock, publication, &mut sent);
        }
        // Keeps the capacity; what did not fit into a send comes back with `writable`.
        self.dirty = dirty;
    }

    fn send(
        &mut self,
        place: usize,
        links: &mut Links,
        clock: Clock,
        publication: &Publication,
        sent: &mut impl FnMut(&Stamp),
    ) {
        let total = self.list.len() as u64;
        let publisher = &mut self.list[place];
        // With a send under way, `writable` comes back here.
        if !links.can_send(publisher.slot) {
            return;
        }
        let mut frames = Vec::new();
        let now = clock.now();
        while publisher.sent < publisher.due {
            let number = publisher.sent;
            let due = match &self.pace {
                Pace::Open { schedule, .. } => {
                    schedule.due(u64::from(number) * total + place as u64)
                }
                _ => now,
            };
            let stamp = Stamp {
                publisher: publisher.id,
                number,
                due,
                sent: now,
            };
            let len = publication.frame_len_of(&stamp);
            if frames.is_empty() {
                let rest = (publisher.due - number) as usize;
                frames.reserve(len.saturating_mul(rest).min(MAX_BATCH).max(len));
            } else if frames.len() + len > MAX_BATCH {
                break;
            }
            publication.encode(&mut frames, &stamp, &mut self.deflater);
            sent(&stamp);
            publisher.sent += 1;
        }
        if !frames.is_empty() {
            links.outbox().send(publisher.slot, frames);
        }
    }

    #[inline]
    fn mark(&mut self, place: usize) {
        self.list[place].mark(place, &mut self.dirty);
    }
}

impl Publisher {
    /// There is something to send.
    #[inline]
    fn mark(&mut self, place: usize, dirty: &mut Vec<usize>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(place);
        }
    }
}
