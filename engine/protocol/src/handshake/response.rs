//! What a server answers: 101, a plain page, or a refusal.

use super::field::{HeaderError, check_headers, is_token, is_value, push_header};
use super::server::Key;
use crate::deflate::Agreement;

/// Why a request gets no WebSocket: the answer to send before the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status code.
    pub status: u16,
    /// What was wrong, in one line; the answer's body.
    pub reason: &'static str,
    /// Further headers that the status asks for.
    pub headers: &'static [(&'static str, &'static str)],
}

impl Refusal {
    /// 405: only GET and HEAD are answered (RFC 9110 §15.5.6).
    pub const METHOD_NOT_ALLOWED: Self = Self {
        status: 405,
        reason: "only GET and HEAD are answered here",
        headers: &[("Allow", "GET, HEAD")],
    };

    /// 426: this resource speaks WebSocket only (RFC 9110 §15.5.22).
    pub const UPGRADE_REQUIRED: Self = Self {
        status: 426,
        reason: "this is a WebSocket endpoint: connect with a WebSocket client",
        headers: Self::UPGRADE_13,
    };

    /// 426: another version of the protocol than 13 (RFC 6455 §4.4).
    pub const VERSION_REQUIRED: Self = Self {
        status: 426,
        reason: "the WebSocket version must be 13",
        headers: Self::UPGRADE_13,
    };

    /// 429: too many connections from one address, or too often (RFC 6585 §4).
    pub const TOO_MANY_REQUESTS: Self = Self {
        status: 429,
        reason: "too many connections from this address, try again later",
        headers: &[("Retry-After", "1")],
    };

    /// 431: the head is over [`HeadLimits`](super::HeadLimits) (RFC 6585 §5).
    pub const HEAD_TOO_LARGE: Self = Self::new(431, "the request head is too large");

    /// 503: too many connections.
    pub const OVERLOADED: Self = Self {
        status: 503,
        reason: "too many connections, try again later",
        headers: &[("Retry-After", "1")],
    };

    /// 505: neither HTTP/1.0 nor HTTP/1.1.
    pub const VERSION_NOT_SUPPORTED: Self = Self::new(505, "the HTTP version must be 1.1");

    const UPGRADE_13: &'static [(&'static str, &'static str)] =
        &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")];

    /// A refusal without further headers.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self {
            status,
            reason,
            headers: &[],
        }
    }

    /// 400.
    #[must_use]
    pub const fn bad_request(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    /// Appends the whole response: the connection closes after it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_head(out);
        out.extend_from_slice(self.reason.as_bytes());
        out.push(b'\n');
    }

    /// Appends the response without its body: the answer to HEAD (RFC 9110 §9.3.2).
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        push_status(out, self.status);
        for (name, value) in self.headers {
            push_header(out, name, value.as_bytes());
        }
        // Who sends Upgrade names it in Connection too (RFC 9110 §7.8).
        let connection = if self.status == 426 {
            "close, Upgrade"
        } else {
            "close"
        };
        push_header(out, "Connection", connection.as_bytes());
        push_body(out, "text/plain; charset=utf-8", self.reason.len() + 1);
    }
}

/// Appends the 101 response that opens the WebSocket (RFC 6455 §4.2.2).
///
/// `subprotocol` must be one that the client offered
/// ([`choose_subprotocol`](super::choose_subprotocol)); clients fail the connection otherwise. So they do for an
/// extension that was agreed with somebody else ([`Acceptance::choose`](crate::deflate::Acceptance::choose)).
///
/// # Errors
/// A [`HeaderError`] when the subprotocol or a header cannot be written; `out` is as it was.
pub fn encode_switching(
    out: &mut Vec<u8>,
    key: Key<'_>,
    subprotocol: Option<&str>,
    extension: Option<&Agreement>,
    headers: &[(&str, &str)],
) -> Result<(), HeaderError> {
    if subprotocol.is_some_and(|name| !is_token(name)) {
        return Err(HeaderError::InvalidSubprotocol);
    }
    check_headers(headers)?;
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\n\
          Upgrade: websocket\r\n\
          Connection: Upgrade\r\n",
    );
    push_header(out, "Sec-WebSocket-Accept", &key.accept());
    if let Some(name) = subprotocol {
        push_header(out, "Sec-WebSocket-Protocol", name.as_bytes());
    }
    if let Some(agreement) = extension {
        let value = agreement.header_value();
        push_header(out, "Sec-WebSocket-Extensions", value.as_bytes());
    }
    for (name, value) in headers {
        push_header(out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends a plain HTTP response, after which the connection closes. With `head_only` (the answer
/// to HEAD) the body is left out, but its length stays (RFC 9110 §9.3.2).
///
/// # Errors
/// [`HeaderError::InvalidValue`] when `content_type` cannot be written; `out` is as it was.
pub fn encode_http(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    body: &[u8],
    head_only: bool,
) -> Result<(), HeaderError> {
    if !is_value(content_type) {
        return Err(HeaderError::InvalidValue);
    }
    push_status(out, status);
    push_header(out, "Connection", b"close");
    push_body(out, content_type, body.len());
    if !head_only {
        out.extend_from_slice(body);
    }
    Ok(())
}

/// The usual phrase for a status code (RFC 9110 §15).
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        // The phrase may be empty (RFC 9112 §4).
        _ => "",
    }
}

fn push_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, status.into());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The headers that describe a body, and the end of the head.
fn push_body(out: &mut Vec<u8>, content_type: &str, len: usize) {
    push_header(out, "Content-Type", content_type.as_bytes());
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, len);
    out.extend_from_slice(b"\r\n\r\n");
}

/// Appends a number in decimal. Refusals are made for whoever asks, so they go without the machinery of `format!`.
fn push_number(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] += (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
