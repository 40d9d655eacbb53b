//! Single frames that break RFC 6455 §5.2 and §5.5.

use crate::client::{
    BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, fragment, frame, header, raw_frame,
};
use crate::payload::pattern;
use crate::trial::{MEMORY, Trial};

crate::rows![
    len64_msb_set,
    len64_over_limit,
    len64_near_max,
    fragment_lengths_overflow,
    nonminimal_length,
    control_too_long,
    control_fragmented,
    unmasked_client_frame,
    rsv_without_extension,
    compressed_bomb,
    reserved_opcode,
    orphan_continuation,
    nested_message,
    zero_mask_key,
    ping_payload_exact,
    noise_after_handshake,
];

const FIN: u8 = 0x80;

/// How often each input is sent: often enough that what a connection leaves behind shows.
const ROUNDS: usize = 8;

/// Sends each input on a connection of its own, over and over: each is answered with the code and the end of the
/// connection, and said once in the log.
#[track_caller]
pub(crate) fn each_ends(io: &'static str, code: u16, inputs: &[Vec<u8>]) {
    let trial = Trial::corecast(io, &["--max-message", "64k"]);
    for round in 0..ROUNDS {
        for (number, input) in inputs.iter().enumerate() {
            let mut client = trial.connect();
            client.round_trip("fine so far");
            client.write(input);
            let reason = client.expect_close(code);
            assert!(
                !reason.is_empty(),
                "round {round}, input {number}: the reason says what was wrong"
            );
            client.expect_end();
        }
    }
    trial.logs("peer broke the protocol", ROUNDS * inputs.len());
    trial.over();
}

/// A header with a length in the 64-bit form, and its mask key.
fn header64(first: u8, len: u64) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 127];
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[1, 2, 3, 4]);
    out
}

/// A header with a length in the 16-bit form, its mask key, and so much payload.
fn header16(first: u8, len: u16) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 126];
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.resize(out.len() + usize::from(len), b'x');
    out
}

fn len64_msb_set(io: &'static str) {
    let lengths = [1 << 63, u64::MAX, u64::MAX - 3, (1 << 63) + 5];
    let inputs: Vec<_> = lengths
        .iter()
        .flat_map(|&len| [TEXT, BINARY].map(|opcode| header64(FIN | opcode, len)))
        .collect();
    each_ends(io, 1002, &inputs);
}

fn len64_over_limit(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let mut clients: Vec<_> = (0..50).map(|_| trial.connect()).collect();
    for client in &mut clients {
        client.write(&header64(FIN | BINARY, 1 << 40));
    }
    for client in &mut clients {
        client.expect_close(1009);
    }
    // At the header: nothing was allocated for what it announces, while all of them still stand.
    assert!(trial.grown() < MEMORY, "{}", trial.grown());
    trial.logs("peer broke the protocol", clients.len());
    drop(clients);
    trial.over();
}

/// Lengths to which a few header bytes cannot be added.
fn len64_near_max(io: &'static str) {
    let lengths = [
        i64::MAX as u64,
        i64::MAX as u64 - 13,
        u64::from(u32::MAX),
        1 << 32,
    ];
    let inputs: Vec<_> = lengths
        .iter()
        .flat_map(|&len| [FIN | TEXT, BINARY].map(|first| header64(first, len)))
        .collect();
    each_ends(io, 1009, &inputs);
}

/// A fragment, and then ones whose announced lengths bring the sum past 2^63 and 2^64.
fn fragment_lengths_overflow(io: &'static str) {
    let after = |len| [fragment(BINARY, &[7; 1000]), header64(CONTINUATION, len)].concat();
    let inputs: Vec<_> = [i64::MAX as u64, i64::MAX as u64 - 999, (1 << 32) - 1000]
        .map(after)
        .into();
    each_ends(io, 1009, &inputs);
}

fn nonminimal_length(io: &'static str) {
    let padded = |len: u64| {
        let mut frame = header64(FIN | BINARY, len);
        frame.resize(frame.len() + len as usize, 7);
        frame
    };
    let inputs = [
        header16(FIN | BINARY, 0),
        header16(FIN | TEXT, 5),
        header16(FIN | BINARY, 125),
        header16(FIN | PING, 4),
        padded(0),
        padded(5),
        padded(125),
        padded(126),
        padded(0xffff),
    ];
    each_ends(io, 1002, &inputs);
}

fn control_too_long(io: &'static str) {
    let inputs: Vec<_> = [PING, PONG, CLOSE]
        .into_iter()
        .flat_map(|opcode| {
            [
                raw_frame(FIN | opcode, &[b'x'; 126]),
                raw_frame(FIN | opcode, &[b'x'; 4000]),
                header64(FIN | opcode, 1 << 20),
            ]
        })
        .collect();
    each_ends(io, 1002, &inputs);
}

fn control_fragmented(io: &'static str) {
    let inputs = [
        fragment(PING, b""),
        fragment(PING, b"half a ping"),
        fragment(PONG, b"x"),
        fragment(CLOSE, &[3, 232]),
        [fragment(TEXT, b"a"), fragment(PING, b"in between")].concat(),
    ];
    each_ends(io, 1002, &inputs);
}

fn unmasked_client_frame(io: &'static str) {
    let unmasked = |first: u8, payload: &[u8]| {
        let mut frame = header(first, payload.len(), false);
        frame.extend_from_slice(payload);
        frame
    };
    let inputs = [
        unmasked(FIN | TEXT, b"hello"),
        unmasked(FIN | TEXT, b""),
        unmasked(FIN | BINARY, &[7; 60_000]),
        unmasked(FIN | PING, b"ping"),
        unmasked(FIN | CLOSE, &[3, 232]),
        [fragment(TEXT, b"a"), unmasked(FIN | CONTINUATION, b"b")].concat(),
    ];
    each_ends(io, 1002, &inputs);
}

fn rsv_without_extension(io: &'static str) {
    let bits = (1..8_u8).map(|bits| bits << 4);
    let inputs: Vec<_> = bits
        .flat_map(|rsv| {
            [TEXT, BINARY, PING, CLOSE].map(|opcode| raw_frame(FIN | rsv | opcode, b""))
        })
        .chain([[fragment(TEXT, b"a"), raw_frame(0xc0, b"b")].concat()])
        .collect();
    each_ends(io, 1002, &inputs);
}

/// Zeroes, deflated a thousandfold, on a connection that has no extension: refused by the header, not inflated.
fn compressed_bomb(io: &'static str) {
    // A deflate block with a distance of one and the longest length, over and over.
    let mut bomb = vec![
        0xec, 0xc1, 0x01, 0x01, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08, 0x0a,
    ];
    bomb.resize(16_000, 0);
    let inputs = [
        raw_frame(0xc0 | BINARY, &bomb),
        raw_frame(0xc0 | TEXT, &bomb),
        raw_frame(0x40 | BINARY, &bomb),
    ];
    each_ends(io, 1002, &inputs);
}

fn reserved_opcode(io: &'static str) {
    let opcodes = (0x3..=0x7).chain(0xb..=0xf);
    let inputs: Vec<_> = opcodes
        .flat_map(|opcode| [raw_frame(FIN | opcode, b""), raw_frame(opcode, b"payload")])
        .collect();
    each_ends(io, 1002, &inputs);
}

fn orphan_continuation(io: &'static str) {
    let inputs = [
        frame(CONTINUATION, b"nothing before"),
        fragment(CONTINUATION, b""),
        [
            fragment(TEXT, b"a"),
            frame(CONTINUATION, b"b"),
            frame(CONTINUATION, b"c"),
        ]
        .concat(),
    ];
    let trial = Trial::corecast(io, &[]);
    for _ in 0..ROUNDS {
        for input in &inputs {
            let mut client = trial.connect();
            client.write(input);
            // The whole message of the last input comes back before the error.
            client.until_close(1002);
            client.expect_end();
        }
    }
    trial.logs("peer broke the protocol", ROUNDS * inputs.len());
    trial.over();
}

fn nested_message(io: &'static str) {
    let inputs = [
        [fragment(TEXT, b"a"), frame(TEXT, b"b")].concat(),
        [fragment(TEXT, b"a"), frame(BINARY, b"b")].concat(),
        [fragment(BINARY, b""), fragment(BINARY, b"")].concat(),
        [
            fragment(TEXT, b"a"),
            fragment(CONTINUATION, b"b"),
            frame(TEXT, b"c"),
        ]
        .concat(),
    ];
    each_ends(io, 1002, &inputs);
}

/// A key of zeroes masks nothing, and is allowed: any 32 bits are.
fn zero_mask_key(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let mut client = trial.connect();
    for len in [0, 1, 125, 126, 5000, 70_000] {
        let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut frame = header(FIN | BINARY, len, true);
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&payload);
        client.write(&frame);
        client.expect(BINARY, &payload);
    }
    client.close(1000);
    trial.over();
}

/// A pong carries what the ping carried, and no other memory, whatever the lengths before.
fn ping_payload_exact(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let mut client = trial.connect();
    for len in (0..=125).rev().chain(0..=125) {
        let payload: Vec<u8> = (0..len).map(|at| (at * 3 + len) as u8).collect();
        client.send(PING, &payload);
        client.expect(PONG, &payload);
    }
    client.close(1000);
    trial.over();
}

/// Whatever bytes follow the handshake: an answer, or none while they are still half a frame, never a crash.
fn noise_after_handshake(io: &'static str) {
    let trial = Trial::corecast(io, &["--max-message", "64k"]);
    let mut ended = 0;
    for round in 0..100 {
        let noise = pattern(round, 1 + round as usize * 7);
        let mut client = trial.connect();
        client.write(&noise);
        client.half_close();
        // To the end, which comes in any case: the server closes, or the half-close ends it.
        while let Ok(frame) = client.try_frame() {
            if frame.opcode == CLOSE {
                let (code, _) = frame.close_code().expect("a code");
                assert!([1002, 1007, 1009].contains(&code), "{code} for {noise:?}");
                ended += 1;
            }
        }
    }
    assert!(ended > 20, "only {ended} of 100 were told why");
    trial.over();
}
