//! The queue from one core to another: bounded in entries and in bytes, without a lock.
//!
//! The sending core alone puts in, so the room that it has seen stays until it is used: what it has reserved cannot fail. The
//! order of things within the queue is `rtrb`'s; what is counted here is how many bytes are in it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Full, MAX_MAIL, Mail};
use crate::core::defaults::{MAX_CORE_MAIL, MAX_CORE_MAIL_BYTES, MIN_PAIR_BYTES};
use crate::core::sync::AtomicU64;
use crate::core::sync::queue::{Consumer, Producer, RingBuffer};

/// What may wait between two cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    entries: usize,
    bytes: u64,
}

impl Limits {
    /// So much between each two cores.
    #[cfg(test)]
    pub(super) fn of(entries: usize, bytes: u64) -> Self {
        Self { entries, bytes }
    }

    /// An equal part, for each of so many senders, of what may wait for one core.
    pub(super) fn among(senders: usize) -> Self {
        let senders = senders.max(1);
        let bytes = (MAX_CORE_MAIL_BYTES / senders).max(MIN_PAIR_BYTES);
        Self {
            entries: (MAX_CORE_MAIL / senders).min(MAX_MAIL),
            bytes: bytes as u64,
        }
    }
}

/// A queue from one core to another.
pub(super) fn pair(limits: Limits) -> (Sender, Receiver) {
    let (producer, consumer) = RingBuffer::new(limits.entries);
    let read = Arc::new(AtomicU64::new(0));
    let sender = Sender {
        queue: producer,
        limit: limits.bytes,
        sent: 0,
        read: Arc::clone(&read),
        read_before: 0,
        reserved: Reserved::default(),
    };
    let receiver = Receiver {
        queue: consumer,
        read_so_far: 0,
        read,
    };
    (sender, receiver)
}

/// The sending core's end.
#[derive(Debug)]
pub(super) struct Sender {
    queue: Producer<Mail>,
    /// Bytes that may wait.
    limit: u64,
    /// Bytes sent, ever.
    sent: u64,
    /// Bytes of them that the receiver has read.
    read: Arc<AtomicU64>,
    /// The same when it was last looked at.
    read_before: u64,
    reserved: Reserved,
}

#[derive(Debug, Default)]
struct Reserved {
    entries: usize,
    bytes: u64,
}

impl Sender {
    /// Keeps room for a new entry of so many bytes. One that comes alone has room whatever its size.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), Full> {
        let taken = self.reserved.entries;
        if self.queue.cached_slots() <= taken && self.queue.slots() <= taken {
            return Err(Full);
        }
        self.reserve_more(bytes)?;
        self.reserved.entries += 1;
        Ok(())
    }

    /// Keeps room for so many bytes more of an entry that has been reserved.
    pub(super) fn reserve_more(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = bytes as u64;
        if !self.fits(bytes) {
            // Nothing but a number: no other memory hangs on it.
            self.read_before = self.read.load(Ordering::Relaxed);
            if !self.fits(bytes) {
                return Err(Full);
            }
        }
        self.reserved.bytes += bytes;
        Ok(())
    }

    fn fits(&self, bytes: u64) -> bool {
        let waiting = self.sent - self.read_before + self.reserved.bytes;
        waiting == 0 || waiting + bytes <= self.limit
    }

    /// Puts in an entry that has been reserved, to its last byte.
    ///
    /// # Panics
    /// It has not been.
    pub(super) fn send(&mut self, mail: Mail) {
        let bytes = mail.bytes() as u64;
        let reserved = &mut self.reserved;
        assert!(
            reserved.entries > 0 && reserved.bytes >= bytes,
            "mail of {bytes} bytes, with room for {reserved:?}"
        );
        reserved.entries -= 1;
        reserved.bytes -= bytes;
        self.sent += bytes;
        let pushed = self.queue.push(mail);
        assert!(pushed.is_ok(), "room that was seen stays");
    }

    /// Gives back what was reserved and not used.
    pub(super) fn end_turn(&mut self) {
        self.reserved = Reserved::default();
    }
}

/// The receiving core's end.
#[derive(Debug)]
pub(super) struct Receiver {
    queue: Consumer<Mail>,
    read_so_far: u64,
    /// The same, for the sender.
    read: Arc<AtomicU64>,
}

impl Receiver {
    /// How many entries can be read.
    pub(super) fn len(&self) -> usize {
        self.queue.slots()
    }

    /// Takes the oldest entry. From then on it does not count against the limits.
    pub(super) fn next(&mut self) -> Option<Mail> {
        let mail = self.queue.pop().ok()?;
        self.read_so_far += mail.bytes() as u64;
        self.read.store(self.read_so_far, Ordering::Relaxed);
        Some(mail)
    }
}
