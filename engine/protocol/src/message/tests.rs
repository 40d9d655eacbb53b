//! Tables from RFC 6455, and: however the input is cut, the events are the same.

// Inflates megabytes.
#[cfg(not(miri))]
mod bombs;
mod compressor;
mod inflating;
mod spares;

use proptest::prelude::*;

use super::*;
use crate::close::{encode_close_client, encode_close_server};
use crate::frame::{FrameKind, encode_client, encode_server};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
    Failed(ProtocolError),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Event::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Event::Close(close) => Self::Close(close.map(|(code, why)| (code, why.to_owned()))),
            Event::Fragment | Event::Inflating { .. } => unreachable!("counted, not kept"),
        }
    }
}

struct Peer {
    shared: Shared,
    receiver: Receiver,
    got: Vec<Got>,
    fragments: usize,
    /// Bytes of each step of inflating that did not end its message.
    steps: Vec<usize>,
}

impl Peer {
    fn new(role: Role, limits: Limits) -> Self {
        Self::with_inflation(role, limits, Inflation::Off)
    }

    fn with_inflation(role: Role, limits: Limits, inflation: Inflation) -> Self {
        Self {
            shared: Shared::new(role, limits),
            receiver: Receiver::with_inflation(inflation),
            got: Vec::new(),
            fragments: 0,
            steps: Vec::new(),
        }
    }

    /// Feeds one piece, from a buffer of its own so that the receiver cannot lean on earlier ones.
    fn feed(&mut self, piece: &[u8]) {
        let mut bytes = piece.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            match self.receiver.poll(&mut self.shared, &mut input) {
                Ok(None) => break,
                Ok(Some(Event::Fragment)) => self.fragments += 1,
                Ok(Some(Event::Inflating { bytes })) => {
                    assert!(bytes > 0, "there is no other receiver to wait for");
                    assert!(self.receiver.is_inflating());
                    self.steps.push(bytes);
                }
                Ok(Some(event)) => self.got.push(event.into()),
                Err(error) => self.got.push(Got::Failed(error)),
            }
        }
        assert_eq!(
            input.remaining(),
            0,
            "`None` means that the input is used up"
        );
        assert_eq!(input.consumed(), piece.len());
    }
}

fn receive(role: Role, limits: Limits, pieces: &[&[u8]]) -> Vec<Got> {
    let mut peer = Peer::new(role, limits);
    for piece in pieces {
        peer.feed(piece);
    }
    peer.got
}

/// The events of the whole stream; checks that bytes one by one and a cut at every place give
/// the same ones.
fn receive_every_way(role: Role, limits: Limits, stream: &[u8]) -> Vec<Got> {
    let whole = receive(role, limits, &[stream]);
    let single: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(receive(role, limits, &single), whole, "byte by byte");
    for cut in 0..stream.len() {
        let (left, right) = stream.split_at(cut);
        assert_eq!(receive(role, limits, &[left, right]), whole, "cut at {cut}");
    }
    whole
}

fn server(stream: &[u8]) -> Vec<Got> {
    receive_every_way(Role::Server, Limits::default(), stream)
}

fn frames(list: &[(FrameKind, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, payload) in list {
        encode_client(&mut out, *kind, payload, KEY);
    }
    out
}

fn fin(opcode: Opcode) -> FrameKind {
    opcode.into()
}

fn failed(error: ProtocolError) -> Vec<Got> {
    vec![Got::Failed(error)]
}

/// §5.7.
#[test]
fn rfc_examples() {
    let masked = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(server(&masked), [Got::Text("Hello".into())]);

    let client = |stream: &[u8]| receive_every_way(Role::Client, Limits::default(), stream);
    assert_eq!(client(b"\x81\x05Hello"), [Got::Text("Hello".into())]);
    assert_eq!(
        client(b"\x01\x03Hel\x80\x02lo"),
        [Got::Text("Hello".into())]
    );
    assert_eq!(client(b"\x89\x05Hello"), [Got::Ping(b"Hello".to_vec())]);
    assert_eq!(client(b"\x8a\x05Hello"), [Got::Pong(b"Hello".to_vec())]);
    let medium = [&[0x82, 0x7E, 0x01, 0x00][..], &[7; 256]].concat();
    assert_eq!(client(&medium), [Got::Binary(vec![7; 256])]);
    let large = [&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65536]].concat();
    let got = receive(Role::Client, Limits::default(), &[&large]);
    assert_eq!(got, [Got::Binary(vec![7; 65536])]);
}

#[test]
fn a_whole_frame_is_lent_from_the_input() {
    for (opcode, payload) in [(Opcode::Text, "h\u{e9}llo"), (Opcode::Binary, "hello")] {
        let mut bytes = frames(&[(fin(opcode), payload.as_bytes())]);
        let range = bytes.as_ptr_range();
        let mut shared = Shared::new(Role::Server, Limits::default());
        let mut receiver = Receiver::new();
        let mut input = Input::new(&mut bytes);
        let lent = match receiver.poll(&mut shared, &mut input).unwrap().unwrap() {
            Event::Text(Cow::Borrowed(text)) => text.as_bytes(),
            Event::Binary(Cow::Borrowed(bytes)) => bytes,
            other => panic!("not lent: {other:?}"),
        };
        assert_eq!(lent, payload.as_bytes());
        assert!(range.contains(&lent.as_ptr()));
        assert_eq!(receiver.buffered(), 0);
    }
}

/// §5.4: control frames come between fragments, and each is answered at once.
#[test]
fn control_frames_between_fragments() {
    let stream = frames(&[
        (Opcode::Text.unfinished(), b"a\xe2\x82"),
        (fin(Opcode::Ping), &[9; 125]),
        (Opcode::Continuation.unfinished(), b""),
        (fin(Opcode::Pong), b""),
        (fin(Opcode::Continuation), b"\xac"),
        (fin(Opcode::Binary), b"next"),
    ]);
    let expected = [
        Got::Ping(vec![9; 125]),
        Got::Pong(vec![]),
        Got::Text("a€".into()),
        Got::Binary(b"next".to_vec()),
    ];
    assert_eq!(server(&stream), expected);
}

#[test]
fn empty_messages() {
    let stream = frames(&[
        (fin(Opcode::Text), b""),
        (fin(Opcode::Binary), b""),
        (Opcode::Binary.unfinished(), b""),
        (fin(Opcode::Continuation), b""),
        (Opcode::Text.unfinished(), b""),
        (fin(Opcode::Continuation), b""),
    ]);
    let expected = [
        Got::Text(String::new()),
        Got::Binary(vec![]),
        Got::Binary(vec![]),
        Got::Text(String::new()),
    ];
    assert_eq!(server(&stream), expected);
}

#[test]
fn sequence_and_header_rules() {
    use ProtocolError::*;
    let kind = |rsv, opcode| FrameKind {
        fin: true,
        rsv,
        opcode,
    };
    let first = (Opcode::Text.unfinished(), &b"x"[..]);
    let cases = [
        // §5.4
        (
            frames(&[(fin(Opcode::Continuation), b"x")]),
            OrphanContinuation,
        ),
        (
            frames(&[(Opcode::Continuation.unfinished(), b"")]),
            OrphanContinuation,
        ),
        (frames(&[first, (fin(Opcode::Text), b"")]), NestedMessage),
        (
            frames(&[first, (Opcode::Binary.unfinished(), b"")]),
            NestedMessage,
        ),
        // §5.2
        (
            frames(&[(kind(0b100, Opcode::Text), b"x")]),
            ReservedBits(0b100),
        ),
        (
            frames(&[(kind(0b010, Opcode::Ping), b"x")]),
            ReservedBits(0b010),
        ),
        (
            frames(&[first, (kind(0b001, Opcode::Continuation), b"")]),
            ReservedBits(0b001),
        ),
        (b"\x83\x80\0\0\0\0".to_vec(), ReservedOpcode(3)),
        (b"\x82\xfe\0\x05\0\0\0\0hello".to_vec(), NonMinimalLength),
        (
            b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            LengthOverflow,
        ),
        // §5.5
        (b"\x89\xfe\0\x7e\0\0\0\0".to_vec(), ControlTooLong),
        (b"\x09\x80\0\0\0\0".to_vec(), ControlFragmented),
        // §5.1
        (b"\x81\x05Hello".to_vec(), MaskMissing),
    ];
    for (stream, error) in cases {
        assert_eq!(server(&stream), failed(error), "{stream:x?}");
        assert_eq!(error.close_code(), CloseCode::PROTOCOL_ERROR);
        assert_eq!(error.fault(), crate::Fault::Peer);
    }
    let masked = frames(&[(fin(Opcode::Text), b"Hello")]);
    assert_eq!(
        receive_every_way(Role::Client, Limits::default(), &masked),
        failed(MaskForbidden)
    );
}

/// §5.5.1: nothing counts after a Close; §7.1.7: nor after an error.
#[test]
fn everything_after_the_end_is_ignored() {
    let mut stream = frames(&[(Opcode::Text.unfinished(), b"half")]);
    encode_close_client(&mut stream, CloseCode::NORMAL, "bye", KEY);
    encode_close_client(&mut stream, CloseCode::GOING_AWAY, "", KEY);
    stream.extend_from_slice(b"\xff\xff garbage");
    assert_eq!(
        server(&stream),
        [Got::Close(Some((CloseCode::NORMAL, "bye".into())))]
    );

    let stream = frames(&[(fin(Opcode::Close), b""), (fin(Opcode::Text), b"ignored")]);
    assert_eq!(server(&stream), [Got::Close(None)]);

    let stream = frames(&[
        (fin(Opcode::Continuation), b""),
        (fin(Opcode::Text), b"ignored"),
    ]);
    assert_eq!(server(&stream), failed(ProtocolError::OrphanContinuation));
}

#[test]
fn close_frames() {
    let close = |payload: &[u8]| server(&frames(&[(fin(Opcode::Close), payload)]));
    assert_eq!(close(b""), [Got::Close(None)]);
    assert_eq!(
        close(b"\x03\xe9"),
        [Got::Close(Some((CloseCode::GOING_AWAY, String::new())))]
    );
    assert_eq!(close(b"\x03"), failed(ProtocolError::CloseTruncated));
    assert_eq!(
        close(b"\x03\xed"),
        failed(ProtocolError::CloseCodeInvalid(1005))
    );
    assert_eq!(
        close(b"\x03\xe8\xff"),
        failed(ProtocolError::InvalidCloseReason)
    );

    let mut stream = Vec::new();
    encode_close_server(&mut stream, CloseCode::INTERNAL, "oops");
    assert_eq!(
        receive_every_way(Role::Client, Limits::default(), &stream),
        [Got::Close(Some((CloseCode::INTERNAL, "oops".into())))]
    );
}

/// §8.1: overlong, surrogate, above U+10FFFF, stray and truncated sequences.
#[test]
fn text_must_be_utf8() {
    for bad in [
        &b"\xc0\xaf"[..],
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xff",
        b"ok \xe2\x82",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
    ] {
        let one = frames(&[(fin(Opcode::Text), bad)]);
        assert_eq!(server(&one), failed(ProtocolError::InvalidUtf8), "{bad:x?}");
        for cut in 0..=bad.len() {
            let two = frames(&[
                (Opcode::Text.unfinished(), &bad[..cut]),
                (fin(Opcode::Continuation), &bad[cut..]),
            ]);
            let got = receive(Role::Server, Limits::default(), &[&two]);
            assert_eq!(got, failed(ProtocolError::InvalidUtf8), "{bad:x?} at {cut}");
        }
    }
    assert_eq!(
        ProtocolError::InvalidUtf8.close_code(),
        CloseCode::INVALID_PAYLOAD
    );
}

/// The bad byte is reported when it arrives, not when the frame or message ends.
#[test]
fn text_fails_in_mid_frame() {
    let stream = frames(&[(Opcode::Text.unfinished(), b"fine \xed\xa0\x80 never sent")]);
    let mut peer = Peer::new(Role::Server, Limits::default());
    // Six bytes of header, "fine ", the first byte of the surrogate.
    peer.feed(&stream[..6 + 5 + 1]);
    assert_eq!(peer.got, []);
    peer.feed(&stream[12..13]);
    assert_eq!(peer.got, failed(ProtocolError::InvalidUtf8));
}

#[test]
fn limits() {
    let limits = Limits {
        max_frame: 10,
        max_message: 15,
        max_fragments: 3,
        ..Limits::default()
    };
    let receive =
        |list: &[(FrameKind, &[u8])]| receive_every_way(Role::Server, limits, &frames(list));
    let first = |payload: &'static [u8]| (Opcode::Binary.unfinished(), payload);
    let last = |payload: &'static [u8]| (fin(Opcode::Continuation), payload);
    let more = (Opcode::Continuation.unfinished(), &b""[..]);

    assert_eq!(
        receive(&[(fin(Opcode::Binary), &[0; 10])]),
        [Got::Binary(vec![0; 10])]
    );
    let too_big = ProtocolError::FrameTooBig {
        announced: 11,
        limit: 10,
    };
    assert_eq!(receive(&[(fin(Opcode::Binary), &[0; 11])]), failed(too_big));

    assert_eq!(
        receive(&[first(&[0; 10]), last(&[0; 5])]),
        [Got::Binary(vec![0; 15])]
    );
    let sum = ProtocolError::MessageTooBig {
        announced: 16,
        limit: 15,
    };
    assert_eq!(receive(&[first(&[0; 10]), last(&[0; 6])]), failed(sum));

    assert_eq!(
        receive(&[first(b""), more, last(b"")]),
        [Got::Binary(vec![])]
    );
    let fragments = ProtocolError::TooManyFragments { limit: 3 };
    assert_eq!(receive(&[first(b""), more, more, more]), failed(fragments));

    assert_eq!(too_big.close_code(), CloseCode::TOO_BIG);
    assert_eq!(sum.close_code(), CloseCode::TOO_BIG);
    assert_eq!(fragments.close_code(), CloseCode::POLICY);
    // Limits are for data: a ping may be longer than the largest frame.
    assert_eq!(
        receive(&[(fin(Opcode::Ping), &[0; 20])]),
        [Got::Ping(vec![0; 20])]
    );
}

/// `len64_over_limit`: refused at the header, nothing allocated.
#[test]
fn a_huge_announcement_is_refused_at_the_header() {
    let header = Header::new(Opcode::Binary, Some(KEY), 1 << 40).encode();
    let mut peer = Peer::new(Role::Server, Limits::default());
    peer.feed(&header);
    assert!(matches!(
        peer.got[..],
        [Got::Failed(ProtocolError::FrameTooBig { .. })]
    ));
    assert_eq!(peer.receiver.buffered(), 0);
}

/// `claim_and_stall`: what is held follows what was sent.
#[test]
fn memory_follows_the_bytes_received() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        for kind in [fin(opcode), opcode.unfinished()] {
            let mut peer = Peer::new(Role::Server, Limits::default());
            peer.feed(&Header::new(kind, Some(KEY), 1 << 24).encode());
            let claimed = peer.receiver.buffered();
            assert!(claimed <= 512, "{claimed} bytes for a claim");
            let mut masked = [b'a'; 1000];
            corecast_simd::unmask(&mut masked, KEY, 0);
            for sent in 1..100 {
                peer.feed(&masked);
                let held = peer.receiver.buffered();
                assert!(held >= sent * 1000);
                assert!(held <= claimed + 2 * sent * 1000, "{held} for {sent} kB");
            }
            assert_eq!(peer.got, []);
        }
    }
}

/// A message that ends with the frame at hand takes no more than it needs.
#[test]
fn the_last_frame_is_a_ceiling_for_growth() {
    let stream = frames(&[(fin(Opcode::Binary), &[1; 1100])]);
    let mut peer = Peer::new(Role::Server, Limits::default());
    peer.feed(&stream[..8 + 1000]);
    peer.feed(&stream[8 + 1000..8 + 1001]);
    assert_eq!(peer.receiver.buffered() - size_of::<Assembly>(), 1100);
}

#[test]
#[cfg_attr(miri, ignore = "65,536 frames, each like the next")]
fn fragments_65536() {
    let mut stream = Vec::new();
    encode_client(&mut stream, Opcode::Binary.unfinished(), b"x", KEY);
    for _ in 0..65_534 {
        encode_client(&mut stream, Opcode::Continuation.unfinished(), b"x", KEY);
    }
    encode_client(&mut stream, Opcode::Continuation, b"x", KEY);
    let pieces: Vec<&[u8]> = stream.chunks(4096).collect();
    let got = receive(Role::Server, Limits::default(), &pieces);
    assert_eq!(got, [Got::Binary(vec![b'x'; 65_536])]);
}

/// `fragments_never_end`, with empty fragments.
#[test]
#[cfg_attr(miri, ignore = "more frames than Miri reads in an hour")]
fn endless_empty_fragments_are_refused() {
    let first = frames(&[(Opcode::Text.unfinished(), b"")]);
    let more = frames(&[(Opcode::Continuation.unfinished(), b"")]).repeat(1000);
    let mut peer = Peer::new(Role::Server, Limits::default());
    peer.feed(&first);
    let rounds = (0..1000).find(|_| {
        peer.feed(&more);
        !peer.got.is_empty()
    });
    let limit = Limits::DEFAULT_MAX_FRAGMENTS;
    assert_eq!(rounds, Some(limit as usize / 1000));
    assert_eq!(peer.got, failed(ProtocolError::TooManyFragments { limit }));
}

#[test]
fn idle_and_buffered_follow_the_state() {
    let stream = frames(&[
        (Opcode::Text.unfinished(), b"half"),
        (fin(Opcode::Continuation), b"half"),
    ]);
    let mut peer = Peer::new(Role::Server, Limits::default());
    assert!(peer.receiver.is_idle());
    for (at, byte) in stream.iter().enumerate() {
        peer.feed(&[*byte]);
        let done = at + 1 == stream.len();
        assert_eq!(peer.receiver.is_idle(), done, "after byte {at}");
        assert_eq!(peer.receiver.buffered() == 0, done, "after byte {at}");
    }
    assert_eq!(peer.got, [Got::Text("halfhalf".into())]);
    assert_eq!(
        peer.fragments, 1,
        "one event for every fragment but the last"
    );
}

/// What a well-behaved peer may send next.
#[derive(Debug, Clone)]
enum Step {
    Message {
        text: bool,
        parts: Vec<String>,
        between: Vec<Vec<u8>>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    let control = || prop::collection::vec(any::<u8>(), 0..=125);
    let part = || prop_oneof![4 => ".{0,40}", 1 => "[a-zé€😀]{100,300}"];
    prop_oneof![
        4 => (any::<bool>(), prop::collection::vec(part(), 1..5), prop::collection::vec(control(), 0..3))
            .prop_map(|(text, parts, between)| Step::Message { text, parts, between }),
        1 => control().prop_map(Step::Ping),
        1 => control().prop_map(Step::Pong),
    ]
}

/// The stream that a peer sends for these steps, and the events that it must cause.
fn play(steps: &[Step], role: Role, key: [u8; 4], cut: usize) -> (Vec<u8>, Vec<Got>) {
    let mut stream = Vec::new();
    let mut events = Vec::new();
    let mut send = |kind: FrameKind, payload: &[u8]| match role {
        Role::Server => encode_client(&mut stream, kind, payload, key),
        Role::Client => encode_server(&mut stream, kind, payload),
    };
    for step in steps {
        match step {
            Step::Ping(payload) => {
                send(fin(Opcode::Ping), payload);
                events.push(Got::Ping(payload.clone()));
            }
            Step::Pong(payload) => {
                send(fin(Opcode::Pong), payload);
                events.push(Got::Pong(payload.clone()));
            }
            Step::Message {
                text,
                parts,
                between,
            } => {
                let data = parts.concat();
                // Fragments end anywhere, also in mid-character.
                let size = (data.len() / parts.len() + cut).max(1);
                let mut pieces: Vec<&[u8]> = data.as_bytes().chunks(size).collect();
                if pieces.is_empty() {
                    pieces.push(b"");
                }
                for (index, piece) in pieces.iter().enumerate() {
                    let opcode = match (index, text) {
                        (0, true) => Opcode::Text,
                        (0, false) => Opcode::Binary,
                        _ => Opcode::Continuation,
                    };
                    let last = index + 1 == pieces.len();
                    send(
                        if last {
                            fin(opcode)
                        } else {
                            opcode.unfinished()
                        },
                        piece,
                    );
                    if let Some(payload) = between.get(index).filter(|_| !last) {
                        send(fin(Opcode::Ping), payload);
                        events.push(Got::Ping(payload.clone()));
                    }
                }
                events.push(if *text {
                    Got::Text(data)
                } else {
                    Got::Binary(data.into_bytes())
                });
            }
        }
    }
    (stream, events)
}

fn split<'s>(mut stream: &'s [u8], sizes: &[usize]) -> Vec<&'s [u8]> {
    let mut pieces = Vec::new();
    let mut sizes = sizes.iter().cycle();
    while !stream.is_empty() {
        let size = sizes.next().copied().unwrap_or(stream.len());
        let (piece, rest) = stream.split_at(size.min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

fn any_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1..8usize, 1..300usize], 1..20)
}

fn any_role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Server, Role::Client])
}

proptest! {
    #[test]
    fn any_split_gives_the_events_that_were_sent(
        steps in prop::collection::vec(any_step(), 0..8),
        sizes in any_sizes(),
        role in any_role(),
        key in any::<[u8; 4]>(),
        cut in 0..5usize,
    ) {
        let (stream, expected) = play(&steps, role, key, cut);
        let limits = Limits::default();
        prop_assert_eq!(&receive(role, limits, &[&stream]), &expected);
        prop_assert_eq!(&receive(role, limits, &split(&stream, &sizes)), &expected);
    }

    /// Broken streams too: the same events and the same error, wherever the input is cut.
    #[test]
    fn any_split_gives_the_same_error(
        steps in prop::collection::vec(any_step(), 1..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        sizes in any_sizes(),
        role in any_role(),
    ) {
        let (mut stream, _) = play(&steps, role, KEY, 0);
        for (at, flip) in flips {
            let at = at.index(stream.len());
            stream[at] ^= flip;
        }
        let limits = Limits { max_frame: 400, max_message: 600, max_fragments: 4, ..Limits::default() };
        let whole = receive(role, limits, &[&stream]);
        prop_assert_eq!(receive(role, limits, &split(&stream, &sizes)), whole);
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        sizes in any_sizes(),
        role in any_role(),
    ) {
        let limits = Limits::default();
        let whole = receive(role, limits, &[&bytes]);
        prop_assert_eq!(receive(role, limits, &split(&bytes, &sizes)), whole);
    }
}
