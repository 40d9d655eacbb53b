//! What publishers send: a stamp that says whose message it is and when it was due, and filler
//! that is the same in every message of a run.

use corecast_protocol::{Header, Opcode};

use crate::clock::Nanos;
use crate::rng::Rng;

/// The first bytes of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the publisher within the run.
    pub(crate) publisher: u32,
    /// The publisher's messages are numbered from 0.
    pub(crate) number: u32,
    /// When the message was due; in a closed loop, when it was sent.
    pub(crate) due: Nanos,
    /// When it was really sent.
    pub(crate) sent: Nanos,
}

/// Bytes of a stamp: the run's tag, publisher, number, due and sent times.
pub(crate) const STAMP_LEN: usize = 28;

/// The messages of a run, but for their stamps.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Payload bytes of a message.
    pub(crate) payload_len: usize,
    /// Bytes of a message on the wire, publisher to server.
    pub(crate) frame_len: usize,
    /// Drawn for the run: messages of somebody else on the same topic do not carry it.
    tag: u32,
    key: [u8; 4],
    header: Header,
    /// All of a payload behind the stamp.
    filler: Vec<u8>,
    /// The same, masked.
    masked: Vec<u8>,
}

impl Publication {
    /// Messages of `payload_len` bytes, at least [`STAMP_LEN`].
    pub(crate) fn new(payload_len: usize, seed: u64) -> Self {
        assert!(payload_len >= STAMP_LEN);
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let mut filler = vec![0; payload_len - STAMP_LEN];
        rng.fill(&mut filler);
        let header = Header::new(Opcode::Binary, Some(key), payload_len);
        Self {
            payload_len,
            frame_len: usize::from(header.header_len) + payload_len,
            // Two runs at one server must not take each other's messages for their own.
            tag: rng.next_u64() as u32 ^ std::process::id(),
            key,
            header,
            masked: masked(&filler, key, STAMP_LEN),
            filler,
        }
    }

    /// Appends the frame that carries `stamp`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, stamp: &Stamp) {
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&masked(&self.stamp_bytes(stamp), self.key, 0));
        out.extend_from_slice(&self.masked);
    }

    /// The stamp in the first bytes of a payload; `None` for a message of another run.
    #[inline]
    pub(crate) fn stamp(&self, bytes: &[u8; STAMP_LEN]) -> Option<Stamp> {
        let short = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at| u64::from(short(at)) | u64::from(short(at + 4)) << 32;
        (short(0) == self.tag).then(|| Stamp {
            publisher: short(4),
            number: short(8),
            due: long(12),
            sent: long(20),
        })
    }

    /// What follows the stamp, from payload byte `at` on.
    #[inline]
    pub(crate) fn filler(&self, at: usize, len: usize) -> &[u8] {
        &self.filler[at - STAMP_LEN..][..len]
    }

    fn stamp_bytes(&self, stamp: &Stamp) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..4].copy_from_slice(&self.tag.to_le_bytes());
        bytes[4..8].copy_from_slice(&stamp.publisher.to_le_bytes());
        bytes[8..12].copy_from_slice(&stamp.number.to_le_bytes());
        bytes[12..20].copy_from_slice(&stamp.due.to_le_bytes());
        bytes[20..].copy_from_slice(&stamp.sent.to_le_bytes());
        bytes
    }
}

/// Payload bytes from offset `at` on, masked (RFC 6455 §5.3).
fn masked(bytes: &[u8], key: [u8; 4], at: usize) -> Vec<u8> {
    let keyed = |(n, &byte): (usize, &u8)| byte ^ key[(at + n) % 4];
    bytes.iter().enumerate().map(keyed).collect()
}
