//! Frame headers and whole frames (RFC 6455 §5.2).

use std::ops::Deref;

use crate::error::ProtocolError;

/// Payload bytes of a control frame at most (§5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// Bytes of a frame header at most: two, a 64-bit length, and a mask key.
pub const MAX_HEADER_LEN: usize = 14;

/// RSV1 in [`Header::rsv`] and [`FrameKind::rsv`]: the bit of permessage-deflate (RFC 7692 §6).
pub const RSV1: u8 = 0b100;

/// FIN in the first byte of a header.
const FIN: u8 = 0x80;
/// MASK in the second byte of a header.
const MASK: u8 = 0x80;
/// Second-byte length that says: the length is in the next two bytes.
const LEN_16: u8 = 126;
/// Second-byte length that says: the length is in the next eight bytes.
const LEN_64: u8 = 127;

/// What a frame carries (§5.2, §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// Text, or its first fragment.
    Text = 1,
    /// Binary data, or its first fragment.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// A request for a pong with the same payload.
    Ping = 9,
    /// The answer to a ping, or a heartbeat of its own.
    Pong = 10,
}

impl Opcode {
    /// The opcode in the low four bits of `bits`; `None` when it is reserved.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0x0F {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Close, Ping and Pong: never fragmented, at most 125 bytes (§5.5).
    #[inline]
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x08 != 0
    }

    /// This opcode in a frame without FIN: more fragments follow (§5.4).
    #[must_use]
    pub const fn unfinished(self) -> FrameKind {
        FrameKind {
            fin: false,
            rsv: 0,
            opcode: self,
        }
    }
}

/// The first byte of a frame. An [`Opcode`] alone converts into a final frame without
/// reserved bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameKind {
    /// Last (or only) fragment of the message.
    pub fin: bool,
    /// The three reserved bits, RSV1 highest (see [`RSV1`]).
    pub rsv: u8,
    /// What the frame carries.
    pub opcode: Opcode,
}

impl From<Opcode> for FrameKind {
    #[inline]
    fn from(opcode: Opcode) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
        }
    }
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// Last (or only) fragment of the message.
    pub fin: bool,
    /// The three reserved bits, RSV1 highest (see [`RSV1`]).
    pub rsv: u8,
    /// What the frame carries.
    pub opcode: Opcode,
    /// The mask key, when the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes after the header.
    pub payload_len: u64,
    /// Bytes of the header itself, 2 to [`MAX_HEADER_LEN`].
    pub header_len: u8,
}

impl Header {
    /// The header of a frame with `payload_len` bytes, masked with `mask` (client) or not (server).
    #[inline]
    #[must_use]
    pub fn new(kind: impl Into<FrameKind>, mask: Option<[u8; 4]>, payload_len: usize) -> Self {
        let kind = kind.into();
        let key_len = if mask.is_some() { 4 } else { 0 };
        Self {
            fin: kind.fin,
            rsv: kind.rsv,
            opcode: kind.opcode,
            mask,
            payload_len: payload_len as u64,
            header_len: (server_header_len(payload_len) + key_len) as u8,
        }
    }

    /// Reads a header from the front of `input`; `None` when more bytes are needed.
    ///
    /// Reserved bits and masking are handed on: whether they are right depends on the
    /// extensions and the role.
    ///
    /// # Errors
    /// The structural rules, as soon as the bytes so far tell: a reserved opcode, a control
    /// frame that is fragmented or too long (§5.5), a length that is not minimal or has its
    /// most significant bit set (§5.2).
    #[inline]
    pub fn decode(input: &[u8]) -> Result<Option<Self>, ProtocolError> {
        let Some((&[first, second], rest)) = input.split_first_chunk() else {
            return decode_one_byte(input);
        };
        let (fin, opcode) = decode_first(first)?;
        let (payload_len, key_at) = match second & !MASK {
            LEN_16.. if opcode.is_control() => return Err(ProtocolError::ControlTooLong),
            LEN_16 => match rest.first_chunk() {
                Some(&length) => (
                    minimal(u16::from_be_bytes(length).into(), LEN_16.into())?,
                    2,
                ),
                None => return Ok(None),
            },
            LEN_64 => match rest.first_chunk() {
                Some(&length) => (decode_len_64(u64::from_be_bytes(length))?, 8),
                None => return decode_partial_len_64(rest),
            },
            short => (u64::from(short), 0),
        };
        let (mask, header_len) = if second & MASK == 0 {
            (None, 2 + key_at)
        } else {
            match rest[key_at..].first_chunk() {
                Some(&key) => (Some(key), 2 + key_at + 4),
                None => return Ok(None),
            }
        };
        Ok(Some(Self {
            fin,
            rsv: first >> 4 & 0b111,
            opcode,
            mask,
            payload_len,
            header_len: header_len as u8,
        }))
    }

    /// The header's bytes. `header_len` is not read: the length takes its shortest form (§5.2).
    #[inline]
    #[must_use]
    pub fn encode(&self) -> HeaderBytes {
        let mut bytes = [0; MAX_HEADER_LEN];
        bytes[0] = (u8::from(self.fin) << 7) | ((self.rsv & 0b111) << 4) | self.opcode as u8;
        let masked = if self.mask.is_some() { MASK } else { 0 };
        let mut len = match self.payload_len {
            short @ 0..=125 => {
                bytes[1] = masked | short as u8;
                2
            }
            medium @ 126..=0xFFFF => {
                bytes[1] = masked | LEN_16;
                bytes[2..4].copy_from_slice(&(medium as u16).to_be_bytes());
                4
            }
            long => {
                bytes[1] = masked | LEN_64;
                bytes[2..10].copy_from_slice(&long.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            bytes[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        HeaderBytes {
            bytes,
            len: len as u8,
        }
    }
}

/// An encoded header: 2 to [`MAX_HEADER_LEN`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderBytes {
    bytes: [u8; MAX_HEADER_LEN],
    len: u8,
}

impl Deref for HeaderBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl AsRef<[u8]> for HeaderBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Bytes of the header of an unmasked frame with `payload_len` bytes: 2, 4 or 10.
#[inline]
#[must_use]
pub const fn server_header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends a whole unmasked frame: what a server sends.
///
/// `kind` is an [`Opcode`], or a [`FrameKind`] for fragments and reserved bits.
///
/// # Panics
/// When a control frame is longer than [`MAX_CONTROL_PAYLOAD`] or unfinished (§5.5): such a
/// frame would make the peer fail the connection.
#[inline]
pub fn encode_server(out: &mut Vec<u8>, kind: impl Into<FrameKind>, payload: &[u8]) {
    let header = Header::new(checked(kind.into(), payload), None, payload.len()).encode();
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(payload);
}

/// Appends a whole frame masked with `key`: what a client sends (§5.3).
///
/// The key must be unpredictable to whoever chose the payload (§10.3); drawing it is the
/// caller's part. `kind` and panics as in [`encode_server`].
pub fn encode_client(out: &mut Vec<u8>, kind: impl Into<FrameKind>, payload: &[u8], key: [u8; 4]) {
    let header = Header::new(checked(kind.into(), payload), Some(key), payload.len()).encode();
    out.reserve(header.len() + payload.len());
    out.extend_from_slice(&header);
    corecast_simd::unmask_append(out, payload, key, 0);
}

#[inline]
fn checked(kind: FrameKind, payload: &[u8]) -> FrameKind {
    assert!(
        !kind.opcode.is_control() || (kind.fin && payload.len() <= MAX_CONTROL_PAYLOAD),
        "a control frame must be final and hold at most {MAX_CONTROL_PAYLOAD} bytes, \
         not {} (RFC 6455 §5.5)",
        payload.len()
    );
    kind
}

#[inline]
fn decode_first(first: u8) -> Result<(bool, Opcode), ProtocolError> {
    let fin = first & FIN != 0;
    match Opcode::from_bits(first) {
        None => Err(ProtocolError::ReservedOpcode(first & 0x0F)),
        Some(opcode) if opcode.is_control() && !fin => Err(ProtocolError::ControlFragmented),
        Some(opcode) => Ok((fin, opcode)),
    }
}

#[cold]
fn decode_one_byte(input: &[u8]) -> Result<Option<Header>, ProtocolError> {
    match input.first() {
        Some(&first) => decode_first(first).map(|_| None),
        None => Ok(None),
    }
}

#[inline]
fn decode_len_64(length: u64) -> Result<u64, ProtocolError> {
    if length >> 63 != 0 {
        return Err(ProtocolError::LengthOverflow);
    }
    minimal(length, 0x1_0000)
}

#[inline]
fn minimal(length: u64, least: u64) -> Result<u64, ProtocolError> {
    if length < least {
        return Err(ProtocolError::NonMinimalLength);
    }
    Ok(length)
}

/// A 64-bit length of which fewer than eight bytes are here can already be known to be wrong.
#[cold]
fn decode_partial_len_64(rest: &[u8]) -> Result<Option<Header>, ProtocolError> {
    if rest.first().is_some_and(|top| top & 0x80 != 0) {
        return Err(ProtocolError::LengthOverflow);
    }
    if rest.len() >= 6 && rest[..6].iter().all(|&byte| byte == 0) {
        return Err(ProtocolError::NonMinimalLength);
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
