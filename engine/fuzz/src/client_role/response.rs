//! A server's answer, judged as RFC 6455 §4.1 reads, however it is cut.

use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HandshakeError};
use corecast_protocol::{Limits, Role};
use tungstenite::handshake::derive_accept_key;

use super::{NONCE, NONCE_BASE64};
use crate::input::cut;
use crate::receive::Peer;

/// Subprotocols that the client offers.
const OFFERED: [&str; 2] = ["chat", "superchat"];

/// Header fields that both parsers have room for.
const MAX_HEADERS: usize = 96;

/// Bytes of a response head at most.
const MAX_HEAD: usize = 8 << 10;

/// Up to this length a response is judged at every prefix; beyond it, at the ends of pieces.
const EVERY_PREFIX: usize = 600;

/// Judges `rest`, or with `accepted` a correct answer that goes on with it.
pub(super) fn check(accepted: bool, rest: &[u8], sizes: &[usize]) {
    let head = if accepted {
        accepting_head()
    } else {
        Vec::new()
    };
    response(&[&head, rest].concat(), sizes);
}

fn accepting_head() -> Vec<u8> {
    let accept = derive_accept_key(NONCE_BASE64.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    )
    .into_bytes()
}

type Judgement = Result<Option<(Option<String>, usize)>, HandshakeError>;

fn judge(input: &[u8]) -> Judgement {
    let request = ClientRequest {
        subprotocols: &OFFERED,
        ..ClientRequest::new("localhost", "/", NONCE)
    };
    let response = ClientHandshake::new(&request).handle(input)?;
    Ok(response.map(|response| (response.subprotocol.map(str::to_owned), response.consumed)))
}

fn response(bytes: &[u8], sizes: &[usize]) {
    let whole = judge(bytes);
    compare_with_plain_reading(bytes, &whole);
    let ends: Vec<usize> = if bytes.len() <= EVERY_PREFIX {
        (0..bytes.len()).collect()
    } else {
        let mut end = 0;
        cut(bytes, sizes)
            .map(|piece| {
                end += piece.len();
                end
            })
            .collect()
    };
    // First "more", then one and the same judgement.
    let mut judged = false;
    for end in ends {
        let prefix = judge(&bytes[..end]);
        judged |= prefix != Ok(None);
        if judged {
            assert_eq!(prefix, whole, "after {end} of {} bytes", bytes.len());
        }
    }
    if let Ok(Some((_, consumed))) = whole {
        // What stands behind the head are frames.
        let mut peer = Peer::new(Role::Client, Limits::default(), false);
        for piece in cut(&bytes[consumed..], sizes) {
            peer.feed(piece);
        }
    }
}

/// §4.1, items 1 to 6 of the client's checks, with `httparse` and no thought for speed.
fn compare_with_plain_reading(bytes: &[u8], judgement: &Judgement) {
    let head = &bytes[..bytes.len().min(MAX_HEAD)];
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut slots);
    let Ok(httparse::Status::Complete(len)) = parsed.parse(head) else {
        assert!(
            !matches!(judgement, Ok(Some(_))),
            "no whole response, but {judgement:?}"
        );
        return;
    };
    let values = |name: &str| -> Vec<String> {
        parsed
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| String::from_utf8_lossy(header.value).into_owned())
            .collect()
    };
    let lists = |name: &str, token: &str| {
        values(name).iter().any(|value| {
            value
                .split(',')
                .any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case(token))
        })
    };
    let lines = head[..len].split_inclusive(|&byte| byte == b'\n');
    let clean = lines
        .clone()
        .all(|line| line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'));
    let chosen = values("sec-websocket-protocol");
    let good = clean
        && parsed.version == Some(1)
        && parsed.code == Some(101)
        && values("upgrade")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("websocket"))
        && lists("connection", "upgrade")
        && values("sec-websocket-accept") == [derive_accept_key(NONCE_BASE64.as_bytes())]
        && values("sec-websocket-extensions").iter().all(|value| {
            value
                .split(',')
                .all(|item| item.trim_matches([' ', '\t']).is_empty())
        })
        && (chosen.is_empty() || (chosen.len() == 1 && OFFERED.contains(&chosen[0].as_str())));
    let expected = good.then(|| (chosen.first().cloned(), len));
    assert_eq!(judgement.clone().ok().flatten(), expected, "{judgement:?}");
}
