//! Messages: text that is none, and fragments without end.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::client::{BINARY, CONTINUATION, Client, PING, PONG, TEXT, fragment, frame, header};
use crate::frames::each_ends;
use crate::trial::{MEMORY, SPARE, Trial};

crate::rows![
    text_bad_utf8,
    text_bad_utf8_mid_frame,
    fragments_never_end,
    fragments_65536,
    fragments_pinned,
    fragments_with_pings,
    payload_dribble,
    json_nested,
];

/// Not UTF-8: overlong forms, surrogates, beyond the last code point, stray and missing continuation bytes.
pub(crate) const BAD_TEXT: &[&[u8]] = &[
    &[0xc0, 0x80],
    &[0xc1, 0xbf],
    &[0xe0, 0x80, 0xaf],
    &[0xe0, 0x9f, 0xbf],
    &[0xf0, 0x80, 0x80, 0xaf],
    &[0xf0, 0x8f, 0xbf, 0xbf],
    &[0xed, 0xa0, 0x80],
    &[0xed, 0xbf, 0xbf],
    &[0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80],
    &[0xf4, 0x90, 0x80, 0x80],
    &[0xf8, 0x88, 0x80, 0x80, 0x80],
    &[0xff],
    &[0xfe],
    &[0x80],
    &[b'a', 0xbf],
    &[0xe2, 0x28, 0xa1],
    &[0xc3, b'('],
    &[0xf0, 0x9f, 0x92, b'a'],
];

/// Characters that the message ends in the middle of.
pub(crate) const CUT_TEXT: &[&[u8]] = &[&[0xc3], &[0xe2, 0x82], &[0xf0, 0x9f], &[0xf0, 0x9f, 0x92]];

fn text_bad_utf8(io: &'static str) {
    let mut inputs = Vec::new();
    for bad in BAD_TEXT.iter().chain(CUT_TEXT) {
        inputs.push(frame(TEXT, bad));
        // Where it stands makes no difference to a validator that takes 64 bytes at a time.
        inputs.push(frame(TEXT, &[&b"x".repeat(63)[..], bad].concat()));
        // Over fragments, cut within the character.
        let (front, back) = bad.split_at(bad.len() / 2);
        inputs.push([fragment(TEXT, front), frame(CONTINUATION, back)].concat());
    }
    each_ends(io, 1007, &inputs);
}

/// The bad byte is answered when it is seen, while the frame's other bytes are still to come; cut over reads too.
fn text_bad_utf8_mid_frame(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for bad in BAD_TEXT {
        let mut client = trial.connect();
        // The whole payload is never sent.
        let mut start = header(0x80 | TEXT, 100_000, true);
        start.extend_from_slice(&[0; 4]);
        client.write(&start);
        client.write("as it should be: ä€𝄞 ".as_bytes());
        for byte in *bad {
            // The last bytes are not taken any more when an earlier one was bad.
            let _ = client.writer().write_all(&[*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        client.expect_close(1007);
    }
    trial.logs("peer broke the protocol", BAD_TEXT.len());
    trial.over();
}

/// Writes fragments of a message that has begun until the server ends it: what it read meanwhile is what it said.
pub(crate) fn endless(client: &mut Client, piece: &[u8]) -> u16 {
    let (mut writer, pieces) = (client.writer(), piece.repeat(1000));
    let writing = std::thread::spawn(move || {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if writer.write_all(&pieces).is_err() {
                return true;
            }
        }
        false
    });
    let said = client.frame();
    let (code, _) = said.close_code().expect("a code");
    // A reset follows what is still being written.
    client
        .stream()
        .shutdown(std::net::Shutdown::Both)
        .expect("it is open");
    assert!(writing.join().expect("the writer"), "it is read for ever");
    code
}

fn fragments_never_end(io: &'static str) {
    let trial = Trial::corecast(io, &["--max-message", "32k"]);
    for _ in 0..2 {
        let mut client = trial.connect();
        client.write(&fragment(BINARY, b""));
        assert_eq!(endless(&mut client, &fragment(CONTINUATION, b"x")), 1009);
        // Empty ones never reach a size.
        let mut client = trial.connect();
        client.write(&fragment(BINARY, b""));
        assert_eq!(endless(&mut client, &fragment(CONTINUATION, b"")), 1008);
    }
    trial.logs("peer broke the protocol", 4);
    trial.over();
}

fn fragments_65536(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let mut client = trial.connect();
    let mut all = fragment(BINARY, b"x");
    for _ in 0..65_534 {
        all.extend_from_slice(&fragment(CONTINUATION, b"x"));
    }
    all.extend_from_slice(&frame(CONTINUATION, b"x"));
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || writer.write_all(&all));
    client.expect(BINARY, &vec![b'x'; 65_536]);
    writing.join().expect("the writer").expect("it is read");
    client.close(1000);
    trial.over();
}

/// One fragment short of every limit, and then nothing: what is held follows the bytes, not the fragments.
fn fragments_pinned(io: &'static str) {
    const CONNECTIONS: usize = 40;
    const FRAGMENTS: usize = 20_000;
    let trial = Trial::corecast(io, &[]);
    let pieces = fragment(CONTINUATION, b"x").repeat(FRAGMENTS);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = trial.connect();
        client.write(&fragment(BINARY, b""));
        client.write(&pieces);
        // Answered once all of it has been read.
        client.send(PING, b"all read?");
        client.expect(PONG, b"all read?");
        clients.push(client);
    }
    let per_connection = trial.grown().saturating_sub(MEMORY) / CONNECTIONS;
    // The buffer doubles: twice the bytes at most.
    assert!(
        per_connection < 3 * FRAGMENTS,
        "{per_connection} bytes are held for {FRAGMENTS}"
    );
    drop(clients);
    trial.over();
}

/// Control frames between the fragments of a message, and within a character of it.
fn fragments_with_pings(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let mut client = trial.connect();
    let text = "ä€𝄞".repeat(100);
    client.write(&fragment(TEXT, b""));
    for byte in text.as_bytes() {
        client.write(&[fragment(CONTINUATION, &[*byte]), frame(PING, &[*byte])].concat());
        client.expect(PONG, &[*byte]);
    }
    client.write(&frame(CONTINUATION, b""));
    client.expect_text(&text);
    client.close(1000);
    trial.over();
}

/// A payload that comes in segments of one byte costs its bytes, not a piece of memory for each segment.
fn payload_dribble(io: &'static str) {
    const CONNECTIONS: usize = 20;
    const BYTES: usize = 2000;
    let trial = Trial::corecast(io, &[]);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| trial.connect()).collect();
    for client in &mut clients {
        let mut start = header(0x80 | BINARY, 1 << 20, true);
        start.extend_from_slice(&[0; 4]);
        client.write(&start);
    }
    for _ in 0..BYTES {
        for client in &mut clients {
            client.write(b"x");
        }
    }
    trial.witnessed(10);
    assert!(trial.grown() < MEMORY, "{}", trial.grown());
    for client in &mut clients {
        let mut rest = vec![b'x'; (1 << 20) - BYTES];
        client.write(&rest);
        rest.resize(1 << 20, b'x');
        client.expect(BINARY, &rest);
    }
    drop(clients);
    trial.over_within(MEMORY + SPARE);
}

/// JSON that nests as deep as a command can hold, and deeper: an error message, but no overflow of the stack, which would
/// end all connections.
fn json_nested(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for depth in [2_500, 100_000] {
        let nested = [
            "[".repeat(depth),
            "{\"a\":".repeat(depth),
            format!("{{\"join\":{}{}}}", "[".repeat(depth), "]".repeat(depth)),
            format!(
                "{{\"x\":{}1{}}}",
                "{\"y\":".repeat(depth),
                "}".repeat(depth)
            ),
        ];
        for text in &nested {
            let mut client = Client::connect_to(trial.address(), "/chat");
            client.text(text);
            let answer = client.frame();
            assert_eq!(answer.opcode, TEXT, "{answer:?}");
            let answer = String::from_utf8_lossy(&answer.payload).into_owned();
            assert!(answer.starts_with("{\"error\":"), "{answer}");
            client.close(1000);
        }
    }
    trial.over();
}
