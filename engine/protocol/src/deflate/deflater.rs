//! Messages that are compressed without context.

use std::fmt;

use zlib_rs::Deflate;

use super::zlib;

/// zlib's own choice.
const MEMORY_LEVEL: i32 = 8;

/// Compresses messages that need nothing of earlier ones (no context takeover, RFC 7692 §7.1.1): one per core and
/// window size serves every connection.
pub struct Deflater {
    level: u8,
    window_bits: u8,
    /// Taken when first used.
    stream: Option<Deflate>,
}

impl Deflater {
    /// Compresses at `level` (1 to 9), with references that reach back at most 2^`window_bits` bytes (9 to 15).
    ///
    /// # Panics
    /// When the level or the window is out of range.
    pub fn new(level: u8, window_bits: u8) -> Self {
        assert!((1..=9).contains(&level), "level {level} is not in 1..=9");
        assert!(
            (9..=15).contains(&window_bits),
            "{window_bits} window bits are not in 9..=15"
        );
        Self {
            level,
            window_bits,
            stream: None,
        }
    }

    /// Appends the payload compressed as §7.2.1 says: a sync flush, whose tail `00 00 ff ff` is left out.
    ///
    /// `false`, and `out` is as it was, when that would not be shorter than the payload.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(limit) = payload.len().checked_sub(1) else {
            return false;
        };
        let stream = self
            .stream
            .get_or_insert_with(|| zlib::stream(self.level, self.window_bits, MEMORY_LEVEL));
        stream.reset();
        zlib::append(stream, payload, out, limit)
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater")
            .field("level", &self.level)
            .field("window_bits", &self.window_bits)
            .finish_non_exhaustive()
    }
}
