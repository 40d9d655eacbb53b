//! Server frames are written by hand here: the encoder is the server's side.

use super::*;
use crate::client::contents::{Contents, PayloadKind};
use crate::client::deflate::Deflater;
use crate::client::workload::Recipe;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(n as u8),
        n @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(127);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

fn recipe(payload_len: usize) -> Recipe {
    Recipe {
        wire: Wire::WebSocket,
        contents: Contents::generated(PayloadKind::Random, Opcode::Binary, &[payload_len]),
        deflate: false,
        in_flight: 4,
    }
}

fn load(len: usize) -> Workload {
    Workload::new(&recipe(len), 9)
}

/// Feeds the stream in pieces of `step` bytes.
fn read(
    load: &Workload,
    verify: Verify,
    stream: &[u8],
    step: usize,
) -> Result<Vec<Reply>, ReplyError> {
    read_counting(load, verify, stream, step).map(|(replies, _)| replies)
}

/// The same, with what was counted.
fn read_counting(
    load: &Workload,
    verify: Verify,
    stream: &[u8],
    step: usize,
) -> Result<(Vec<Reply>, WireCounts), ReplyError> {
    let mut reader = ReplyReader::default();
    let mut shared = Replies::new(load);
    let mut replies = Vec::new();
    for mut piece in stream.chunks(step) {
        while let Some(reply) = reader.next(&mut piece, load, verify, &mut shared)? {
            replies.push(reply);
        }
        assert!(piece.is_empty(), "the reader leaves nothing behind");
    }
    let mut counts = WireCounts::default();
    shared.counts.iter().for_each(|one| counts.merge(one));
    Ok((replies, counts))
}

#[test]
fn any_split_gives_the_same_replies() {
    for len in [0, 1, 20, 125, 126, 700] {
        let load = load(len);
        let mut stream = frame(0x82, load.reply(0));
        stream.extend(frame(0x89, b"are you there"));
        // The second reply in three fragments, with a pong between them.
        let (a, b) = load.reply(1).split_at(len / 2);
        stream.extend(frame(0x02, a));
        stream.extend(frame(0x8a, b""));
        stream.extend(frame(0x00, b));
        stream.extend(frame(0x80, b""));
        stream.extend(frame(0x82, load.reply(2)));
        stream.extend(frame(0x88, b"\x03\xe8bye"));
        let expected = [
            Reply::Message,
            Reply::Control(Control::Ping(b"are you there".to_vec())),
            Reply::Control(Control::Pong),
            Reply::Message,
            Reply::Message,
            Reply::Control(Control::Close("1000 \"bye\"".into())),
        ];
        for step in 1..=stream.len() {
            let replies = read(&load, Verify::Full, &stream, step).unwrap();
            assert_eq!(replies, expected, "{len} bytes in steps of {step}");
        }
    }
}

#[test]
fn a_changed_byte_shows_wherever_it_is() {
    let load = load(300);
    for at in 0..300 {
        let mut payload = load.reply(0).to_vec();
        payload[at] ^= 1;
        let error = read(&load, Verify::Sample, &frame(0x82, &payload), 1000).unwrap_err();
        assert!(matches!(error, ReplyError::Content { .. }));
    }
}

#[test]
fn sampling_finds_a_constant_fault_in_a_large_reply() {
    let load = load(60_000);
    let mut stream = Vec::new();
    for message in 0..120 {
        let mut payload = load.reply(message % load.variants).to_vec();
        payload[31_111] ^= 1;
        stream.extend(frame(0x82, &payload));
    }
    assert!(matches!(
        read(&load, Verify::Sample, &stream, stream.len()),
        Err(ReplyError::Content { .. })
    ));
    assert!(matches!(
        read(&load, Verify::Full, &stream[..60_004], 60_004),
        Err(ReplyError::Content { .. })
    ));
}

#[test]
fn swapped_repeated_and_lost_replies_are_told_by_what_they_carry() {
    let load = load(50);
    // The reader is not told what is due after a reply that was not: it waits for the same once more.
    let cases = [
        (&[1, 0][..], vec![Reply::Displaced(1), Reply::Displaced(0)]),
        (&[0, 0], vec![Reply::Message, Reply::Displaced(0)]),
        (&[0, 2], vec![Reply::Message, Reply::Displaced(2)]),
    ];
    for (order, expected) in cases {
        let stream: Vec<u8> = order
            .iter()
            .flat_map(|&n| frame(0x82, load.reply(n)))
            .collect();
        for step in 1..=stream.len() {
            let replies = read(&load, Verify::Sample, &stream, step).unwrap();
            assert_eq!(replies, expected, "{order:?} in steps of {step}");
        }
    }
}

#[test]
fn where_payloads_may_be_the_same_another_one_is_wrong() {
    // One byte has seven variants, or fewer; nothing at all has but one.
    for len in [0, 1] {
        let load = load(len);
        let same = |variant: &usize| load.reply(*variant) == load.reply(0);
        assert_eq!(
            Replies::new(&load).distinct(),
            len == 1 && (1..7).filter(same).count() == 0
        );
    }
}

#[test]
fn broken_rules_show() {
    let load = load(4);
    let long = frame(0x82, b"12345");
    let short = frame(0x82, b"123");
    let whole = load.reply(0);
    let cases: [(Vec<u8>, ReplyError); 8] = [
        (
            long,
            ReplyError::Length {
                found: 5,
                expected: 4,
            },
        ),
        (
            short,
            ReplyError::Length {
                found: 3,
                expected: 4,
            },
        ),
        (
            frame(0x81, whole),
            ReplyError::Opcode {
                found: Opcode::Text,
                expected: Opcode::Binary,
            },
        ),
        (frame(0xc2, whole), ProtocolError::ReservedBits(4).into()),
        (frame(0x80, whole), ProtocolError::OrphanContinuation.into()),
        (
            [frame(0x02, &whole[..2]), frame(0x82, whole)].concat(),
            ProtocolError::NestedMessage.into(),
        ),
        (
            vec![0x82, 0x84, 1, 2, 3, 4, 0, 0, 0, 0],
            ProtocolError::MaskForbidden.into(),
        ),
        (vec![0x88, 0x01, 0x03], ProtocolError::CloseTruncated.into()),
    ];
    for (stream, expected) in cases {
        assert_eq!(
            read(&load, Verify::Sample, &stream, 100).unwrap_err(),
            expected
        );
    }
}

#[test]
fn replies_of_several_lengths_come_in_any_split() {
    let contents = Contents::generated(PayloadKind::Random, Opcode::Binary, &[0, 5, 200]);
    let load = Workload::new(
        &Recipe {
            contents,
            ..recipe(0)
        },
        9,
    );
    let replies = |numbers: &[usize]| -> Vec<u8> {
        let frame = |&number| frame(0x82, load.reply(number % load.variants));
        numbers.iter().flat_map(frame).collect()
    };
    let all: Vec<usize> = (0..load.variants + 3).collect();
    let stream = replies(&all);
    for step in 1..300 {
        let found = read(&load, Verify::Full, &stream, step).unwrap();
        assert_eq!(found.len(), all.len(), "in pieces of {step}");
    }
    let stranger = read(&load, Verify::Full, &frame(0x82, b"six by"), 100).unwrap_err();
    assert_eq!(
        stranger,
        ReplyError::Length {
            found: 6,
            expected: 0
        }
    );
}

/// One of another length came: the length says which, or what comes of it does.
#[test]
fn replies_of_another_length_are_recognized() {
    let contents = Contents::generated(PayloadKind::Random, Opcode::Binary, &[40, 5, 200]);
    let load = Workload::new(
        &Recipe {
            contents,
            ..recipe(0)
        },
        9,
    );
    for number in 1..load.variants {
        let reply = load.reply(number);
        let (head, tail) = reply.split_at(reply.len() / 2);
        let fragments = [frame(0x02, head), frame(0x80, tail)].concat();
        for stream in [frame(0x82, reply), fragments] {
            for step in 1..stream.len() {
                let found = read(&load, Verify::Full, &stream, step).unwrap();
                assert_eq!(found, [Reply::Displaced(number)], "in pieces of {step}");
            }
        }
    }
    let mut garbled = load.reply(5).to_vec();
    garbled[7] ^= 1;
    let error = read(&load, Verify::Full, &frame(0x82, &garbled), 9).unwrap_err();
    assert!(matches!(error, ReplyError::Content { .. }), "{error}");
}

#[test]
fn raw_replies_are_counted_by_length() {
    let recipe = Recipe {
        wire: Wire::Raw,
        ..recipe(40)
    };
    let load = Workload::new(&recipe, 3);
    let stream = [load.reply(0), load.reply(1), &load.reply(2)[..10]].concat();
    for step in 1..stream.len() {
        let replies = read(&load, Verify::Sample, &stream, step).unwrap();
        assert_eq!(replies, [Reply::Message, Reply::Message]);
    }
    let swapped = [load.reply(1), load.reply(0)].concat();
    assert!(read(&load, Verify::Sample, &swapped, 9).is_err());
}

/// JSON, compressed.
fn compressed_load(len: usize) -> Workload {
    let recipe = Recipe {
        contents: Contents::generated(PayloadKind::Json, Opcode::Text, &[len]),
        deflate: true,
        ..recipe(len)
    };
    Workload::new(&recipe, 9)
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    Deflater::new().compress(payload)
}

#[test]
fn compressed_replies_in_any_split_are_recognized() {
    let load = compressed_load(300);
    let mut stream = Vec::new();
    for n in 0..2 * load.variants {
        let reply = load.reply(n % load.variants);
        if n == 3 {
            // A server need not compress everything.
            stream.extend(frame(0x81, reply));
            continue;
        }
        let compressed = deflated(reply);
        let (a, b) = compressed.split_at(50);
        stream.extend(frame(0x41, a));
        stream.extend(frame(0x89, b""));
        stream.extend(frame(0x80, b));
    }
    for step in (1..stream.len()).step_by(7) {
        let (replies, counts) = read_counting(&load, Verify::Sample, &stream, step).unwrap();
        let messages = replies
            .iter()
            .filter(|&reply| *reply == Reply::Message)
            .count();
        assert_eq!(messages, 14, "in steps of {step}");
        assert_eq!((counts.compressed, counts.uncompressed), (13, 1));
        // Each of the seven once, those of the second round not again.
        assert_eq!(counts.inflated, 7);
        // All but the pings.
        assert_eq!(counts.wire_bytes, stream.len() as u64 - 13 * 2);
    }
}

#[test]
fn wrong_compressed_replies_show() {
    let load = compressed_load(300);
    let read = |stream: &[u8]| read(&load, Verify::Sample, stream, 64).unwrap_err();
    let mut other = load.reply(0).to_vec();
    other[200] ^= 1;
    let content = ReplyError::Content { at: 0, len: 300 };
    assert_eq!(read(&frame(0xc1, &deflated(&other))), content);
    let short = read(&frame(0xc1, &deflated(&other[..299])));
    assert!(matches!(short, ReplyError::Length { found: 299, .. }));
    let long = read(&frame(0xc1, &deflated(&[0; 301])));
    assert_eq!(long, InflateError::TooLong { limit: 300 }.into());
    assert_eq!(
        read(&frame(0xc1, &[0xff; 100])),
        InflateError::Invalid.into()
    );
    // More than any compressor makes of 300 bytes: not waited for.
    let endless = read(&[0xc1, 127, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(matches!(endless, ReplyError::Length { .. }));
}

#[test]
fn displaced_compressed_replies_are_told_by_what_they_carry() {
    let load = compressed_load(300);
    let stream: Vec<u8> = [0, 0, 3]
        .iter()
        .flat_map(|&n| frame(0xc1, &deflated(load.reply(n))))
        .collect();
    let replies = read(&load, Verify::Sample, &stream, 64).unwrap();
    let displaced = [Reply::Message, Reply::Displaced(0), Reply::Displaced(3)];
    assert_eq!(replies, displaced);
}

#[test]
fn rsv1_is_for_the_first_frame_of_a_message_only() {
    let load = compressed_load(300);
    let compressed = deflated(load.reply(0));
    let (a, b) = compressed.split_at(50);
    let reserved = |stream: Vec<u8>| {
        let error = read(&load, Verify::Sample, &stream, 64).unwrap_err();
        assert_eq!(error, ProtocolError::ReservedBits(4).into());
    };
    reserved([frame(0x41, a), frame(0xc0, b)].concat());
    reserved(frame(0xc9, b""));
    let other_bit = read(&load, Verify::Sample, &frame(0xe1, a), 64).unwrap_err();
    assert_eq!(other_bit, ProtocolError::ReservedBits(6).into());
}
