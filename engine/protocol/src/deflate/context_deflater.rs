//! Messages that are compressed with what earlier ones have in common with them.

use std::fmt;

use zlib_rs::Deflate;

use super::zlib;

/// zlib's own choice.
const MEMORY_LEVEL: i32 = 8;

/// Everything else that a stream takes, with what aligns it.
const STATE: usize = 3_200;

/// Compresses one connection's messages, each with what earlier ones have in common with it (context takeover,
/// RFC 7692 §7.1.1).
pub struct ContextDeflater {
    stream: Deflate,
}

impl ContextDeflater {
    /// Compresses at `level` (1 to 9), with references that reach back at most 2^`window_bits` bytes (9 to 15).
    ///
    /// # Panics
    /// When the level or the window is out of range.
    pub fn new(level: u8, window_bits: u8) -> Self {
        Self {
            stream: zlib::stream(level, window_bits, MEMORY_LEVEL),
        }
    }

    /// Appends the payload compressed as §7.2.1 says, however long that is: the context has moved on, so the message
    /// must be sent, or [`forget`](Self::forget) be called.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        if payload.is_empty() {
            // The block of a flush that has nothing to flush (§7.2.3.6); zlib makes none after another flush.
            out.push(0);
            return;
        }
        zlib::append(&mut self.stream, payload, out);
    }

    /// How many bytes it takes beside itself, with a window of so many bits.
    #[must_use]
    pub const fn memory(window_bits: u8) -> usize {
        // Twice the window, and two bytes for each of its; a table of 2^16 hashes; seven bytes for each symbol of a block.
        (4 << window_bits) + (2 << 16) + 7 * (64 << MEMORY_LEVEL) + STATE
    }

    /// The next message refers to nothing earlier.
    pub fn forget(&mut self) {
        self.stream.reset();
    }
}

impl fmt::Debug for ContextDeflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextDeflater").finish_non_exhaustive()
    }
}
