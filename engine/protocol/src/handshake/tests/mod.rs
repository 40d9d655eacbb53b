//! RFC 6455 §4 and RFC 9112 §2–§6, as tables.

mod client;
mod extensions;
mod head;
mod response;
mod upgrade;

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
        encode_switching(&mut out, key, chosen, None, &[("X-Served-By", "test")]).unwrap();
    });
    let expected = "HTTP/1.1 101 Switching Protocols\r\n\
                    Upgrade: websocket\r\n\
                    Connection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                    Sec-WebSocket-Protocol: chat\r\n\
                    X-Served-By: test\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
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
        encode_switching(&mut answer, key, chosen, None, &[]).unwrap();
    });
    let head_len = answer.len();
    answer.extend_from_slice(b"\x81\x05Hello");

    let handshake = ClientHandshake::new(&request);
    for len in 0..head_len {
        assert_eq!(handshake.handle(&answer[..len]), Ok(None));
    }
    let expected = Response {
        subprotocol: Some("v1.chat"),
        deflate: None,
        consumed: head_len,
    };
    assert_eq!(handshake.handle(&answer), Ok(Some(expected)));
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
        let (read, pieces) = head::read_in_pieces(&input, step, &HeadLimits::default());
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
