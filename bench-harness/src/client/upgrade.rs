//! The opening handshake of one connection (RFC 6455 §4.1), with the offer of compression.

use std::sync::Arc;

use corecast_protocol::deflate::{ClientWindow, Offer};
use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HeaderError};
use corecast_protocol::{Opcode, encode_client};

use super::asides::Asides;
use super::placeholders::{self, Placeholders};
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
    /// Messages to send once the connection is open, and their frames where these are the same for all connections.
    hello: Vec<String>,
    hello_frames: Option<Vec<u8>>,
    placeholders: Arc<Placeholders>,
    asides: Option<Arc<Asides>>,
}

/// Whose request it is.
struct Asker<'a> {
    connection: u64,
    /// Path and query, with placeholders.
    path: &'a str,
    key: [u8; 16],
}

/// A request whose answer is awaited.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The connection's number.
    connection: u64,
    key: [u8; 16],
    /// The response so far, when it comes in pieces.
    head: Vec<u8>,
}

impl Wishes {
    /// From the flags. Files that placeholders name are read.
    ///
    /// # Errors
    /// When one cannot be.
    pub(crate) fn new(target: &Target, flags: &HandshakeArgs) -> Result<Self, String> {
        let mut wishes = Self {
            host: target.authority.clone(),
            subprotocols: flags.subprotocol.clone(),
            origin: flags.origin.clone(),
            headers: Vec::new(),
            deflate: false,
            hello: flags.hello.clone(),
            hello_frames: None,
            placeholders: Arc::default(),
            asides: Asides::new(flags).map(Arc::new),
        };
        wishes.learn(&target.path)?;
        for text in &flags.hello {
            wishes.learn(text)?;
        }
        if !flags.hello.iter().any(|text| placeholders::has_any(text)) {
            wishes.hello_frames = Some(frames(&flags.hello));
        }
        for header in &flags.header {
            if header.name.eq_ignore_ascii_case("host") {
                wishes.host.clone_from(&header.value);
            } else {
                wishes.learn(&header.value)?;
                let header = (header.name.clone(), header.value.clone());
                wishes.headers.push(header);
            }
        }
        Ok(wishes)
    }

    /// Reads the files that placeholders in `text` name.
    ///
    /// # Errors
    /// When one cannot be.
    pub(crate) fn learn(&mut self, text: &str) -> Result<(), String> {
        Arc::make_mut(&mut self.placeholders).learn(text)
    }

    /// What differs from connection to connection.
    pub(crate) fn placeholders(&self) -> &Placeholders {
        &self.placeholders
    }

    /// Offers permessage-deflate without context takeover, and takes no other answer than yes.
    pub(super) fn insist_on_deflate(&mut self) {
        self.deflate = true;
    }

    /// Messages that are none of the load's, if there are any.
    pub(super) fn asides(&self) -> Option<Arc<Asides>> {
        self.asides.clone()
    }

    /// Frames to send once the connection of this number is open; empty when there are none.
    pub(super) fn hello(&self, connection: u64) -> Vec<u8> {
        self.hello_frames.clone().unwrap_or_else(|| {
            let texts = self.hello.iter();
            frames(texts.map(|text| self.placeholders.fill(text, connection)))
        })
    }

    fn with<T>(&self, asker: &Asker<'_>, act: impl FnOnce(&ClientRequest<'_>) -> T) -> T {
        let subprotocols: Vec<&str> = self.subprotocols.iter().map(String::as_str).collect();
        let fill = |text| self.placeholders.fill(text, asker.connection);
        let values: Vec<_> = self.headers.iter().map(|(_, text)| fill(text)).collect();
        let names = self.headers.iter().map(|(name, _)| &**name);
        let headers: Vec<(&str, &str)> = names.zip(values.iter().map(|value| &**value)).collect();
        let path = fill(asker.path);
        act(&ClientRequest {
            subprotocols: &subprotocols,
            deflate: self.deflate.then_some(OFFER),
            origin: self.origin.as_deref(),
            headers: &headers,
            ..ClientRequest::new(&self.host, &path, asker.key)
        })
    }
}

impl Upgrade {
    /// Of the connection of this number, with this nonce.
    pub(super) fn new(connection: u64, key: [u8; 16]) -> Self {
        Self {
            connection,
            key,
            head: Vec::new(),
        }
    }

    /// The bytes to send.
    pub(super) fn request(&self, wishes: &Wishes, path: &str) -> Result<Vec<u8>, HeaderError> {
        let mut bytes = Vec::new();
        wishes.with(&self.asker(path), |request| request.encode(&mut bytes))?;
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
        let response = match wishes.with(&self.asker(path), judge) {
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

    fn asker<'a>(&self, path: &'a str) -> Asker<'a> {
        Asker {
            connection: self.connection,
            path,
            key: self.key,
        }
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

/// Text messages, masked.
fn frames(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u8> {
    let mut frames = Vec::new();
    for text in texts {
        encode_client(
            &mut frames,
            Opcode::Text,
            text.as_ref().as_bytes(),
            HELLO_KEY,
        );
    }
    frames
}

/// Whether this begins like an alert of TLS (RFC 8446 §5.1): it was sent what is none.
fn speaks_tls(answer: &[u8]) -> bool {
    matches!(answer, [21, 3, ..])
}
