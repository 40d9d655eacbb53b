//! The rules of RFC 9112 and RFC 6455 §4.2.1 for a request, read aloud over what `httparse` finds.

use corecast_protocol::handshake::HeadLimits;

/// A whole request head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plain<'h> {
    head: &'h [u8],
    method: &'h str,
    target: &'h str,
    minor: u8,
    headers: Vec<(&'h str, &'h [u8])>,
}

impl<'h> Plain<'h> {
    /// `None` when the bytes are no whole head within the limits.
    pub(super) fn read(bytes: &'h [u8], limits: &HeadLimits) -> Option<Self> {
        let bytes = &bytes[..bytes.len().min(limits.max_bytes)];
        let mut slots = vec![httparse::EMPTY_HEADER; limits.max_headers];
        let mut request = httparse::Request::new(&mut slots);
        let Ok(httparse::Status::Complete(len)) = request.parse(bytes) else {
            return None;
        };
        Some(Self {
            head: &bytes[..len],
            method: request.method?,
            target: request.path?,
            minor: request.version?,
            headers: request
                .headers
                .iter()
                .map(|header| (header.name, header.value))
                .collect(),
        })
    }

    pub(super) fn headers(&self) -> impl Iterator<Item = (&'h str, &'h [u8])> {
        self.headers.iter().copied()
    }

    /// RFC 9112, and the methods that are answered.
    pub(super) fn is_request(&self) -> bool {
        let lines = &mut self.head.split_inclusive(|&byte| byte == b'\n');
        lines.all(|line| line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'))
            && matches!(self.method, "GET" | "HEAD")
            && self.has_valid_target()
            && self.has_valid_host()
            && self.has_valid_length()
    }

    /// RFC 6455 §4.2.1.
    pub(super) fn is_upgrade(&self) -> bool {
        self.method == "GET"
            && self.minor == 1
            && self.lists("upgrade", "websocket")
            && self.lists("connection", "upgrade")
            && self.values("transfer-encoding").is_empty()
            && self
                .values("content-length")
                .concat()
                .iter()
                .all(|&digit| digit == b'0')
            && self.values("sec-websocket-version") == [b"13"]
            && self.has_valid_subprotocols()
            && matches!(self.values("sec-websocket-key")[..], [key] if is_key(key))
    }

    /// An upgrade without what `tungstenite` does not understand.
    pub(super) fn is_plain_upgrade(&self) -> bool {
        let once = |name, allowed: fn(u8) -> bool| {
            let [value] = self.values(name)[..] else {
                return false;
            };
            value.iter().all(|&byte| allowed(byte))
        };
        once("upgrade", |byte| byte.is_ascii_alphabetic())
            && once("connection", |byte| byte == b' ' || byte.is_ascii_graphic())
            && self
                .values("sec-websocket-key")
                .iter()
                .all(|key| b"AQgw".contains(&key[21]))
    }

    /// A target of unreserved characters and delimiters only (RFC 3986 §3.3, §3.4).
    pub(super) fn has_plain_target(&self) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/?&=+%".contains(&byte);
        self.target.starts_with('/') && self.target.bytes().all(plain)
    }

    /// The values of all headers of this name. What is not UTF-8 is replaced by characters that are no ASCII.
    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        let texts = self.values(name).into_iter().map(String::from_utf8_lossy);
        texts.map(Into::into).collect()
    }

    fn values(&self, name: &str) -> Vec<&'h [u8]> {
        let same = self
            .headers()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value).collect()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        let values = self.values(name);
        let texts = values
            .iter()
            .filter_map(|value| std::str::from_utf8(value).ok());
        texts
            .flat_map(items)
            .any(|item| item.eq_ignore_ascii_case(token))
    }

    /// RFC 9112 §3.2: a path, or a URI with a host and no user (RFC 9110 §4.2.1, §4.2.4).
    fn has_valid_target(&self) -> bool {
        let has_host = || {
            let (scheme, rest) = self.target.split_once("://")?;
            let known = ["http", "https", "ws", "wss"].contains(&&*scheme.to_ascii_lowercase());
            let authority = rest.split(['/', '?']).next()?;
            let host = !authority.is_empty() && !authority.starts_with(':');
            Some(known && host && authority.bytes().all(is_host_byte))
        };
        (self.target.starts_with('/') || has_host() == Some(true))
            && self
                .target
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
    }

    /// RFC 9112 §3.2: once, and in HTTP/1.1 always.
    fn has_valid_host(&self) -> bool {
        let hosts = self.values("host");
        match hosts[..] {
            [] => self.minor == 0,
            [host] => host.iter().copied().all(is_host_byte),
            _ => false,
        }
    }

    /// RFC 9112 §6.3: numbers, all the same.
    fn has_valid_length(&self) -> bool {
        let lengths = self.values("content-length");
        lengths.iter().all(|length| {
            !length.is_empty() && length.iter().all(u8::is_ascii_digit) && *length == lengths[0]
        })
    }

    fn has_valid_subprotocols(&self) -> bool {
        let token = |item: &str| {
            item.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        self.values("sec-websocket-protocol")
            .iter()
            .all(|value| std::str::from_utf8(value).is_ok_and(|list| items(list).all(token)))
    }
}

/// RFC 3986 §3.2.2 and a port, without the comma, which would make a list of it.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte)
}

/// The elements of a list that are not empty (RFC 9110 §5.6.1).
fn items(list: &str) -> impl Iterator<Item = &str> {
    let items = list.split(',').map(|item| item.trim_matches([' ', '\t']));
    items.filter(|item| !item.is_empty())
}

/// 16 bytes in base64: 22 characters and two paddings (RFC 6455 §4.2.1).
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    key.len() == 24 && key[..22].iter().all(digit) && key.ends_with(b"==")
}
