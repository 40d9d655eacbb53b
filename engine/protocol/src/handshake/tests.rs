//! RFC 6455 §4 and RFC 9112 §2–§6, as tables.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const NONCE: [u8; 16] = *b"the sample nonce";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// §1.2, without the optional headers.
const UPGRADE: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn head(request_line: &str, headers: &[&str]) -> Vec<u8> {
    format!("{request_line}\r\n{}\r\n\r\n", headers.join("\r\n")).into_bytes()
}

/// The upgrade of §1.2 with the header of the same name replaced, or with further headers.
fn upgrade_with(changes: &[&str]) -> Vec<u8> {
    let name = |header: &str| header.split(':').next().map(str::to_ascii_lowercase);
    let kept = UPGRADE
        .iter()
        .filter(|header| changes.iter().all(|change| name(change) != name(header)));
    let headers: Vec<&str> = kept.chain(changes).copied().collect();
    head("GET /chat HTTP/1.1", &headers)
}

fn upgrade_without(header: &str) -> Vec<u8> {
    let kept: Vec<&str> = UPGRADE
        .into_iter()
        .filter(|line| !line.starts_with(header))
        .collect();
    assert_eq!(kept.len(), 4, "{header} was there");
    head("GET /chat HTTP/1.1", &kept)
}

/// What a server does with these bytes: 101 for an upgrade, 200 for a plain request.
fn status(input: &[u8]) -> Option<u16> {
    status_within(input, &HeadLimits::default())
}

fn status_within(input: &[u8], limits: &HeadLimits) -> Option<u16> {
    let mut slots = HeaderSlots::new();
    match parse_request(input, &mut slots, limits) {
        Ok(Parsed::Partial) => None,
        Ok(Parsed::Complete(request, _)) if !request.is_upgrade() => Some(200),
        Ok(Parsed::Complete(request, _)) => match request.check_upgrade() {
            Ok(_) => Some(101),
            Err(refusal) => Some(refusal.status),
        },
        Err(refusal) => Some(refusal.status),
    }
}

/// Runs `test` on a request that must parse.
fn with_request<R>(input: &[u8], test: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut slots = HeaderSlots::new();
    match parse_request(input, &mut slots, &HeadLimits::default()) {
        Ok(Parsed::Complete(request, _)) => test(&request),
        other => panic!("not a request: {other:?}"),
    }
}

/// §1.2 and §1.3.
#[test]
fn rfc_example() {
    let input = upgrade_with(&[
        "Origin: http://example.com",
        "Sec-WebSocket-Protocol: chat, superchat",
    ]);
    let mut out = Vec::new();
    with_request(&input, |request| {
        assert_eq!(request.method(), "GET");
        assert_eq!(request.path(), "/chat");
        assert_eq!(request.host(), Some("server.example.com"));
        assert_eq!(request.origin(), Some("http://example.com"));
        assert!(request.subprotocols().eq(["chat", "superchat"]));
        let key = request.check_upgrade().unwrap();
        assert_eq!(key.as_str(), KEY);
        let chosen = choose_subprotocol(request, &["video", "chat"]);
        encode_switching(&mut out, key, chosen, &[("X-Served-By", "test")]).unwrap();
    });
    let expected = "HTTP/1.1 101 Switching Protocols\r\n\
                    Upgrade: websocket\r\n\
                    Connection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    Sec-WebSocket-Protocol: chat\r\n\
                    X-Served-By: test\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Every header of the upgrade is needed (§4.2.1), and each fault has its status.
#[test]
fn upgrade_rules() {
    let host = "Host: server.example.com";
    let cases = [
        // item 1: GET, HTTP/1.1
        (head("POST /chat HTTP/1.1", &UPGRADE), 405),
        (head("HEAD /chat HTTP/1.1", &UPGRADE), 200),
        (head("GET /chat HTTP/1.0", &UPGRADE), 200),
        (head("GET /chat HTTP/2.0", &UPGRADE), 505),
        // item 2: Host
        (upgrade_without("Host"), 400),
        (upgrade_with(&[host, host]), 400),
        (upgrade_with(&["Host: a b"]), 400),
        (upgrade_with(&["Host: a/b"]), 400),
        (upgrade_with(&["Host: [::1]:9001"]), 101),
        // item 3: Upgrade
        (upgrade_without("Upgrade"), 200),
        (upgrade_with(&["Upgrade: h2c"]), 200),
        (upgrade_with(&["Upgrade: h2c, WebSocket"]), 101),
        // item 4: Connection
        (upgrade_without("Connection"), 400),
        (upgrade_with(&["Connection: keep-alive"]), 400),
        (upgrade_with(&["Connection: upgraded"]), 400),
        (upgrade_with(&["Connection: keep-alive, UPGRADE"]), 101),
        (
            upgrade_with(&["Connection: keep-alive", "Connection: upgrade"]),
            101,
        ),
        // item 5: Sec-WebSocket-Key
        (upgrade_without("Sec-WebSocket-Key"), 400),
        (upgrade_with(&["Sec-WebSocket-Key:"]), 400),
        (upgrade_with(&["Sec-WebSocket-Key: c2hvcnQ="]), 400),
        (
            upgrade_with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE="]),
            400,
        ),
        (
            upgrade_with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"]),
            400,
        ),
        (
            upgrade_with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!Q=="]),
            400,
        ),
        (
            upgrade_with(&["Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC=="]),
            101,
        ),
        (
            upgrade_with(&[&format!("Sec-WebSocket-Key: {KEY}"), UPGRADE[3]]),
            400,
        ),
        // item 6: Sec-WebSocket-Version, §4.4
        (upgrade_without("Sec-WebSocket-Version"), 426),
        (upgrade_with(&["Sec-WebSocket-Version: 12"]), 426),
        (upgrade_with(&["Sec-WebSocket-Version: 13, 8"]), 426),
        (upgrade_with(&[UPGRADE[4], UPGRADE[4]]), 400),
        // item 8: Sec-WebSocket-Protocol
        (upgrade_with(&["Sec-WebSocket-Protocol: a b"]), 400),
        (upgrade_with(&["Sec-WebSocket-Protocol: a,, b"]), 101),
        // item 9: unknown extensions are declined by silence
        (
            upgrade_with(&["Sec-WebSocket-Extensions: x-unknown; a=1"]),
            101,
        ),
        // an upgrade carries no body
        (upgrade_with(&["Content-Length: 0"]), 101),
        (upgrade_with(&["Content-Length: 1"]), 400),
        (upgrade_with(&["Content-Length: 00"]), 101),
        (upgrade_with(&["Transfer-Encoding: chunked"]), 400),
        (
            upgrade_with(&["Transfer-Encoding: chunked", "Content-Length: 0"]),
            400,
        ),
    ];
    for (input, expected) in cases {
        let text = String::from_utf8_lossy(&input);
        assert_eq!(status(&input), Some(expected), "{text}");
    }
}

/// RFC 9112 §2–§6: what parsers could read differently is refused.
#[test]
fn head_syntax() {
    let with = |header: &[u8]| {
        let mut input = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        input.extend_from_slice(header);
        input.extend_from_slice(b"\r\n\r\n");
        input
    };
    let cases: &[(Vec<u8>, u16)] = &[
        (with(b"X: ok"), 200),
        (with(b"X:"), 200),
        (with(b"X: \t padded \t"), 200),
        (with(b"X: latin\xe9"), 200),
        (with(b"X: nul\0"), 400),
        (with(b"X: bell\x07"), 400),
        (with(b"X: del\x7f"), 400),
        (with(b"X\0: a"), 400),
        (with(b"X : a"), 400),
        (with(b" X: a"), 400),
        (with(b": a"), 400),
        (with(b"X"), 400),
        (with(b"X\xe9: a"), 400),
        (with(b"X: a\r\n folded"), 400),
        (with(b"X: a\r\n\tfolded"), 400),
        (with(b"X: a\nY: b"), 400),
        (with(b"X: a\rY: b"), 400),
        (with(b"Content-Length: +1"), 400),
        (with(b"Content-Length: 1, 1"), 400),
        (with(b"Content-Length: 1\r\nContent-Length: 2"), 400),
        (with(b"Content-Length: 1\r\nContent-Length: 1"), 200),
        (b"GET / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n".to_vec(), 400),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        // RFC 9112 §2.2: an empty line before the request is tolerated.
        (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 200),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /#top HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET chat HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://?a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://a@h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 200),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), 200),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        (b"GET /\r\n\r\n".to_vec(), 400),
        (b"\x16\x03\x01\x02\0 a TLS client".to_vec(), 400),
    ];
    for (input, expected) in cases {
        let text = String::from_utf8_lossy(input);
        assert_eq!(status(input), Some(*expected), "{text:?}");
    }
}

#[test]
fn head_limits() {
    let with_cookie = |len: usize| upgrade_with(&[&format!("Cookie: {}", "x".repeat(len))]);
    let base = with_cookie(0).len();
    let max = HeadLimits::DEFAULT_MAX_BYTES;
    assert_eq!(status(&with_cookie(max - base)), Some(101));
    assert_eq!(status(&with_cookie(max - base + 1)), Some(431));
    assert_eq!(status(&with_cookie(64 << 10)), Some(431), "headers_64k");
    // As soon as the limit is reached, without waiting for the end.
    let endless = with_cookie(max);
    assert_eq!(status(&endless[..max - 1]), None);
    assert_eq!(status(&endless[..max]), Some(431));

    let many = |count: usize| {
        let extra = vec!["X: y"; count - UPGRADE.len()];
        head("GET / HTTP/1.1", &[&UPGRADE[..], &extra].concat())
    };
    assert_eq!(status(&many(HeaderSlots::CAPACITY)), Some(101));
    assert_eq!(status(&many(HeaderSlots::CAPACITY + 1)), Some(431));
    assert_eq!(status(&many(2000)), Some(431), "headers_2000");
    let few = HeadLimits {
        max_headers: 5,
        ..HeadLimits::default()
    };
    assert_eq!(status_within(&many(5), &few), Some(101));
    assert_eq!(status_within(&many(6), &few), Some(431));
}

/// `frames_with_handshake`: what follows the head is left alone, and does not count as head.
#[test]
fn frames_may_follow_at_once() {
    let head = upgrade_with(&[]);
    let input = [&head[..], &[0x82; 100_000]].concat();
    let mut slots = HeaderSlots::new();
    match parse_request(&input, &mut slots, &HeadLimits::default()) {
        Ok(Parsed::Complete(_, len)) => assert_eq!(len, head.len()),
        other => panic!("{other:?}"),
    }
}

/// `one_byte_dribble`: no prefix of a good head is refused or taken for whole.
#[test]
fn every_prefix_is_partial() {
    let input = upgrade_with(&["Sec-WebSocket-Protocol: chat"]);
    for len in 0..input.len() {
        assert_eq!(status(&input[..len]), None, "{len} bytes");
    }
    assert_eq!(status(&input), Some(101));
}

/// What is refused is refused with the same answer however it arrives.
#[test]
fn a_foreign_version_is_told_by_its_whole_name() {
    for (line, expected) in [
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/3", 400),
        ("GET / HTTP/2x0", 400),
        ("GET /a b HTTP/1.1", 400),
    ] {
        let input = head(line, &UPGRADE);
        assert_eq!(status(&input), Some(expected), "{line}");
        for len in 0..input.len() {
            let early = status(&input[..len]);
            assert!(
                early.is_none_or(|early| early == expected),
                "{line}, {len} bytes"
            );
        }
    }
}

/// What is not text is no list of subprotocols, and names no extension that was offered.
#[test]
fn lists_that_are_not_utf8_are_refused() {
    let with = |input: Vec<u8>, header: &[u8]| {
        let kept = &input[..input.len() - 2];
        [kept, header, b"\r\n\r\n"].concat()
    };
    let request = with(upgrade_with(&[]), b"Sec-WebSocket-Protocol: chat, \xff");
    assert_eq!(status(&request), Some(400));

    let asked = ClientRequest::new("host", "/", NONCE);
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let answer = head("HTTP/1.1 101 ", &[UPGRADE[1], UPGRADE[2], accept]);
    let answer = with(answer, b"Sec-WebSocket-Extensions: \xff");
    assert_eq!(
        ClientHandshake::new(&asked).handle(&answer),
        Err(HandshakeError::UnexpectedExtension)
    );
}

/// Bytes that are read by a parser that gets `input` in pieces of `step` bytes, and the status in the end.
fn read_in_pieces(input: &[u8], step: usize, limits: &HeadLimits) -> (usize, Option<u16>) {
    let (mut read, mut end) = (0, 0);
    while end < input.len() {
        let new = step.min(input.len() - end);
        end += new;
        if may_end_head(&input[..end], new, limits) {
            read += end.min(limits.max_bytes);
            let status = status_within(&input[..end], limits);
            if status.is_some() {
                return (read, status);
            }
        }
    }
    (read, None)
}

/// `one_byte_dribble`, with heads made to be read again and again.
#[test]
fn a_head_in_pieces_is_read_twice_at_most() {
    let limits = HeadLimits::default();
    let max = limits.max_bytes;
    let many = "X: y\r\n".repeat(90);
    let long = format!("Cookie: {}", "x".repeat(7000));
    let whole: &[Vec<u8>] = &[
        upgrade_with(&[]),
        upgrade_with(&[long.as_str()]),
        head("GET / HTTP/1.1", &["Host: h", many.trim_end()]),
        upgrade_with(&[&format!("Cookie: {}", "x".repeat(2 * max))]),
        [&b"\r\n".repeat(100)[..], &upgrade_with(&[])].concat(),
        b"\r\n".repeat(2 * max),
        b"GET / HTTP/1.1\nHost: h\n\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: h\r\n\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\nHost: h\n\r\n".to_vec(),
        b"G".repeat(2 * max),
        b"GET / HTTP/1.1\r\n".repeat(max),
        [&b"GET / HTTP/1.1\r\n"[..], &b"\n\r".repeat(max)].concat(),
        b"\r\n\r\nHEAD nowhere HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for input in whole {
        let shown = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
        let expected = status(input);
        for step in [1, 2, 3, 7, 1000] {
            let (read, status) = read_in_pieces(input, step, &limits);
            assert_eq!(status, expected, "{shown:?} in steps of {step}");
            assert!(
                read <= step + input.len().min(max),
                "{read} bytes read: {shown:?} in steps of {step}"
            );
        }
    }
}

#[test]
fn the_method_of_what_is_refused_is_known() {
    for (input, expected) in [
        (&b"HEAD / HTTP/3.0\r\n\r\n"[..], true),
        (b"\r\n\r\nHEAD / ", true),
        (b"HEAD", false),
        (b"HEADER / HTTP/1.1", false),
        (b"GET /?HEAD / HTTP/1.1", false),
        (b"", false),
        (b"\r\n", false),
    ] {
        assert_eq!(is_head_method(input), expected, "{input:?}");
    }
}

/// `header_quadratic`. Quadratic work on a megabyte would take minutes.
#[test]
#[cfg_attr(miri, ignore = "a megabyte of lists, and measured time")]
fn hostile_lists_take_linear_time() {
    let limits = HeadLimits {
        max_bytes: 2 << 20,
        ..HeadLimits::default()
    };
    let started = Instant::now();
    for name in [
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Sec-WebSocket-Key",
        "Content-Length",
    ] {
        for filler in [",", ", ", "\t,", "a,", " \t", "upgrade,"] {
            let header = format!("{name}: x{}", filler.repeat((1 << 20) / filler.len()));
            let input = upgrade_with(&[&header]);
            assert!(status_within(&input, &limits).is_some());
        }
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "took {took:?}");
}

#[test]
fn targets() {
    let parts = |target: &str| {
        let input = head(&format!("GET {target} HTTP/1.1"), &["Host: h"]);
        with_request(&input, |request| {
            assert_eq!(request.target(), target);
            let query = request.query_string().map(str::to_owned);
            (request.path().to_owned(), query)
        })
    };
    let cases = [
        ("/", "/", None),
        ("/a/b", "/a/b", None),
        ("/a?", "/a", Some("")),
        ("/a?b=c?d", "/a", Some("b=c?d")),
        ("//x", "//x", None),
        ("http://host", "/", None),
        ("ws://host:9001/a?b", "/a", Some("b")),
        ("HTTPS://host?b", "/", Some("b")),
    ];
    for (target, path, query) in cases {
        assert_eq!(
            parts(target),
            (path.to_owned(), query.map(str::to_owned)),
            "{target}"
        );
    }
}

#[test]
fn queries() {
    let target =
        "/t?sub=a&sub=b%2Fc&plus=1+1&na%6De=x&flag&&=empty&bad=%zz%4&utf=%e2%82%ac%ff&eq=a=b";
    let input = head(&format!("GET {target} HTTP/1.1"), &["Host: h"]);
    with_request(&input, |request| {
        assert!(request.query_all("sub").eq(["a", "b/c"]));
        assert_eq!(request.query("sub").unwrap(), "a");
        assert_eq!(request.query("plus").unwrap(), "1 1");
        assert_eq!(request.query("name").unwrap(), "x");
        assert_eq!(request.query("flag").unwrap(), "");
        assert_eq!(request.query("").unwrap(), "empty");
        assert_eq!(request.query("bad").unwrap(), "%zz%4");
        assert_eq!(request.query("utf").unwrap(), "€\u{fffd}");
        assert_eq!(request.query("eq").unwrap(), "a=b");
        assert_eq!(request.query("none"), None);
    });
    with_request(&head("GET /t HTTP/1.1", &["Host: h"]), |request| {
        assert_eq!(request.query("sub"), None);
    });
}

#[test]
fn headers() {
    let mut input = head(
        "GET / HTTP/1.1",
        &["Host: h", "X-One: 1", "x-one: 2", "Name: "],
    );
    input.splice(input.len() - 4..input.len() - 4, *b"\xe9");
    with_request(&input, |request| {
        assert_eq!(request.header("x-ONE"), Some("1"));
        assert_eq!(request.header("absent"), None);
        assert_eq!(request.header("name"), None, "not UTF-8");
        let all: Vec<_> = request.headers().collect();
        assert_eq!(all[2], ("x-one", &b"2"[..]));
        assert_eq!(all[3], ("Name", &b"\xe9"[..]));
    });
}

#[test]
fn the_servers_preference_decides() {
    let input = upgrade_with(&[
        "Sec-WebSocket-Protocol: a, b",
        "sec-websocket-protocol: \tc\t,",
    ]);
    with_request(&input, |request| {
        assert!(request.subprotocols().eq(["a", "b", "c"]));
        assert_eq!(choose_subprotocol(request, &["c", "a"]), Some("c"));
        assert_eq!(choose_subprotocol(request, &["A", "b"]), Some("b"));
        assert_eq!(choose_subprotocol(request, &["d"]), None);
        assert_eq!(choose_subprotocol(request, &[]), None);
    });
}

#[test]
fn refusals_are_whole_responses() {
    let mut out = Vec::new();
    Refusal::bad_request("the Host header is missing").encode(&mut out);
    let expected = "HTTP/1.1 400 Bad Request\r\n\
                    Connection: close\r\n\
                    Content-Type: text/plain; charset=utf-8\r\n\
                    Content-Length: 27\r\n\r\n\
                    the Host header is missing\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    for (refusal, status, needed) in [
        (Refusal::METHOD_NOT_ALLOWED, 405, "Allow: GET, HEAD\r\n"),
        (
            Refusal::VERSION_REQUIRED,
            426,
            "Sec-WebSocket-Version: 13\r\n",
        ),
        (
            Refusal::UPGRADE_REQUIRED,
            426,
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            Refusal::UPGRADE_REQUIRED,
            426,
            "Connection: close, Upgrade\r\n",
        ),
        (Refusal::TOO_MANY_REQUESTS, 429, "Retry-After: 1\r\n"),
        (Refusal::HEAD_TOO_LARGE, 431, "Connection: close\r\n"),
        (Refusal::OVERLOADED, 503, "Retry-After: 1\r\n"),
        (Refusal::VERSION_NOT_SUPPORTED, 505, "Connection: close\r\n"),
    ] {
        let mut out = Vec::new();
        refusal.encode(&mut out);
        let mut without_body = Vec::new();
        refusal.encode_head(&mut without_body);
        let body = out.strip_prefix(&without_body[..]).expect("the same head");
        assert_eq!(body, format!("{}\n", refusal.reason).as_bytes());
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains(needed), "{text}");
    }
}

#[test]
fn pages() {
    let page = |head_only| {
        let mut out = b"before".to_vec();
        encode_http(&mut out, 200, "text/html", b"<p>hi", head_only).unwrap();
        String::from_utf8(out).unwrap()
    };
    let expected = "beforeHTTP/1.1 200 OK\r\n\
                    Connection: close\r\n\
                    Content-Type: text/html\r\n\
                    Content-Length: 5\r\n\r\n";
    assert_eq!(page(false), format!("{expected}<p>hi"));
    assert_eq!(page(true), expected);
}

/// Nothing that the application passes can end a header or the head.
#[test]
fn injection_is_refused() {
    let key = Key::new(KEY).unwrap();
    let mut out = Vec::new();
    let cases: &[(Option<&str>, (&str, &str), HeaderError)] = &[
        (
            Some("a\r\nX: y"),
            ("X", "y"),
            HeaderError::InvalidSubprotocol,
        ),
        (Some(""), ("X", "y"), HeaderError::InvalidSubprotocol),
        (None, ("X", "a\r\nSet-Cookie: b"), HeaderError::InvalidValue),
        (None, ("X", "a\nb"), HeaderError::InvalidValue),
        (None, ("X", "a\0b"), HeaderError::InvalidValue),
        (None, ("X: y\r\nZ", "a"), HeaderError::InvalidName),
        (None, ("", "a"), HeaderError::InvalidName),
        (None, ("Connection", "close"), HeaderError::Reserved),
        (None, ("sec-websocket-ACCEPT", "x"), HeaderError::Reserved),
        (None, ("Content-Length", "5"), HeaderError::Reserved),
    ];
    for (subprotocol, header, error) in cases {
        assert_eq!(
            encode_switching(&mut out, key, *subprotocol, &[*header]),
            Err(*error)
        );
        assert_eq!(error.fault(), crate::Fault::Application);
    }
    let error = encode_http(&mut out, 200, "text/html\r\nX: y", b"", false);
    assert_eq!(error, Err(HeaderError::InvalidValue));

    let good = ClientRequest::new("host", "/", NONCE);
    let bad = [
        ClientRequest {
            host: "a\r\nX: y",
            ..good
        },
        ClientRequest { host: "", ..good },
        // What a server of ours would refuse.
        ClientRequest {
            host: "a/b",
            ..good
        },
        ClientRequest {
            host: "a,b",
            ..good
        },
        ClientRequest {
            host: "user@a",
            ..good
        },
        ClientRequest {
            path: "/a#b",
            ..good
        },
        ClientRequest {
            path: "/ HTTP/1.1\r\nX: y",
            ..good
        },
        ClientRequest {
            path: "chat",
            ..good
        },
        ClientRequest {
            path: "/é", ..good
        },
        ClientRequest {
            origin: Some("a\nb"),
            ..good
        },
        ClientRequest {
            subprotocols: &["a,b"],
            ..good
        },
        ClientRequest {
            headers: &[("X", "a\rb")],
            ..good
        },
        ClientRequest {
            headers: &[("Host", "b")],
            ..good
        },
    ];
    for request in bad {
        assert!(request.encode(&mut out).is_err(), "{request:?}");
    }
    assert_eq!(out, b"", "a refusal writes nothing");
}

#[test]
fn client_and_server_agree() {
    let request = ClientRequest {
        subprotocols: &["v2.chat", "v1.chat"],
        origin: Some("https://page.example"),
        headers: &[("Authorization", "Bearer x")],
        ..ClientRequest::new("host:9001", "/chat?a=b", NONCE)
    };
    let mut sent = Vec::new();
    request.encode(&mut sent).unwrap();
    let mut answer = Vec::new();
    with_request(&sent, |request| {
        assert_eq!(request.path(), "/chat");
        assert_eq!(request.host(), Some("host:9001"));
        assert_eq!(request.origin(), Some("https://page.example"));
        assert_eq!(request.header("authorization"), Some("Bearer x"));
        let key = request.check_upgrade().unwrap();
        let chosen = choose_subprotocol(request, &["v1.chat"]);
        encode_switching(&mut answer, key, chosen, &[]).unwrap();
    });
    let head_len = answer.len();
    answer.extend_from_slice(b"\x81\x05Hello");

    let handshake = ClientHandshake::new(&request);
    for len in 0..head_len {
        assert_eq!(handshake.handle(&answer[..len]), Ok(None));
    }
    let expected = Response {
        subprotocol: Some("v1.chat"),
        consumed: head_len,
    };
    assert_eq!(handshake.handle(&answer), Ok(Some(expected)));
}

/// §4.1, the client's checks, items 1 to 6.
#[test]
fn client_checks() {
    use HandshakeError::*;
    let offered = ClientRequest {
        subprotocols: &["chat"],
        ..ClientRequest::new("host", "/", *b"the sample nonce")
    };
    assert_eq!(
        Key::new(KEY).map(|key| key.accept()),
        Some(*b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let good = ["Upgrade: WebSocket", "Connection: upgrade", accept];
    let answer = |line: &str, headers: &[&str]| {
        let bytes = head(line, headers);
        ClientHandshake::new(&offered)
            .handle(&bytes)
            .map(|response| response.map(|response| response.subprotocol.map(str::to_owned)))
    };
    let switching = "HTTP/1.1 101 Switching Protocols";
    let with = |header| [&good[..], &[header]].concat();

    assert_eq!(answer(switching, &good), Ok(Some(None)));
    assert_eq!(answer("HTTP/1.1 101", &good), Ok(Some(None)));
    assert_eq!(
        answer(switching, &with("Sec-WebSocket-Protocol: chat")),
        Ok(Some(Some("chat".into())))
    );
    let cases: &[(&str, &[&str], HandshakeError)] = &[
        ("HTTP/1.1 200 OK", &good, Refused(200)),
        ("HTTP/1.1 404 Not Found", &[], Refused(404)),
        ("HTTP/1.0 101 Switching Protocols", &good, Malformed),
        ("HTTP/1.1 101 Switching\r\nBad Line", &good, Malformed),
        ("SSH-2.0-OpenSSH", &[], Malformed),
        (switching, &good[1..], Upgrade),
        (switching, &["Upgrade: h2c", good[1], accept], Upgrade),
        (switching, &[good[0], accept], Connection),
        (
            switching,
            &[good[0], "Connection: close", accept],
            Connection,
        ),
        (switching, &good[..2], Accept),
        (switching, &with(accept), Accept),
        (
            switching,
            &[good[0], good[1], "Sec-WebSocket-Accept: x"],
            Accept,
        ),
        (
            switching,
            &with("Sec-WebSocket-Extensions: permessage-deflate"),
            UnexpectedExtension,
        ),
        (
            switching,
            &with("Sec-WebSocket-Protocol: other"),
            UnexpectedSubprotocol,
        ),
        (
            switching,
            &with("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat"),
            UnexpectedSubprotocol,
        ),
    ];
    for (line, headers, error) in cases {
        assert_eq!(answer(line, headers), Err(*error), "{line} {headers:?}");
        assert_eq!(error.fault(), crate::Fault::Peer);
    }
    let handshake = ClientHandshake::new(&offered);
    let bare = head(switching, &good)
        .iter()
        .copied()
        .filter(|&byte| byte != b'\r')
        .collect::<Vec<_>>();
    assert_eq!(handshake.handle(&bare), Err(Malformed));
    let endless = [b"HTTP/1.1 101 \r\nX: ".to_vec(), vec![b'x'; 10_000]].concat();
    assert!(matches!(handshake.handle(&endless), Err(TooLarge { .. })));
    let many = head(switching, &vec!["X: y"; 200]);
    assert!(matches!(handshake.handle(&many), Err(TooLarge { .. })));
}

proptest! {
    #[test]
    fn any_head_is_survived(
        at in any::<prop::sample::Index>(),
        garbage in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let mut input = upgrade_with(&["Sec-WebSocket-Protocol: chat", "Content-Length: 0"]);
        let at = at.index(input.len());
        input.splice(at..at, garbage);
        let whole = status(&input);
        // What a prefix is refused for, the whole is refused for too.
        for len in 0..input.len() {
            if let Some(refused) = status(&input[..len]).filter(|status| *status >= 400) {
                prop_assert_eq!(Some(refused), whole);
            }
        }
    }

    /// Pieces change nothing, but for when a head is refused that does not end.
    #[test]
    fn a_head_in_pieces_is_answered_like_a_whole_one(
        garbage in "(G|: |X|\\r|\\n|\\r\\n|\\r\\n\\r\\n){0,6}",
        at in any::<prop::sample::Index>(),
        step in 1..200_usize,
    ) {
        let mut input = upgrade_with(&[]);
        let at = at.index(input.len());
        input.splice(at..at, garbage.into_bytes());
        input.extend_from_slice(b"\r\n\r\n");
        let (read, pieces) = read_in_pieces(&input, step, &HeadLimits::default());
        prop_assert_eq!(pieces, status(&input));
        prop_assert!(read <= step + input.len());
    }

    #[test]
    fn written_values_are_read_back(path in "/[a-z0-9%?&=]{0,20}", value in "[ -~]{0,40}") {
        let headers = [("X-Value", value.as_str())];
        let request = ClientRequest {
            headers: &headers,
            ..ClientRequest::new("host", &path, NONCE)
        };
        let mut out = Vec::new();
        request.encode(&mut out).unwrap();
        with_request(&out, |request| {
            assert_eq!(request.target(), path);
            assert_eq!(request.header("x-value"), Some(value.trim()));
        });
    }
}
