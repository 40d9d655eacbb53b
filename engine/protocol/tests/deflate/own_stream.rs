//! Messages of a connection that has a compressor of its own.

use corecast_protocol::deflate::ContextDeflater;
use proptest::prelude::*;

use crate::inflaters::{Receiver, inflate_with_window};
use crate::payloads::{KINDS, Kind, LENGTHS, LEVELS, WINDOWS, payload};

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

#[test]
fn references_stay_within_the_window() {
    for window_bits in WINDOWS {
        let mut deflater = ContextDeflater::new(6, window_bits);
        let (mut messages, mut payloads) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for length in [300, 512, 2_000, 70_000, 900] {
                let payload = payload(kind, length, 5).repeat(2);
                let mut message = Vec::new();
                deflater.deflate(&payload, &mut message);
                messages.push(message);
                payloads.extend(payload);
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
            (prop::sample::select(&KINDS[..]), 0..12_000usize, any::<u64>(), prop::bool::weighted(0.1)),
            1..8,
        ),
    ) {
        let mut deflater = ContextDeflater::new(level, window_bits);
        let mut receiver = Receiver::new();
        for (kind, length, seed, forget) in messages {
            if forget {
                deflater.forget();
            }
            let payload = payload(kind, length, seed);
            let mut message = b"before".to_vec();
            deflater.deflate(&payload, &mut message);
            prop_assert_eq!(&message[..6], b"before");
            receiver.check(&message[6..], &payload);
        }
    }
}
