//! What makes a request an upgrade, and what it asks for.

use super::*;

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
