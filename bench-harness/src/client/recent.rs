//! The compressed messages that a thread's subscribers have received last.
//!
//! Most messages come to many subscribers, in the same order, as the same bytes. So they are kept in the order in which they
//! first came, and after one of them a subscriber is likely to receive the one behind it.

use std::collections::VecDeque;
use std::rc::Rc;

use super::deflate::{Inflater, WireCounts};
use super::delivery::DeliveryError;
use super::publication::{Publication, Stamp};

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
    inflater: Inflater,
    /// Frames and compressed messages are counted only where messages are compressed.
    pub(crate) counts: WireCounts,
}

/// A compressed message that inflates to one of the run.
#[derive(Debug)]
pub(crate) struct Verified {
    bytes: Vec<u8>,
    /// What it says.
    pub(crate) stamp: Stamp,
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
            inflater: Inflater::new(),
            counts: WireCounts::default(),
        }
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
        self.counts.inflated += 1;
        let stamp = self.verify(&bytes, publication)?;
        let kept = (KEPT_BYTES / publication.payload_len).clamp(1, KEPT);
        if self.messages.len() == kept {
            self.messages.pop_front();
            self.first += 1;
        }
        self.messages.push_back(Rc::new(Verified { bytes, stamp }));
        Ok((self.first + self.messages.len() as u64 - 1, stamp))
    }

    fn verify(
        &mut self,
        compressed: &[u8],
        publication: &Publication,
    ) -> Result<Stamp, DeliveryError> {
        let expected = publication.payload_len;
        let payload = self.inflater.inflate(compressed, expected)?;
        if payload.len() < expected {
            return Err(DeliveryError::Length {
                found: payload.len() as u64,
                expected,
            });
        }
        let (head, filler) = payload.split_at(publication.head_len);
        let (at, len) = (head.len(), filler.len());
        if filler != publication.filler(at, len) {
            return Err(DeliveryError::Content { at, len });
        }
        publication.stamp(head).ok_or(DeliveryError::Foreign)
    }
}
