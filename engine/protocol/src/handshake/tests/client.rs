//! The client's checks.

use super::*;

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
