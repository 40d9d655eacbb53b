//! What is sent.
//!
//! A message is: what it is (see the constants, with the number of its fragments in the highest three bits), and then
//! - [`RAW`]: a length byte and so many bytes of payload as they are;
//! - otherwise the compressor's level (of its stream, so only if it begins one) and flushes, a length byte and so many bytes of content, which is repeated a number
//!   of times in the next two bytes if [`REPEATED`].

use corecast_protocol::frame::RSV1;
use corecast_protocol::{FrameKind, Inflation, Opcode, encode_client, encode_server};
use flate2::{Compress, Compression, FlushCompress};

use crate::input::Reader;

/// It is text. Otherwise it is binary.
const TEXT: u8 = 1;
/// It is sent plain.
const PLAIN: u8 = 2;
/// Its payload is in the input. Otherwise it is made by a compressor.
const RAW: u8 = 4;
/// Its last block is final.
const FINAL: u8 = 8;
/// Its content is repeated.
const REPEATED: u8 = 16;

/// Bytes of content at most.
const MAX_CONTENT: usize = 110_000;

/// Bytes of all contents and payloads at most: no more messages are read then.
const MAX_SENT: usize = 250_000;

/// Of the last byte's block and its flush: what a sender takes away (§7.2.1).
const FLUSH_TAIL: &[u8] = &[0, 0, 0xFF, 0xFF];

/// A message on its way.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) is_text: bool,
    pub(super) is_compressed: bool,
    /// On the wire, unmasked and in one piece.
    pub(super) payload: Vec<u8>,
    /// What the compressor was given, if one made the payload.
    pub(super) content: Option<Vec<u8>>,
    pub(super) fragments: usize,
}

/// Messages, and the stream that carries them.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) list: Vec<Message>,
    pub(super) stream: Vec<u8>,
}

impl Messages {
    /// Reads all; masks them if there is a key.
    pub(super) fn read(mut reader: Reader<'_>, inflation: Inflation, key: Option<[u8; 4]>) -> Self {
        let mut compressor = Compressor::new(inflation);
        let mut messages = Self {
            list: Vec::new(),
            stream: Vec::new(),
        };
        let mut sent = 0;
        while !reader.is_empty() && sent < MAX_SENT {
            let message = Message::read(&mut reader, &mut compressor);
            sent += message.payload.len() + message.content.as_ref().map_or(0, Vec::len);
            message.encode(key, &mut messages.stream);
            messages.list.push(message);
        }
        messages
    }
}

impl Message {
    fn read(reader: &mut Reader<'_>, compressor: &mut Compressor) -> Self {
        let what = reader.byte();
        let is = |bit| what & bit != 0;
        let (payload, content) = if is(RAW) || is(PLAIN) {
            let len = reader.byte();
            (reader.take(len.into()).to_vec(), None)
        } else {
            let level = reader.byte();
            let content = content(reader, is(REPEATED), is(TEXT));
            let payload = compressor.compress(&content, level, is(FINAL));
            (payload, Some(content))
        };
        let wanted = 1 + usize::from(what >> 5);
        let fragments = payload.len().clamp(1, wanted);
        Self {
            is_text: is(TEXT),
            is_compressed: !is(PLAIN),
            payload,
            content,
            fragments,
        }
    }

    fn encode(&self, key: Option<[u8; 4]>, stream: &mut Vec<u8>) {
        let opcode = if self.is_text {
            Opcode::Text
        } else {
            Opcode::Binary
        };
        for index in 0..self.fragments {
            let part = |index| self.payload.len() * index / self.fragments;
            let kind = FrameKind {
                fin: index + 1 == self.fragments,
                rsv: if self.is_compressed && index == 0 {
                    RSV1
                } else {
                    0
                },
                opcode: if index == 0 {
                    opcode
                } else {
                    Opcode::Continuation
                },
            };
            let payload = &self.payload[part(index)..part(index + 1)];
            match key {
                Some(key) => encode_client(stream, kind, payload, key),
                None => encode_server(stream, kind, payload),
            }
        }
    }
}

fn content(reader: &mut Reader<'_>, repeated: bool, text: bool) -> Vec<u8> {
    let len = reader.byte();
    let unit = reader.take(len.into());
    let times = if repeated {
        u16::from_be_bytes(reader.array()).into()
    } else {
        1
    };
    let unit = if text {
        String::from_utf8_lossy(unit).into_owned().into_bytes()
    } else {
        unit.to_vec()
    };
    let most = MAX_CONTENT / unit.len().max(1);
    unit.repeat(most.min(times))
}

/// A peer's.
struct Compressor {
    stream: Compress,
    keeps_context: bool,
    /// Whether the stream has begun: then its level stays.
    has_begun: bool,
}

impl Compressor {
    fn new(inflation: Inflation) -> Self {
        let (bits, keeps_context) = match inflation {
            Inflation::Context { window_bits } => (window_bits.max(9), true),
            Inflation::Off | Inflation::Whole => (15, false),
        };
        Self {
            stream: Compress::new_with_window_bits(Compression::default(), false, bits),
            keeps_context,
            has_begun: false,
        }
    }

    /// `how`: the level, and how often the stream is flushed on the way.
    fn compress(&mut self, content: &[u8], how: u8, last_is_final: bool) -> Vec<u8> {
        if !self.keeps_context {
            self.restart();
        }
        if !self.has_begun {
            let level = Compression::new(u32::from(how % 10));
            self.stream.set_level(level).expect("it has not begun");
            self.has_begun = true;
        }
        let size = content.len() / (1 + usize::from(how / 10) % 4) + 1;
        let mut out = Vec::new();
        for piece in content.chunks(size) {
            self.append(piece, FlushCompress::Sync, &mut out);
        }
        if last_is_final {
            self.append(b"", FlushCompress::Finish, &mut out);
            self.restart();
            // The empty block that follows a final one (§7.2.3.4).
            out.push(0);
            return out;
        }
        match out.strip_suffix(FLUSH_TAIL) {
            Some(payload) => payload.to_vec(),
            // Nothing was flushed (§7.2.3.6).
            None => vec![0],
        }
    }

    fn restart(&mut self) {
        self.stream.reset();
        self.has_begun = false;
    }

    fn append(&mut self, piece: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        out.reserve(piece.len() + piece.len() / 8 + 100);
        let read = self.stream.total_in();
        let status = self.stream.compress_vec(piece, out, flush);
        status.expect("compressing does not fail");
        let read = self.stream.total_in() - read;
        assert_eq!(read, piece.len() as u64, "there was room");
    }
}
