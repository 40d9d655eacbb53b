//! The opening handshake (RFC 6455 §4) and the little of HTTP/1.1 (RFC 9110, RFC 9112) that it
//! stands on.
//!
//! | step | server | client |
//! |---|---|---|
//! | the request | [`parse_request`], [`Request`] | [`ClientRequest`] |
//! | the rules of §4 | [`Request::check_upgrade`] | [`ClientHandshake`] |
//! | the answer | [`encode_switching`], [`Refusal`], [`encode_http`] | [`Response`] |

mod client;
pub(crate) mod extensions;
mod field;
mod request;
mod response;
mod server;

pub use client::{ClientHandshake, ClientRequest, HandshakeError, Response};
pub use field::{HeaderError, Tokens};
pub use request::{
    HeadLimits, HeaderSlots, Parsed, QueryValues, Request, is_head_method, may_end_head,
    parse_request,
};
pub use response::{Refusal, encode_http, encode_switching, reason_phrase};
pub use server::{Key, choose_subprotocol};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// Bytes of an accept key: a SHA-1 digest in base64.
pub const ACCEPT_KEY_LEN: usize = 28;

/// The GUID that the accept key is made with (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (§4.2.2, item 5.4): ASCII.
///
/// ```
/// # use corecast_protocol::handshake::accept_key;
/// assert_eq!(&accept_key("dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[must_use]
pub fn accept_key(key: &str) -> [u8; ACCEPT_KEY_LEN] {
    let digest = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(GUID)
        .finalize();
    let mut accept = [0; ACCEPT_KEY_LEN];
    STANDARD
        .encode_slice(digest, &mut accept)
        .expect("20 bytes take 28 characters in base64");
    accept
}

/// Whether a CR or LF stands alone: two parsers could see different headers then (RFC 9112 §2.2).
fn has_bare_line_end(head: &[u8]) -> bool {
    let mut previous = 0;
    head.iter().any(|&byte| {
        let bare = (byte == b'\n') != (previous == b'\r');
        previous = byte;
        bare
    })
}

#[cfg(test)]
mod tests;
