//! permessage-deflate without context takeover (RFC 7692 §7), as the harness needs it: messages are compressed
//! whole, and one that comes byte for byte as it came before is not inflated again.
//!
//! A thousand subscribers receive the same compressed message, and an echo without context compresses the same payload to the
//! same bytes. So a payload is compared where it lies in the receive buffer with what was last verified, and assembled and
//! inflated only when it differs: receiving costs what it costs without compression.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use corecast_protocol::Header;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends the compressed data of every message, and is left out on the wire (§7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// zlib's default.
const LEVEL: u32 = 6;

/// Compressed bytes of a message of `len` bytes at most. A hasty compressor that knows only fixed codes makes 9 bits of a byte
/// that does not compress (RFC 1951 §3.2.6), and a flush takes a few bytes; beyond this bound a server does something strange.
pub(crate) const fn bound(len: usize) -> usize {
    len + len / 8 + 64
}

/// Compresses whole messages.
#[derive(Debug)]
pub(crate) struct Deflater {
    state: Compress,
}

impl Deflater {
    /// With no context yet; none is kept.
    pub(crate) fn new() -> Self {
        Self {
            state: Compress::new(Compression::new(LEVEL), false),
        }
    }

    /// The payload of a compressed message (§7.2.1).
    pub(crate) fn compress(&mut self, payload: &[u8]) -> Vec<u8> {
        self.state.reset();
        let mut out = Vec::with_capacity(bound(payload.len()));
        loop {
            let taken = self.state.total_in() as usize;
            let status = self
                .state
                .compress_vec(&payload[taken..], &mut out, FlushCompress::Sync);
            status.expect("nothing that is given to the compressor is invalid");
            // Room that is left says that the flush is complete.
            if out.len() < out.capacity() {
                break;
            }
            out.reserve(64);
        }
        assert!(out.ends_with(&TAIL), "a flush ends with its tail");
        out.truncate(out.len() - TAIL.len());
        out
    }
}

/// Inflates whole messages.
#[derive(Debug)]
pub(crate) struct Inflater {
    state: Decompress,
    out: Vec<u8>,
}

/// A compressed payload is none, or is not of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InflateError {
    /// Not a deflate stream.
    #[error("a compressed message does not inflate")]
    Invalid,
    /// It becomes longer than what was sent.
    #[error("a compressed message inflates to more than {limit} bytes, which it should have")]
    TooLong {
        /// Bytes that were sent.
        limit: usize,
    },
}

impl Inflater {
    /// With no context yet; none is kept.
    pub(crate) fn new() -> Self {
        Self {
            state: Decompress::new(false),
            out: Vec::new(),
        }
    }

    /// The message whose compressed payload this is (§7.2.2), of at most `limit` bytes.
    pub(crate) fn inflate(
        &mut self,
        compressed: &[u8],
        limit: usize,
    ) -> Result<&[u8], InflateError> {
        self.out.clear();
        // One more: a message that fills it is too long.
        self.out.reserve(limit + 1);
        self.state.reset(false);
        for mut piece in [compressed, &TAIL] {
            while !piece.is_empty() {
                let before = (self.state.total_in(), self.out.len());
                let status = self
                    .state
                    .decompress_vec(piece, &mut self.out, FlushDecompress::Sync);
                if self.out.len() > limit {
                    return Err(InflateError::TooLong { limit });
                }
                let taken = (self.state.total_in() - before.0) as usize;
                piece = &piece[taken..];
                match status {
                    // A block that says it is the last, with more behind it (§7.2.3.4).
                    Ok(Status::StreamEnd) => self.state.reset(false),
                    Ok(_) if taken > 0 || self.out.len() > before.1 => {}
                    _ => return Err(InflateError::Invalid),
                }
            }
        }
        Ok(&self.out)
    }
}

/// A compressed payload on its way in, compared with one that is known.
#[derive(Debug)]
pub(crate) struct Incoming<K> {
    /// What it may be, byte for byte.
    known: Option<Rc<K>>,
    /// Bytes of it that came and are the same.
    same: usize,
    /// All that came, once something differs.
    other: Option<Vec<u8>>,
}

/// A whole compressed payload.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived<K> {
    /// The one that was known.
    Known(Rc<K>),
    /// Another one.
    Other(Vec<u8>),
}

impl<K: AsRef<[u8]>> Incoming<K> {
    /// A message begins, which may be `known`.
    #[inline]
    pub(crate) fn new(known: Option<&Rc<K>>) -> Self {
        Self {
            known: known.cloned(),
            same: 0,
            other: None,
        }
    }

    /// Bytes that have come.
    pub(crate) fn len(&self) -> usize {
        self.other.as_ref().map_or(self.same, Vec::len)
    }

    /// The next bytes.
    #[inline]
    pub(crate) fn take(&mut self, piece: &[u8]) {
        if let Some(other) = &mut self.other {
            other.extend_from_slice(piece);
            return;
        }
        let known = bytes(&self.known);
        if known[self.same..].starts_with(piece) {
            self.same += piece.len();
        } else {
            self.other = Some([&known[..self.same], piece].concat());
        }
    }

    /// The message is complete.
    #[inline]
    pub(crate) fn finish(self) -> Arrived<K> {
        match (self.other, self.known) {
            (Some(other), _) => Arrived::Other(other),
            (None, None) => Arrived::Other(Vec::new()),
            (None, Some(known)) if (*known).as_ref().len() == self.same => Arrived::Known(known),
            (None, Some(known)) => Arrived::Other((*known).as_ref()[..self.same].to_vec()),
        }
    }
}

#[inline]
fn bytes<K: AsRef<[u8]>>(known: &Option<Rc<K>>) -> &[u8] {
    known.as_ref().map_or(&[], |known| (**known).as_ref())
}

/// What came on the wire, of all messages of a run: before the measured window, in it, and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireCounts {
    /// Messages that came compressed.
    pub(crate) compressed: u64,
    /// Messages that came as they are.
    pub(crate) uncompressed: u64,
    /// Compressed ones that were inflated; the others were compared with one of these.
    pub(crate) inflated: u64,
    /// Bytes of data frames, headers included.
    pub(crate) wire_bytes: u64,
}

impl WireCounts {
    /// A data frame comes.
    #[inline]
    pub(crate) fn frame(&mut self, header: &Header) {
        let len = u64::from(header.header_len).saturating_add(header.payload_len);
        self.wire_bytes = self.wire_bytes.saturating_add(len);
    }

    /// Messages that came.
    pub(crate) fn messages(&self) -> u64 {
        self.compressed + self.uncompressed
    }

    /// Adds those of another thread.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.compressed += other.compressed;
        self.uncompressed += other.uncompressed;
        self.inflated += other.inflated;
        self.wire_bytes += other.wire_bytes;
    }

    /// Adds those of another thread, one by one; a list may end before the other does.
    pub(crate) fn merge_lists(all: &mut Vec<Self>, others: &[Self]) {
        all.resize(all.len().max(others.len()), Self::default());
        let pairs = all.iter_mut().zip(others);
        pairs.for_each(|(one, other)| one.merge(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::payload;
    use crate::rng::Rng;

    fn json(len: usize) -> Vec<u8> {
        payload::json(&mut Rng::new(1, 0), "{", len)
    }

    #[test]
    fn what_is_compressed_inflates_to_what_it_was() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        let mut random = vec![0; 300_000];
        Rng::new(2, 0).fill(&mut random);
        for payload in [
            vec![],
            vec![7],
            json(256),
            json(1 << 20),
            vec![0; 1 << 20],
            random,
        ] {
            let compressed = deflater.compress(&payload);
            assert!(compressed.len() <= bound(payload.len()));
            assert_eq!(inflater.inflate(&compressed, payload.len()), Ok(&*payload));
        }
    }

    /// RFC 7692 §7.2.3: the examples, with the fixed and the stored block, the final block, and two blocks.
    #[test]
    fn the_examples_of_the_rfc_inflate() {
        let examples: [&[u8]; 4] = [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &[
                0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
            ],
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ];
        for example in examples {
            assert_eq!(Inflater::new().inflate(example, 5), Ok(&b"Hello"[..]));
        }
    }

    #[test]
    fn garbage_and_bombs_are_refused() {
        let mut inflater = Inflater::new();
        assert_eq!(
            inflater.inflate(&[0xff; 20], 100),
            Err(InflateError::Invalid)
        );
        let bomb = Deflater::new().compress(&vec![0; 10 << 20]);
        assert_eq!(
            inflater.inflate(&bomb, 4096),
            Err(InflateError::TooLong { limit: 4096 })
        );
        assert!(inflater.out.capacity() < 10_000, "it stops at the limit");
        // The refused ones leave nothing behind.
        let good = Deflater::new().compress(b"good");
        assert_eq!(inflater.inflate(&good, 4), Ok(&b"good"[..]));
    }

    /// The ratio of real messages, at zlib's default level.
    #[test]
    fn json_compresses_as_real_messages_do() {
        for (len, expected) in [(256, 1.1..2.0), (4096, 3.0..6.0), (65_536, 3.0..6.0)] {
            let ratio = len as f64 / Deflater::new().compress(&json(len)).len() as f64;
            assert!(expected.contains(&ratio), "{len} bytes: {ratio}");
        }
    }

    #[test]
    fn what_is_known_is_recognized_in_any_pieces() {
        let known = Rc::new(b"abcdef".to_vec());
        let arrived = |bytes: &[u8], piece| {
            let mut incoming = Incoming::new(Some(&known));
            bytes.chunks(piece).for_each(|piece| incoming.take(piece));
            assert_eq!(incoming.len(), bytes.len());
            incoming.finish()
        };
        for piece in 1..8 {
            assert_eq!(arrived(b"abcdef", piece), Arrived::Known(Rc::clone(&known)));
            for other in [&b""[..], b"abc", b"abcdefg", b"abcxef", b"xbcdef"] {
                assert_eq!(arrived(other, piece), Arrived::Other(other.to_vec()));
            }
        }
        for bytes in [&b""[..], b"abc"] {
            let mut first = Incoming::<Vec<u8>>::new(None);
            first.take(bytes);
            assert_eq!(first.finish(), Arrived::Other(bytes.to_vec()));
        }
    }
}
