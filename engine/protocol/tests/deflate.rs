//! Whatever is compressed comes back out of other makers' inflaters (RFC 7692 §7.2).

use corecast_protocol::deflate::{ContextDeflater, Deflater};
use flate2::{Decompress, FlushDecompress};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::stream::InflateState;
use miniz_oxide::{DataFormat, MZError, MZFlush};
use proptest::prelude::*;

/// What §7.2.2 has the receiver append.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

const LEVELS: std::ops::RangeInclusive<u8> = 1..=9;
const WINDOWS: std::ops::RangeInclusive<u8> = 9..=15;

/// Around the lengths at which something else is done.
const LENGTHS: [usize; 11] = [1, 2, 40, 320, 321, 511, 513, 4_097, 9_999, 10_000, 16_385];
const LONG: [usize; 3] = [65_535, 65_536, 65_537];

/// Inflates message after message on one stream of each make; none is ever reset, as many clients do.
struct Receiver {
    zlib: Decompress,
    miniz: Box<InflateState>,
}

impl Receiver {
    fn new() -> Self {
        Self {
            zlib: Decompress::new(false),
            miniz: InflateState::new_boxed(DataFormat::Raw),
        }
    }

    fn check(&mut self, message: &[u8], payload: &[u8]) {
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
            let step = miniz_oxide::inflate::stream::inflate(
                &mut self.miniz,
                wire,
                &mut out[written..],
                MZFlush::None,
            );
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
fn inflate_with_window(messages: &[Vec<u8>], window_bits: u8) -> Option<Vec<u8>> {
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

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Random,
    Repetitive,
    /// Text, then noise, and so on: of several blocks.
    Mixed,
}

const KINDS: [Kind; 4] = [Kind::Text, Kind::Random, Kind::Repetitive, Kind::Mixed];

fn payload(kind: Kind, length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 128);
    while bytes.len() < length {
        let is_text = match kind {
            Kind::Text => true,
            Kind::Random => false,
            Kind::Repetitive => {
                bytes.extend_from_slice(&b"abcabcabd"[..3 + seed as usize % 7]);
                continue;
            }
            Kind::Mixed => bytes.len() / 6_000 % 2 == 0,
        };
        if is_text {
            let (id, amount) = (random() >> 40, random() >> 50);
            bytes.extend(format!(r#"{{"id":{id},"side":"sell","amount":{amount}}},"#).bytes());
        } else {
            bytes.extend(random().to_le_bytes());
        }
    }
    bytes.truncate(length);
    bytes
}

/// Compresses behind other bytes; `None` when it says that it is not worth it.
fn deflate(deflater: &mut Deflater, payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let is_shorter = deflater.deflate(payload, &mut out);
    let message = out.strip_prefix(b"before").expect("what was there stays");
    assert_eq!(is_shorter, !message.is_empty());
    assert!(message.is_empty() || message.len() < payload.len());
    is_shorter.then(|| message.to_vec())
}

#[test]
fn every_level_window_and_kind() {
    let mut receiver = Receiver::new();
    for level in LEVELS {
        for window_bits in WINDOWS {
            let mut deflater = Deflater::new(level, window_bits);
            for kind in KINDS {
                let long = LONG.into_iter().filter(|_| level == 6);
                for length in LENGTHS.into_iter().chain(long) {
                    let payload = payload(kind, length, length as u64 + 40);
                    if let Some(message) = deflate(&mut deflater, &payload) {
                        receiver.check(&message, &payload);
                    }
                }
            }
        }
    }
}

#[test]
fn a_megabyte() {
    let mut receiver = Receiver::new();
    for (level, window_bits) in [(1, 15), (6, 15), (6, 9), (9, 14)] {
        let mut deflater = Deflater::new(level, window_bits);
        let mut context = ContextDeflater::new(level, window_bits);
        for kind in KINDS {
            let payload = payload(kind, 1 << 20, 7);
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
            let mut message = Vec::new();
            context.forget();
            context.deflate(&payload, &mut message);
            receiver.check(&message, &payload);
        }
    }
}

#[test]
fn what_is_worth_it_is_compressed() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        for length in LENGTHS.into_iter().chain(LONG).skip(3) {
            for kind in [Kind::Text, Kind::Repetitive, Kind::Mixed] {
                let payload = payload(kind, length, 3);
                let message = deflate(&mut deflater, &payload);
                assert!(message.is_some(), "{kind:?} {length} {window_bits}");
            }
            assert_eq!(
                deflate(&mut deflater, &payload(Kind::Random, length, 3)),
                None
            );
        }
        for nothing in [&b""[..], b"a", b"ab"] {
            assert_eq!(deflate(&mut deflater, nothing), None);
        }
    }
}

#[test]
fn references_stay_within_the_window() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut context = ContextDeflater::new(6, window_bits);
        let (mut alone, mut with_context) = (Vec::new(), Vec::new());
        let (mut alone_payloads, mut payloads) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for length in [300, 512, 2_000, 70_000, 900] {
                // The same again: what lies further back than the window would help.
                let payload = payload(kind, length, 5).repeat(2);
                if let Some(message) = deflate(&mut deflater, &payload) {
                    alone.push(message);
                    alone_payloads.extend_from_slice(&payload);
                }
                let mut message = Vec::new();
                context.deflate(&payload, &mut message);
                with_context.push(message);
                payloads.extend(payload);
            }
        }
        assert!(inflate_with_window(&alone, window_bits) == Some(alone_payloads));
        assert!(inflate_with_window(&with_context, window_bits) == Some(payloads));
        if window_bits < 15 {
            // What keeps to the next larger window does not keep to this one: the check sees it.
            let mut wide = ContextDeflater::new(6, window_bits + 1);
            let mut message = Vec::new();
            let noise = payload(Kind::Random, (1 << window_bits) + 50, 9).repeat(2);
            wide.deflate(&noise, &mut message);
            let messages = [message];
            let noise = Some(noise);
            assert!(inflate_with_window(&messages, window_bits + 1) == noise);
            assert!(inflate_with_window(&messages, window_bits) != noise);
        }
    }
}

#[test]
fn context_makes_messages_smaller_until_it_is_forgotten() {
    for level in LEVELS {
        for window_bits in WINDOWS {
            let mut deflater = ContextDeflater::new(level, window_bits);
            let mut receiver = Receiver::new();
            let mut send = |deflater: &mut ContextDeflater, payload: &[u8]| {
                let mut message = Vec::new();
                deflater.deflate(payload, &mut message);
                receiver.check(&message, payload);
                message.len()
            };
            let payload = payload(Kind::Text, 200, 5);
            let first = send(&mut deflater, &payload);
            assert_eq!(send(&mut deflater, b""), 1, "§7.2.3.6");
            let second = send(&mut deflater, &payload);
            assert!(second < first / 2, "{first} {second}");

            // A message that the receiver never gets.
            deflater.deflate(&[&payload[..], b"dropped"].concat(), &mut Vec::new());
            deflater.forget();
            let after = send(&mut deflater, &[&payload[..], b"dropped"].concat());
            assert!(after > first, "{first} {after}");
            deflater.forget();
            assert_eq!(send(&mut deflater, b""), 1);
            assert_eq!(send(&mut deflater, &payload), first);
        }
    }
}

#[test]
fn noise_with_context_grows_by_little() {
    let mut receiver = Receiver::new();
    for window_bits in WINDOWS {
        let mut deflater = ContextDeflater::new(6, window_bits);
        for length in LENGTHS {
            let noise = payload(Kind::Random, length, length as u64);
            let mut message = Vec::new();
            deflater.deflate(&noise, &mut message);
            assert!(message.len() <= length + length / 100 + 16, "{length}");
            deflater.forget();
            receiver.check(&message, &noise);
        }
    }
}

proptest! {
    #[test]
    fn messages_of_all_kinds_on_one_stream(
        level in LEVELS,
        window_bits in WINDOWS,
        messages in prop::collection::vec(
            (prop::sample::select(&KINDS[..]), 0..12_000usize, any::<u64>(), prop::bool::weighted(0.1)),
            1..8,
        ),
    ) {
        let mut deflater = Deflater::new(level, window_bits);
        let mut context = ContextDeflater::new(level, window_bits);
        let (mut receiver, mut with_context) = (Receiver::new(), Receiver::new());
        for (kind, length, seed, forget) in messages {
            let payload = payload(kind, length, seed);
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
            if forget {
                context.forget();
            }
            let mut message = b"before".to_vec();
            context.deflate(&payload, &mut message);
            prop_assert_eq!(&message[..6], b"before");
            with_context.check(&message[6..], &payload);
        }
    }

    #[test]
    fn arbitrary_bytes_on_one_stream(messages in prop::collection::vec(prop::collection::vec(0..6u8, 0..700), 1..6)) {
        let mut deflater = Deflater::new(6, 15);
        let mut receiver = Receiver::new();
        for payload in messages {
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
        }
    }
}
