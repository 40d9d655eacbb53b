//! What all receivers of a core share: role, limits, and spare buffers.

use crate::error::ProtocolError;
use crate::frame::{Header, Opcode};

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
    /// Payload bytes of one data frame; more is answered with 1009 as soon as the header is read.
    pub max_frame: u64,
    /// Payload bytes of one message over all its fragments; more is answered with 1009.
    pub max_message: u64,
    /// Data frames of one message; more is answered with 1008.
    pub max_fragments: u32,
}

impl Limits {
    /// 16 MiB: what conformance suites send at most, and far above what applications that do not
    /// transfer files exchange. It bounds the memory that one connection can tie up.
    pub const DEFAULT_MAX_MESSAGE: u64 = 16 << 20;

    /// 131,072: a stream may cut a message into 65,536 fragments and more, but must not go on
    /// with empty fragments for ever, which no limit in bytes would end.
    pub const DEFAULT_MAX_FRAGMENTS: u32 = 1 << 17;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A message in one frame is the usual case: a lower limit would only surprise.
            max_frame: Self::DEFAULT_MAX_MESSAGE,
            max_message: Self::DEFAULT_MAX_MESSAGE,
            max_fragments: Self::DEFAULT_MAX_FRAGMENTS,
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
}

/// What a message has gathered before the frame at hand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    pub(super) bytes: u64,
    pub(super) fragments: u32,
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

/// No extension is negotiated, so no reserved bit has a meaning (§5.2).
const ALLOWED_RSV: u8 = 0;

impl Shared {
    /// No spare buffers yet.
    #[must_use]
    pub const fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            spares: Vec::new(),
            spare_bytes: 0,
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

    /// Frees the spare buffers. They are kept for speed alone, and a small one may be all that is left of a large page
    /// of the allocator, which then cannot be given back.
    pub fn release_spares(&mut self) {
        self.spares = Vec::new();
        self.spare_bytes = 0;
    }

    /// Bytes of spare buffers, for memory accounting.
    #[must_use]
    pub fn spare_bytes(&self) -> usize {
        self.spare_bytes
    }

    /// A buffer for a message of which `piece` bytes are here: the largest spare that these
    /// justify, or a new one.
    pub(super) fn take_spare(&mut self, piece: usize) -> Vec<u8> {
        let allowed = piece.saturating_mul(MAX_SPARE_PER_BYTE);
        let best = (0..self.spares.len())
            .filter(|&index| self.spares[index].capacity() <= allowed)
            .max_by_key(|&index| self.spares[index].capacity());
        let Some(index) = best else {
            return Vec::new();
        };
        let mut buffer = self.spares.swap_remove(index);
        self.spare_bytes -= buffer.capacity();
        buffer.clear();
        buffer
    }

    /// Whether a frame may come now: masking, reserved bits, sequence, and limits. `message` is
    /// the progress of the fragmented message in which the frame stands, if any.
    #[inline]
    pub(super) fn check(
        &self,
        header: &Header,
        message: Option<Progress>,
    ) -> Result<(), ProtocolError> {
        match (self.role, header.mask) {
            (Role::Server, None) => return Err(ProtocolError::MaskMissing),
            (Role::Client, Some(_)) => return Err(ProtocolError::MaskForbidden),
            _ => {}
        }
        if header.rsv & !ALLOWED_RSV != 0 {
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
        self.limits.check(header.payload_len, so_far)
    }
}

impl Limits {
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
