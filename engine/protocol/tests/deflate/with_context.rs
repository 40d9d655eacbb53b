//! Messages that refer to what the connection was sent before.

use corecast_protocol::deflate::{Context, Deflater};
use proptest::prelude::*;

use crate::inflaters::{Receiver, inflate_with_window};
use crate::payloads::{KINDS, Kind, LENGTHS, LEVELS, LONG, WINDOWS, payload};

/// Compresses behind other bytes; `None` when it says that it is not worth it.
fn deflate(deflater: &mut Deflater, context: &mut Context, payload: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let is_shorter = deflater.deflate_with(context, payload, &mut out);
    let message = out.strip_prefix(b"before").expect("what was there stays");
    assert_eq!(is_shorter, !message.is_empty());
    assert!(message.is_empty() || message.len() < payload.len());
    is_shorter.then(|| message.to_vec())
}

#[test]
fn context_makes_messages_smaller_until_it_is_forgotten() {
    for level in LEVELS {
        for window_bits in WINDOWS {
            let mut deflater = Deflater::new(level, window_bits);
            let mut context = Context::new();
            let mut receiver = Receiver::new();
            let mut send = |context: &mut Context, payload: &[u8]| {
                let message = deflate(&mut deflater, context, payload).expect("shorter");
                receiver.check(&message, payload);
                message.len()
            };
            let payload = payload(Kind::Text, 200, 5);
            let first = send(&mut context, &payload);
            let second = send(&mut context, &payload);
            assert!(second < first / 2, "{first} {second}");
            context.forget();
            assert_eq!(send(&mut context, &payload), first);
        }
    }
}

#[test]
fn nothing_refers_to_a_message_that_was_never_sent() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut context = Context::new();
        let mut receiver = Receiver::new();
        let payload = payload(Kind::Text, 300, 5);
        let first = deflate(&mut deflater, &mut context, &payload).expect("shorter");
        receiver.check(&first, &payload);
        // Dropped on its way.
        let dropped = [&b"dropped: "[..], &payload].concat();
        deflate(&mut deflater, &mut context, &dropped).expect("shorter");
        context.forget();
        let after = deflate(&mut deflater, &mut context, &dropped).expect("shorter");
        receiver.check(&after, &dropped);
    }
}

#[test]
fn what_is_not_worth_it_leaves_the_context_as_it_was() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut context = Context::new();
        let mut receiver = Receiver::new();
        let text = payload(Kind::Text, 200, 5);
        let first = deflate(&mut deflater, &mut context, &text).expect("shorter");
        receiver.check(&first, &text);
        for length in [0, 1, 300, 70_000] {
            let noise = payload(Kind::Random, length, 11);
            assert_eq!(deflate(&mut deflater, &mut context, &noise), None);
        }
        let again = deflate(&mut deflater, &mut context, &text).expect("shorter");
        receiver.check(&again, &text);
        assert!(again.len() < 20, "{}", again.len());
    }
}

#[test]
fn a_message_that_was_compressed_alone_can_be_referred_to() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut context = Context::new();
        let mut receiver = Receiver::new();
        let earlier = payload(Kind::Text, 400, 17);
        let message = deflate(&mut deflater, &mut context, &earlier).expect("shorter");
        receiver.check(&message, &earlier);
        // What everybody gets.
        let text = payload(Kind::Text, 200, 5);
        let mut common = Vec::new();
        assert!(deflater.deflate(&text, &mut common));
        receiver.check(&common, &text);
        context.remember(&text, window_bits);
        let again = deflate(&mut deflater, &mut context, &text).expect("shorter");
        receiver.check(&again, &text);
        assert!(again.len() < 20, "{}", again.len());
    }
}

#[test]
fn references_stay_within_the_window() {
    for window_bits in WINDOWS {
        let mut deflater = Deflater::new(6, window_bits);
        let mut context = Context::new();
        let (mut messages, mut payloads) = (Vec::new(), Vec::new());
        for kind in KINDS {
            for length in LENGTHS.into_iter().chain([LONG[2], 300, 20, 512]) {
                // The same again: what lies further back than the window would help.
                let payload = payload(kind, length, 5).repeat(2);
                if let Some(message) = deflate(&mut deflater, &mut context, &payload) {
                    messages.push(message);
                    payloads.extend(payload);
                }
                assert!(context.memory() <= Context::max_memory(window_bits));
            }
        }
        assert!(inflate_with_window(&messages, window_bits) == Some(payloads));
    }
}

proptest! {
    #[test]
    fn messages_of_all_kinds_to_several_connections(
        level in LEVELS,
        window_bits in WINDOWS,
        messages in prop::collection::vec(
            (
                0..3usize,
                prop::sample::select(&KINDS[..]),
                0..12_000usize,
                0..4u64,
                prop::bool::weighted(0.1),
            ),
            1..12,
        ),
    ) {
        let mut deflater = Deflater::new(level, window_bits);
        let mut connections = [0; 3].map(|_| (Context::new(), Receiver::new()));
        for (to, kind, length, seed, forget) in messages {
            let (context, receiver) = &mut connections[to];
            if forget {
                context.forget();
            }
            let payload = payload(kind, length, seed);
            if let Some(message) = deflate(&mut deflater, context, &payload) {
                receiver.check(&message, &payload);
            }
        }
    }
}
