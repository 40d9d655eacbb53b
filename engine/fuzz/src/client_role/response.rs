//! A server's answer, judged as RFC 6455 §4.1 reads, however it is cut.

use corecast_protocol::deflate::{Offer, Params};
use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HandshakeError};
use corecast_protocol::{Limits, Role};
use tungstenite::handshake::derive_accept_key;

use super::{NONCE, NONCE_BASE64};
use crate::extensions;
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

/// Judges `rest`, or with `accepted` a correct answer that goes on with it, as the answer to `offer`.
pub(super) fn check(accepted: bool, offer: Option<Offer>, rest: &[u8], sizes: &[usize]) {
    let head = if accepted {
        accepting_head()
    } else {
        Vec::new()
    };
    response(offer, &[&head, rest].concat(), sizes);
}

fn accepting_head() -> Vec<u8> {
    let accept = derive_accept_key(NONCE_BASE64.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    )
    .into_bytes()
}

/// The subprotocol, the compression, and the length of the head.
type Judgement = Result<Option<(Option<String>, Option<Params>, usize)>, HandshakeError>;

fn judge(offer: Option<Offer>, input: &[u8]) -> Judgement {
    let request = ClientRequest {
        subprotocols: &OFFERED,
        deflate: offer,
        ..ClientRequest::new("localhost", "/", NONCE)
    };
    let response = ClientHandshake::new(&request).handle(input)?;
    Ok(response.map(|response| {
        let subprotocol = response.subprotocol.map(str::to_owned);
        (subprotocol, response.deflate, response.consumed)
    }))
}

fn response(offer: Option<Offer>, bytes: &[u8], sizes: &[usize]) {
    let whole = judge(offer, bytes);
    compare_with_plain_reading(offer, bytes, &whole);
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
        let prefix = judge(offer, &bytes[..end]);
        judged |= prefix != Ok(None);
        if judged {
            assert_eq!(prefix, whole, "after {end} of {} bytes", bytes.len());
        }
    }
    if let Ok(Some((_, _, consumed))) = whole {
        // What stands behind the head are frames.
        let mut peer = Peer::new(Role::Client, Limits::default(), false);
        for piece in cut(&bytes[consumed..], sizes) {
            peer.feed(piece);
        }
    }
}

/// §4.1, items 1 to 6 of the client's checks, and RFC 7692 §7.1, with `httparse` and no thought for speed.
fn compare_with_plain_reading(offer: Option<Offer>, bytes: &[u8], judgement: &Judgement) {
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
    let deflate = extensions::judge(offer, &values("sec-websocket-extensions"));
    let good = clean
        && parsed.version == Some(1)
        && parsed.code == Some(101)
        && values("upgrade")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("websocket"))
        && lists("connection", "upgrade")
        && values("sec-websocket-accept") == [derive_accept_key(NONCE_BASE64.as_bytes())]
        && deflate.is_some()
        && (chosen.is_empty() || (chosen.len() == 1 && OFFERED.contains(&chosen[0].as_str())));
    let expected = good.then(|| (chosen.first().cloned(), deflate.flatten(), len));
    assert_eq!(judgement.clone().ok().flatten(), expected, "{judgement:?}");
}
