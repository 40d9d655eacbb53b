//! A core's compressors.

use std::fmt;

use libdeflater::{CompressionLvl, Compressor};
use zlib_rs::Deflate;

use super::context::Context;
use super::seal::seal;
use super::zlib::{self, TAIL};

/// What is shorter has next to nothing that a search would find: libdeflate's fastest way makes it as small as any other.
const SHORT: usize = 320;

/// Of so many bytes libdeflate mostly makes one block, when they are of one kind: the only ones that can be sealed.
const LONGEST_PIECE: usize = 64 << 10;

/// Of fewer bytes libdeflate always makes one block: its blocks have at least half of this.
const ONE_BLOCK: usize = 10_000;

/// The window of libdeflate, which cannot be made smaller. What is no longer than a smaller one refers no further back.
const WIDEST: u8 = 15;

/// What a piece takes at most beyond its length: as stored blocks, for which libdeflate never needs more than one for
/// each [`LONGEST_PIECE`] and one for the rest.
const STORED: usize = 16;

/// From this length on what a message has in common with earlier ones saves less than libdeflate does.
const LONG: usize = 16 << 10;

/// zlib's own choice.
const MEMORY_LEVEL: i32 = 8;

/// Compresses messages: one per core and window size serves every connection.
///
/// Those that need nothing of earlier ones (no context takeover, RFC 7692 §7.1.1) are libdeflate's. It does them in less
/// time than zlib, and at the usual level to fewer bytes. It writes whole streams only, so each is [sealed](seal); long
/// payloads are compressed in pieces of up to 64 KiB. zlib does what cannot be sealed, what is too long for the window, and
/// what refers to earlier messages.
///
/// Each compressor takes its memory when it is first used: libdeflate's for payloads of up to 320 bytes 0.2 MiB, the one for
/// longer ones 0.7 MiB, zlib's 0.2 to 0.4 MiB.
pub struct Deflater {
    level: u8,
    window_bits: u8,
    short: Option<Compressor>,
    long: Option<Compressor>,
    zlib: Option<Deflate>,
}

impl Deflater {
    /// Compresses at `level`, 1 (least work) to 9 (fewest bytes), with references that reach back at most
    /// 2^`window_bits` bytes (9 to 15).
    ///
    /// # Panics
    /// When the level or the window is out of range.
    pub fn new(level: u8, window_bits: u8) -> Self {
        zlib::check(level, window_bits);
        Self {
            level,
            window_bits,
            short: None,
            long: None,
            zlib: None,
        }
    }

    /// Appends the payload compressed as §7.2.1 says: a sync flush, whose tail `00 00 ff ff` is left out.
    ///
    /// `false`, and `out` is as it was, when that would not be shorter than the payload.
    pub fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let fits = !payload.is_empty() && self.append(payload, out, start + payload.len() - 1);
        if !fits {
            out.truncate(start);
        }
        fits
    }

    /// The same for a message that may refer to what the connection was sent before. The context has it then, so it must
    /// be sent, or [`Context::forget`] be called.
    ///
    /// `false`, and neither `out` nor the context has changed, when that would not be shorter than the payload.
    pub fn deflate_with(
        &mut self,
        context: &mut Context,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        let is_long = payload.len() >= LONG && self.window_bits == WIDEST;
        let fits = if context.sent().is_empty() || is_long {
            self.deflate(payload, out)
        } else {
            self.append_by_zlib(context.sent(), payload, out);
            out.len() - start < payload.len()
        };
        if fits {
            context.remember(payload, self.window_bits);
        } else {
            out.truncate(start);
        }
        fits
    }

    /// Appends the payload in as many pieces as it takes; `out` may grow to `limit`.
    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>, limit: usize) -> bool {
        if payload.len() > 1 << self.window_bits && self.window_bits < WIDEST {
            self.append_by_zlib(&[], payload, out);
            return out.len() <= limit;
        }
        let pieces = payload.len().div_ceil(LONGEST_PIECE);
        if pieces > 1 {
            return self.append_pieces(payload, pieces, out, limit);
        }
        match self.append_whole(payload, out, limit) {
            Whole::Appended => true,
            Whole::TooLong => false,
            // Of half as much it may make one block.
            Whole::NotSealed if payload.len() >= ONE_BLOCK => {
                self.append_pieces(payload, 2, out, limit)
            }
            Whole::NotSealed => {
                self.append_by_zlib(&[], payload, out);
                out.len() <= limit
            }
        }
    }

    fn append_pieces(
        &mut self,
        payload: &[u8],
        pieces: usize,
        out: &mut Vec<u8>,
        limit: usize,
    ) -> bool {
        for (index, piece) in payload.chunks(payload.len().div_ceil(pieces)).enumerate() {
            if index > 0 {
                out.extend(TAIL);
            }
            if !self.append(piece, out, limit) {
                return false;
            }
        }
        true
    }

    /// One stream of libdeflate's, sealed.
    fn append_whole(&mut self, payload: &[u8], out: &mut Vec<u8>, limit: usize) -> Whole {
        let start = out.len();
        out.resize(limit.min(start + payload.len() + STORED).max(start), 0);
        let compressor = self.compressor(payload.len());
        let Ok(length) = compressor.deflate_compress(payload, &mut out[start..]) else {
            out.truncate(start);
            return Whole::TooLong;
        };
        out.truncate(start + length);
        if !seal(out, start) {
            out.truncate(start);
            return Whole::NotSealed;
        }
        if out.len() > limit {
            return Whole::TooLong;
        }
        Whole::Appended
    }

    fn compressor(&mut self, payload: usize) -> &mut Compressor {
        let (compressor, level) = if payload <= SHORT {
            (&mut self.short, 1)
        } else {
            // One level below zlib's comes nearest to its bytes; for 6 it makes fewer.
            (&mut self.long, i32::from(self.level).max(2) - 1)
        };
        compressor.get_or_insert_with(|| {
            let level = CompressionLvl::new(level).expect("libdeflate has levels 1 to 12");
            Compressor::new(level)
        })
    }

    /// A flushed stream of zlib's, as what comes after `before`.
    fn append_by_zlib(&mut self, before: &[u8], payload: &[u8], out: &mut Vec<u8>) {
        let stream = self
            .zlib
            .get_or_insert_with(|| zlib::stream(self.level, self.window_bits, MEMORY_LEVEL));
        stream.reset();
        if !before.is_empty() {
            stream
                .set_dictionary(before)
                .expect("a raw stream takes one before its data");
        }
        zlib::append(stream, payload, out);
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

/// How it went with a payload in one piece. Unless it was appended, what `out` has of it is to be cut off.
enum Whole {
    Appended,
    /// It does not fit.
    TooLong,
    /// It fits, but others could not follow.
    NotSealed,
}
