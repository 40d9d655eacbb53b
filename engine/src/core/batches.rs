//! What a turn publishes: for each topic one stretch of frames, encoded once, from which all of its subscribers send.
//!
//! A batch is *open* while frames may be added. When it is flushed its subscribers get references to it, and at the end
//! of that turn, when all sends are over, its memory is used for the next one. Who must not get all of a batch, since it
//! subscribed later, published a part of it, or has been given a part of it already, has a *cursor* in it.
//!
//! Where subscribers get messages compressed, the same messages lie in a further batch in that form, which goes the way of
//! the first: it begins with the first message for such a subscriber, and is flushed with it.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use corecast_topics::TopicId;

use super::TURN_OUTPUT;
use super::compression::Wire;
use super::fanout::TURN_BATCHES;

/// Memory that is kept for the batches of later turns.
const KEPT_BYTES: usize = 1 << 20;

/// So many batches' places and cursors are kept.
const KEPT_SLOTS: usize = 256;
const KEPT_CURSORS: usize = 64;

/// A batch's place, until the end of the turn in which it is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) u32);

/// All batches of a core.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    slots: Vec<Batch>,
    free: Vec<Slot>,
    /// In the order in which they were opened.
    open: Vec<Slot>,
    /// Their sends are not over.
    flushed: Vec<Slot>,
    /// Memory for further ones, and how much of it.
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Bytes of those that are open.
    bytes: usize,
}

/// Frames that were published to one topic.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    frames: Frames,
    /// Whose subscribers get it; `None` once it has none any more.
    pub(crate) topic: Option<TopicId>,
    /// When to flush it; `None` is at the end of the turn.
    due: Option<Instant>,
    /// From where on connections get it that do not get all of it.
    cursors: HashMap<u32, u32>,
    /// The same messages in compressed forms.
    compressed: [Option<Slot>; Wire::COMPRESSED_ONCE.len()],
}

/// Encoded frames, back to back.
#[derive(Debug)]
enum Frames {
    Own(Vec<u8>),
    /// Kept by somebody beyond the turn, or made elsewhere.
    Shared(Bytes),
}

impl Default for Frames {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl Frames {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    /// Bytes that stay as long as a part of it does.
    fn memory(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.capacity(),
            Self::Shared(bytes) => bytes.len(),
        }
    }

    /// To append to. What is shared is copied.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Self::Shared(bytes) = self {
            *self = Self::Own(bytes.to_vec());
        }
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(_) => unreachable!("made its own just now"),
        }
    }

    /// To keep. Memory that is mostly empty, as what is left of a larger batch, does not stay with them.
    fn share(&mut self) -> &Bytes {
        if let Self::Own(bytes) = self {
            *self = Self::Shared(match bytes.capacity() > 2 * bytes.len() {
                true => Bytes::copy_from_slice(bytes),
                false => Bytes::from(std::mem::take(bytes)),
            });
        }
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(_) => unreachable!("shared just now"),
        }
    }
}

impl Batches {
    /// Whether there is none to flush, now or later.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Bytes that are published and not flushed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Begins a batch.
    pub(crate) fn begin(&mut self, topic: Option<TopicId>, due: Option<Instant>) -> Slot {
        let slot = self.take_slot();
        let batch = &mut self.slots[slot.0 as usize];
        batch.topic = topic;
        batch.due = due;
        self.open.push(slot);
        slot
    }

    fn take_slot(&mut self) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Batch::default());
            Slot(self.slots.len() as u32 - 1)
        });
        let spare = self.spare.pop().unwrap_or_default();
        self.spare_bytes -= spare.capacity();
        self.slots[slot.0 as usize].frames = Frames::Own(spare);
        slot
    }

    /// Where the messages of a batch lie for connections that get them in this form; `None` while there is none for them.
    #[inline]
    pub(crate) fn form(&self, slot: Slot, wire: Wire) -> Option<Slot> {
        match wire {
            Wire::Plain | Wire::Own => Some(slot),
            _ => self.slots[slot.0 as usize].compressed[wire.place() - 1],
        }
    }

    /// Adds a message in a compressed form. Gives where it lies.
    pub(crate) fn append_compressed(
        &mut self,
        slot: Slot,
        wire: Wire,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> (Slot, std::ops::Range<u32>) {
        let form = self.form(slot, wire).unwrap_or_else(|| {
            let form = self.take_slot();
            self.slots[slot.0 as usize].compressed[wire.place() - 1] = Some(form);
            form
        });
        let from = self.len(form);
        // Not among the bytes that are published: they are the same messages.
        write(self.slots[form.0 as usize].frames.own());
        (form, from..self.len(form))
    }

    /// Adds what `write` appends.
    pub(crate) fn append(&mut self, slot: Slot, write: impl FnOnce(&mut Vec<u8>)) {
        let frames = self.slots[slot.0 as usize].frames.own();
        let before = frames.len();
        write(frames);
        self.bytes += frames.len() - before;
    }

    /// Adds frames that others hold, too; without a copy where they are the first.
    pub(crate) fn append_shared(&mut self, slot: Slot, frames: &Bytes) {
        let batch = &mut self.slots[slot.0 as usize];
        if !batch.frames.as_slice().is_empty() {
            self.append(slot, |own| own.extend_from_slice(frames));
            return;
        }
        let before = std::mem::replace(&mut batch.frames, Frames::Shared(frames.clone()));
        self.bytes += frames.len();
        if let Frames::Own(unused) = before {
            self.keep(unused);
        }
    }

    pub(crate) fn len(&self, slot: Slot) -> u32 {
        self.bytes_of(slot).len() as u32
    }

    pub(crate) fn bytes_of(&self, slot: Slot) -> &[u8] {
        self.slots[slot.0 as usize].frames.as_slice()
    }

    /// The same, to be kept.
    pub(crate) fn share(&mut self, slot: Slot) -> &Bytes {
        self.slots[slot.0 as usize].frames.share()
    }

    /// A stretch of it, to be kept, and little beside: without a copy only where it fills most of the memory that would stay
    /// with it. Limits count the stretch alone.
    pub(crate) fn share_range(&mut self, slot: Slot, range: std::ops::Range<u32>) -> Bytes {
        let range = range.start as usize..range.end as usize;
        let frames = &mut self.slots[slot.0 as usize].frames;
        if 4 * range.len() < 3 * frames.memory() {
            return Bytes::copy_from_slice(&frames.as_slice()[range]);
        }
        frames.share().slice(range)
    }

    /// Makes those that are flushed in this turn fit to be kept, if they are this large.
    pub(crate) fn share_flushed(&mut self, min: usize) {
        for &slot in &self.flushed {
            let frames = &mut self.slots[slot.0 as usize].frames;
            if frames.as_slice().len() < min {
                continue;
            }
            if let Frames::Own(own) = frames
                && 4 * own.len() < 3 * own.capacity()
            {
                // All of it would be kept.
                own.shrink_to_fit();
            }
            frames.share();
        }
    }

    /// The same as [`Self::bytes_of`] to be kept, if somebody does already.
    pub(crate) fn shared(&self, slot: Slot) -> Option<&Bytes> {
        match &self.slots[slot.0 as usize].frames {
            Frames::Own(_) => None,
            Frames::Shared(bytes) => Some(bytes),
        }
    }

    pub(crate) fn topic(&self, slot: Slot) -> Option<TopicId> {
        self.slots[slot.0 as usize].topic
    }

    /// Nobody here gets it any more.
    pub(crate) fn detach(&mut self, slot: Slot) {
        self.slots[slot.0 as usize].topic = None;
    }

    /// From where on a connection gets it.
    pub(crate) fn cursor(&self, slot: Slot, conn: u32) -> u32 {
        let cursors = &self.slots[slot.0 as usize].cursors;
        if cursors.is_empty() {
            return 0;
        }
        cursors.get(&conn).copied().unwrap_or(0)
    }

    /// A connection has got, or does not get, what is in it so far.
    pub(crate) fn skip(&mut self, slot: Slot, wire: Wire, conn: u32) {
        if let Some(form) = self.form(slot, wire) {
            let len = self.len(form);
            self.slots[form.0 as usize].cursors.insert(conn, len);
        }
    }

    /// When the first of those has to be flushed that wait for a time.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let dues = self.open.iter();
        dues.filter_map(|slot| self.slots[slot.0 as usize].due)
            .min()
    }

    /// Those that have to be flushed in this turn.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = Slot> {
        let open = self.open.iter().copied();
        open.filter(move |&slot| self.is_due(slot, now))
    }

    /// Whether a batch waits no longer: it is time, or there is so much that no more input is taken before it is sent.
    fn is_due(&self, slot: Slot, now: Instant) -> bool {
        let batch = &self.slots[slot.0 as usize];
        batch.due.is_none_or(|due| due <= now)
            || self.len(slot) as usize >= TURN_OUTPUT
            || self.bytes >= TURN_BATCHES
    }

    /// Takes those that have to be flushed in this turn. They stay readable until [`Self::end_turn`].
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Slot> {
        let open = std::mem::take(&mut self.open);
        let (due, waiting): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|&slot| self.is_due(slot, now));
        self.open = waiting;
        for &slot in &due {
            self.bytes -= self.len(slot) as usize;
        }
        for &slot in &due {
            self.flushed.push(slot);
            let forms = self.slots[slot.0 as usize].compressed;
            self.flushed.extend(forms.into_iter().flatten());
        }
        due
    }

    /// All sends are over.
    pub(crate) fn end_turn(&mut self) {
        while let Some(slot) = self.flushed.pop() {
            let batch = &mut self.slots[slot.0 as usize];
            batch.compressed = Default::default();
            batch.cursors.clear();
            batch.cursors.shrink_to(KEPT_CURSORS);
            if let Frames::Own(mut unused) = std::mem::take(&mut batch.frames) {
                unused.clear();
                self.keep(unused);
            }
            self.free.push(slot);
        }
        if self.free.len() == self.slots.len() && self.slots.len() > KEPT_SLOTS {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    fn keep(&mut self, unused: Vec<u8>) {
        if unused.capacity() > 0 && self.spare_bytes + unused.capacity() <= KEPT_BYTES {
            self.spare_bytes += unused.capacity();
            self.spare.push(unused);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lies_in(part: &Bytes, whole: &[u8]) -> bool {
        whole.as_ptr_range().contains(&part.as_ptr())
    }

    #[test]
    fn what_waits_for_a_time_waits_no_longer_when_there_is_too_much() {
        let now = Instant::now();
        let mut batches = Batches::default();
        let later = Some(now + Duration::from_secs(1));
        let (one, other) = (batches.begin(None, later), batches.begin(None, later));
        batches.append(one, |frames| frames.resize(TURN_BATCHES - 2, 7));
        batches.append(other, |frames| frames.push(7));
        assert_eq!(batches.due(now).count(), 0);
        assert_eq!(batches.take_due(now), []);
        batches.append(other, |frames| frames.push(7));
        assert_eq!(batches.due(now).count(), 2);
        assert_eq!(batches.take_due(now), [one, other]);
        assert_eq!((batches.bytes(), batches.is_empty()), (0, true));
    }

    #[test]
    fn a_stretch_is_kept_without_much_beside_it() {
        let mut batches = Batches::default();
        let slot = batches.begin(None, None);
        batches.append(slot, |frames| {
            frames.reserve_exact(1000);
            frames.extend((0..800).map(|n| n as u8));
        });
        let small = batches.share_range(slot, 10..20);
        assert_eq!(*small, *batches.bytes_of(slot)[10..20].to_vec());
        assert!(
            !lies_in(&small, batches.bytes_of(slot)),
            "it would keep 1,000 bytes"
        );
        let most = batches.share_range(slot, 0..800);
        assert!(lies_in(&most, batches.bytes_of(slot)));

        let slot = batches.begin(None, None);
        batches.append(slot, |frames| {
            frames.reserve_exact(2000);
            frames.extend([7; 800]);
        });
        let all = batches.share_range(slot, 0..800);
        assert!(
            !lies_in(&all, batches.bytes_of(slot)),
            "it would keep 2,000 bytes"
        );
    }

    #[test]
    fn what_is_shared_keeps_no_memory_of_a_larger_batch() {
        let mut batches = Batches::default();
        let large = batches.begin(None, None);
        batches.append(large, |frames| frames.resize(KEPT_BYTES / 2, 7));
        batches.take_due(Instant::now());
        batches.end_turn();
        let small = batches.begin(None, None);
        batches.append(small, |frames| frames.extend([7; 5_000]));
        assert!(batches.slots[small.0 as usize].frames.memory() >= KEPT_BYTES / 2);
        let shared = batches.share(small).clone();
        drop(batches);
        let kept = Vec::from(shared).capacity();
        assert!(kept < 10_000, "{kept} bytes for 5,000");
    }

    #[test]
    fn a_rare_burst_leaves_little_behind() {
        let mut batches = Batches::default();
        for topic in 0..10 * KEPT_SLOTS {
            let slot = batches.begin(None, None);
            for conn in 0..if topic == 0 { 10_000 } else { 1 } {
                batches.skip(slot, Wire::Plain, conn);
            }
        }
        batches.take_due(Instant::now());
        batches.end_turn();
        assert!(batches.slots.capacity() <= KEPT_SLOTS && batches.free.capacity() <= KEPT_SLOTS);
        let slot = batches.begin(None, None);
        (0..10_000).for_each(|conn| batches.skip(slot, Wire::Plain, conn));
        batches.take_due(Instant::now());
        batches.end_turn();
        let cursors = batches.slots[slot.0 as usize].cursors.capacity();
        assert!(cursors <= 2 * KEPT_CURSORS, "room for {cursors}");
    }
}
