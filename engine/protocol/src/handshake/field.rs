//! Header fields: syntax and lists (RFC 9110 §5).

/// A header that may not be written into a request or a response. The application's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The name is not a token (RFC 9110 §5.1).
    #[error("a header name must be a token: letters, digits and !#$%&'*+-.^_`|~")]
    InvalidName,
    /// The value holds a line break or another control character (RFC 9110 §5.5).
    #[error("a header value must not hold line breaks or other control characters")]
    InvalidValue,
    /// The header is part of the handshake or of the framing and is written by this crate.
    #[error("this header is written by the handshake itself and cannot be set")]
    Reserved,
    /// The subprotocol is not a token (RFC 6455 §4.1, item 10).
    #[error("a subprotocol must be a token: letters, digits and !#$%&'*+-.^_`|~")]
    InvalidSubprotocol,
    /// The request target does not start with `/`, or holds characters that a target must not.
    #[error(
        "a path must start with '/' and hold visible ASCII without '#'; percent-encode the rest"
    )]
    InvalidPath,
    /// The host is empty, or holds characters that a host and a port do not (RFC 3986 §3.2.2).
    #[error(
        "a host must be a name or an address, followed by ':' and a port unless it is the usual one"
    )]
    InvalidHost,
    /// A window of permessage-deflate has no size that can be offered (RFC 7692 §7.1.2).
    #[error("the window of an offer of permessage-deflate must have 8 to 15 bits")]
    InvalidWindowBits,
}

impl HeaderError {
    /// Always [`Fault::Application`](crate::Fault::Application).
    #[must_use]
    pub const fn fault(&self) -> crate::Fault {
        crate::Fault::Application
    }
}

/// Headers that the handshake and the framing own, in lower case.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "transfer-encoding",
    "upgrade",
];

/// The tokens of a comma-separated list, empty elements left out (RFC 9110 §5.6.1).
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    rest: Option<&'a str>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(list: &'a str) -> Self {
        Self { rest: Some(list) }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while let Some(list) = self.rest {
            let element = match list.split_once(',') {
                Some((element, rest)) => {
                    self.rest = Some(rest);
                    element
                }
                None => {
                    self.rest = None;
                    list
                }
            };
            let element = element.trim_matches([' ', '\t']);
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    }
}

/// Whether one of the list's elements is `token`, in any case.
pub(super) fn list_contains(list: &str, token: &str) -> bool {
    Tokens::new(list).any(|element| element.eq_ignore_ascii_case(token))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// What a token is made of.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Visible ASCII: what a request target is made of (RFC 9112 §3.2).
pub(super) fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether all characters may stand in a host with a port (RFC 3986 §3.2.2); an empty one is valid.
pub(super) fn is_host(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte))
}

/// Whether a value can stand in a header: no control character but the tab.
pub(super) fn is_value(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte == b'\t' || !byte.is_ascii_control())
}

/// Refuses headers that would break the message or contradict the handshake.
pub(super) fn check_headers(headers: &[(&str, &str)]) -> Result<(), HeaderError> {
    for (name, value) in headers {
        if !is_token(name) {
            return Err(HeaderError::InvalidName);
        }
        if RESERVED.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(HeaderError::Reserved);
        }
        if !is_value(value) {
            return Err(HeaderError::InvalidValue);
        }
    }
    Ok(())
}

/// Appends `name: value` and CR LF. The caller has checked both.
pub(super) fn push_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
