//! What a server answers.

use super::*;

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
            encode_switching(&mut out, key, *subprotocol, None, &[*header]),
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
