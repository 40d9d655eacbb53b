//! The opening handshake of one connection (RFC 6455 §4.1), with the offer of compression.

use corecast_protocol::deflate::{ClientWindow, Offer};
use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HeaderError};

use crate::target::Target;

/// What is offered when compression is: neither side keeps context, so that each message stands for itself.
const OFFER: Offer = Offer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: ClientWindow::NotNamed,
};

/// A request whose answer is awaited.
#[derive(Debug)]
pub(super) struct Upgrade {
    key: [u8; 16],
    /// Compression is offered, and no is no answer.
    deflate: bool,
    /// The response so far, when it comes in pieces.
    head: Vec<u8>,
}

impl Upgrade {
    /// With this nonce.
    pub(super) fn new(key: [u8; 16], deflate: bool) -> Self {
        Self {
            key,
            deflate,
            head: Vec::new(),
        }
    }

    /// The bytes to send.
    pub(super) fn request(&self, target: &Target, path: &str) -> Result<Vec<u8>, HeaderError> {
        let mut bytes = Vec::new();
        self.asked(target, path).encode(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes in bytes of the response. When it is complete and right: what followed it. An error says what is wrong.
    pub(super) fn answered(
        &mut self,
        target: &Target,
        path: &str,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        let handshake = ClientHandshake::new(&self.asked(target, path));
        self.head.extend_from_slice(bytes);
        let response = handshake.handle(&self.head);
        let Some(response) = response.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        if self.deflate && response.deflate.is_none() {
            return Err("the server did not agree to compress (permessage-deflate)".to_owned());
        }
        Ok(Some(self.head[response.consumed..].to_vec()))
    }

    fn asked<'a>(&self, target: &'a Target, path: &'a str) -> ClientRequest<'a> {
        ClientRequest {
            deflate: self.deflate.then_some(OFFER),
            ..ClientRequest::new(&target.authority, path, self.key)
        }
    }
}
