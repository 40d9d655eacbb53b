//! What all receivers of a core share: role, limits, spare buffers, and what inflating takes.

use super::inflation::InflatePool;
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode, RSV1};

/// Which side of the connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Frames come in masked (§5.1).
    Server,
    /// Frames come in unmasked (§5.1).
    Client,
}

/// What a peer may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Payload bytes of one data frame; more is answered with 1009 as soon as the header is read. A compressed one may
    /// have an eighth and 256 bytes more, since compression adds to what cannot be compressed.
    pub max_frame: u64,
    /// Payload bytes of one message over all its fragments; more is answered with 1009. Of a compressed one: bytes that it
    /// inflates to, which count while they are made; compressed it may have as much more as a frame may.
    pub max_message: u64,
    /// Data frames of one message; more is answered with 1008.
    pub max_fragments: u32,
    /// Bytes that a compressed message may inflate to, for each byte that came in; more is answered with 1009. Does not
    /// count for the first 1 MiB of a message.
    pub max_inflation: u32,
}

impl Limits {
    /// 16 MiB: what conformance suites send at most, and far above what applications that do not
    /// transfer files exchange. It bounds the memory that one connection can tie up.
    pub const DEFAULT_MAX_MESSAGE: u64 = 16 << 20;

    /// 131,072: a stream may cut a message into 65,536 fragments and more, but must not go on
    /// with empty fragments for ever, which no limit in bytes would end.
    pub const DEFAULT_MAX_FRAGMENTS: u32 = 1 << 17;

    /// 256: repetitive text comes to some 20 to 100; deflate can do 1,032.
    pub const DEFAULT_MAX_INFLATION: u32 = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A message in one frame is the usual case: a lower limit would only surprise.
            max_frame: Self::DEFAULT_MAX_MESSAGE,
            max_message: Self::DEFAULT_MAX_MESSAGE,
            max_fragments: Self::DEFAULT_MAX_FRAGMENTS,
            max_inflation: Self::DEFAULT_MAX_INFLATION,
        }
    }
}

/// What all receivers of one core share.
///
/// The spare buffers let large messages that arrive in pieces reuse memory instead of growing
/// a fresh buffer each time.
#[derive(Debug)]
pub struct Shared {
    /// Which side of the connection we are.
    pub role: Role,
    /// What a peer may make us hold.
    pub limits: Limits,
    spares: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Made when the first compressed message comes.
    pool: Option<Box<InflatePool>>,
}

/// What a message has gathered before the frame at hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) fragments: u32,
    pub(super) compressed: bool,
}

/// Spare buffers kept at most. Finding one is a scan, and more messages than this are
/// seldom in mid-assembly on one core.
const MAX_SPARES: usize = 16;

/// Bytes of spare buffers kept at most: one message at the default limit.
const MAX_SPARE_BYTES: usize = Limits::DEFAULT_MAX_MESSAGE as usize;

/// Smaller buffers are not worth keeping: the allocator hands them out as fast.
const MIN_SPARE: usize = 4 << 10;

/// A spare is used only for a message whose first piece is at least this part of it. So a peer
/// that announces much and sends little ties up at most this many times what it has sent.
const MAX_SPARE_PER_BYTE: usize = 16;

impl Shared {
    /// No spare buffers yet.
    #[must_use]
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            spares: Vec::new(),
            spare_bytes: 0,
            pool: None,
        }
    }

    /// Takes back the buffer of an assembled message, to be used again. Too small ones, and what
    /// is beyond 16 buffers or 16 MiB in all, are freed.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity >= MIN_SPARE
            && self.spares.len() < MAX_SPARES
            && self.spare_bytes + capacity <= MAX_SPARE_BYTES
        {
            self.spare_bytes += capacity;
            self.spares.push(buffer);
        }
    }

    /// Frees the spare buffers, and what inflating takes while no message is being inflated. They are kept for speed
    /// alone, and a small one may be all that is left of a large page of the allocator, which then cannot be given back.
    pub fn release_spares(&mut self) {
        self.spares = Vec::new();
        self.spare_bytes = 0;
        if let Some(pool) = &mut self.pool {
            pool.release();
        }
    }

    /// Bytes of spare buffers, for memory accounting.
    #[must_use]
    pub fn spare_bytes(&self) -> usize {
        self.spare_bytes
    }

    /// Bytes that are kept for inflating, for memory accounting: none before the first compressed message, then at most
    /// 180 KiB.
    #[must_use]
    pub fn inflate_bytes(&self) -> usize {
        self.pool.as_ref().map_or(0, |pool| pool.heap_bytes())
    }

    /// What inflating takes.
    pub(super) fn pool(&mut self) -> &mut InflatePool {
        self.pool.get_or_insert_default()
    }

    /// The same, to be [given back](Self::return_pool).
    pub(super) fn lend_pool(&mut self) -> Box<InflatePool> {
        self.pool.take().unwrap_or_default()
    }

    pub(super) fn return_pool(&mut self, pool: Box<InflatePool>) {
        self.pool = Some(pool);
    }

    /// A buffer for a whole message of `len` bytes: the smallest spare that has room for it without being many times
    /// too large, or a new one.
    pub(super) fn take_fitting(&mut self, len: usize) -> Vec<u8> {
        let allowed = len.saturating_mul(MAX_SPARE_PER_BYTE);
        if allowed < MIN_SPARE {
            return Vec::with_capacity(len);
        }
        let capacity = |index: usize| self.spares[index].capacity();
        let best = (0..self.spares.len())
            .filter(|&index| (len..=allowed).contains(&capacity(index)))
            .min_by_key(|&index| capacity(index));
        best.map_or_else(|| Vec::with_capacity(len), |index| self.spare(index))
    }

    /// A buffer for a message of which `piece` bytes are here: the largest spare that these
    /// justify, or a new one.
    pub(super) fn take_spare(&mut self, piece: usize) -> Vec<u8> {
        let allowed = piece.saturating_mul(MAX_SPARE_PER_BYTE);
        let best = (0..self.spares.len())
            .filter(|&index| self.spares[index].capacity() <= allowed)
            .max_by_key(|&index| self.spares[index].capacity());
        best.map_or_else(Vec::new, |index| self.spare(index))
    }

    fn spare(&mut self, index: usize) -> Vec<u8> {
        let mut buffer = self.spares.swap_remove(index);
        self.spare_bytes -= buffer.capacity();
        buffer.clear();
        buffer
    }

    /// Whether a frame may come now: masking, reserved bits, sequence, and limits. `message` is
    /// the progress of the fragmented message in which the frame stands, if any; `inflates` says whether messages may be
    /// compressed.
    #[inline]
    pub(super) fn check(
        &self,
        header: &Header,
        message: Option<Progress>,
        inflates: bool,
    ) -> Result<(), ProtocolError> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::MaskMissing),
            (Role::Client, Some(_)) => return Err(ProtocolError::MaskForbidden),
            _ => {}
        }
        if header.rsv != 0 && !(inflates && begins_compressed(header)) {
            return Err(ProtocolError::ReservedBits(header.rsv));
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let continues = header.opcode == Opcode::Continuation;
        let so_far = match message {
            None if continues => return Err(ProtocolError::OrphanContinuation),
            Some(_) if !continues => return Err(ProtocolError::NestedMessage),
            progress => progress.unwrap_or_default(),
        };
        if header.rsv != 0 || so_far.compressed {
            return self
                .limits
                .for_compressed()
                .check(header.payload_len, so_far);
        }
        self.limits.check(header.payload_len, so_far)
    }
}

/// RSV1 says that a message is compressed. It stands on the first frame alone, and on no control frame (RFC 7692 §6).
pub(super) fn begins_compressed(header: &Header) -> bool {
    header.rsv == RSV1 && matches!(header.opcode, Opcode::Text | Opcode::Binary)
}

impl Limits {
    /// Limits for the compressed bytes of messages that may be within the limits when they are inflated. The eighth is for
    /// compressors of little memory, which cut what they cannot compress into small blocks.
    pub(super) fn for_compressed(&self) -> Self {
        let widened = |bytes: u64| bytes.saturating_add(bytes / 8).saturating_add(256);
        Self {
            max_frame: widened(self.max_frame),
            max_message: widened(self.max_message),
            ..*self
        }
    }

    #[inline]
    fn check(&self, payload_len: u64, so_far: Progress) -> Result<(), ProtocolError> {
        if payload_len > self.max_frame {
            return Err(ProtocolError::FrameTooBig {
                announced: payload_len,
                limit: self.max_frame,
            });
        }
        let announced = so_far.bytes.saturating_add(payload_len);
        if announced > self.max_message {
            return Err(ProtocolError::MessageTooBig {
                announced,
                limit: self.max_message,
            });
        }
        if so_far.fragments >= self.max_fragments {
            return Err(ProtocolError::TooManyFragments {
                limit: self.max_fragments,
            });
        }
        Ok(())
    }
}
