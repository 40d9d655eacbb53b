//! The bytes of a message, put together from pieces.

use corecast_simd::TextBuf;

use super::shared::Shared;
use crate::error::ProtocolError;

/// Smallest buffer that is worth allocating, so that a dribbled message does not start with a
/// series of tiny ones. Never more than the message still needs.
const MIN_BUFFER: usize = 64;

/// A message so far: text validated, anything else as it came.
#[derive(Debug)]
pub(super) struct Payload {
    data: Data,
    /// Bytes that `data` can hold without growing.
    capacity: usize,
}

#[derive(Debug)]
enum Data {
    Text(TextBuf),
    Binary(Vec<u8>),
}

/// A whole message.
#[derive(Debug)]
pub(super) enum Whole {
    Text(String),
    Binary(Vec<u8>),
}

impl Payload {
    pub(super) fn text() -> Self {
        Self::new(Data::Text(TextBuf::default()))
    }

    pub(super) fn binary() -> Self {
        Self::new(Data::Binary(Vec::new()))
    }

    fn new(data: Data) -> Self {
        Self { data, capacity: 0 }
    }

    pub(super) fn len(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Bytes of heap.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends a piece, unmasked with the key from the phase on that `mask` gives; text fails at the first
    /// byte that cannot be UTF-8 any more (§8.1).
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mask: Option<([u8; 4], usize)>,
    ) -> Result<(), ProtocolError> {
        match &mut self.data {
            Data::Text(text) => text
                .push(piece, mask)
                .map_err(|_| ProtocolError::InvalidUtf8),
            Data::Binary(bytes) => {
                match mask {
                    Some((key, phase)) => {
                        corecast_simd::unmask_append(bytes, piece, key, phase);
                    }
                    None => bytes.extend_from_slice(piece),
                }
                Ok(())
            }
        }
    }

    /// Makes room for `more` bytes by doubling: what is held follows what has arrived, never what a header
    /// announces. `ceiling` is what the payload will have at most.
    pub(super) fn make_room(&mut self, more: usize, ceiling: u64, shared: &mut Shared) {
        if self.capacity == 0 {
            self.start_with(shared.take_spare(more));
        }
        let len = self.len();
        let needed = len + more;
        if needed <= self.capacity {
            return;
        }
        let ceiling = usize::try_from(ceiling).unwrap_or(usize::MAX);
        let doubled = (self.capacity * 2).max(MIN_BUFFER);
        self.capacity = needed.max(doubled.min(ceiling));
        match &mut self.data {
            Data::Text(text) => text.reserve(self.capacity - len),
            Data::Binary(bytes) => bytes.reserve_exact(self.capacity - len),
        }
    }

    /// Puts an empty buffer in place of that of an empty payload.
    pub(super) fn start_with(&mut self, buffer: Vec<u8>) {
        self.capacity = buffer.capacity();
        match &mut self.data {
            Data::Text(text) => *text = TextBuf::with_buffer(buffer),
            Data::Binary(bytes) => *bytes = buffer,
        }
    }

    /// The whole message; text fails when it ends in mid-character.
    pub(super) fn finish(self) -> Result<Whole, ProtocolError> {
        match self.data {
            Data::Text(text) => match text.finish() {
                Ok(text) => Ok(Whole::Text(text)),
                Err(_) => Err(ProtocolError::InvalidUtf8),
            },
            Data::Binary(bytes) => Ok(Whole::Binary(bytes)),
        }
    }
}
