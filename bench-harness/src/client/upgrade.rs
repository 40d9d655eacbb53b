//! The opening handshake of one connection (RFC 6455 §4.1), with the offer of compression.

use corecast_protocol::deflate::{ClientWindow, Offer};
use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HeaderError};
use corecast_protocol::{Opcode, encode_client};

use super::rejection::Rejection;
use crate::cli::HandshakeArgs;
use crate::target::Target;

/// What is offered when compression is: neither side keeps context, so that each message stands for itself.
const OFFER: Offer = Offer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: None,
    client_max_window_bits: ClientWindow::NotNamed,
};

/// Mask key of what is said first: any will do.
const HELLO_KEY: [u8; 4] = [0x6b, 0xd2, 0x39, 0xe4];

/// What every connection asks for.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    host: String,
    subprotocols: Vec<String>,
    origin: Option<String>,
    headers: Vec<(String, String)>,
    /// Compression is offered, and no is no answer.
    deflate: bool,
    /// Frames to send once the connection is open.
    hello: Vec<u8>,
}

/// A request whose answer is awaited.
#[derive(Debug)]
pub(super) struct Upgrade {
    key: [u8; 16],
    /// The response so far, when it comes in pieces.
    head: Vec<u8>,
}

impl Wishes {
    /// From the flags.
    pub(crate) fn new(target: &Target, flags: &HandshakeArgs) -> Self {
        let mut wishes = Self {
            host: target.authority.clone(),
            subprotocols: flags.subprotocol.clone(),
            origin: flags.origin.clone(),
            headers: Vec::new(),
            deflate: false,
            hello: Vec::new(),
        };
        for text in &flags.hello {
            encode_client(&mut wishes.hello, Opcode::Text, text.as_bytes(), HELLO_KEY);
        }
        for header in &flags.header {
            if header.name.eq_ignore_ascii_case("host") {
                wishes.host.clone_from(&header.value);
            } else {
                let header = (header.name.clone(), header.value.clone());
                wishes.headers.push(header);
            }
        }
        wishes
    }

    /// Offers permessage-deflate without context takeover, and takes no other answer than yes.
    pub(super) fn insist_on_deflate(&mut self) {
        self.deflate = true;
    }

    /// Frames to send once a connection is open; empty when there are none.
    pub(super) fn hello(&self) -> &[u8] {
        &self.hello
    }

    fn with<T>(&self, path: &str, key: [u8; 16], act: impl FnOnce(&ClientRequest<'_>) -> T) -> T {
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let headers = self.headers.iter();
        let headers: Vec<(&str, &str)> = headers.map(|(name, value)| (&**name, &**value)).collect();
        act(&ClientRequest {
            subprotocols: &subprotocols,
            deflate: self.deflate.then_some(OFFER),
            origin: self.origin.as_deref(),
            headers: &headers,
            ..ClientRequest::new(&self.host, path, key)
        })
    }
}

impl Upgrade {
    /// With this nonce.
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            head: Vec::new(),
        }
    }

    /// The bytes to send.
    pub(super) fn request(&self, wishes: &Wishes, path: &str) -> Result<Vec<u8>, HeaderError> {
        let mut bytes = Vec::new();
        wishes.with(path, self.key, |request| request.encode(&mut bytes))?;
        Ok(bytes)
    }

    /// Takes in bytes of the response. When it is complete and right: what followed it. An error says what is wrong.
    pub(super) fn answered(
        &mut self,
        wishes: &Wishes,
        path: &str,
        bytes: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        self.head.extend_from_slice(bytes);
        if speaks_tls(&self.head) {
            return Err("the server speaks TLS on this port; use its plain one".to_owned());
        }
        let judge = |request: &ClientRequest<'_>| ClientHandshake::new(request).handle(&self.head);
        let response = match wishes.with(path, self.key, judge) {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(None),
            Err(error) => {
                let refusal = Rejection::read(&self.head);
                return match refusal {
                    Some(refusal) if refusal.awaits_more() => Ok(None),
                    Some(refusal) => Err(refusal.to_string()),
                    None => Err(error.to_string()),
                };
            }
        };
        if wishes.deflate && response.deflate.is_none() {
            return Err("the server did not agree to compress (permessage-deflate)".to_owned());
        }
        if !wishes.subprotocols.is_empty() && response.subprotocol.is_none() {
            let offered = wishes.subprotocols.join(", ");
            return Err(format!(
                "the server chose none of the subprotocols offered ({offered})"
            ));
        }
        Ok(Some(self.head[response.consumed..].to_vec()))
    }

    /// What to tell when nothing more comes: because the connection has ended, or because it took too long.
    pub(super) fn unanswered(&self, why: &str) -> String {
        match Rejection::read(&self.head) {
            Some(refusal) => refusal.to_string(),
            None if self.head.is_empty() => format!("the server did not answer the upgrade: {why}"),
            None => format!("the server did not finish its answer to the upgrade: {why}"),
        }
    }
}

/// Whether this begins like an alert of TLS (RFC 8446 §5.1): it was sent what is none.
fn speaks_tls(answer: &[u8]) -> bool {
    matches!(answer, [21, 3, ..])
}
