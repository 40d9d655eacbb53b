//! What a peer's compressor makes (RFC 7692 §7.2.1), by a library that is not under test.

use flate2::{Compress, Compression, FlushCompress};

use super::*;
use crate::frame::RSV1;

/// The four bytes that a sender takes away (§7.2.1).
const FLUSH_TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

pub(super) struct Compressor {
    stream: Compress,
    keeps_context: bool,
}

impl Compressor {
    pub(super) fn new(level: u32, inflation: Inflation) -> Self {
        let (bits, keeps_context) = match inflation {
            Inflation::Context { window_bits } => (window_bits.max(9), true),
            Inflation::Off | Inflation::Whole => (15, false),
        };
        Self {
            stream: Compress::new_with_window_bits(Compression::new(level), false, bits),
            keeps_context,
        }
    }

    /// The payload of a message.
    pub(super) fn message(&mut self, data: &[u8]) -> Vec<u8> {
        self.message_in_pieces([data])
    }

    /// The payload of a message, flushed after each piece.
    pub(super) fn message_in_pieces<'d>(
        &mut self,
        pieces: impl IntoIterator<Item = &'d [u8]>,
    ) -> Vec<u8> {
        if !self.keeps_context {
            self.stream.reset();
        }
        let mut out = Vec::new();
        for piece in pieces {
            self.compress(piece, FlushCompress::Sync, &mut out);
        }
        // zlib makes nothing of a flush right after a flush.
        let payload = out.strip_suffix(FLUSH_TAIL).unwrap_or(&[0]);
        payload.to_vec()
    }

    /// The payload of a message whose last block is final (§7.2.3.4). The next one refers to nothing before.
    pub(super) fn final_message(&mut self, data: &[u8]) -> Vec<u8> {
        if !self.keeps_context {
            self.stream.reset();
        }
        let mut out = Vec::new();
        self.compress(data, FlushCompress::Finish, &mut out);
        self.stream.reset();
        out.push(0);
        out
    }

    fn compress(&mut self, data: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        out.reserve(data.len() + data.len() / 8 + 100);
        let read = self.stream.total_in();
        self.stream.compress_vec(data, out, flush).unwrap();
        assert_eq!(self.stream.total_in() - read, data.len() as u64);
    }
}

/// The first frame of a compressed message, which is also its last if `fin`.
pub(super) fn compressed(opcode: Opcode, fin: bool) -> FrameKind {
    FrameKind {
        fin,
        rsv: RSV1,
        opcode,
    }
}

/// Bytes that no compressor makes shorter.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Text as services send it, no two lines the same.
pub(super) fn json(len: usize) -> Vec<u8> {
    let lines = (0_usize..).map(|id| {
        format!(
            "{{\"id\":{id},\"hash\":{},\"no\":\"№ {id}\"}}\n",
            id * id % 9973
        )
    });
    let mut out = String::new();
    for line in lines {
        if out.len() + line.len() > len {
            break;
        }
        out.push_str(&line);
    }
    let mut out = out.into_bytes();
    out.resize(len, b' ');
    out
}
