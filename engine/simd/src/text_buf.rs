//! Text put together from pieces.
#![allow(unsafe_code)]

use crate::unmask::unmask_append;
use crate::utf8::{InvalidUtf8, Utf8Stream};

/// Text that arrives in pieces: valid UTF-8 by construction, apart from a sequence that the last
/// piece left open.
///
/// Its memory grows with the bytes that were pushed (as `Vec` does), never ahead of them unless
/// [`reserve`](Self::reserve) asks for it.
#[derive(Debug, Default)]
pub struct TextBuf {
    /// What `stream` has seen, and nothing else: that is what `finish` relies on.
    buffer: Vec<u8>,
    stream: Utf8Stream,
}

impl TextBuf {
    /// Starts an empty text in the memory of a spare buffer, whose contents are dropped.
    pub fn with_buffer(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            buffer,
            stream: Utf8Stream::default(),
        }
    }

    /// Appends a piece, validating it; first unmasks it when a masking key and the key's phase at
    /// the start of the piece are given (0 to 3, as for [`unmask`](crate::unmask)).
    ///
    /// # Errors
    /// [`InvalidUtf8`] if no continuation can make the text valid; the text is then as if the piece
    /// had not been pushed.
    pub fn push(
        &mut self,
        piece: &[u8],
        mask: Option<([u8; 4], usize)>,
    ) -> Result<(), InvalidUtf8> {
        let Some((key, phase)) = mask else {
            self.stream.push(piece)?;
            self.buffer.extend_from_slice(piece);
            return Ok(());
        };
        let start = self.buffer.len();
        let ascii = unmask_append(&mut self.buffer, piece, key, phase);
        if ascii && self.stream.is_complete() {
            return Ok(());
        }
        let checked = self.stream.push(&self.buffer[start..]);
        if checked.is_err() {
            self.buffer.truncate(start);
        }
        checked
    }

    /// Bytes so far, an open sequence included.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no byte was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Makes room for exactly `more` bytes beyond those pushed: memory follows what arrives, and no
    /// further.
    pub fn reserve(&mut self, more: usize) {
        self.buffer.reserve_exact(more);
    }

    /// The whole text, without another pass over it.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if the text ends within a sequence.
    pub fn finish(self) -> Result<String, InvalidUtf8> {
        if !self.stream.is_complete() {
            return Err(InvalidUtf8);
        }
        // SAFETY: `buffer` holds exactly the bytes that `stream` accepted: `push` alone appends,
        // and what it refuses it takes back; ASCII that bypasses `stream` does so only between
        // sequences, where it is valid by itself. `stream` is between sequences now, so the bytes
        // are UTF-8 from start to end.
        Ok(unsafe { String::from_utf8_unchecked(self.buffer) })
    }
}
