//! What is sent comes back, however it is cut up on the way.

use std::io::Write;

use corecast::Io;

use crate::common::client::{
    BINARY, CLOSE, CONTINUATION, Client, PING, PONG, TEXT, close_payload, fragment, frame, request,
    tcp,
};
use crate::common::payload::{pattern, text};
use crate::common::{Echo, Running, over_every_transport, serve_with};

over_every_transport![
    every_size_comes_back,
    an_independent_client_agrees,
    pipelined_messages_come_back_in_order,
    pipelined_large_and_small_messages_come_back,
    a_dribbled_connection_works,
    the_first_frames_may_come_with_the_request,
    a_whole_session_may_come_with_the_request,
    fragments_are_joined_and_pings_answered_between_them,
    frames_may_be_cut_at_every_offset,
    pings_and_pongs_of_every_size,
    many_connections_at_once,
    steered_connections_work_on_every_core,
];

/// Around every change of the header's form, of the engine's buffers and of its limits.
const SIZES: [usize; 15] = [
    0,
    1,
    125,
    126,
    127,
    2047,
    2048,
    4096,
    65_535,
    65_536,
    70_000,
    256 << 10,
    (256 << 10) + 1,
    1 << 20,
    5 << 20,
];

fn server(io: Io) -> Running {
    serve_with(io, |server| server, |_| Echo)
}

fn every_size_comes_back(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    for (seed, size) in SIZES.into_iter().enumerate() {
        let bytes = pattern(seed as u64, size);
        client.send(BINARY, &bytes);
        client.expect(BINARY, &bytes);
        let text = text(seed as u64, size);
        client.send(TEXT, text.as_bytes());
        client.expect(TEXT, text.as_bytes());
    }
    client.close(1000);
}

fn an_independent_client_agrees(io: Io) {
    let server = server(io);
    let (mut client, response) = tungstenite::client(
        format!("ws://{}/any", server.address()),
        tcp(server.address()),
    )
    .expect("the handshake");
    assert_eq!(response.status(), 101);
    for size in SIZES {
        for message in [
            tungstenite::Message::binary(pattern(7, size)),
            tungstenite::Message::text(text(7, size)),
        ] {
            client.send(message.clone()).expect("the server reads");
            assert!(client.read().expect("an echo") == message, "{size} bytes");
        }
    }
    client.close(None).expect("a Close frame goes out");
    while client.can_read() {
        match client.read() {
            Ok(message) => assert!(message.is_close(), "{message:?}"),
            Err(tungstenite::Error::ConnectionClosed) => return,
            Err(e) => panic!("{e}"),
        }
    }
}

fn pipelined_messages_come_back_in_order(io: Io) {
    const MESSAGES: u64 = 10_000;
    let server = server(io);
    let mut client = Client::connect(server.address());
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || {
        let all: Vec<u8> = (0..MESSAGES)
            .flat_map(|n| frame(BINARY, &numbered(n)))
            .collect();
        writer.write_all(&all).expect("the server reads");
    });
    for n in 0..MESSAGES {
        client.expect(BINARY, &numbered(n));
    }
    writing.join().unwrap();
    client.close(1000);
}

/// 8 to 107 bytes that begin with the number.
fn numbered(n: u64) -> Vec<u8> {
    let mut bytes = n.to_be_bytes().to_vec();
    bytes.extend_from_slice(&pattern(n, n as usize % 100));
    bytes
}

/// The echo handler pauses whenever a message is queued, so no backlog may ever overflow.
fn pipelined_large_and_small_messages_come_back(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    let sizes = || (0..60_u64).map(|n| (n, if n % 3 == 0 { 1 << 20 } else { n as usize }));
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || {
        for (n, size) in sizes() {
            writer
                .write_all(&frame(BINARY, &pattern(n, size)))
                .expect("the server reads");
        }
    });
    for (n, size) in sizes() {
        client.expect(BINARY, &pattern(n, size));
    }
    writing.join().unwrap();
    client.close(1000);
}

fn a_dribbled_connection_works(io: Io) {
    let server = server(io);
    let mut stream = tcp(server.address());
    for byte in request("/").into_bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let mut client = Client::opened(stream);
    let long = text(3, 300);
    let frames = [
        frame(TEXT, b"dribbled"),
        frame(PING, b"ping"),
        frame(BINARY, &[]),
        frame(TEXT, long.as_bytes()),
        frame(CLOSE, &close_payload(1000, "bye")),
    ];
    for byte in frames.concat() {
        client.write(&[byte]);
    }
    client.expect_text("dribbled");
    client.expect(PONG, b"ping");
    client.expect(BINARY, &[]);
    client.expect_text(&long);
    client.expect_close(1000);
    client.expect_end();
}

fn the_first_frames_may_come_with_the_request(io: Io) {
    let server = server(io);
    let large = pattern(1, 100_000);
    for complete in [true, false] {
        let mut bytes = request("/").into_bytes();
        bytes.extend(frame(TEXT, b"eager"));
        bytes.extend(frame(BINARY, &large));
        let now = if complete {
            bytes.len()
        } else {
            bytes.len() - 1
        };
        let mut stream = tcp(server.address());
        stream.write_all(&bytes[..now]).unwrap();
        let mut client = Client::opened(stream);
        client.expect_text("eager");
        client.write(&bytes[now..]);
        client.expect(BINARY, &large);
        client.round_trip("and on");
        client.close(1000);
    }
}

/// Request, message, Close and FIN before the server has said a word.
fn a_whole_session_may_come_with_the_request(io: Io) {
    let server = server(io);
    let mut bytes = request("/").into_bytes();
    bytes.extend(frame(TEXT, b"hello"));
    bytes.extend(frame(CLOSE, &close_payload(1000, "that was all")));
    let mut stream = tcp(server.address());
    stream.write_all(&bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut client = Client::opened(stream);
    client.expect_text("hello");
    client.expect_close(1000);
    client.expect_end();
}

fn fragments_are_joined_and_pings_answered_between_them(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    let text = text(9, 200_000);
    let pieces = text.as_bytes().chunks(33_333);
    let last = pieces.len() - 1;
    for (n, piece) in pieces.enumerate() {
        let opcode = if n == 0 { TEXT } else { CONTINUATION };
        if n == last {
            client.send(opcode, piece);
        } else {
            client.write(&fragment(opcode, piece));
            client.send(PING, &[n as u8]);
            client.expect(PONG, &[n as u8]);
        }
    }
    client.expect(TEXT, text.as_bytes());
    // Empty fragments at both ends.
    client.write(&fragment(BINARY, &[]));
    client.write(&fragment(CONTINUATION, b"middle"));
    client.send(CONTINUATION, &[]);
    client.expect(BINARY, b"middle");
    client.close(1000);
}

fn frames_may_be_cut_at_every_offset(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    let long = text(5, 200);
    let all = [
        frame(TEXT, "größer".as_bytes()),
        frame(PING, b"p"),
        frame(BINARY, long.as_bytes()),
        frame(TEXT, b""),
    ]
    .concat();
    for cut in 1..all.len() {
        client.write(&all[..cut]);
        // Lets the first part arrive by itself, most of the time.
        std::thread::yield_now();
        client.write(&all[cut..]);
        client.expect(TEXT, "größer".as_bytes());
        client.expect(PONG, b"p");
        client.expect(BINARY, long.as_bytes());
        client.expect(TEXT, b"");
    }
    client.close(1000);
}

fn pings_and_pongs_of_every_size(io: Io) {
    let server = server(io);
    let mut client = Client::connect(server.address());
    for size in 0..=125 {
        let payload = pattern(size as u64, size);
        client.send(PING, &payload);
        // Unsolicited: not answered (RFC 6455 §5.5.3).
        client.send(PONG, &payload);
        client.expect(PONG, &payload);
    }
    client.round_trip("after pings");
    client.close(1000);
}

fn many_connections_at_once(io: Io) {
    const CLIENTS: usize = 500;
    let server = server(io);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| Client::connect(server.address()))
        .collect();
    assert_eq!(server.stats().connections, CLIENTS as u64);
    assert_eq!(server.stats().opened, CLIENTS as u64);
    for (n, client) in clients.iter_mut().enumerate() {
        client.text(&format!("client {n}"));
    }
    for (n, client) in clients.iter_mut().enumerate() {
        client.expect_text(&format!("client {n}"));
    }
    for client in clients {
        client.close(1000);
    }
    crate::common::eventually("all are gone", || server.stats().connections == 0);
}

fn steered_connections_work_on_every_core(io: Io) {
    let settings =
        |server: corecast::Server| server.steer(true).cores(corecast::usable_processors());
    let server = serve_with(io, settings, |_| Echo);
    for n in 0..20 {
        let mut client = Client::connect(server.address());
        client.round_trip(&format!("connection {n}"));
        client.close(1000);
    }
}
