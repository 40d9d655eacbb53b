//! Header fields, and the body that an upgrade must not have (RFC 9112 §2, §5, §6).

use std::io::{Read, Write};
use std::time::Duration;

use crate::ask::{answer, each_is_refused, each_is_upgraded, exchanged, with};
use crate::client::{BINARY, Client, PING, PONG, TEXT, frame, request, request_with, tcp};
use crate::trial::Trial;

crate::rows![
    headers_64k,
    headers_2000,
    header_quadratic,
    extensions_absurd,
    header_ctl,
    header_nul,
    header_name_space,
    obs_fold,
    bare_lf,
    upgrade_with_body,
    body_smuggling,
    one_byte_dribble,
];

fn headers_64k(io: &'static str) {
    let requests = [
        with(&format!("X-Large: {}\r\n", "x".repeat(64 << 10))),
        with(&format!("Cookie: {}\r\n", "a=b; ".repeat(13_000))),
        with(&format!("{}: x\r\n", "n".repeat(64 << 10))),
        with(&"X-Many: 0123456789012345678901234567890123456789\r\n".repeat(1300)),
        // No end to it in sight.
        [
            b"GET /echo HTTP/1.1\r\nHost: a\r\nX: ".to_vec(),
            vec![b'x'; 64 << 10],
        ]
        .concat(),
    ];
    each_is_refused(io, 431, &requests);
}

fn headers_2000(io: &'static str) {
    let short: String = (0..2000).map(|n| format!("{n}:\r\n")).collect();
    let some: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let empty = "a:\r\n".repeat(2000);
    let requests = [&short, &some, &empty].map(|headers| with(headers));
    each_is_refused(io, 431, &requests);
}

/// Lists on which a parser that looks back, or copies, takes quadratic time or more. Nothing but the head's limit bounds
/// them: all that fits has to be read in no time, and 64 KiB are refused in no time.
fn header_quadratic(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let fillings = [
        ",", " ", "\t", ", ", ",\t", " ,", "a,", "\"", "\\", ";", "=", ";=,", "( ",
    ];
    let names = [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Version",
        "Sec-WebSocket-Key",
        "Origin",
    ];
    for (bytes, name) in names
        .iter()
        .flat_map(|name| [(7_000, name), (64_000, name)])
    {
        let before = trial.process.processor_time();
        let mut answered = 0;
        for filling in fillings {
            let list = filling.repeat(bytes / filling.len());
            let request = with(&format!("{name}: x{list}y\r\n"));
            let mut stream = tcp(trial.address());
            stream.write_all(&request).expect("the server reads");
            let mut status = [0; 12];
            stream.read_exact(&mut status).expect("an answer");
            assert!(status.starts_with(b"HTTP/1.1 "), "{filling:?}");
            if bytes > 8 << 10 {
                assert_eq!(&status, b"HTTP/1.1 431", "{filling:?} in {name}");
            }
            answered += 1;
        }
        let spent = trial.process.processor_time() - before;
        // 50 million steps for one header of 7,000 bytes, done thirteen times, take a debug build some ten seconds.
        assert!(
            spent < Duration::from_secs(2),
            "{answered} times {name}: {spent:?}"
        );
    }
    trial.over();
}

/// Extensions that nobody has, names that a dictionary may trip over, parameters out of range: none is accepted, and the
/// connection is as good as without them.
fn extensions_absurd(io: &'static str) {
    let many = "a;b=c,".repeat(1000);
    let offers = [
        "constructor",
        ",;constructor",
        "__proto__; toString=1",
        "permessage-deflate; server_max_window_bits=1000",
        "permessage-deflate; client_max_window_bits=0; client_max_window_bits=99999999999999999999",
        "permessage-deflate; permessage-deflate; server_no_context_takeover=\"\"",
        "x-unknown; a=\"unterminated",
        ";;;,,,===\"\"\"",
        many.as_str(),
    ];
    let trial = Trial::corecast(io, &[]);
    for offer in offers {
        let headers = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        let mut client = Client::upgrade(tcp(trial.address()), &request_with("/echo", &headers));
        let head = client.head.to_ascii_lowercase();
        assert!(
            !head.contains("sec-websocket-extensions"),
            "{offer}: {head}"
        );
        client.round_trip(offer);
        client.close(1000);
    }
    trial.over();
}

fn header_ctl(io: &'static str) {
    let controls = (1..0x20_u8)
        .chain([0x7f])
        .filter(|byte| !b"\t\r\n".contains(byte));
    let requests: Vec<_> = controls
        .flat_map(|byte| {
            let value = [
                b"GET / HTTP/1.1\r\nHost: a\r\nX: b",
                &[byte][..],
                b"c\r\n\r\n",
            ]
            .concat();
            let name = [
                b"GET / HTTP/1.1\r\nHost: a\r\nX",
                &[byte][..],
                b": b\r\n\r\n",
            ]
            .concat();
            let target = [b"GET /", &[byte][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            [value, name, target]
        })
        .collect();
    each_is_refused(io, 400, &requests);
}

fn header_nul(io: &'static str) {
    let requests = [
        with("X: a\0b\r\n"),
        with("X: \0\r\n"),
        with("X\0: b\r\n"),
        with("\0\r\n"),
        exchanged("Host", "Host: local\0host\r\n"),
        request("/ec\0ho").into_bytes(),
        request("/echo").replacen("GET", "G\0T", 1).into_bytes(),
        request("/echo")
            .replacen("HTTP/1.1", "HTTP/1.1\0", 1)
            .into_bytes(),
    ];
    each_is_refused(io, 400, &requests);
}

/// Space before the colon, or before a name: what a lenient proxy drops, a strict one passes on (RFC 9112 §5.1).
fn header_name_space(io: &'static str) {
    let requests = [
        with("X : b\r\n"),
        with("X\t: b\r\n"),
        with("Content-Length : 5\r\n"),
        with("Transfer-Encoding : chunked\r\n"),
        with("X Y: b\r\n"),
        with(": b\r\n"),
        with("no colon\r\n"),
        with("(X): b\r\n"),
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_vec(),
    ];
    each_is_refused(io, 400, &requests);
}

fn obs_fold(io: &'static str) {
    let requests = [
        with("X: a\r\n b\r\n"),
        with("X: a\r\n\tb\r\n"),
        with("X:\r\n b\r\n"),
        exchanged("Upgrade", "Upgrade:\r\n websocket\r\n"),
    ];
    each_is_refused(io, 400, &requests);
}

fn bare_lf(io: &'static str) {
    let all = request("/echo").replace("\r\n", "\n").into_bytes();
    let last = request("/echo").replace("\r\n\r\n", "\n\n").into_bytes();
    let first = request("/echo").replacen("\r\n", "\n", 1).into_bytes();
    let one = exchanged("Upgrade", "Upgrade: websocket\n");
    let end = request("/echo").replace("\r\n\r\n", "\r\n\n").into_bytes();
    let carriage = [with("X: a\rb\r\n"), with("X: a\r\r\n")].concat();
    each_is_refused(io, 400, &[all, last, first, one, end, carriage]);
}

fn upgrade_with_body(io: &'static str) {
    let requests = [
        [with("Content-Length: 5\r\n"), b"hello".to_vec()].concat(),
        with("Content-Length: 1\r\n"),
        [
            with("Transfer-Encoding: chunked\r\n"),
            b"5\r\nhello\r\n0\r\n\r\n".to_vec(),
        ]
        .concat(),
        with("Transfer-Encoding: identity\r\n"),
        with("Content-Length: 18446744073709551616\r\n"),
    ];
    each_is_refused(io, 400, &requests);
    each_is_upgraded(io, &[request_with("/echo", "Content-Length: 0\r\n")]);
}

/// Lengths on which two servers in a row could disagree where the next request begins: one answer, and the end.
fn body_smuggling(io: &'static str) {
    let hidden = b"GET /echo HTTP/1.1\r\nHost: hidden\r\n\r\n".to_vec();
    let behind = |headers: &str| [with(headers), hidden.clone()].concat();
    let requests = [
        behind("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        behind("Content-Length: 5\r\nContent-Length: 6\r\n"),
        behind("Content-Length: 0\r\nContent-Length: 5\r\n"),
        behind("Content-Length: 5, 5\r\n"),
        behind("Content-Length: +5\r\n"),
        behind("Content-Length: -1\r\n"),
        behind("Content-Length: 0x5\r\n"),
        behind("Content-Length: 5 5\r\n"),
        behind("Content-Length:\r\n"),
        behind("Transfer-Encoding: xchunked\r\n"),
        behind("Transfer-Encoding: chunked, identity\r\n"),
        behind("transfer-encoding:\tchunked\r\n"),
    ];
    each_is_refused(io, 400, &requests);
}

/// Every byte in a segment of its own, request and frames, and a head that has no end.
fn one_byte_dribble(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let text = "ä€𝄞 and so on";
    let mut all = request("/echo").into_bytes();
    all.extend_from_slice(&frame(TEXT, text.as_bytes()));
    all.extend_from_slice(&frame(PING, b"ping"));
    all.extend_from_slice(&frame(BINARY, &[7; 300]));
    let mut stream = tcp(trial.address());
    for byte in &all {
        stream.write_all(&[*byte]).expect("the server reads");
    }
    let mut client = Client::opened(stream);
    client.expect_text(text);
    client.expect(PONG, b"ping");
    client.expect(BINARY, &[7; 300]);
    client.close(1000);

    // Many lines are what makes a reader start over most often. The head's limit ends it. (How often a head is parsed is
    // counted in `core/opening.rs`: segments that arrive together say nothing about it, nor does the time they take.)
    let dribble = [
        b"GET /echo HTTP/1.1\r\nHost: a\r\n".to_vec(),
        b"X:\r\n".repeat(90),
        b"Y: ".to_vec(),
        vec![b'y'; 8000],
    ];
    let mut stream = tcp(trial.address());
    for byte in dribble.concat() {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
    }
    let answer = answer(stream);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    trial.over();
}
