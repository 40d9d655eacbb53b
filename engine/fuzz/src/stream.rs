//! A stream of frames out of a fuzz input.
//!
//! Input: settings (see the constants), piece sizes, masking key if [`FRAMED`], then the stream. Raw, it is
//! taken as it stands. Framed, it is a list of frames, so that changing a length or a payload leaves the
//! rest in step: first byte of the header, then a length byte and so many bytes of payload. Length bytes from
//! [`LONG`] on are followed by a 16-bit length and four bytes that are repeated to it.

use corecast_protocol::{Limits, Role};

use crate::input::Reader;

/// Settings: the receiver is a client. Otherwise it is a server.
pub const CLIENT: u8 = 1;
/// Settings: the stream is a list of frames. Otherwise it is raw bytes.
pub const FRAMED: u8 = 2;
/// Settings: [`SMALL`] limits. Otherwise [`LARGE`].
pub const TIGHT: u8 = 4;
/// Settings: buffers of assembled messages are used again.
pub const RECYCLE: u8 = 8;

/// Length byte: a pattern instead of a payload.
const LONG: u8 = 250;
/// Length byte: a pattern whose length goes beyond 16 bits.
const LONGER: u8 = 255;

/// Bytes of a framed stream at most; it is cut there.
const MAX_STREAM: usize = 200_000;

/// Limits that short streams reach, with room for every control frame.
pub const SMALL: Limits = Limits {
    max_frame: 130,
    max_message: 200,
    max_fragments: 4,
};

/// Limits that only patterns reach.
pub const LARGE: Limits = Limits {
    max_frame: 70_000,
    max_message: 100_000,
    max_fragments: 64,
};

/// A stream, and who receives it how.
#[derive(Debug, Clone)]
pub struct Case {
    /// The receiver's side.
    pub role: Role,
    /// What the receiver allows.
    pub limits: Limits,
    /// Whether buffers of assembled messages are given back to the receiver.
    pub recycle: bool,
    /// Sizes of the pieces in which the stream arrives.
    pub sizes: Vec<usize>,
    /// The bytes on the wire.
    pub stream: Vec<u8>,
}

impl Case {
    /// Reads settings and stream.
    #[must_use]
    pub fn read(data: &[u8]) -> Self {
        let mut reader = Reader::new(data);
        let settings = reader.byte();
        let is = |bit| settings & bit != 0;
        let role = if is(CLIENT) {
            Role::Client
        } else {
            Role::Server
        };
        let sizes = reader.sizes();
        let stream = if is(FRAMED) {
            let key = reader.array();
            frames(reader, (role == Role::Server).then_some(key))
        } else {
            reader.rest().to_vec()
        };
        Self {
            role,
            limits: if is(TIGHT) { SMALL } else { LARGE },
            recycle: is(RECYCLE),
            sizes,
            stream,
        }
    }
}

/// Encodes without the crate under test, which would refuse to encode what is wrong.
fn frames(mut reader: Reader<'_>, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !reader.is_empty() && stream.len() < MAX_STREAM {
        let first = reader.byte();
        let payload = payload(&mut reader);
        stream.push(first);
        push_length(&mut stream, payload.len(), key.is_some());
        stream.extend(key.iter().flatten());
        let key = key.unwrap_or_default();
        stream.extend(
            payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key),
        );
    }
    stream.truncate(MAX_STREAM);
    stream
}

fn payload(reader: &mut Reader<'_>) -> Vec<u8> {
    let short = reader.byte();
    if short < LONG {
        return reader.take(short.into()).to_vec();
    }
    let more = if short == LONGER { 1 << 16 } else { 0 };
    let len = usize::from(u16::from_be_bytes(reader.array())) + more;
    let pattern: [u8; 4] = reader.array();
    pattern.into_iter().cycle().take(len).collect()
}

fn push_length(stream: &mut Vec<u8>, len: usize, masked: bool) {
    let mask_bit = if masked { 0x80 } else { 0 };
    if len < 126 {
        stream.push(mask_bit | len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        stream.push(mask_bit | 126);
        stream.extend(len.to_be_bytes());
    } else {
        stream.push(mask_bit | 127);
        stream.extend((len as u64).to_be_bytes());
    }
}
