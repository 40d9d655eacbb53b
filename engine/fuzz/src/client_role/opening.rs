//! A client's request through the server's parser, and the answer through the client's.
//!
//! Input: path, host, origin, subprotocols, header names and values; each text after its length, lists after
//! their number; then whether compression is offered, the offer, and what the server accepts. What the encoders let through must arrive as it was meant.

use corecast_protocol::deflate::Acceptance;
use corecast_protocol::handshake::{
    ClientHandshake, ClientRequest, HeadLimits, HeaderSlots, Parsed, Request, choose_subprotocol,
    encode_switching, parse_request,
};
use tungstenite::handshake::derive_accept_key;

use super::{NONCE, NONCE_BASE64};
use crate::extensions::{acceptance, check_kept, has_windows_that_exist, offer};
use crate::input::{Reader, cut};

/// Subprotocols and further headers at most.
const MAX_LIST: u8 = 3;

/// Asks for a WebSocket and answers.
pub(super) fn check(mut reader: Reader<'_>, sizes: &[usize]) {
    let (path, host, origin) = (text(&mut reader), text(&mut reader), text(&mut reader));
    let subprotocols: Vec<String> = list(&mut reader, text);
    let headers: Vec<(String, String)> = list(&mut reader, |reader| (text(reader), text(reader)));
    let deflate = (reader.byte() & 1 != 0).then(|| offer(&mut reader));
    let accepts = acceptance(&mut reader);

    let subprotocols: Vec<&str> = subprotocols.iter().map(String::as_str).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (&**n, &**v)).collect();
    let asked = ClientRequest {
        subprotocols: &subprotocols,
        origin: (!origin.is_empty()).then_some(&origin),
        headers: &headers,
        deflate,
        ..ClientRequest::new(&host, &path, NONCE)
    };
    let mut bytes = Vec::new();
    if asked.encode(&mut bytes).is_err() {
        assert!(
            bytes.is_empty(),
            "a part of a request that cannot be written"
        );
        return;
    }
    assert!(deflate.is_none_or(has_windows_that_exist), "{deflate:?}");
    let mut slots = HeaderSlots::new();
    match parse_request(&bytes, &mut slots, &HeadLimits::default()) {
        Ok(Parsed::Complete(request, len)) => {
            assert_eq!(len, bytes.len());
            compare(&asked, &request);
            answer(&asked, &request, accepts, sizes);
        }
        other => panic!("our own request is not taken: {other:?}"),
    }
}

fn text(reader: &mut Reader<'_>) -> String {
    let len = reader.byte();
    String::from_utf8_lossy(reader.take(len.into())).into_owned()
}

fn list<T>(reader: &mut Reader<'_>, item: impl Fn(&mut Reader<'_>) -> T) -> Vec<T> {
    let count = reader.byte() % (MAX_LIST + 1);
    (0..count).map(|_| item(reader)).collect()
}

/// Every header arrives, in order, less the white space around its value (RFC 9110 §5.5).
fn compare(asked: &ClientRequest<'_>, request: &Request<'_>) {
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), asked.path);
    let offered = asked.subprotocols.join(", ");
    let mut expected = vec![
        ("Host", asked.host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", NONCE_BASE64),
        ("Sec-WebSocket-Version", "13"),
    ];
    if !offered.is_empty() {
        expected.push(("Sec-WebSocket-Protocol", &offered));
    }
    expected.extend(asked.origin.map(|origin| ("Origin", origin)));
    expected.extend(asked.headers);
    // The offer is compared by what the server makes of it.
    let (offers, received): (Vec<_>, Vec<_>) = request
        .headers()
        .partition(|(name, _)| *name == "Sec-WebSocket-Extensions");
    assert_eq!(offers.len(), usize::from(asked.deflate.is_some()));
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(name, value)| (name, value.trim_matches([' ', '\t']).as_bytes()))
        .collect();
    assert_eq!(received, expected);
    assert_eq!(request.host(), Some(asked.host));
    assert!(
        request
            .subprotocols()
            .eq(asked.subprotocols.iter().copied())
    );
}

/// The server takes the last subprotocol that is offered, and sends the same headers back.
fn answer(asked: &ClientRequest<'_>, request: &Request<'_>, accepts: Acceptance, sizes: &[usize]) {
    let key = request
        .check_upgrade()
        .expect("our own request is an upgrade");
    assert_eq!(
        &key.accept()[..],
        derive_accept_key(NONCE_BASE64.as_bytes()).as_bytes()
    );
    let supported: Vec<&str> = asked.subprotocols.iter().rev().copied().collect();
    let chosen = choose_subprotocol(request, &supported);
    assert_eq!(chosen, supported.first().copied());
    let mut bytes = Vec::new();
    let agreement = accepts.choose(request);
    encode_switching(&mut bytes, key, chosen, agreement.as_ref(), asked.headers)
        .expect("the client could send them");
    let params = agreement.map(|agreement| agreement.params());
    let good = asked
        .deflate
        .filter(|offer| offer.server_max_window_bits != Some(8));
    assert_eq!(agreement.map(|agreement| agreement.offer()), good);
    if let (Some(offer), Some(params)) = (good, params) {
        check_kept(offer, accepts, params);
    }

    let handshake = ClientHandshake::new(asked);
    let mut end = 0;
    for piece in cut(&bytes, sizes) {
        end += piece.len();
        let judged = handshake
            .handle(&bytes[..end])
            .expect("our own answer is right");
        assert_eq!(judged.is_some(), end == bytes.len(), "after {end} bytes");
        if let Some(response) = judged {
            assert_eq!((response.subprotocol, response.consumed), (chosen, end));
            assert_eq!(response.deflate, params);
        }
    }
}
