//! The compressed messages that a thread's subscribers have received last.
//!
//! Most messages come to many subscribers, in the same order, as the same bytes. So they are kept in the order in which they
//! first came, and after one of them a subscriber is likely to receive the one behind it.

use std::collections::VecDeque;
use std::rc::Rc;

use super::deflate::{Inflater, WireCounts};
use super::delivery::DeliveryError;
use super::publication::{Lengths, Publication, Stamp};

/// Messages kept at most; a subscriber that lags further behind has its messages inflated again.
const KEPT: usize = 1024;

/// Payload bytes of what they stand for, at most; but the last one is always kept.
const KEPT_BYTES: usize = 8 << 20;

/// Compressed messages, verified, and the count of all that came.
#[derive(Debug)]
pub(crate) struct Recent {
    messages: VecDeque<Rc<Verified>>,
    /// The number of the first of them. They are numbered from 0 as they come.
    first: u64,
    /// Payload bytes of what they stand for.
    payload_bytes: usize,
    inflater: Inflater,
    /// What came of each of the bodies that take turns, as far as any did; counted only where messages are compressed.
    counts: Vec<WireCounts>,
}

/// A compressed message that inflates to one of the run.
#[derive(Debug)]
pub(crate) struct Verified {
    bytes: Vec<u8>,
    /// What it says.
    pub(crate) stamp: Stamp,
    /// Bytes of it once it is inflated.
    payload_len: usize,
}

impl AsRef<[u8]> for Verified {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Recent {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            messages: VecDeque::new(),
            first: 0,
            payload_bytes: 0,
            inflater: Inflater::new(),
            counts: Vec::new(),
        }
    }

    /// What came of the body of a message.
    #[inline]
    pub(crate) fn counts_of(&mut self, body: usize) -> &mut WireCounts {
        if body >= self.counts.len() {
            self.counts.resize(body + 1, WireCounts::default());
        }
        &mut self.counts[body]
    }

    /// What came of each of the bodies that take turns, as far as any did.
    pub(crate) fn into_counts(self) -> Vec<WireCounts> {
        self.counts
    }

    /// Message `number`, if it is kept.
    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<&Rc<Verified>> {
        let at = number.checked_sub(self.first)?;
        self.messages.get(at as usize)
    }

    /// The number and stamp of a message that was not the one expected. If it is none of those kept, it is checked, and
    /// kept.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn look_up(
        &mut self,
        bytes: Vec<u8>,
        publication: &Publication,
    ) -> Result<(u64, Stamp), DeliveryError> {
        let same = |message: &Rc<Verified>| message.bytes == bytes;
        if let Some(at) = self.messages.iter().rposition(same) {
            return Ok((self.first + at as u64, self.messages[at].stamp));
        }
        let (stamp, payload_len) = self.verify(&bytes, publication)?;
        self.counts_of(publication.body(&stamp)).inflated += 1;
        self.keep(Verified {
            bytes,
            stamp,
            payload_len,
        });
        Ok((self.first + self.messages.len() as u64 - 1, stamp))
    }

    /// Keeps a message, and forgets the oldest when they are too many.
    fn keep(&mut self, message: Verified) {
        self.payload_bytes += message.payload_len;
        self.messages.push_back(Rc::new(message));
        while self.messages.len() > KEPT
            || (self.payload_bytes > KEPT_BYTES && self.messages.len() > 1)
        {
            let oldest = self.messages.pop_front();
            self.payload_bytes -= oldest.map_or(0, |message| message.payload_len);
            self.first += 1;
        }
    }

    /// What a compressed message says, and how long it is.
    fn verify(
        &mut self,
        compressed: &[u8],
        publication: &Publication,
    ) -> Result<(Stamp, usize), DeliveryError> {
        let lengths = publication.lengths();
        let payload = self.inflater.inflate(compressed, lengths.most)?;
        let found = payload.len() as u64;
        if !lengths.fit(found, true) {
            let expected = lengths;
            return Err(DeliveryError::Length { found, expected });
        }
        let (head, filler) = payload.split_at(publication.head_len);
        let (at, len) = (head.len(), filler.len());
        let Some(stamp) = publication.stamp(head) else {
            // Somebody else's, if it could be of a run of the same flags.
            return Err(if publication.has(filler) {
                DeliveryError::Foreign
            } else {
                DeliveryError::Content { at, len }
            });
        };
        let body = publication.body(&stamp);
        let expected = Lengths::exactly(publication.payload_len(body));
        if !expected.fit(found, true) {
            return Err(DeliveryError::Length { found, expected });
        }
        if filler != publication.filler(body, at, len) {
            return Err(DeliveryError::Content { at, len });
        }
        Ok((stamp, payload.len()))
    }
}
