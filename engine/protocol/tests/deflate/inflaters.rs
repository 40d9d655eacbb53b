//! Inflaters of other makes.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush};

use crate::payloads::{Kind, payload};

/// What §7.2.2 has the receiver append.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Inflates message after message on one stream of each make; none is ever reset, as many clients do.
pub(crate) struct Receiver {
    zlib: Decompress,
    miniz: Box<InflateState>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            zlib: Decompress::new(false),
            miniz: InflateState::new_boxed(DataFormat::Raw),
        }
    }

    pub(crate) fn check(&mut self, message: &[u8], payload: &[u8]) {
        let wire = [message, &TAIL].concat();
        assert!(self.zlib(&wire, payload.len()) == payload, "zlib");
        assert!(self.miniz(&wire, payload.len()) == payload, "miniz");
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

    fn miniz(&mut self, mut wire: &[u8], length: usize) -> Vec<u8> {
        let mut out = vec![0; length + 1];
        let mut written = 0;
        while !wire.is_empty() {
            let step = inflate(&mut self.miniz, wire, &mut out[written..], MZFlush::None);
            assert!(matches!(step.status, Ok(_) | Err(MZError::Buf)), "{step:?}");
            assert!(step.bytes_consumed + step.bytes_written > 0, "{step:?}");
            wire = &wire[step.bytes_consumed..];
            written += step.bytes_written;
        }
        out.truncate(written);
        out
    }
}

/// What an inflater makes of the messages that keeps 2^`window_bits` bytes and no more. `None` when it misses what lies
/// further back; it may also take what is there now for that.
pub(crate) fn inflate_with_window(messages: &[Vec<u8>], window_bits: u8) -> Option<Vec<u8>> {
    let mut inflater = Box::<DecompressorOxide>::default();
    let mut window = vec![0; 1 << window_bits];
    let mut position = 0;
    let mut out = Vec::new();
    for message in messages {
        let wire = [&message[..], &TAIL].concat();
        let mut rest = &wire[..];
        loop {
            let (status, taken, made) = decompress(
                &mut inflater,
                rest,
                &mut window,
                position,
                TINFL_FLAG_HAS_MORE_INPUT,
            );
            rest = &rest[taken..];
            out.extend_from_slice(&window[position..position + made]);
            position = (position + made) % window.len();
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => break,
                _ => return None,
            }
        }
        assert!(rest.is_empty(), "all of the message is taken");
    }
    Some(out)
}

#[test]
fn references_beyond_a_window_are_noticed() {
    for window_bits in 9..15 {
        let noise = payload(Kind::Random, (1 << window_bits) + 50, 9).repeat(2);
        let mut wide =
            Compress::new_with_window_bits(Compression::default(), false, window_bits + 1);
        let mut message = Vec::with_capacity(noise.len());
        wide.compress_vec(&noise, &mut message, FlushCompress::Sync)
            .expect("room");
        assert!(
            message.len() < noise.len() * 2 / 3,
            "the second is a reference"
        );
        message.truncate(message.len() - TAIL.len());
        let (messages, noise) = ([message], Some(noise));
        assert!(inflate_with_window(&messages, window_bits + 1) == noise);
        assert!(inflate_with_window(&messages, window_bits) != noise);
    }
}
