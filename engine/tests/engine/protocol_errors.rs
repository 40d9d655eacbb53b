//! Peers that break the protocol lose their connection, with the right code, and nobody else does.

use corecast::Io;

use crate::common::client::{
    BINARY, CONTINUATION, Client, PING, TEXT, fragment, frame, header, raw_frame,
};
use crate::common::{Echo, eventually, over_every_transport, serve_with};

over_every_transport![
    each_broken_rule_has_its_code,
    a_limit_is_what_fits,
    what_came_before_the_error_is_answered,
];

const MAX_MESSAGE: usize = 1000;

/// What a client sends, and the code that it gets for it.
fn broken_rules() -> Vec<(&'static str, u16, Vec<u8>)> {
    let unmasked = [header(0x80 | TEXT, 2, false), b"hi".to_vec()].concat();
    let long_control = raw_frame(0x80 | PING, &[0; 126]);
    vec![
        ("unmasked", 1002, unmasked),
        ("reserved bit 1", 1002, raw_frame(0xc0 | TEXT, b"x")),
        ("reserved bit 3", 1002, raw_frame(0x90 | TEXT, b"x")),
        ("reserved opcode 3", 1002, raw_frame(0x83, b"x")),
        ("reserved opcode 11", 1002, raw_frame(0x8b, b"")),
        ("long ping", 1002, long_control),
        ("fragmented ping", 1002, fragment(PING, b"x")),
        ("continuation of nothing", 1002, frame(CONTINUATION, b"x")),
        (
            "message within a message",
            1002,
            [fragment(TEXT, b"a"), frame(TEXT, b"b")].concat(),
        ),
        (
            "length not in its shortest form",
            1002,
            vec![0x82, 0x80 | 126, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5],
        ),
        ("not UTF-8", 1007, frame(TEXT, &[b'a', 0xff])),
        ("half a character", 1007, frame(TEXT, &"ß".as_bytes()[..1])),
        (
            "not UTF-8 over fragments",
            1007,
            [fragment(TEXT, &[0xe2, 0x82]), frame(CONTINUATION, b"a")].concat(),
        ),
        (
            "not UTF-8, and not all there",
            1007,
            frame(TEXT, &[0xff; 500])[..100].to_vec(),
        ),
        ("surrogate", 1007, frame(TEXT, &[0xed, 0xa0, 0x80])),
        // Only the headers: no byte of the payload is waited for.
        ("too big", 1009, announced(MAX_MESSAGE + 1)),
        ("announces 4 GiB", 1009, announced(1 << 32)),
        (
            "too big together",
            1009,
            [
                fragment(BINARY, &[0; MAX_MESSAGE]),
                frame(CONTINUATION, b"x"),
            ]
            .concat(),
        ),
    ]
}

/// The header of a binary frame with its mask key.
fn announced(len: usize) -> Vec<u8> {
    [header(0x80 | BINARY, len, true), vec![1, 2, 3, 4]].concat()
}

fn server(io: Io) -> crate::common::Running {
    serve_with(io, |server| server.max_message(MAX_MESSAGE), |_| Echo)
}

fn each_broken_rule_has_its_code(io: Io) {
    let server = server(io);
    let mut bystander = Client::connect(server.address());
    for (what, code, bytes) in broken_rules() {
        let mut client = Client::connect(server.address());
        client.round_trip("fine so far");
        client.write(&bytes);
        let frame = client.frame();
        let (found, reason) = frame.close_code().expect("a code");
        assert_eq!(found, code, "{what}: {reason}");
        assert!(!reason.is_empty(), "{what}: the reason says what was wrong");
        client.expect_end();
        drop(client);
        bystander.round_trip(what);
    }
    eventually("only one is left", || server.stats().connections == 1);
    bystander.close(1000);
}

fn a_limit_is_what_fits(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    client.send(BINARY, &[1; MAX_MESSAGE]);
    client.expect(BINARY, &[1; MAX_MESSAGE]);
    client.write(&fragment(BINARY, &[2; MAX_MESSAGE - 1]));
    client.send(CONTINUATION, &[2]);
    client.expect(BINARY, &[2; MAX_MESSAGE]);
    client.close(1000);
}

fn what_came_before_the_error_is_answered(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    let all = [
        frame(TEXT, b"good"),
        frame(PING, b"good too"),
        raw_frame(0x83, b"bad"),
        frame(TEXT, b"never seen"),
    ];
    client.write(&all.concat());
    client.expect_text("good");
    client.expect(crate::common::client::PONG, b"good too");
    client.expect_close(1002);
    client.expect_end();
}
