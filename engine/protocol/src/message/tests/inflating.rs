//! Compressed messages (RFC 7692), and: however the input is cut, the events are the same.

use super::compressor::{Compressor, compressed, json, noise};
use super::*;
use crate::deflate::{STEP_INPUT, STEP_OUTPUT};

const WHOLE: Inflation = Inflation::Whole;
const CONTEXT: Inflation = Inflation::Context { window_bits: 15 };
const MODES: [Inflation; 2] = [WHOLE, CONTEXT];

fn inflate_pieces(
    inflation: Inflation,
    role: Role,
    limits: Limits,
    pieces: &[&[u8]],
) -> (Vec<Got>, Vec<usize>) {
    let mut peer = Peer::with_inflation(role, limits, inflation);
    for piece in pieces {
        peer.feed(piece);
    }
    (peer.got, peer.steps)
}

/// The events of the whole stream; checks that a cut at every place, or at many, and bytes one by one give the same.
fn inflate_with(inflation: Inflation, limits: Limits, stream: &[u8]) -> Vec<Got> {
    let receive = |pieces: &[&[u8]]| inflate_pieces(inflation, Role::Server, limits, pieces);
    let whole = receive(&[stream]);
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(receive(&single), whole, "byte by byte");
    for cut in (0..stream.len()).step_by(1 + stream.len() / 500) {
        let (left, right) = stream.split_at(cut);
        assert_eq!(receive(&[left, right]), whole, "cut at {cut}");
    }
    whole.0
}

fn inflate(inflation: Inflation, stream: &[u8]) -> Vec<Got> {
    inflate_with(inflation, Limits::default(), stream)
}

/// One frame with a compressed text.
fn text_frame(payload: &[u8]) -> Vec<u8> {
    frames(&[(compressed(Opcode::Text, true), payload)])
}

fn binary_frame(payload: &[u8]) -> Vec<u8> {
    frames(&[(compressed(Opcode::Binary, true), payload)])
}

/// §7.2.3, unmasked, as they stand there.
#[test]
fn rfc_7692_examples() {
    let hello = || Got::Text("Hello".into());
    let client = |inflation, stream: &[u8]| {
        let limits = Limits::default();
        inflate_pieces(inflation, Role::Client, limits, &[stream]).0
    };
    for mode in MODES {
        // §7.2.3.1, in one frame and in two
        let one = [0xc1, 7, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 7, 0];
        assert_eq!(client(mode, &one), [hello()]);
        let two = [0x41, 3, 0xf2, 0x48, 0xcd, 0x80, 4, 0xc9, 0xc9, 7, 0];
        assert_eq!(client(mode, &two), [hello()]);
        // §7.2.3.3
        let stored = b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
        assert_eq!(client(mode, stored), [hello()]);
        // §7.2.3.4
        let final_block = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        assert_eq!(client(mode, &final_block.repeat(2)), [hello(), hello()]);
        // §7.2.3.5
        let blocks = b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
        assert_eq!(client(mode, blocks), [hello()]);
        // §7.2.3.6
        assert_eq!(client(mode, &[0xc1, 1, 0]), [Got::Text(String::new())]);
    }
    // §7.2.3.2
    let again = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    assert_eq!(client(CONTEXT, again), [hello(), hello()]);
    let refused = Got::Failed(ProtocolError::InvalidDeflate);
    assert_eq!(client(WHOLE, again), [hello(), refused]);
}

#[test]
#[cfg_attr(miri, ignore = "streams cut everywhere")]
fn empty_compressed_messages() {
    for mode in MODES {
        for payload in [
            &b""[..],
            b"\x00",
            b"\x01",
            b"\x02\x00",
            b"\x03\x00\x00",
            b"\x00\x00\x00\xff\xff\x00",
        ] {
            let stream = [binary_frame(payload), text_frame(payload)].concat();
            let expected = [Got::Binary(vec![]), Got::Text(String::new())];
            assert_eq!(inflate(mode, &stream), expected, "{payload:x?}");
        }
    }
}

/// §6, §6.1: on the first frame of a data message, and only if that was negotiated.
#[test]
#[cfg_attr(miri, ignore = "streams cut everywhere")]
fn where_rsv1_may_stand() {
    let kind = |rsv, fin, opcode| FrameKind { fin, rsv, opcode };
    let hello: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let first = (compressed(Opcode::Text, false), &hello[..3]);
    let refused = |bits| failed(ProtocolError::ReservedBits(bits));

    let stream = text_frame(hello);
    assert_eq!(inflate(Inflation::Off, &stream), refused(0b100));
    for mode in MODES {
        for rsv in [0b001, 0b010, 0b101, 0b110, 0b111] {
            let stream = frames(&[(kind(rsv, true, Opcode::Text), hello)]);
            assert_eq!(inflate(mode, &stream), refused(rsv));
        }
        for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
            let stream = frames(&[(kind(0b100, true, opcode), b"")]);
            assert_eq!(inflate(mode, &stream), refused(0b100));
        }
        for opcode in [Opcode::Continuation, Opcode::Ping] {
            let stream = frames(&[first, (kind(0b100, true, opcode), &hello[3..])]);
            assert_eq!(inflate(mode, &stream), refused(0b100));
        }
        // A message that begins without stays without.
        let plain = (Opcode::Text.unfinished(), &b"plain"[..]);
        let stream = frames(&[plain, (kind(0b100, true, Opcode::Continuation), hello)]);
        assert_eq!(inflate(mode, &stream), refused(0b100));
        // RFC 6455 §5.4 holds as ever.
        let orphan = frames(&[(fin(Opcode::Continuation), hello)]);
        let refused = failed(ProtocolError::OrphanContinuation);
        assert_eq!(inflate(mode, &orphan), refused);
        let nested = frames(&[first, (compressed(Opcode::Text, true), hello)]);
        assert_eq!(inflate(mode, &nested), failed(ProtocolError::NestedMessage));
    }
}

#[test]
#[cfg_attr(miri, ignore = "a stream cut everywhere")]
fn plain_messages_between_compressed_ones() {
    for mode in MODES {
        let mut compressor = Compressor::new(6, mode);
        let data = json(3000);
        let list = [
            (compressed(Opcode::Text, true), compressor.message(&data)),
            (fin(Opcode::Text), data.clone()),
            (compressed(Opcode::Text, true), compressor.message(&data)),
            (Opcode::Binary.unfinished(), data.clone()),
            (fin(Opcode::Continuation), data.clone()),
            (compressed(Opcode::Binary, true), compressor.message(&data)),
        ];
        let list: Vec<(FrameKind, &[u8])> = list.iter().map(|(kind, p)| (*kind, &p[..])).collect();
        let text = || Got::Text(String::from_utf8(data.clone()).unwrap());
        let expected = [
            text(),
            text(),
            text(),
            Got::Binary(data.repeat(2)),
            Got::Binary(data.clone()),
        ];
        assert_eq!(inflate(mode, &frames(&list)), expected);
    }
}

/// A frame without RSV1 is lent as on any other connection.
#[test]
fn a_plain_frame_is_lent_on_a_compressed_connection() {
    for mode in MODES {
        let mut shared = Shared::new(Role::Server, Limits::default());
        let mut receiver = Receiver::with_inflation(mode);
        let mut bytes = [text_frame(b"\x00"), frames(&[(fin(Opcode::Text), b"lent")])].concat();
        let mut input = Input::new(&mut bytes);
        let empty = receiver.poll(&mut shared, &mut input).unwrap();
        assert_eq!(empty, Some(Event::Text("".into())));
        let lent = receiver.poll(&mut shared, &mut input).unwrap();
        assert!(matches!(lent, Some(Event::Text(Cow::Borrowed("lent")))));
    }
}

/// §6.1: fragments are cut anywhere, and control frames come between them at once.
#[test]
#[cfg_attr(miri, ignore = "a stream cut everywhere")]
fn fragments_of_a_compressed_message() {
    for mode in MODES {
        let data = json(5000);
        let payload = Compressor::new(6, mode).message(&data);
        let (a, rest) = payload.split_at(1);
        let (b, c) = rest.split_at(rest.len() / 2);
        let more = |payload| (Opcode::Continuation.unfinished(), payload);
        let stream = frames(&[
            (compressed(Opcode::Text, false), b""),
            more(a),
            (fin(Opcode::Ping), b"1"),
            more(b""),
            (fin(Opcode::Pong), b"2"),
            more(b),
            more(c),
            (fin(Opcode::Continuation), b""),
        ]);
        let expected = [
            Got::Ping(b"1".to_vec()),
            Got::Pong(b"2".to_vec()),
            Got::Text(String::from_utf8(data).unwrap()),
        ];
        assert_eq!(inflate(mode, &stream), expected);
    }
}

/// RFC 6455 §8.1, on what is inflated.
#[test]
#[cfg_attr(miri, ignore = "messages of several steps")]
fn compressed_text_must_be_utf8() {
    for mode in MODES {
        for bad in [&b"\xff"[..], b"ok \xe2\x82", b"\xed\xa0\x80", b"a\x80b"] {
            let stream = text_frame(&Compressor::new(6, mode).message(bad));
            assert_eq!(inflate(mode, &stream), failed(ProtocolError::InvalidUtf8));
        }
        // In the second step, across the border of the first, and open at the end.
        for at in [STEP_OUTPUT - 1, STEP_OUTPUT, STEP_OUTPUT + 5] {
            let mut data = vec![b'a'; STEP_OUTPUT + 100];
            data[at..at + 3].copy_from_slice("€".as_bytes());
            let good = text_frame(&Compressor::new(6, mode).message(&data));
            let (got, _) = inflate_pieces(mode, Role::Server, Limits::default(), &[&good]);
            assert_eq!(got, [Got::Text(String::from_utf8(data.clone()).unwrap())]);
            data[at + 1] = b'a';
            let bad = text_frame(&Compressor::new(6, mode).message(&data));
            let (got, _) = inflate_pieces(mode, Role::Server, Limits::default(), &[&bad]);
            assert_eq!(got, failed(ProtocolError::InvalidUtf8));
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "streams cut everywhere")]
fn what_is_no_deflate_data() {
    let cases: &[(&str, &[u8])] = &[
        ("block type 3", b"\x06"),
        ("too many symbols", b"\xfc\x00\x00"),
        ("code lengths that are no code", b"\x04\x00\xfe\xff"),
        ("repetition of nothing", b"\x04\x00\x24\x49\x00"),
        ("no end of block", b"\x04\x00\x24\xe9\xff\x6d"),
        ("distance that has no code", b"\x02\x7e\xff\xff"),
        (
            "stored block whose length is not confirmed",
            b"\x00\x05\x00\x00\x00hello\x00",
        ),
        ("stored block that is cut", b"\x00\x05\x00\xfa\xffhel"),
        ("fixed block that is cut", b"\xf2\x48\xcd"),
        ("flush block that is not there", b"\xf2\x48\xcd\xc9\xc9"),
        ("reference before the beginning", b"\xf2\x00\x11\x00\x00"),
        (
            "noise behind a final block",
            b"\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff\xff",
        ),
        (
            "the tail that should have been taken away",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
        ),
    ];
    for mode in MODES {
        for (what, payload) in cases {
            let stream = binary_frame(payload);
            let refused = failed(ProtocolError::InvalidDeflate);
            assert_eq!(inflate(mode, &stream), refused, "{what}");
        }
    }
    let code = ProtocolError::InvalidDeflate.close_code();
    assert_eq!(code, CloseCode::INVALID_PAYLOAD);
}

/// §7.2.3.4: a final block ends a stream. Another may follow in the same message, and the next message begins a new one;
/// the octet behind the final block may be missing.
#[test]
#[cfg_attr(miri, ignore = "streams cut everywhere")]
fn final_blocks() {
    for mode in MODES {
        let mut compressor = Compressor::new(6, mode);
        let data = json(2000);
        let mut both = compressor.final_message(&data);
        both.pop();
        both.extend(compressor.message(&data));
        let twice = Got::Binary(data.repeat(2));
        let mut stream = binary_frame(&both);
        // Refers to the second half of the message before, which came after the final block.
        let mut next = compressor.message(&data);
        stream.extend(binary_frame(&next));
        next = compressor.final_message(&data);
        next.pop();
        stream.extend(binary_frame(&next));
        stream.extend(binary_frame(&compressor.message(&data)));
        let once = || Got::Binary(data.clone());
        assert_eq!(inflate(mode, &stream), [twice, once(), once(), once()]);
    }
    // What a final block ends is not there for references any more.
    let stream = [
        binary_frame(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
        binary_frame(b"\xf2\x00\x11\x00\x00"),
    ];
    let got = inflate(CONTEXT, &stream.concat());
    let refused = Got::Failed(ProtocolError::InvalidDeflate);
    assert_eq!(got, [Got::Binary(b"Hello".to_vec()), refused]);
}

/// References reach back over many messages, as far as the window does and no further.
#[test]
#[cfg_attr(miri, ignore = "some hundred kilobytes")]
fn context_over_many_messages() {
    for window_bits in 8..=15 {
        let inflation = Inflation::Context { window_bits };
        let mut compressor = Compressor::new(9, inflation);
        let mut peer = Peer::with_inflation(Role::Server, Limits::default(), inflation);
        let data = noise(1 << 17);
        let mut at = 0;
        let mut expected = Vec::new();
        // Each piece comes twice, in two messages that lie about half a window apart.
        for len in [1, 7, 100, 250, 1000, 3000, 70_000, 5, 200, 20_000].repeat(2) {
            let apart = len.min(100 << (window_bits - 8));
            for range in [at..at + len, at..at + apart] {
                let range = range.start % 40_000..range.end % 40_000 + 40_000;
                expected.push(Got::Binary(data[range.clone()].to_vec()));
                peer.feed(&binary_frame(&compressor.message(&data[range])));
            }
            at += len;
            let window = 1 << window_bits.max(9);
            assert!(peer.receiver.buffered() <= window + 100);
        }
        assert_eq!(peer.got.len(), expected.len());
        assert!(peer.got == expected, "{window_bits} bits");
    }
}

/// What a context costs follows what the peer has sent.
#[test]
fn an_unused_context_costs_nothing_to_speak_of() {
    let mut peer = Peer::with_inflation(Role::Server, Limits::default(), CONTEXT);
    assert!(peer.receiver.is_idle());
    assert!(peer.receiver.buffered() <= 64);
    let mut compressor = Compressor::new(6, CONTEXT);
    peer.feed(&text_frame(&compressor.message(&json(300))));
    assert!(peer.receiver.is_idle());
    assert!((300..=400).contains(&peer.receiver.buffered()));

    let mut peer = Peer::with_inflation(Role::Server, Limits::default(), WHOLE);
    peer.feed(&text_frame(&compressor.message(&[b'a'; 100])));
    assert!(peer.receiver.is_idle());
    assert_eq!(peer.receiver.buffered(), 0);
}

/// Lengths around every border of a step, by noise (which is read as fast as made) and zeros (which are made of nothing).
#[test]
#[cfg_attr(miri, ignore = "some megabytes")]
fn messages_of_several_steps() {
    let lens = [STEP_INPUT, STEP_OUTPUT, 2 * STEP_OUTPUT, 3 * STEP_OUTPUT];
    let lens = lens.iter().flat_map(|len| [len - 1, *len, len + 1]);
    for len in lens.chain([STEP_INPUT - 100, 1 << 20]) {
        for data in [noise(len), vec![0; len]] {
            for mode in MODES {
                let stream = binary_frame(&Compressor::new(1, mode).message(&data));
                let (got, steps) =
                    inflate_pieces(mode, Role::Server, Limits::default(), &[&stream]);
                assert!(got == [Got::Binary(data.clone())], "{len} bytes");
                let fewest = stream
                    .len()
                    .div_ceil(STEP_INPUT)
                    .max(len.div_ceil(STEP_OUTPUT));
                assert!(steps.len() <= fewest, "{steps:?}");
                assert!(steps.iter().all(|&bytes| bytes <= STEP_OUTPUT));
                assert_eq!(
                    steps.is_empty(),
                    stream.len() <= STEP_INPUT && len <= STEP_OUTPUT
                );
            }
        }
    }
}

/// Control frames and messages behind a large one wait for it.
#[test]
#[cfg_attr(miri, ignore = "half a megabyte, cut everywhere")]
fn order_is_kept_behind_a_message_of_many_steps() {
    for mode in MODES {
        let data = vec![0; 500_000];
        let stream = [
            binary_frame(&Compressor::new(6, mode).message(&data)),
            frames(&[
                (fin(Opcode::Ping), b"behind"),
                (fin(Opcode::Text), b"plain"),
            ]),
        ];
        let expected = [
            Got::Binary(data),
            Got::Ping(b"behind".to_vec()),
            Got::Text("plain".into()),
        ];
        assert!(inflate(mode, &stream.concat()) == expected);
    }
}

/// A message that a compressor made, as it comes in.
#[derive(Debug, Clone)]
struct Sent {
    text: bool,
    data: String,
    /// Otherwise it is sent plain.
    compressed: bool,
    /// Where it is flushed on the way.
    flushes: Vec<prop::sample::Index>,
    ends_stream: bool,
    fragments: usize,
    pings: bool,
}

fn any_sent() -> impl Strategy<Value = Sent> {
    let data = prop_oneof![
        3 => ".{0,60}",
        2 => "([a-z]{3}€){0,60}",
        1 => (any::<[char; 3]>(), 1..3000_usize).prop_map(|(chars, times)| String::from_iter(chars).repeat(times)),
        1 => (1..200_000_usize).prop_map(|len| String::from_utf8(json(len)).unwrap()),
    ];
    let flushes = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (
        any::<bool>(),
        data,
        prop::bool::weighted(0.8),
        flushes,
        prop::bool::weighted(0.2),
        1..5_usize,
        any::<bool>(),
    )
        .prop_map(
            |(text, data, compressed, flushes, ends_stream, fragments, pings)| Sent {
                text,
                data,
                compressed,
                flushes,
                ends_stream,
                fragments,
                pings,
            },
        )
}

impl Sent {
    fn payload(&self, compressor: &mut Compressor) -> Vec<u8> {
        let data = self.data.as_bytes();
        if !self.compressed {
            return data.to_vec();
        }
        if self.ends_stream {
            return compressor.final_message(data);
        }
        let mut cuts: Vec<usize> = self
            .flushes
            .iter()
            .map(|at| at.index(data.len() + 1))
            .collect();
        cuts.extend([0, data.len()]);
        cuts.sort_unstable();
        compressor.message_in_pieces(cuts.windows(2).map(|cut| &data[cut[0]..cut[1]]))
    }

    fn write(
        &self,
        compressor: &mut Compressor,
        role: Role,
        stream: &mut Vec<u8>,
        events: &mut Vec<Got>,
    ) {
        let payload = self.payload(compressor);
        let mut send = |kind: FrameKind, payload: &[u8]| match role {
            Role::Server => encode_client(stream, kind, payload, KEY),
            Role::Client => encode_server(stream, kind, payload),
        };
        let size = payload.len().div_ceil(self.fragments).max(1);
        let mut pieces: Vec<&[u8]> = payload.chunks(size).collect();
        if pieces.is_empty() {
            pieces.push(b"");
        }
        for (index, piece) in pieces.iter().enumerate() {
            let opcode = match (index, self.text) {
                (0, true) => Opcode::Text,
                (0, false) => Opcode::Binary,
                _ => Opcode::Continuation,
            };
            let last = index + 1 == pieces.len();
            if index == 0 && self.compressed {
                send(compressed(opcode, last), piece);
            } else {
                send(
                    if last {
                        fin(opcode)
                    } else {
                        opcode.unfinished()
                    },
                    piece,
                );
            }
            if self.pings && !last {
                send(fin(Opcode::Ping), b"ping");
                events.push(Got::Ping(b"ping".to_vec()));
            }
        }
        events.push(if self.text {
            Got::Text(self.data.clone())
        } else {
            Got::Binary(self.data.clone().into_bytes())
        });
    }
}

fn any_inflation() -> impl Strategy<Value = Inflation> {
    prop_oneof![
        Just(WHOLE),
        (8..=15_u8).prop_map(|window_bits| Inflation::Context { window_bits }),
    ]
}

fn any_piece_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![1..8_usize, 1..300_usize, 300..100_000_usize],
        1..10,
    )
}

/// Some of these cases are long.
fn few_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases.min(100),
        ..usual
    }
}

proptest! {
    #![proptest_config(few_cases())]

    #[test]
    #[cfg_attr(miri, ignore = "minutes for each case, in the compressor")]
    fn any_split_gives_the_messages_that_were_compressed(
        sent in prop::collection::vec(any_sent(), 1..6),
        inflation in any_inflation(),
        level in 0..=9_u32,
        role in any_role(),
        sizes in any_piece_sizes(),
    ) {
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        let mut compressor = Compressor::new(level, inflation);
        for message in &sent {
            message.write(&mut compressor, role, &mut stream, &mut expected);
        }
        let limits = Limits::default();
        let whole = inflate_pieces(inflation, role, limits, &[&stream]);
        prop_assert!(whole.0 == expected);
        prop_assert!(inflate_pieces(inflation, role, limits, &split(&stream, &sizes)) == whole);
    }

    /// Broken streams: no panic, and the same events and the same error wherever the input is cut.
    #[test]
    #[cfg_attr(miri, ignore = "minutes for each case, in the compressor")]
    fn any_split_gives_the_same_error_of_broken_data(
        sent in prop::collection::vec(any_sent(), 1..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..6),
        inflation in any_inflation(),
        sizes in any_piece_sizes(),
    ) {
        let mut compressor = Compressor::new(6, inflation);
        let mut stream = Vec::new();
        for message in &sent {
            let mut payload = message.payload(&mut compressor);
            if payload.is_empty() {
                payload.push(0);
            }
            for (at, flip) in &flips {
                let at = at.index(payload.len());
                payload[at] ^= flip;
            }
            let kind = compressed(Opcode::Binary, true);
            encode_client(&mut stream, kind, &payload, KEY);
        }
        let limits = Limits { max_message: 150_000, max_frame: 90_000, ..Limits::default() };
        let whole = inflate_pieces(inflation, Role::Server, limits, &[&stream]);
        let pieces = split(&stream, &sizes);
        prop_assert!(inflate_pieces(inflation, Role::Server, limits, &pieces) == whole);
    }

    #[test]
    fn any_payload_is_survived(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        inflation in any_inflation(),
        sizes in any_piece_sizes(),
    ) {
        let stream = text_frame(&payload);
        let limits = Limits::default();
        let whole = inflate_pieces(inflation, Role::Server, limits, &[&stream]);
        let pieces = split(&stream, &sizes);
        prop_assert!(inflate_pieces(inflation, Role::Server, limits, &pieces) == whole);
    }
}
