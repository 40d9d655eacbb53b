//! What a server makes of the extensions in a request, and what the client makes of the answer.

use corecast_protocol::deflate::Acceptance;
use corecast_protocol::handshake::{
    ClientHandshake, ClientRequest, Key, Request, encode_switching,
};

use super::plain::Plain;
use crate::extensions::{check_kept, first_good_offer};

/// The nonce of RFC 6455 §1.3, and what it looks like in the request.
const NONCE: [u8; 16] = *b"the sample nonce";
const NONCE_BASE64: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The agreement is on the first good offer, and a client that made this offer takes the answer.
pub(super) fn check(request: &Request<'_>, plain: &Plain<'_>) {
    let expected = first_good_offer(&plain.texts("sec-websocket-extensions"));
    for accepts in [
        Acceptance::shared(),
        Acceptance::dedicated(15),
        Acceptance::dedicated(10),
    ] {
        let agreement = accepts.choose(request);
        assert_eq!(agreement.map(|agreement| agreement.offer()), expected);
        let mut answer = Vec::new();
        let key = Key::new(NONCE_BASE64).expect("16 bytes");
        encode_switching(&mut answer, key, None, agreement.as_ref(), &[])
            .expect("no more than that");

        let asked = ClientRequest {
            deflate: expected,
            ..ClientRequest::new("localhost", "/", NONCE)
        };
        let judged = ClientHandshake::new(&asked).handle(&answer);
        let response = judged.expect("our own answer").expect("whole");
        let params = agreement.map(|agreement| agreement.params());
        assert_eq!(response.deflate, params);
        if let (Some(offer), Some(params)) = (expected, params) {
            check_kept(offer, accepts, params);
        }
    }
}
