//! The closing handshake, and ends without one (RFC 6455 §5.5.1, §7).

use std::time::{Duration, Instant};

use crate::client::{BINARY, CLOSE, PING, TEXT, close_payload, fragment, frame, header, tcp};
use crate::faults::{SPINNING, WATCHED};
use crate::frames::each_ends;
use crate::trial::{MEMORY, SPARE, Trial};
use crate::{client::Client, eventually};

crate::rows![
    close_one_byte,
    close_code_invalid,
    close_reason_bad_utf8,
    data_after_close,
    close_flood,
    close_never_answered,
    close_then_open_socket,
    close_with_full_backlog,
    rst_mid_frame,
    fin_without_close,
    half_close,
    urgent_data,
];

fn close_one_byte(io: &'static str) {
    let inputs: Vec<_> = [0, 3, 0xff].map(|byte| frame(CLOSE, &[byte])).into();
    each_ends(io, 1002, &inputs);
}

fn close_code_invalid(io: &'static str) {
    let codes = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ];
    let inputs: Vec<_> = codes
        .into_iter()
        .flat_map(|code| {
            ["", "with a reason"].map(|reason| frame(CLOSE, &close_payload(code, reason)))
        })
        .collect();
    each_ends(io, 1002, &inputs);
}

fn close_reason_bad_utf8(io: &'static str) {
    let reasons: [&[u8]; 5] = [
        b"\xff",
        b"good so far \xc0\x80",
        b"\xed\xa0\x80",
        b"cut \xe2\x82",
        b"\x80",
    ];
    let inputs: Vec<_> = reasons
        .into_iter()
        .map(|reason| frame(CLOSE, &[&1000_u16.to_be_bytes(), reason].concat()))
        .collect();
    each_ends(io, 1007, &inputs);
}

fn data_after_close(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let after = [
        frame(TEXT, b"never echoed"),
        frame(PING, b"never answered"),
        fragment(BINARY, &[7; 5000]),
        frame(CLOSE, &close_payload(1001, "changed my mind")),
        vec![0xff; 1000],
    ];
    for split in [false, true] {
        for _ in 0..10 {
            let mut client = trial.connect();
            let mut all = frame(CLOSE, &close_payload(1000, "done"));
            if !split {
                all.extend_from_slice(&after.concat());
            }
            client.write(&all);
            if split {
                for piece in &after {
                    client.write(piece);
                }
            }
            client.expect_close(1000);
            client.expect_end();
        }
    }
    trial.logs("peer broke the protocol", 0);
    trial.logs("connection ended code=1000 reason=\"done\" clean=true", 20);
    trial.over();
}

/// A thousand Close frames get one answer.
fn close_flood(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for _ in 0..10 {
        let mut client = trial.connect();
        client.write(&frame(CLOSE, &close_payload(3000, "x")).repeat(1000));
        client.expect_close(3000);
        client.expect_end();
    }
    trial.over();
}

/// The server closes, and the peer says nothing: cut after the close timeout, with the socket.
fn close_never_answered(io: &'static str) {
    let trial = Trial::victim(io, &["--close-timeout", "300ms"]);
    let mut clients: Vec<_> = (0..30)
        .map(|_| Client::connect_to(trial.address(), "/orders"))
        .collect();
    let start = Instant::now();
    for client in &mut clients {
        client.text("close 4001");
        client.expect_close(4001);
    }
    for client in &mut clients {
        client.expect_cut();
    }
    assert!(
        start.elapsed() >= Duration::from_millis(250),
        "they were given no time"
    );
    trial.logs("connection ended code=1006", clients.len());
    trial.over();
}

/// A whole closing handshake, after which the peer keeps its socket open: the server does not keep its own.
fn close_then_open_socket(io: &'static str) {
    let trial = Trial::victim(io, &["--close-timeout", "300ms"]);
    let before = trial.process.descriptors();
    let mut clients: Vec<_> = (0..30).map(|_| trial.connect()).collect();
    for client in &mut clients {
        client.send(CLOSE, &close_payload(1000, ""));
        client.expect_close(1000);
        client.expect_end();
    }
    eventually("the sockets go with the close timeout", || {
        trial.process.descriptors() <= before
    });
    drop(clients);
    trial.over();
}

/// A peer that has stopped reading begins to close: the answer cannot leave, and the wait for it ends.
fn close_with_full_backlog(io: &'static str) {
    let trial = Trial::victim(
        io,
        &[
            "--close-timeout",
            "300ms",
            "--backlog",
            "4m",
            "--slow",
            "drop-newest",
        ],
    );
    let before = trial.process.descriptors();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::upgrade(
            crate::client::narrow_tcp(trial.address()),
            &crate::client::request("/orders"),
        );
        client.text("send 64 65536");
        client.send(CLOSE, &close_payload(1000, ""));
        clients.push(client);
    }
    eventually("the sockets go with the close timeout", || {
        trial.process.descriptors() <= before
    });
    drop(clients);
    trial.over_within(2 * MEMORY);
}

/// Ways to break off in the middle of something.
const WAYS: usize = 5;

fn break_off(client: &mut Client, way: usize) {
    match way {
        0 => client.write(&header(0x80 | BINARY, 50_000, true)[..2]),
        1 => client.write(&frame(BINARY, &[7; 50_000])[..20_000]),
        2 => client.write(&fragment(TEXT, b"the first of two")),
        3 => client.write(&frame(BINARY, &[7; 500_000])),
        _ => client.write(&frame(PING, b"no more")),
    }
}

fn rst_mid_frame(io: &'static str) {
    let trial = Trial::victim(io, &[]);
    for _ in 0..10 {
        for way in 0..WAYS {
            let mut client = trial.connect();
            break_off(&mut client, way);
            client.reset();
        }
    }
    trial.logs(
        "connection ended code=1006 reason=\"\" clean=false",
        10 * WAYS,
    );
    trial.over_within(MEMORY + SPARE);
}

fn fin_without_close(io: &'static str) {
    let trial = Trial::victim(io, &[]);
    for _ in 0..10 {
        for way in 0..WAYS {
            let mut client = trial.connect();
            break_off(&mut client, way);
            // Both directions: the answer meets a socket that is gone.
            drop(client);
        }
    }
    trial.logs(
        "connection ended code=1006 reason=\"\" clean=false",
        10 * WAYS,
    );
    trial.over_within(MEMORY + SPARE);
}

/// The peer ends its side and reads on: without a Close frame that is the end (§7.1.5: 1006), and the server ends its
/// side as well.
fn half_close(io: &'static str) {
    let trial = Trial::victim(io, &[]);
    for _ in 0..30 {
        let mut client = trial.connect();
        client.round_trip("hello");
        client.half_close();
        client.expect_cut();
    }
    // In the middle of a message, and before a word was said.
    let mut client = trial.connect();
    client.write(&fragment(BINARY, &[7; 1000]));
    client.half_close();
    client.expect_cut();
    let client = tcp(trial.address());
    client.shutdown(std::net::Shutdown::Write).expect("a FIN");
    trial.logs("connection ended code=1006 reason=\"\" clean=false", 31);
    drop(client);
    trial.over();
}

/// Bytes marked urgent: TCP takes them out of the stream. They are no data, and wake nobody for ever.
fn urgent_data(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let usual = trial.busy(WATCHED);
    let mut client = trial.connect();
    for round in 0..20 {
        let socket = client.writer();
        socket2::SockRef::from(&socket)
            .send_out_of_band(b"!")
            .expect("an urgent byte");
        client.round_trip(&format!("round {round}"));
    }
    let busy = trial.busy(WATCHED);
    assert!(
        busy < 3.0 * usual + SPINNING,
        "{busy:.2}, usually {usual:.2}"
    );
    client.close(1000);
    trial.over();
}
