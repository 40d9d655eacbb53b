//! What a peer can do wrong, and the close code that answers it.

use crate::close::CloseCode;

/// Whose fault a failure was. The close code follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer broke the protocol or a limit.
    Peer,
    /// The application asked for something that cannot be sent.
    Application,
    /// The operating system, or we ourselves, failed.
    System,
}

impl Fault {
    /// The close code when nothing more exact is known (§7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Peer => CloseCode::PROTOCOL_ERROR,
            Self::Application | Self::System => CloseCode::INTERNAL,
        }
    }
}

/// A rule of RFC 6455 or RFC 7692, or a limit of ours, that the peer's bytes broke.
///
/// Every variant fails the connection (§7.1.7): send a Close frame with
/// [`close_code`](Self::close_code), then close the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set and no extension gave it a meaning there (§5.2; RFC 7692 §6). Holds the three bits.
    #[error("reserved bits {0:03b} are set where no negotiated extension gives them a meaning")]
    ReservedBits(u8),
    /// Opcode 3–7 or 11–15 (§5.2).
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// A length in a longer form than it needs (§5.2).
    #[error("the payload length is not in its shortest form")]
    NonMinimalLength,
    /// The most significant bit of a 64-bit length is set (§5.2).
    #[error("the payload length has its most significant bit set")]
    LengthOverflow,
    /// A control frame with more than 125 bytes of payload (§5.5).
    #[error("a control frame announces more than 125 bytes")]
    ControlTooLong,
    /// A control frame without FIN (§5.5).
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A client sent a frame without a mask (§5.1).
    #[error("a frame from a client is not masked")]
    MaskMissing,
    /// A server sent a masked frame (§5.1).
    #[error("a frame from a server is masked")]
    MaskForbidden,
    /// A continuation frame with nothing to continue (§5.4).
    #[error("a continuation frame without a message to continue")]
    OrphanContinuation,
    /// A new data frame before the last fragment of a message (§5.4).
    #[error("a new message starts inside a fragmented one")]
    NestedMessage,
    /// A Close payload of one byte: too short for a code (§5.5.1).
    #[error("a close frame has a payload of one byte")]
    CloseTruncated,
    /// A Close code that must not be sent (§7.4).
    #[error("close code {0} must not be sent")]
    CloseCodeInvalid(u16),
    /// A text message is not UTF-8 (§8.1).
    #[error("a text message is not valid UTF-8")]
    InvalidUtf8,
    /// A Close reason is not UTF-8 (§5.5.1, §8.1).
    #[error("a close reason is not valid UTF-8")]
    InvalidCloseReason,
    /// A frame announces more payload than [`Limits::max_frame`](crate::Limits::max_frame).
    #[error("a frame of {announced} bytes exceeds the limit of {limit}")]
    FrameTooBig {
        /// Payload bytes in the header.
        announced: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The fragments of a message add up to more than
    /// [`Limits::max_message`](crate::Limits::max_message).
    #[error("a message of at least {announced} bytes exceeds the limit of {limit}")]
    MessageTooBig {
        /// Bytes received in earlier fragments plus the bytes in this frame's header; of a compressed message that is
        /// whole, bytes inflated so far.
        announced: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A message in more fragments than
    /// [`Limits::max_fragments`](crate::Limits::max_fragments).
    #[error("a message has more than {limit} fragments")]
    TooManyFragments {
        /// The limit, in data frames per message.
        limit: u32,
    },
    /// A compressed message is no sequence of whole DEFLATE blocks (RFC 7692 §7.2.2), or refers to more than it may.
    #[error("a compressed message is not valid DEFLATE data")]
    InvalidDeflate,
    /// A message inflates to more times its size than
    /// [`Limits::max_inflation`](crate::Limits::max_inflation).
    #[error("a compressed message inflates to more than {limit} times its size")]
    InflationTooHigh {
        /// The limit, in bytes for each byte that came in.
        limit: u32,
    },
}

impl ProtocolError {
    /// The code of the Close frame that answers this error (§7.4.1).
    pub const fn close_code(&self) -> CloseCode {
        match self {
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::InvalidDeflate => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::FrameTooBig { .. }
            | Self::MessageTooBig { .. }
            | Self::InflationTooHigh { .. } => CloseCode::TOO_BIG,
            Self::TooManyFragments { .. } => CloseCode::POLICY,
            _ => self.fault().close_code(),
        }
    }

    /// Always [`Fault::Peer`]: these are judgements on bytes that the peer sent.
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}
