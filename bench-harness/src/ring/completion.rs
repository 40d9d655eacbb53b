//! What operations of a ring come to, and how a completion tells which one it is of.

use std::io;
use std::os::fd::OwnedFd;

use super::Lent;
#[cfg(doc)]
use super::Ring;

/// What an operation came to. `slot` is the caller's connection number given with the operation.
#[derive(Debug)]
pub(crate) enum Completion {
    /// A connection was accepted. `armed` false: the accept has ended.
    Accepted {
        /// The new connection.
        socket: io::Result<OwnedFd>,
        /// The multishot accept goes on.
        armed: bool,
    },
    /// [`Ring::connect`] is over.
    Connected {
        /// Connection number.
        slot: u32,
        /// Established, or why not.
        result: io::Result<()>,
    },
    /// Bytes came (`Some`), or the peer has ended its stream (`None`).
    Received {
        /// Connection number.
        slot: u32,
        /// Bytes to read with [`Ring::bytes`] and to hand back with [`Ring::give_back`].
        bytes: io::Result<Option<Lent>>,
        /// The multishot receive goes on; false: it has ended and may be armed again.
        armed: bool,
    },
    /// A silent send took only so many bytes (0 when the socket buffer was full), or failed.
    Short {
        /// Connection number.
        slot: u32,
        /// Bytes taken.
        sent: io::Result<usize>,
    },
    /// A polled send is over.
    Sent {
        /// Connection number.
        slot: u32,
        /// Bytes taken; fewer than asked when the connection broke in the middle.
        sent: io::Result<usize>,
    },
}

/// Kind of operation, kept in the top byte of the completion's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Receive,
    Silent,
    Polled,
    Owned,
    Connect,
    Accept,
}

impl Op {
    pub(super) const ALL: [Self; 6] = [
        Self::Receive,
        Self::Silent,
        Self::Polled,
        Self::Owned,
        Self::Connect,
        Self::Accept,
    ];

    /// 8 bits of operation, 24 of owned-send key, 32 of slot.
    #[inline]
    pub(super) const fn tag(self, key: u32, slot: u32) -> u64 {
        debug_assert!(key < 1 << 24);
        (self as u64) << 56 | (key as u64) << 32 | slot as u64
    }

    #[inline]
    pub(super) fn from_tag(tag: u64) -> (Self, u32, u32) {
        let op = Self::ALL[(tag >> 56) as usize];
        (op, (tag >> 32) as u32 & 0xff_ffff, tag as u32)
    }
}
