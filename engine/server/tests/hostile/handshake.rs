//! Upgrade requests that break RFC 6455 §4 or RFC 9112, and those that only look as if they did.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{BINARY, Client, KEY, PING, PONG, TEXT, frame, request, request_with, tcp};
use crate::trial::Trial;

crate::rows![
    headers_64k,
    headers_2000,
    header_quadratic,
    extensions_absurd,
    version_other,
    version_absurd,
    key_missing,
    key_twice,
    key_short,
    host_missing,
    host_twice,
    host_absurd,
    header_ctl,
    header_nul,
    header_name_space,
    obs_fold,
    bare_lf,
    upgrade_with_body,
    body_smuggling,
    upgrade_missing,
    upgrade_lists,
    http10_upgrade,
    post_upgrade,
    head_upgrade,
    origin_foreign,
    frames_with_handshake,
    one_byte_dribble,
    garbage_after_handshake,
];

/// How often each request is made.
const ROUNDS: usize = 4;

/// What a server answers: all bytes to the end of the connection, which has to come.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the end of the connection");
    String::from_utf8(answer).expect("an answer in text")
}

/// Sends bytes on a connection of their own and reads to its end. The request may be cut off by an early answer.
pub(crate) fn ask(trial: &Trial, bytes: &[u8]) -> String {
    let mut stream = tcp(trial.address());
    stream
        .write_all(bytes)
        .expect("the server reads on until we close");
    answer(stream)
}

/// Whether it is one answer as long as it says, and nothing behind.
pub(crate) fn is_one_answer(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

/// Each request is refused with the status, once and no more, and the connection ends; over and over.
#[track_caller]
pub(crate) fn each_is_refused(io: &'static str, status: u16, requests: &[Vec<u8>]) {
    let trial = Trial::corecast(io, &[]);
    for _ in 0..ROUNDS {
        for request in requests {
            let answer = ask(&trial, request);
            let shown = String::from_utf8_lossy(&request[..request.len().min(300)]);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{shown:?} gets {answer:?}"
            );
            assert!(is_one_answer(&answer), "{shown:?} gets {answer:?}");
            assert!(
                answer
                    .to_ascii_lowercase()
                    .contains("\r\nconnection: close"),
                "{shown:?} gets {answer:?}"
            );
        }
    }
    trial.logs(
        &format!("request refused status={status} "),
        ROUNDS * requests.len(),
    );
    trial.over();
}

/// A correct request is upgraded: what is refused elsewhere differs from it in one thing only.
#[track_caller]
fn each_is_upgraded(io: &'static str, requests: &[String]) {
    let trial = Trial::corecast(io, &[]);
    for request in requests {
        let mut client = Client::upgrade(tcp(trial.address()), request);
        client.round_trip("hello");
        client.close(1000);
    }
    trial.over();
}

/// The upgrade request with a header's line exchanged; an empty one takes it out.
fn exchanged(name: &str, line: &str) -> Vec<u8> {
    let mut found = false;
    let request: String = request("/echo")
        .split_inclusive("\r\n")
        .map(|old| {
            let is = old.starts_with(name);
            found |= is;
            if is { line } else { old }
        })
        .collect();
    assert!(found, "{name} is there to be exchanged");
    request.into_bytes()
}

/// The upgrade request with further header lines.
fn with(headers: &str) -> Vec<u8> {
    request_with("/echo", headers).into_bytes()
}

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

fn version_other(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for version in ["12", "0", "7", "8", "14", "255"] {
        let line = format!("Sec-WebSocket-Version: {version}\r\n");
        let answer = ask(&trial, &exchanged("Sec-WebSocket-Version", &line));
        assert!(answer.starts_with("HTTP/1.1 426 "), "{version}: {answer}");
        assert!(
            answer.contains("\r\nSec-WebSocket-Version: 13\r\n"),
            "{version}: {answer}"
        );
    }
    trial.over();
}

/// Versions that another parser might read as 13.
fn version_absurd(io: &'static str) {
    let lines = [
        "13, 8",
        "013",
        "+13",
        "13.0",
        "0x0d",
        "-13",
        "1 3",
        "4294967309",
        "",
        "thirteen",
        "13;q=1",
    ];
    let requests: Vec<_> = lines
        .iter()
        .map(|version| {
            exchanged(
                "Sec-WebSocket-Version",
                &format!("Sec-WebSocket-Version: {version}\r\n"),
            )
        })
        .chain([exchanged("Sec-WebSocket-Version", "")])
        .collect();
    each_is_refused(io, 426, &requests);
    let twice = [
        with("Sec-WebSocket-Version: 13\r\n"),
        with("Sec-WebSocket-Version: 8\r\n"),
    ];
    each_is_refused(io, 400, &twice);
}

fn key_missing(io: &'static str) {
    let requests = [
        exchanged("Sec-WebSocket-Key", ""),
        exchanged(
            "Sec-WebSocket-Key",
            &format!("Sec-WebSocket-Accept: {KEY}\r\n"),
        ),
    ];
    each_is_refused(io, 400, &requests);
}

fn key_twice(io: &'static str) {
    let again = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let other = "sec-websocket-key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n";
    each_is_refused(io, 400, &[with(&again), with(other)]);
}

fn key_short(io: &'static str) {
    let keys = [
        "",
        "AQIDBAUGBwgJCgsMDQ4P",
        "AQIDBAUGBwgJCgsMDQ4PEBE=",
        "AQIDBAUGBwgJCgsMDQ4PEA",
        "AQIDBAUGBwgJCgsMDQ4PEA=",
        "AQIDBAUGBwgJCgsMDQ4PE===",
        "AQIDBAUGBwgJCgsMDQ4PE!==",
        "AQIDBAUG BwgJCgsMDQ4PEA==",
        "AQIDBAUGBwgJCgsMDQ4PEA==,AQIDBAUGBwgJCgsMDQ4PEA==",
    ];
    let long = "A".repeat(4000);
    let requests: Vec<_> = keys
        .into_iter()
        .chain([long.as_str()])
        .map(|key| {
            exchanged(
                "Sec-WebSocket-Key",
                &format!("Sec-WebSocket-Key: {key}\r\n"),
            )
        })
        .collect();
    each_is_refused(io, 400, &requests);
}

fn host_missing(io: &'static str) {
    each_is_refused(
        io,
        400,
        &[exchanged("Host", ""), b"GET / HTTP/1.1\r\n\r\n".to_vec()],
    );
}

fn host_twice(io: &'static str) {
    each_is_refused(
        io,
        400,
        &[with("Host: localhost\r\n"), with("host: elsewhere\r\n")],
    );
}

/// Hosts that a proxy and a server could understand differently.
fn host_absurd(io: &'static str) {
    let hosts = [
        "a b", "a, b", "user@a", "a/b", "a?b", "a#b", "a\\b", "<a>", "a\tb",
    ];
    let requests: Vec<_> = hosts
        .iter()
        .map(|host| exchanged("Host", &format!("Host: {host}\r\n")))
        .chain([b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n".to_vec()])
        .collect();
    each_is_refused(io, 400, &requests);
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

/// Requests that are no upgrade, or to something else: told what is spoken here.
fn upgrade_missing(io: &'static str) {
    let requests = [
        exchanged("Upgrade", ""),
        exchanged("Upgrade", "Upgrade:\r\n"),
        exchanged("Upgrade", "Upgrade: h2c\r\n"),
        exchanged("Upgrade", "Upgrade: websockets\r\n"),
        exchanged("Upgrade", "Upgrade: web socket\r\n"),
        b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
    ];
    each_is_refused(io, 426, &requests);
    let requests = [
        exchanged("Connection", ""),
        exchanged("Connection", "Connection: close\r\n"),
        exchanged("Connection", "Connection: keep-alive\r\n"),
        exchanged("Connection", "Connection: upgraded, no-upgrade\r\n"),
    ];
    each_is_refused(io, 400, &requests);
}

/// Lists, repeated lines and odd cases that mean the same as the plain form.
fn upgrade_lists(io: &'static str) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let requests = [
        text(exchanged("Upgrade", "UPGRADE: WebSocket\r\n")),
        text(exchanged("Upgrade", "Upgrade: h2c, websocket\r\n")),
        text(with("Upgrade: websocket\r\n")),
        text(with("Upgrade: h2c\r\n")),
        text(exchanged(
            "Connection",
            "Connection: keep-alive, Upgrade\r\n",
        )),
        text(exchanged(
            "Connection",
            "Connection: keep-alive\r\nConnection: upgrade\r\n",
        )),
        text(exchanged("Connection", "connection:,, ,upgrade,,\t\r\n")),
    ];
    each_is_upgraded(io, &requests);
}

fn http10_upgrade(io: &'static str) {
    let old = request("/echo").replace("HTTP/1.1", "HTTP/1.0");
    let trial = Trial::corecast(io, &[]);
    for request in [old.clone(), old.replace("Host: localhost\r\n", "")] {
        let answer = ask(&trial, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    }
    // Where there is a page, it is answered with the page.
    let answer = ask(&trial, old.replace("/echo", "/").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    trial.over();
}

fn post_upgrade(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get", "Get", "GETT", "X",
    ] {
        for rest in ["", "Content-Length: 5\r\n"] {
            let request = request_with("/echo", rest).replacen("GET", method, 1);
            let answer = ask(&trial, request.as_bytes());
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
            assert!(
                answer.contains("\r\nAllow: GET, HEAD\r\n"),
                "{method}: {answer}"
            );
        }
    }
    trial.over();
}

/// HEAD is never upgraded, and its answer has no body (RFC 9110 §9.3.2), refusals included.
fn head_upgrade(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let head = |bytes: Vec<u8>| [b"HEAD".to_vec(), bytes[3..].to_vec()].concat();
    let requests = [
        (426, head(with(""))),
        (404, head(request("/nothing").into_bytes())),
        (200, head(request("/").into_bytes())),
        (400, head(exchanged("Host", ""))),
        (400, head(with("Host: b\r\n"))),
    ];
    for (status, request) in requests {
        let answer = ask(&trial, &request);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "a body: {answer}");
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "a body: {answer}");
    }
    trial.over();
}

fn origin_foreign(io: &'static str) {
    let trial = Trial::corecast(
        io,
        &["--origin", "https://example.org", "--origin", "http://a:81"],
    );
    let foreign = [
        "http://example.org",
        "https://example.org:444",
        "https://example.org.evil.example",
        "https://evil-example.org",
        "https://www.example.org",
        "https://example.org@evil.example",
        "https://example.org/",
        "https://example.or",
        "http://a:8",
        "http://a:811",
        "http://a",
        "null",
        "",
        "*",
        "https://example.org https://evil.example",
    ];
    for origin in foreign {
        let answer = ask(&trial, &with(&format!("Origin: {origin}\r\n")));
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
    for headers in [
        "Origin: https://example.org\r\n",
        "Origin: http://a:81\r\n",
        "",
    ] {
        let mut client = Client::upgrade(tcp(trial.address()), &request_with("/echo", headers));
        client.round_trip("hello");
        client.close(1000);
    }
    trial.over();
}

/// The request and the first frames in one segment: handled in order, also when the last one is cut.
fn frames_with_handshake(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for round in 0..20 {
        let large = vec![round; 5000];
        let (cut, rest) = (frame(BINARY, &large), 1000 * usize::from(round % 4) + 3);
        let mut all = request("/echo").into_bytes();
        for frame in [
            frame(TEXT, b"first"),
            frame(PING, b"second"),
            cut[..rest].to_vec(),
        ] {
            all.extend_from_slice(&frame);
        }
        let mut stream = tcp(trial.address());
        stream.write_all(&all).expect("the server reads");
        let mut client = Client::opened(stream);
        client.expect_text("first");
        client.expect(PONG, b"second");
        client.write(&cut[rest..]);
        client.expect(BINARY, &large);
        client.close(1000);
    }
    trial.over();
}

/// Every byte in a segment of its own, request and frames; a head as large as may be takes no quadratic time.
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

    // A line's end at every second byte is what makes a reader start over most often. The head's limit ends it.
    let before = trial.process.processor_time();
    let start = Instant::now();
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
    let spent = trial.process.processor_time() - before;
    assert!(
        spent < Duration::from_secs(2),
        "{spent:?} of {:?}",
        start.elapsed()
    );
    trial.over();
}

/// Line ends behind the head, as some scripts send them, are frames like any other byte: broken ones.
fn garbage_after_handshake(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for garbage in [
        "\r\n",
        "\r\n\r\n",
        "\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "hello",
    ] {
        let mut stream = tcp(trial.address());
        let all = [request("/echo").as_bytes(), garbage.as_bytes()].concat();
        stream.write_all(&all).expect("the server reads");
        let mut client = Client::opened(stream);
        client.expect_close(1002);
        client.expect_end();
    }
    trial.logs("peer broke the protocol", 5);
    trial.over();
}
