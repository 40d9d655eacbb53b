//! Compressed messages beside `flate2` and `miniz_oxide` (RFC 7692 §7.2).
//!
//! Input: level, window, then messages. Of each: what is done with it and whom it is for, length (two bytes), how many
//! times it is said, bytes.

use corecast_protocol::deflate::{Context, Deflater};
use flate2::{Decompress, FlushDecompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::input::Reader;

const CONNECTIONS: usize = 3;
const MAX_MESSAGES: usize = 12;
const MAX_LENGTH: u16 = 1024;
/// So that payloads get too long for the window, and for one block of libdeflate.
const MAX_REPEATS: u8 = 24;

/// What §7.2.2 has the receiver append.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Compresses the messages with one deflater, and reads each connection's on two streams that are never reset.
///
/// # Panics
/// When one of them reads anything else than what was sent.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let level = 1 + reader.byte() % 9;
    let window_bits = 9 + reader.byte() % 7;
    let mut deflater = Deflater::new(level, window_bits);
    let mut connections: [_; CONNECTIONS] = std::array::from_fn(|_| Connection::new(window_bits));

    for _ in 0..MAX_MESSAGES {
        if reader.is_empty() {
            break;
        }
        let what = reader.byte();
        let length = u16::from_le_bytes(reader.array()) % MAX_LENGTH;
        let repeats = 1 + reader.byte() % MAX_REPEATS;
        let payload = reader.take(usize::from(length)).repeat(repeats.into());
        let connection = &mut connections[usize::from(what >> 4) % CONNECTIONS];
        let context = &mut connection.context;
        let mut out = b"before".to_vec();
        let is_shorter = match what & 3 {
            0 => deflater.deflate(&payload, &mut out),
            _ => deflater.deflate_with(context, &payload, &mut out),
        };
        let message = out.strip_prefix(b"before").expect("what was there stays");
        assert!(context.memory() <= Context::max_memory(window_bits));
        if !is_shorter {
            assert!(message.is_empty());
            continue;
        }
        assert!(message.len() < payload.len());
        match what & 3 {
            0 => context.remember(&payload, window_bits),
            // Dropped on its way.
            1 => {
                context.forget();
                continue;
            }
            _ => {}
        }
        connection.receive(message, &payload);
    }
}

struct Connection {
    context: Context,
    zlib: Decompress,
    miniz: Box<DecompressorOxide>,
    /// All that `miniz` keeps: as long as the window.
    window: Vec<u8>,
    position: usize,
}

impl Connection {
    fn new(window_bits: u8) -> Self {
        Self {
            context: Context::new(),
            zlib: Decompress::new(false),
            miniz: Box::default(),
            window: vec![0; 1 << window_bits],
            position: 0,
        }
    }

    fn receive(&mut self, message: &[u8], payload: &[u8]) {
        let wire = [message, &TAIL].concat();
        assert!(self.zlib(&wire, payload.len()) == payload, "zlib");
        assert!(self.miniz(&wire) == payload, "miniz");
    }

    fn zlib(&mut self, wire: &[u8], length: usize) -> Vec<u8> {
        let before = self.zlib.total_in();
        let mut out = Vec::with_capacity(length + 1);
        self.zlib
            .decompress_vec(wire, &mut out, FlushDecompress::Sync)
            .expect("a valid stream");
        assert_eq!(self.zlib.total_in() - before, wire.len() as u64);
        out
    }

    fn miniz(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let (status, taken, made) = decompress(
                &mut self.miniz,
                wire,
                &mut self.window,
                self.position,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            wire = &wire[taken..];
            out.extend_from_slice(&self.window[self.position..self.position + made]);
            self.position = (self.position + made) % self.window.len();
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput if wire.is_empty() => return out,
                _ => panic!("{status:?}, {} bytes left", wire.len()),
            }
        }
    }
}
