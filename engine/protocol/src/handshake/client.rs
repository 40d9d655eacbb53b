//! The client's side of the handshake (RFC 6455 §4.1).

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::extensions::Extensions;
use super::field::{
    HeaderError, check_headers, is_host, is_token, is_value, is_visible, list_contains, push_header,
};
use super::request::{HeadLimits, HeaderSlots};
use super::{ACCEPT_KEY_LEN, accept_key, has_bare_line_end};
use crate::deflate::{self, Offer, ParameterError, Params};
use crate::error::Fault;

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// The value of `Host`: name, and port unless it is the default one.
    pub host: &'a str,
    /// Path and query; starts with `/`.
    pub path: &'a str,
    /// The nonce: 16 random bytes, new for each connection (§4.1, item 7).
    pub key: [u8; 16],
    /// Subprotocols to offer, the preferred one first.
    pub subprotocols: &'a [&'a str],
    /// Compression to offer, if any (RFC 7692).
    pub deflate: Option<Offer>,
    /// The value of `Origin`, if any.
    pub origin: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> ClientRequest<'a> {
    /// A request for `path` on `host` that offers nothing.
    #[must_use]
    pub const fn new(host: &'a str, path: &'a str, key: [u8; 16]) -> Self {
        Self {
            host,
            path,
            key,
            subprotocols: &[],
            deflate: None,
            origin: None,
            headers: &[],
        }
    }

    /// Appends the request.
    ///
    /// # Errors
    /// A [`HeaderError`] when a part of it cannot be written; `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), HeaderError> {
        self.check()?;
        write!(out, "GET {} HTTP/1.1\r\n", self.path).expect("writing to a Vec never fails");
        push_header(out, "Host", self.host.as_bytes());
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
        push_header(out, "Sec-WebSocket-Key", self.key_base64().as_bytes());
        push_header(out, "Sec-WebSocket-Version", b"13");
        if !self.subprotocols.is_empty() {
            let offered = self.subprotocols.join(", ");
            push_header(out, "Sec-WebSocket-Protocol", offered.as_bytes());
        }
        if let Some(offer) = self.deflate {
            let value = offer.header_value();
            push_header(out, "Sec-WebSocket-Extensions", value.as_bytes());
        }
        if let Some(origin) = self.origin {
            push_header(out, "Origin", origin.as_bytes());
        }
        for (name, value) in self.headers {
            push_header(out, name, value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn check(&self) -> Result<(), HeaderError> {
        // What we would refuse as a server we do not ask for.
        if !self.path.starts_with('/') || !is_visible(self.path) || self.path.contains('#') {
            return Err(HeaderError::InvalidPath);
        }
        if self.host.is_empty() || !is_host(self.host) {
            return Err(HeaderError::InvalidHost);
        }
        if !self.origin.is_none_or(is_value) {
            return Err(HeaderError::InvalidValue);
        }
        if !self.subprotocols.iter().all(|name| is_token(name)) {
            return Err(HeaderError::InvalidSubprotocol);
        }
        if !self.deflate.as_ref().is_none_or(Offer::is_valid) {
            return Err(HeaderError::InvalidWindowBits);
        }
        check_headers(self.headers)
    }

    fn key_base64(&self) -> String {
        STANDARD.encode(self.key)
    }
}

/// Waits for the answer to a [`ClientRequest`] and judges it.
#[derive(Debug, Clone)]
pub struct ClientHandshake<'a> {
    accept: [u8; ACCEPT_KEY_LEN],
    offered: &'a [&'a str],
    deflate: Option<Offer>,
}

/// A 101 response that satisfies §4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// The subprotocol that the server chose.
    pub subprotocol: Option<&'a str>,
    /// What was agreed on compression, if the server accepted our offer.
    pub deflate: Option<Params>,
    /// Bytes of the response head. What follows it are the first frames.
    pub consumed: usize,
}

/// Why the server's answer opens no WebSocket. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The answer is not HTTP, or breaks its rules.
    #[error("the server's answer is not a valid HTTP/1.1 response")]
    Malformed,
    /// The head of the answer is over the limit.
    #[error("the head of the server's answer is larger than {limit} bytes or has too many headers")]
    TooLarge {
        /// Bytes of a head at most.
        limit: usize,
    },
    /// The server refused with this HTTP status.
    #[error("the server refused the WebSocket with HTTP status {0}")]
    Refused(u16),
    /// `Upgrade` does not say `websocket` (item 2).
    #[error("the Upgrade header of the server's answer is missing or is not websocket")]
    Upgrade,
    /// `Connection` does not list `upgrade` (item 3).
    #[error("the Connection header of the server's answer does not list upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` does not answer our key (item 4).
    #[error("Sec-WebSocket-Accept is missing, repeated or does not answer our key")]
    Accept,
    /// An extension that we did not offer (item 5).
    #[error("the server uses an extension that was not offered")]
    UnexpectedExtension,
    /// Extensions were offered, and the answer names them in no list (§9.1).
    #[error(
        "the Sec-WebSocket-Extensions header of the server's answer is not a list of extensions"
    )]
    MalformedExtensions,
    /// One extension, accepted twice (RFC 7692 §5.1).
    #[error("the server's answer names an extension twice")]
    RepeatedExtension,
    /// An answer to our offer of permessage-deflate that RFC 7692 §7.1 does not allow.
    #[error("the server's answer to permessage-deflate is wrong: {0}")]
    Deflate(ParameterError),
    /// A subprotocol that we did not offer, or more than one (item 6).
    #[error("the server chose a subprotocol that was not offered")]
    UnexpectedSubprotocol,
}

impl HandshakeError {
    /// Always [`Fault::Peer`].
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Peer
    }
}

impl<'a> ClientHandshake<'a> {
    /// Expects the answer to `request`.
    #[must_use]
    pub fn new(request: &ClientRequest<'a>) -> Self {
        Self {
            accept: accept_key(&request.key_base64()),
            offered: request.subprotocols,
            deflate: request.deflate,
        }
    }

    /// Judges the bytes received so far: all of them, from the first. `None` when more are needed.
    ///
    /// # Errors
    /// What is wrong with the answer (§4.1, items 1 to 6 of the client's checks; RFC 7692 §7.1).
    pub fn handle<'i>(&self, input: &'i [u8]) -> Result<Option<Response<'i>>, HandshakeError> {
        let limit = HeadLimits::DEFAULT_MAX_BYTES;
        let head = &input[..input.len().min(limit)];
        let mut slots = HeaderSlots::new();
        let mut response = httparse::Response::new(&mut []);
        let status = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut response, head, &mut slots.slots)
            .map_err(|error| match error {
                httparse::Error::TooManyHeaders => HandshakeError::TooLarge { limit },
                _ => HandshakeError::Malformed,
            })?;
        let httparse::Status::Complete(consumed) = status else {
            return if head.len() < limit {
                Ok(None)
            } else {
                Err(HandshakeError::TooLarge { limit })
            };
        };
        if has_bare_line_end(&head[..consumed]) || response.version != Some(1) {
            return Err(HandshakeError::Malformed);
        }
        match response.code {
            Some(101) => {}
            code => return Err(HandshakeError::Refused(code.unwrap_or_default())),
        }
        self.check_switch(response.headers)?;
        Ok(Some(Response {
            deflate: self.check_extensions(response.headers)?,
            subprotocol: self.check_subprotocol(response.headers)?,
            consumed,
        }))
    }

    fn check_switch(&self, headers: &[httparse::Header<'_>]) -> Result<(), HandshakeError> {
        if !values(headers, "upgrade").any(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err(HandshakeError::Upgrade);
        }
        if !values(headers, "connection").any(|value| list_contains(value, "upgrade")) {
            return Err(HandshakeError::Connection);
        }
        let mut accepts = values(headers, "sec-websocket-accept");
        let ours = accepts
            .next()
            .is_some_and(|accept| accept.as_bytes() == self.accept);
        if !ours || accepts.next().is_some() {
            return Err(HandshakeError::Accept);
        }
        Ok(())
    }

    /// Without an offer of ours whatever is there is unexpected, lists of nothing aside.
    fn check_extensions(
        &self,
        headers: &[httparse::Header<'_>],
    ) -> Result<Option<Params>, HandshakeError> {
        let mut agreed = None;
        for extension in fields(headers, "sec-websocket-extensions").flat_map(Extensions::new) {
            let offer = self.deflate.ok_or(HandshakeError::UnexpectedExtension)?;
            let extension = extension.map_err(|_| HandshakeError::MalformedExtensions)?;
            if extension.name != deflate::NAME.as_bytes() {
                return Err(HandshakeError::UnexpectedExtension);
            }
            if agreed.is_some() {
                return Err(HandshakeError::RepeatedExtension);
            }
            let params = offer.judge(extension.parameters());
            agreed = Some(params.map_err(HandshakeError::Deflate)?);
        }
        Ok(agreed)
    }

    fn check_subprotocol<'i>(
        &self,
        headers: &[httparse::Header<'i>],
    ) -> Result<Option<&'i str>, HandshakeError> {
        let mut chosen = values(headers, "sec-websocket-protocol");
        match (chosen.next(), chosen.next()) {
            (None, _) => Ok(None),
            (Some(name), None) if self.offered.contains(&name) => Ok(Some(name)),
            _ => Err(HandshakeError::UnexpectedSubprotocol),
        }
    }
}

/// The values of all headers with this name.
fn fields<'i>(
    headers: &[httparse::Header<'i>],
    name: &'static str,
) -> impl Iterator<Item = &'i [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}

/// As [`fields`]. A value that is not UTF-8 counts as empty: where one is needed, an empty one will not do.
fn values<'i>(
    headers: &[httparse::Header<'i>],
    name: &'static str,
) -> impl Iterator<Item = &'i str> {
    fields(headers, name).map(|value| std::str::from_utf8(value).unwrap_or_default())
}
