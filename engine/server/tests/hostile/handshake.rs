//! Upgrade requests that break RFC 6455 §4, those that only look as if they did, and what comes with them.

use std::io::Write;

use crate::ask::{ask, each_is_refused, each_is_upgraded, exchanged, with};
use crate::client::{BINARY, Client, KEY, PING, PONG, TEXT, frame, request, request_with, tcp};
use crate::trial::Trial;

crate::rows![
    version_other,
    version_absurd,
    key_missing,
    key_twice,
    key_short,
    host_missing,
    host_twice,
    host_absurd,
    upgrade_missing,
    upgrade_lists,
    http10_upgrade,
    post_upgrade,
    head_upgrade,
    origin_foreign,
    frames_with_handshake,
    garbage_after_handshake,
];

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
