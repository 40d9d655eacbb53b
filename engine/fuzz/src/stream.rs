//! A stream of frames out of a fuzz input.
//!
//! Input: settings (see the constants), piece sizes, masking key if [`FRAMED`], then the stream. Raw, it is
//! taken as it stands. Framed, it is a list of frames, so that changing a length or a payload leaves the
//! rest in step: first byte of the header, then a length byte and so many bytes of payload. After the length
//! bytes `LONG` and `LONGER` come a longer length and four bytes that are repeated to it.

use corecast_protocol::{Limits, Role};

use crate::input::Reader;

/// Settings: the receiver is a client. Otherwise it is a server.
pub const CLIENT: u8 = 1;
/// Settings: the stream is a list of frames. Otherwise it is raw bytes.
pub const FRAMED: u8 = 2;
/// Settings: [`SMALL`] limits. Otherwise [`LARGE`].
pub const TIGHT: u8 = 4;
/// Settings: no limits at all, whatever [`TIGHT`] says.
pub const UNLIMITED: u8 = 16;
/// Settings: buffers of assembled messages are used again.
pub const RECYCLE: u8 = 8;

/// Length byte: the length is in the next two bytes.
const LONG: u8 = 254;
/// Length byte: the length is 65,536 and 16 times the next byte.
const LONGER: u8 = 255;

/// Bytes of a framed stream at most; it is cut there.
const MAX_STREAM: usize = 101_000;

/// Limits that short streams reach, with room for every control frame.
pub const SMALL: Limits = Limits {
    max_frame: 130,
    max_message: 200,
    max_fragments: 4,
    max_inflation: Limits::DEFAULT_MAX_INFLATION,
};

/// Limits that only patterns reach.
pub const LARGE: Limits = Limits {
    max_frame: (1 << 16) + 16 * 250,
    max_message: 100_000,
    max_fragments: 64,
    max_inflation: Limits::DEFAULT_MAX_INFLATION,
};

/// As high as limits can be set.
pub const NONE: Limits = Limits {
    max_frame: u64::MAX,
    max_message: u64::MAX,
    max_fragments: u32::MAX,
    max_inflation: u32::MAX,
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
        let limits = match (is(UNLIMITED), is(TIGHT)) {
            (true, _) => NONE,
            (false, true) => SMALL,
            (false, false) => LARGE,
        };
        Self {
            role,
            limits,
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
        let payload = masked_payload(&mut reader, key.unwrap_or_default());
        stream.push(first);
        push_length(&mut stream, payload.len(), key.is_some());
        stream.extend(key.iter().flatten());
        stream.extend(payload);
    }
    stream.truncate(MAX_STREAM);
    stream
}

fn masked_payload(reader: &mut Reader<'_>, key: [u8; 4]) -> Vec<u8> {
    let len = match reader.byte() {
        LONGER => (1 << 16) + usize::from(reader.byte()) * 16,
        LONG => u16::from_be_bytes(reader.array()).into(),
        short => {
            let payload = reader.take(short.into());
            let key = key.iter().cycle();
            return payload
                .iter()
                .zip(key)
                .map(|(byte, key)| byte ^ key)
                .collect();
        }
    };
    // Four bytes are masked with the key as a whole, wherever they stand.
    let pattern = u32::from_le_bytes(reader.array()) ^ u32::from_le_bytes(key);
    let mut payload = pattern.to_le_bytes().repeat(len.div_ceil(4));
    payload.truncate(len);
    payload
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
