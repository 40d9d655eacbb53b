//! Close codes and the payload of Close frames (RFC 6455 §5.5.1, §7.4).

use std::fmt;

use crate::error::ProtocolError;
use crate::frame::{MAX_CONTROL_PAYLOAD, Opcode, encode_client, encode_server};

/// The status code of a Close frame (§7.4.1 and the IANA registry).
///
/// A value is either a code that may travel in a Close frame or one of the three that only
/// describe locally how a connection ended ([`NO_STATUS`](Self::NO_STATUS),
/// [`ABNORMAL`](Self::ABNORMAL), [`TLS_FAILED`](Self::TLS_FAILED)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server goes down, or a browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a type of data that the endpoint cannot accept.
    pub const UNSUPPORTED: Self = Self(1003);
    /// 1005, never sent: the Close frame carried no code.
    pub const NO_STATUS: Self = Self(1005);
    /// 1006, never sent: the connection ended without a Close frame.
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that does not fit its type, such as text that is not UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// 1008: a policy was violated.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// 1010: a client misses an extension in the server's handshake.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// 1011: an unexpected condition on the endpoint.
    pub const INTERNAL: Self = Self(1011);
    /// 1012: the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: the service is overloaded.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid response from upstream.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015, never sent: the TLS handshake failed.
    pub const TLS_FAILED: Self = Self(1015);

    /// The code, if it may be sent in a Close frame (§7.4.2): 1000–1003, 1007–1014, and
    /// 3000–4999 for libraries and applications.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// Whether the code may travel in a Close frame.
    #[must_use]
    pub const fn may_be_sent(self) -> bool {
        Self::new(self.0).is_some()
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Bytes of a Close reason at most: a control payload less the code.
pub const MAX_CLOSE_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// Reads the payload of a Close frame; `None` when it is empty (§5.5.1).
///
/// # Errors
/// [`CloseTruncated`](ProtocolError::CloseTruncated) for one byte,
/// [`CloseCodeInvalid`](ProtocolError::CloseCodeInvalid) for a code that must not be sent,
/// [`InvalidCloseReason`](ProtocolError::InvalidCloseReason) for a reason that is not UTF-8.
pub fn decode_close(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, ProtocolError> {
    match payload {
        [] => Ok(None),
        [_] => Err(ProtocolError::CloseTruncated),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            let code = CloseCode::new(code).ok_or(ProtocolError::CloseCodeInvalid(code))?;
            let reason =
                std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
            Ok(Some((code, reason)))
        }
    }
}

/// Appends the payload of a Close frame: the code, and the reason cut at a character boundary
/// to [`MAX_CLOSE_REASON`] bytes.
///
/// A code that never travels ([`CloseCode::NO_STATUS`] and its like) gives an empty payload,
/// which is how the protocol says "no code" (§7.1.5).
pub fn encode_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    if code.may_be_sent() {
        out.extend_from_slice(&u16::from(code).to_be_bytes());
        out.extend_from_slice(cut(reason, MAX_CLOSE_REASON).as_bytes());
    }
}

/// Appends a whole Close frame from a server; code and reason as in [`encode_close`].
pub fn encode_close_server(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let mut payload = Vec::with_capacity(MAX_CONTROL_PAYLOAD);
    encode_close(&mut payload, code, reason);
    encode_server(out, Opcode::Close, &payload);
}

/// Appends a whole Close frame from a client; code and reason as in [`encode_close`].
pub fn encode_close_client(out: &mut Vec<u8>, code: CloseCode, reason: &str, key: [u8; 4]) {
    let mut payload = Vec::with_capacity(MAX_CONTROL_PAYLOAD);
    encode_close(&mut payload, code, reason);
    encode_client(out, Opcode::Close, &payload, key);
}

/// The longest prefix of `text` that has at most `max` bytes and ends at a character boundary.
fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
