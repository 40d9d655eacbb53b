//! UTF-8 validation of whole payloads and across pieces (RFC 3629; RFC 6455 §8.1).
#![allow(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::str;

use crate::unmask::unmask_is_ascii;

/// The bytes are not UTF-8, or end within a sequence. In a text message the answer to it is close
/// code 1007 (RFC 6455 §7.4.1, §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text is not valid UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// Unmasks a whole text payload in place and lends it as a string.
///
/// ASCII is recognised while unmasking and skips the UTF-8 pass.
///
/// # Errors
/// [`InvalidUtf8`]; `data` is unmasked all the same.
#[inline]
pub fn unmask_text(data: &mut [u8], key: [u8; 4]) -> Result<&str, InvalidUtf8> {
    if unmask_is_ascii(data, key, 0) {
        // SAFETY: ASCII is UTF-8.
        return Ok(unsafe { str::from_utf8_unchecked(data) });
    }
    validate(data)
}

/// Lends a whole payload, not masked, as a string.
///
/// # Errors
/// [`InvalidUtf8`].
#[inline]
pub fn validate(data: &[u8]) -> Result<&str, InvalidUtf8> {
    simdutf8::basic::from_utf8(data).map_err(|_| InvalidUtf8)
}

/// UTF-8 validation that continues across pieces, cut anywhere, and fails at the first byte after
/// which the text can no longer become valid, in the middle of a sequence too (RFC 6455 §8.1; the
/// fail-fast cases of the Autobahn suite).
///
/// It keeps only the sequence that the last piece left open.
///
/// ```
/// # use corecast_simd::{InvalidUtf8, Utf8Stream};
/// let mut text = Utf8Stream::default();
/// text.push(b"\xE2\x82")?;
/// assert!(!text.is_complete());
/// assert_eq!(text.push(b"!"), Err(InvalidUtf8)); // leaves the stream as it was
/// text.push(b"\xAC")?;
/// assert!(text.is_complete());
/// # Ok::<(), InvalidUtf8>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Stream {
    /// The first `len` bytes are the beginning of a sequence that can still become valid.
    open: [u8; LONGEST_OPEN],
    len: u8,
}

/// The longest sequence has four bytes (RFC 3629 §3); what is open lacks at least one of them.
const LONGEST_OPEN: usize = 3;

impl Utf8Stream {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    /// [`InvalidUtf8`] if no continuation can make the text valid; the stream is then as if
    /// the piece had not been pushed.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), InvalidUtf8> {
        let (open, rest) = match self.is_complete() {
            true => (Self::default(), piece),
            false => self.close_open(piece)?,
        };
        *self = if rest.is_empty() {
            open
        } else {
            Self::scan(rest)?
        };
        Ok(())
    }

    /// Whether the text so far ends with a whole sequence, so that it may end here.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.len == 0
    }

    /// Completes the open sequence from the beginning of `piece`. Returns the sequence that is
    /// still open then, and the rest of the piece: at most one of them is not empty.
    fn close_open<'p>(&self, piece: &'p [u8]) -> Result<(Self, &'p [u8]), InvalidUtf8> {
        let mut sequence = [0; LONGEST_OPEN + 1];
        let mut len = usize::from(self.len);
        sequence[..len].copy_from_slice(&self.open[..len]);
        let mut rest = piece;
        while len > 0
            && let Some((&byte, after)) = rest.split_first()
        {
            sequence[len] = byte;
            len = Self::scan(&sequence[..=len])?.len.into();
            rest = after;
        }
        Ok((Self::holding(&sequence[..len]), rest))
    }

    /// Validates a piece that starts at a sequence boundary.
    fn scan(piece: &[u8]) -> Result<Self, InvalidUtf8> {
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(Self::default()),
            Err(error) if error.error_len().is_some() => Err(InvalidUtf8),
            Err(error) => Ok(Self::holding(&piece[error.valid_up_to()..])),
        }
    }

    fn holding(bytes: &[u8]) -> Self {
        let mut open = [0; LONGEST_OPEN];
        open[..bytes.len()].copy_from_slice(bytes);
        Self {
            open,
            len: bytes.len() as u8,
        }
    }
}
