//! The server's rules for an upgrade (RFC 6455 §4.2).

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::field::{Tokens, is_token};
use super::request::{Once, Request};
use super::response::Refusal;
use super::{ACCEPT_KEY_LEN, accept_key};

/// A valid `Sec-WebSocket-Key`: 16 bytes in base64 (§4.2.1, item 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a>(&'a str);

impl<'a> Key<'a> {
    /// The key, if it is the base64 form of 16 bytes.
    #[must_use]
    pub fn new(key: &'a str) -> Option<Self> {
        let mut nonce = [0; NONCE_LEN + 2];
        match KEY_BASE64.decode_slice(key, &mut nonce) {
            Ok(NONCE_LEN) => Some(Self(key)),
            _ => None,
        }
    }

    /// The key as sent.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// The value of `Sec-WebSocket-Accept` that answers it.
    #[must_use]
    pub fn accept(&self) -> [u8; ACCEPT_KEY_LEN] {
        accept_key(self.0)
    }
}

/// Bytes of a client's nonce (§4.1, item 7).
const NONCE_LEN: usize = 16;

/// §4.2.1 asks for a value that decodes to 16 bytes and no more, and clients in use (curl
/// recipes, test suites) send keys whose last character has spare bits set.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

impl<'a> Request<'a> {
    /// All that §4.2.1 asks of an upgrade request; the key to answer with
    /// [`encode_switching`](super::encode_switching).
    ///
    /// # Errors
    /// The answer to give: 400, or 426 with the version that is spoken here (§4.4) when the
    /// request asks for another one or for no WebSocket at all. Close the connection after it.
    pub fn check_upgrade(&self) -> Result<Key<'a>, Refusal> {
        if !self.is_upgrade() {
            return Err(Refusal::UPGRADE_REQUIRED);
        }
        let fields = &self.fields;
        if !fields.connection_upgrade {
            return Err(Refusal::bad_request(
                "the Connection header does not list upgrade",
            ));
        }
        if fields.has_body {
            return Err(Refusal::bad_request("an upgrade must not carry a body"));
        }
        match fields.version {
            Once::Is(b"13") => {}
            Once::Repeated => {
                return Err(Refusal::bad_request("Sec-WebSocket-Version is repeated"));
            }
            _ => return Err(Refusal::VERSION_REQUIRED),
        }
        if !self.offers_only_tokens() {
            return Err(Refusal::bad_request(
                "Sec-WebSocket-Protocol is not a list of tokens",
            ));
        }
        match fields.key {
            Once::Missing => Err(Refusal::bad_request("Sec-WebSocket-Key is missing")),
            Once::Repeated => Err(Refusal::bad_request("Sec-WebSocket-Key is repeated")),
            Once::Is(key) => {
                std::str::from_utf8(key)
                    .ok()
                    .and_then(Key::new)
                    .ok_or(Refusal::bad_request(
                        "Sec-WebSocket-Key is not 16 bytes in base64",
                    ))
            }
        }
    }
}

impl Request<'_> {
    /// Whether `Sec-WebSocket-Protocol` is what §4.1, item 10 asks for: [`Request::subprotocols`] leaves out
    /// what is not UTF-8.
    fn offers_only_tokens(&self) -> bool {
        self.headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
            .all(|(_, value)| {
                std::str::from_utf8(value).is_ok_and(|list| Tokens::new(list).all(is_token))
            })
    }
}

/// The first of `supported` that the client offers (§4.2.2, item 4): the server's preference
/// decides. Subprotocols are compared case by case.
#[must_use]
pub fn choose_subprotocol<'s>(request: &Request<'_>, supported: &[&'s str]) -> Option<&'s str> {
    supported
        .iter()
        .find(|&&ours| request.subprotocols().any(|theirs| theirs == ours))
        .copied()
}
