//! What a client makes of a server's answer, and what one role makes of the other's bytes.
//!
//! Input: settings, piece sizes, then what the settings say; see the modules.

use crate::extensions;
use crate::input::Reader;

mod opening;
mod response;
mod round_trip;

/// Settings: a round trip of messages. Otherwise a response, or [`OPENING`].
const ROUND_TRIP: u8 = 1;
/// Settings: the round trip starts at the client, whose masking key follows. Otherwise at the server.
const FROM_CLIENT: u8 = 2;
/// Settings: the response is made correct by a head in front. Otherwise it is as in the input.
const ACCEPTED: u8 = 4;
/// Settings: the response answers an offer of permessage-deflate, which follows. Otherwise to none.
const OFFERS_COMPRESSION: u8 = 16;
/// Settings: a round trip of the opening handshake.
const OPENING: u8 = 8;

/// The nonce of RFC 6455 §1.3, and what it looks like in the request.
const NONCE: [u8; 16] = *b"the sample nonce";
const NONCE_BASE64: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Judges a response, or sends something from one role to the other and back.
///
/// # Panics
/// When the response is judged differently than by the plain reading of §4.1 and of RFC 7692 §7.1, or than in other pieces;
/// when what is received is not what was sent.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let settings = reader.byte();
    let is = |bit| settings & bit != 0;
    let sizes = reader.sizes();
    if is(ROUND_TRIP) {
        round_trip::check(is(FROM_CLIENT), &sizes, reader);
    } else if is(OPENING) {
        opening::check(reader, &sizes);
    } else {
        let offer = is(OFFERS_COMPRESSION).then(|| extensions::offer(&mut reader));
        response::check(is(ACCEPTED), offer, reader.rest(), &sizes);
    }
}
