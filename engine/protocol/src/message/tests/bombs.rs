//! Messages that inflate to more than anybody wants: limits, memory, work, and permits.

use allocation_counter::measure;

use super::compressor::{Compressor, compressed, json, noise};
use super::*;
use crate::deflate::{INFLATER_BYTES, Inflater, STEP_INPUT, STEP_OUTPUT};

const MODES: [Inflation; 2] = [Inflation::Whole, Inflation::Context { window_bits: 15 }];

fn frame(payload: &[u8]) -> Vec<u8> {
    frames(&[(compressed(Opcode::Binary, true), payload)])
}

fn deflated(data: &[u8]) -> Vec<u8> {
    Compressor::new(9, Inflation::Whole).message(data)
}

fn limited(max_message: u64, max_inflation: u32) -> Limits {
    Limits {
        max_frame: max_message,
        max_message,
        max_inflation,
        ..Limits::default()
    }
}

fn receive_one(inflation: Inflation, limits: Limits, stream: &[u8]) -> Vec<Got> {
    let mut peer = Peer::with_inflation(Role::Server, limits, inflation);
    peer.feed(stream);
    peer.got
}

#[test]
fn the_limit_for_messages_counts_what_is_inflated() {
    for len in [
        1,
        100,
        STEP_OUTPUT - 1,
        STEP_OUTPUT,
        STEP_OUTPUT + 1,
        300_000,
    ] {
        let stream = frame(&deflated(&vec![7; len]));
        let len = len as u64;
        for mode in MODES {
            for limit in [len, len + 1, u64::MAX] {
                let got = receive_one(mode, limited(limit, 2000), &stream);
                assert!(
                    got == [Got::Binary(vec![7; len as usize])],
                    "{len} of {limit}"
                );
            }
            for limit in [len / 2, len - 1] {
                let too_big = ProtocolError::MessageTooBig {
                    announced: limit + 1,
                    limit,
                };
                let got = receive_one(mode, limited(limit, 2000), &stream);
                assert_eq!(got, failed(too_big));
            }
        }
    }
}

/// What cannot be compressed gets longer: the compressed bytes may be more than the message.
#[test]
fn the_limit_for_compressed_bytes_leaves_room_for_what_cannot_be_compressed() {
    let data = noise(100_000);
    let limits = limited(data.len() as u64, 256);
    let flushed_often = {
        let mut compressor = Compressor::new(0, Inflation::Whole);
        compressor.message_in_pieces(data.chunks(100))
    };
    assert!(flushed_often.len() > data.len() + 4000);
    for payload in [deflated(&data), flushed_often] {
        let got = receive_one(Inflation::Whole, limits, &frame(&payload));
        assert!(got == [Got::Binary(data.clone())]);
    }

    let most = 100_000 + 100_000 / 8 + 256;
    let announce = |announced: u64| {
        let kind = compressed(Opcode::Binary, true);
        Header::new(kind, Some(KEY), announced as usize).encode()
    };
    assert_eq!(receive_one(Inflation::Whole, limits, &announce(most)), []);
    let too_big = ProtocolError::FrameTooBig {
        announced: most + 1,
        limit: most,
    };
    let refused = receive_one(Inflation::Whole, limits, &announce(most + 1));
    assert_eq!(refused, failed(too_big));

    let half = vec![0; most as usize / 2];
    let halves = |last: &[u8]| {
        frames(&[
            (compressed(Opcode::Binary, false), &half),
            (Opcode::Continuation.unfinished(), last),
        ])
    };
    assert_eq!(receive_one(Inflation::Whole, limits, &halves(&half)), []);
    let too_big = ProtocolError::MessageTooBig {
        announced: most + 1,
        limit: most,
    };
    let got = receive_one(
        Inflation::Whole,
        limits,
        &halves(&[&half[..], b"x"].concat()),
    );
    assert_eq!(got, failed(too_big));
}

#[test]
fn the_limit_for_fragments_holds_for_compressed_messages() {
    let limits = Limits {
        max_fragments: 10_000,
        ..Limits::default()
    };
    let mut stream = frames(&[(compressed(Opcode::Binary, false), b"\x02")]);
    for _ in 0..9_998 {
        encode_client(&mut stream, Opcode::Continuation.unfinished(), b"", KEY);
    }
    let last = frames(&[(fin(Opcode::Continuation), b"\x00")]);
    let one_more = frames(&[(Opcode::Continuation.unfinished(), b"")]);
    let whole = [&stream[..], &last].concat();
    let over = [&stream[..], &one_more, &last].concat();
    for mode in MODES {
        assert_eq!(receive_one(mode, limits, &whole), [Got::Binary(vec![])]);
        let refused = ProtocolError::TooManyFragments { limit: 10_000 };
        assert_eq!(receive_one(mode, limits, &over), failed(refused));
    }
}

/// At the byte, and not for the first mebibyte.
#[test]
fn the_ratio_guard() {
    let payload = deflated(&vec![0; 3 << 20]);
    let ratio = (3 << 20) / payload.len() as u32;
    assert!(ratio > 1000, "{ratio}");
    for mode in MODES {
        let refused = |limit| failed(ProtocolError::InflationTooHigh { limit });
        for limit in [0, 1, 256, ratio] {
            let got = receive_one(mode, limited(u64::MAX, limit), &frame(&payload));
            assert_eq!(got, refused(limit));
        }
        let got = receive_one(mode, limited(u64::MAX, ratio + 1), &frame(&payload));
        assert!(got == [Got::Binary(vec![0; 3 << 20])]);

        let free = frame(&deflated(&vec![0; 1 << 20]));
        let got = receive_one(mode, limited(u64::MAX, 1), &free);
        assert!(got == [Got::Binary(vec![0; 1 << 20])]);
        let over = frame(&deflated(&vec![0; (1 << 20) + 1]));
        assert_eq!(receive_one(mode, limited(u64::MAX, 1), &over), refused(1));
    }
    let error = ProtocolError::InflationTooHigh { limit: 256 };
    assert_eq!(error.close_code(), CloseCode::TOO_BIG);
}

/// Whatever is sent: the limit, one step, the compressed bytes and an inflater, and no more; while a buffer grows, its half
/// as well, where the allocator cannot extend it in place.
#[test]
fn memory_is_bounded() {
    let limit = 1 << 21;
    let zeros = vec![0; 20 << 20];
    let patterns = (0..40_000_u32).flat_map(|n| n.to_le_bytes().repeat(200));
    let patterns: Vec<u8> = patterns.take(20 << 20).collect();
    for (what, data) in [
        ("zeros", &zeros),
        ("patterns", &patterns),
        ("bombs in a bomb", &deflated(&zeros).repeat(800)),
    ] {
        let payload = deflated(data);
        let whole = frame(&payload);
        let mut fragments = frames(&[(compressed(Opcode::Binary, false), b"")]);
        for byte in payload.chunks(payload.len().div_ceil(10_000)) {
            encode_client(&mut fragments, Opcode::Continuation.unfinished(), byte, KEY);
        }
        encode_client(&mut fragments, Opcode::Continuation, b"", KEY);
        for stream in [whole, fragments] {
            for mode in MODES {
                let mut peer = Peer::with_inflation(Role::Server, limited(limit, u32::MAX), mode);
                let (mut most, mut failure) = (0, None);
                let memory = measure(|| {
                    for piece in stream.chunks(4096) {
                        let mut copy = [0; 4096];
                        copy[..piece.len()].copy_from_slice(piece);
                        let mut input = Input::new(&mut copy[..piece.len()]);
                        loop {
                            match peer.receiver.poll(&mut peer.shared, &mut input) {
                                Ok(None) => break,
                                Ok(Some(Event::Inflating { bytes })) => {
                                    assert!(bytes <= STEP_OUTPUT)
                                }
                                Ok(Some(Event::Fragment)) => {}
                                Ok(Some(other)) => panic!("{what}: {other:?}"),
                                Err(error) => failure = Some(error),
                            }
                            most = most.max(peer.receiver.buffered());
                        }
                    }
                });
                let announced = limit + 1;
                assert_eq!(
                    failure,
                    Some(ProtocolError::MessageTooBig { announced, limit }),
                    "{what}"
                );
                let held = limit as usize + 3 * payload.len() + 2 * INFLATER_BYTES + 1000;
                assert!(most <= held, "{what}: {most} of {held}");
                let taken = memory.bytes_max as usize;
                let allowed = held + STEP_OUTPUT + STEP_INPUT + limit as usize / 2;
                assert!(taken <= allowed, "{what}: {taken} of {allowed}");
            }
        }
    }
}

/// As it is counted.
#[test]
fn what_an_inflater_takes() {
    let made = measure(|| drop(Inflater::new()));
    assert!(made.bytes_max as usize <= INFLATER_BYTES, "{made:?}");
    assert!(made.bytes_max as usize > INFLATER_BYTES / 2, "{made:?}");
}

/// Blocks that make nothing, or next to nothing, are work all the same: each step reads a bounded part of them.
#[test]
fn work_is_bounded_where_nothing_is_made() {
    let empty_stored: &[u8] = b"\x00\x00\x00\xff\xff";
    let empty_final: &[u8] = b"\x03\x00";
    for (block, times) in [(empty_stored, 100_000), (empty_final, 200_000)] {
        let stream = frame(&[&block.repeat(times)[..], b"\x00"].concat());
        for mode in MODES {
            let mut peer = Peer::with_inflation(Role::Server, Limits::default(), mode);
            peer.feed(&stream);
            assert_eq!(peer.got, [Got::Binary(vec![])]);
            assert!(peer.steps.len() >= block.len() * times / STEP_INPUT);
            assert!(peer.steps.iter().all(|&bytes| bytes <= STEP_INPUT));
        }
    }
}

#[test]
fn what_is_shared_is_freed_on_request() {
    let mut peer = Peer::with_inflation(Role::Server, Limits::default(), Inflation::Whole);
    assert_eq!(peer.shared.inflate_bytes(), 0);
    let data = json(100_000);
    let stream = frame(&deflated(&data));
    for _ in 0..3 {
        peer.feed(&stream);
        let kept = peer.shared.inflate_bytes();
        assert!(
            (STEP_OUTPUT + INFLATER_BYTES..=180 << 10).contains(&kept),
            "{kept}"
        );
        peer.shared.release_spares();
        assert_eq!(peer.shared.inflate_bytes(), 0);
    }
    let text = Got::Binary(data);
    assert!(peer.got == [text.clone(), text.clone(), text]);
}

/// Messages of each size use the buffers of those before.
#[test]
fn buffers_circulate() {
    for len in [1000, 5000, 60_000, 300_000] {
        let data = json(len);
        let mut stream = frame(&deflated(&data));
        let mut shared = Shared::new(Role::Server, Limits::default());
        let mut receiver = Receiver::with_inflation(Inflation::Whole);
        let mut one = || {
            let mut copy = [0; 65_536];
            copy[..stream.len()].copy_from_slice(&stream);
            let mut input = Input::new(&mut copy[..stream.len()]);
            loop {
                match receiver.poll(&mut shared, &mut input).unwrap() {
                    Some(Event::Binary(bytes)) => {
                        assert!(bytes == data);
                        shared.recycle(bytes.into_owned());
                    }
                    Some(_) => {}
                    None => return,
                }
            }
        };
        one();
        one();
        let third = measure(&mut one);
        // The message itself where it is too short to be kept, or the state of a long one; never its bytes again.
        assert!(third.bytes_total < 1500, "{len}: {third:?}");
        stream.clear();
    }
}

/// A receiver that has a message of many steps, and takes one step at a time.
struct Loaded {
    receiver: Receiver,
    done: Option<usize>,
}

impl Loaded {
    /// The first step, of a message that inflates to `len` zeros.
    fn start(shared: &mut Shared, mode: Inflation, len: usize) -> Self {
        let mut stream = frame(&deflated(&vec![0; len]));
        let mut input = Input::new(&mut stream);
        let mut receiver = Receiver::with_inflation(mode);
        let first = receiver.poll(shared, &mut input).unwrap();
        assert_eq!(first, Some(Event::Inflating { bytes: STEP_OUTPUT }));
        assert_eq!(input.remaining(), 0);
        Self {
            receiver,
            done: None,
        }
    }

    /// Bytes of the step that it took.
    fn step(&mut self, shared: &mut Shared) -> usize {
        match self
            .receiver
            .poll(shared, &mut Input::new(&mut []))
            .unwrap()
        {
            Some(Event::Inflating { bytes }) => bytes,
            Some(Event::Binary(bytes)) => {
                assert!(bytes.iter().all(|&byte| byte == 0));
                self.done = Some(bytes.len());
                0
            }
            other => panic!("{other:?}"),
        }
    }

    fn holds_output(&self) -> bool {
        self.receiver.buffered() > STEP_OUTPUT
    }
}

/// Many at once: four make progress and hold memory, the others wait, and all are done in the end.
#[test]
fn permits_bound_the_messages_in_progress() {
    const LEN: usize = 1_000_000;
    for mode in MODES {
        let mut shared = Shared::new(Role::Server, Limits::default());
        let mut all: Vec<Loaded> = (0..20)
            .map(|_| Loaded::start(&mut shared, mode, LEN))
            .collect();
        let mut rounds = 0;
        while all.iter().any(|one| one.done.is_none()) {
            let mut progress = 0;
            for one in all.iter_mut().filter(|one| one.done.is_none()) {
                let bytes = one.step(&mut shared);
                progress += usize::from(bytes > 0 || one.done.is_some());
                assert_eq!(one.receiver.is_inflating(), one.done.is_none());
            }
            assert!(progress >= 1, "somebody goes on");
            let holders = all.iter().filter(|one| one.holds_output()).count();
            assert!(holders <= 4, "{holders} hold what they inflate");
            for one in all
                .iter()
                .filter(|one| one.done.is_none() && !one.holds_output())
            {
                assert!(
                    one.receiver.buffered() < 4096,
                    "waits with its compressed bytes alone"
                );
            }
            rounds += 1;
            assert!(rounds < 200);
        }
        assert!(all.iter().all(|one| one.done == Some(LEN)));
    }
}

#[test]
fn a_context_survives_a_message_that_begins_anew() {
    let mode = Inflation::Context { window_bits: 15 };
    let mut compressor = Compressor::new(6, mode);
    let mut peer = Peer::with_inflation(Role::Server, Limits::default(), mode);
    let short = noise(10_000);
    let long = noise(200_000);
    peer.feed(&frame(&compressor.message(&short)));
    let mut stream = frame(&compressor.message(&[&short[..], &long].concat()));
    for step in 0.. {
        let mut input = Input::new(&mut stream);
        let event = peer.receiver.poll(&mut peer.shared, &mut input).unwrap();
        if let Some(Event::Binary(bytes)) = event {
            assert!(bytes[..short.len()] == short && bytes[short.len()..] == long);
            break;
        }
        stream.clear();
        if step == 5 {
            peer.receiver.suspend_inflating();
        }
    }
    peer.feed(&frame(&compressor.message(&long[180_000..])));
    assert!(peer.got[1] == Got::Binary(long[180_000..].to_vec()));
}

/// However a message ends, its permit is free again.
#[test]
fn permits_come_back() {
    let mode = Inflation::Whole;
    let mut shared = Shared::new(Role::Server, Limits::default());
    for _ in 0..5 {
        let mut four: Vec<Loaded> = (0..4)
            .map(|_| Loaded::start(&mut shared, mode, 200_000))
            .collect();
        let mut fifth = Loaded::start(&mut shared, mode, 200_000);
        assert_eq!(fifth.step(&mut shared), 0, "waits");
        assert_eq!(fifth.step(&mut shared), 0, "waits on");
        assert!(fifth.receiver.is_inflating());
        // Dropped in mid-inflation.
        four.pop();
        assert_eq!(fifth.step(&mut shared), STEP_OUTPUT);
        drop(fifth);
        // Ended by an error.
        shared.limits.max_message = 70_000;
        let mut nothing = Input::new(&mut []);
        let failed = four[0].receiver.poll(&mut shared, &mut nothing);
        assert!(matches!(failed, Err(ProtocolError::MessageTooBig { .. })));
        shared.limits = Limits::default();
        // Released memory takes no permits with it.
        shared.release_spares();
    }
    // Given up for a time. What was made is made again, and nothing of it twice.
    let mut one = Loaded::start(&mut shared, mode, 200_000);
    one.step(&mut shared);
    assert!(one.holds_output());
    one.receiver.suspend_inflating();
    assert!(one.receiver.is_inflating() && !one.holds_output());
    let others: Vec<Loaded> = (0..4)
        .map(|_| Loaded::start(&mut shared, mode, 200_000))
        .collect();
    assert_eq!(one.step(&mut shared), 0, "its permit is taken");
    drop(others);
    while one.done.is_none() {
        one.step(&mut shared);
    }
    assert_eq!(one.done, Some(200_000));
    // In another thread, as a receiver may be.
    let one = Loaded::start(&mut shared, mode, 200_000);
    std::thread::spawn(move || drop(one)).join().unwrap();
    let four = [(); 4].map(|()| {
        let mut one = Loaded::start(&mut shared, mode, 200_000);
        assert_eq!(one.step(&mut shared), STEP_OUTPUT);
        one
    });
    let mut fifth = Loaded::start(&mut shared, mode, 200_000);
    assert_eq!(fifth.step(&mut shared), 0, "nobody gave one back");
    drop(four);
}
