//! Inflating in bounded steps (RFC 7692 §7.2.2).

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use crate::error::ProtocolError;

/// What follows the payload of a message for inflating: the four bytes that its sender took away (§7.2.1), then an empty
/// final block. That makes the end of the message the end of a stream, so that data which ends in mid-block is found out.
pub(crate) const TAIL: [u8; 9] = [0, 0, 0xFF, 0xFF, 1, 0, 0, 0xFF, 0xFF];

/// Bytes that one step makes at most.
pub(crate) const STEP_OUTPUT: usize = 64 << 10;

/// Bytes that one step reads at most. Blocks need not make anything: the dearest are nothing but a Huffman code (32 bytes;
/// a byte of them is 30 times the work of an ordinary one), so a bound for the output alone would bound nothing.
pub(crate) const STEP_INPUT: usize = 16 << 10;

/// Heap of an [`Inflater`] at most, rounded up: zlib-rs takes all of it at once, whatever the window.
pub(crate) const INFLATER_BYTES: usize = 48 << 10;

/// The largest window, in bits (§7.1.2).
const MAX_WINDOW_BITS: u8 = 15;

/// Inflates one message after the other, each in as many steps as it takes.
///
/// It keeps nothing from one message to the next, so one serves all connections; what a message may refer to in earlier
/// ones is in the connection's [`Window`].
pub(crate) struct Inflater {
    stream: Inflate,
}

/// What a step has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes read.
    pub(crate) read: usize,
    /// Bytes made.
    pub(crate) made: usize,
    /// Of those, where the last stream that began in this step begins: nothing after refers to anything before.
    pub(crate) restart: Option<usize>,
    /// Whether the message is whole.
    pub(crate) whole: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            stream: Inflate::new(false, MAX_WINDOW_BITS),
        }
    }

    /// The next step is the first of a message, which may refer to what is in the window.
    pub(crate) fn begin(&mut self, window: Option<&Window>) {
        self.stream.reset(false);
        let parts = window.iter().flat_map(|window| window.parts());
        for part in parts.filter(|part| !part.is_empty()) {
            let accepted = self.stream.set_dictionary(part);
            assert!(accepted.is_ok(), "a raw stream takes a dictionary any time");
        }
    }

    /// Inflates what is left of a message, with [`TAIL`] behind it, until `out` is full, [`STEP_INPUT`] is reached, or
    /// the message is whole.
    ///
    /// A final block ends its stream (§7.2.3.4); another begins behind it, or the message ends there. That the sender
    /// then owes an empty block is overlooked, as other receivers do: nothing is missing.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidDeflate`].
    pub(crate) fn step(&mut self, rest: &[u8], out: &mut [u8]) -> Result<Step, ProtocolError> {
        let piece = &rest[..rest.len().min(STEP_INPUT)];
        let mut step = Step {
            read: 0,
            made: 0,
            restart: None,
            whole: false,
        };
        while self.stream_ends(piece, out, &mut step)? {
            let after = &rest[step.read..];
            if after.is_empty() || after == TAIL {
                step.whole = true;
                return Ok(step);
            }
            self.stream.reset(false);
            step.restart = Some(step.made);
        }
        let starved = step.made < out.len();
        if starved && (step.read < piece.len() || piece.len() == rest.len()) {
            return Err(ProtocolError::InvalidDeflate);
        }
        Ok(step)
    }

    /// Goes on to the end of the stream (`true`), of `piece`, or of `out`.
    fn stream_ends(
        &mut self,
        piece: &[u8],
        out: &mut [u8],
        step: &mut Step,
    ) -> Result<bool, ProtocolError> {
        let (read, made) = (self.stream.total_in(), self.stream.total_out());
        let status = self
            .stream
            .decompress(
                &piece[step.read..],
                &mut out[step.made..],
                InflateFlush::NoFlush,
            )
            .map_err(|_| ProtocolError::InvalidDeflate)?;
        step.read += (self.stream.total_in() - read) as usize;
        step.made += (self.stream.total_out() - made) as usize;
        Ok(status == Status::StreamEnd)
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

/// The end of what a peer has sent, to which its next message may refer (context takeover, §7.1.1).
///
/// Its memory follows what has been pushed, up to the window's size.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    /// A ring once it has `size` bytes.
    bytes: Vec<u8>,
    /// Where the oldest byte is, in a ring.
    oldest: usize,
    /// Bytes at most.
    size: usize,
}

impl Window {
    /// The smallest window. Compressors of the zlib family that are told to use 8 bits use 9.
    const MIN_BITS: u8 = 9;

    /// An empty window that will hold 2^`bits` bytes.
    ///
    /// # Panics
    /// When `bits` is not in 8..=15 (§7.1.2).
    pub(crate) fn new(bits: u8) -> Self {
        assert!(
            (8..=MAX_WINDOW_BITS).contains(&bits),
            "{bits} window bits are not in 8..=15"
        );
        Self {
            bytes: Vec::new(),
            oldest: 0,
            size: 1 << bits.max(Self::MIN_BITS),
        }
    }

    /// Keeps the end of what a step made.
    pub(crate) fn remember(&mut self, step: &Step, made: &[u8]) {
        if step.restart.is_some() {
            self.bytes.clear();
            self.oldest = 0;
        }
        let made = &made[step.restart.unwrap_or(0)..];
        self.push(&made[made.len().saturating_sub(self.size)..]);
    }

    /// Appends at most as much as fits into the window.
    fn push(&mut self, made: &[u8]) {
        let (fill, over) = made.split_at(made.len().min(self.size - self.bytes.len()));
        self.make_room(fill.len());
        self.bytes.extend_from_slice(fill);
        let (right, left) = over.split_at(over.len().min(self.size - self.oldest));
        self.bytes[self.oldest..][..right.len()].copy_from_slice(right);
        self.bytes[..left.len()].copy_from_slice(left);
        self.oldest = (self.oldest + over.len()) % self.size;
    }

    fn make_room(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let doubled = (self.bytes.capacity() * 2).min(self.size);
            self.bytes
                .reserve_exact(needed.max(doubled) - self.bytes.len());
        }
    }

    /// What is kept, the older part first.
    fn parts(&self) -> [&[u8]; 2] {
        let (left, right) = self.bytes.split_at(self.oldest);
        [right, left]
    }

    /// Bytes of heap, the window's own box included.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }
}
