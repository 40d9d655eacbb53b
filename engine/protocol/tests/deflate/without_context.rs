//! Messages that stand alone.

use corecast_protocol::deflate::Deflater;
use proptest::prelude::*;

use crate::inflaters::{Receiver, inflate_with_window};
use crate::payloads::{KINDS, Kind, LENGTHS, LEVELS, LONG, WINDOWS, payload};

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
        for kind in KINDS {
            let payload = payload(kind, 1 << 20, 7);
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
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
        let (mut messages, mut payloads) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for length in [300, 512, 2_000, 70_000, 900] {
                // The same again: what lies further back than the window would help.
                let payload = payload(kind, length, 5).repeat(2);
                if let Some(message) = deflate(&mut deflater, &payload) {
                    messages.push(message);
                    payloads.extend_from_slice(&payload);
                }
            }
        }
        assert!(inflate_with_window(&messages, window_bits) == Some(payloads));
    }
}

proptest! {
    #[test]
    fn messages_of_all_kinds_on_one_stream(
        level in LEVELS,
        window_bits in WINDOWS,
        messages in prop::collection::vec(
            (prop::sample::select(&KINDS[..]), 0..12_000usize, any::<u64>()),
            1..8,
        ),
    ) {
        let mut deflater = Deflater::new(level, window_bits);
        let mut receiver = Receiver::new();
        for (kind, length, seed) in messages {
            let payload = payload(kind, length, seed);
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_on_one_stream(
        messages in prop::collection::vec(prop::collection::vec(0..6u8, 0..700), 1..6),
    ) {
        let mut deflater = Deflater::new(6, 15);
        let mut receiver = Receiver::new();
        for payload in messages {
            if let Some(message) = deflate(&mut deflater, &payload) {
                receiver.check(&message, &payload);
            }
        }
    }
}
