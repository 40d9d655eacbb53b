//! Request heads (RFC 9112 §2–§5), read strictly: what two parsers could understand
//! differently is refused.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::field::{Tokens, is_host, is_visible, list_contains};
use super::has_bare_line_end;
use super::response::Refusal;

/// How large a request head may be; beyond it the answer is 431 (RFC 6585 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the request line and all headers.
    pub max_bytes: usize,
    /// Header fields; never more than [`HeaderSlots::CAPACITY`].
    pub max_headers: usize,
}

impl HeadLimits {
    /// 8 KiB: what common servers and proxies accept, and enough for large cookies.
    pub const DEFAULT_MAX_BYTES: usize = 8 << 10;
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            max_bytes: Self::DEFAULT_MAX_BYTES,
            max_headers: HeaderSlots::CAPACITY,
        }
    }
}

/// Room for parsed headers, on the caller's stack; 3 KiB, not initialised until used.
#[derive(Debug)]
pub struct HeaderSlots<'b> {
    pub(super) slots: [MaybeUninit<httparse::Header<'b>>; HeaderSlots::CAPACITY],
}

impl HeaderSlots<'_> {
    /// Header fields at most. Browsers send about 15, proxies add some; 96 leaves room and
    /// keeps the array on the stack small.
    pub const CAPACITY: usize = 96;

    /// Empty slots.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const { MaybeUninit::uninit() }; Self::CAPACITY],
        }
    }
}

impl Default for HeaderSlots<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`parse_request`] found.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// The head is not whole yet.
    Partial,
    /// A whole head, and its length in bytes. What follows it are the first frames.
    Complete(Request<'a>, usize),
}

/// Reads a request head from the front of `input`.
///
/// Stateless: call it again with more bytes after [`Parsed::Partial`], best when [`may_end_head`] says so. Takes time linear in the
/// bytes of the head, whatever they are.
///
/// # Errors
/// The answer to give, after which the connection must be closed: 400 for what breaks RFC 9112,
/// 405 for methods other than GET and HEAD, 431 for a head over the limits, 505 for versions
/// other than HTTP/1.0 and HTTP/1.1.
pub fn parse_request<'a, 'b: 'a>(
    input: &'b [u8],
    slots: &'a mut HeaderSlots<'b>,
    limits: &HeadLimits,
) -> Result<Parsed<'a>, Refusal> {
    let head = &input[..input.len().min(limits.max_bytes)];
    let max_headers = limits.max_headers.min(HeaderSlots::CAPACITY);
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(head, &mut slots.slots[..max_headers]);
    let status = match parsed {
        Err(httparse::Error::Version) if may_name_a_version(head) => httparse::Status::Partial,
        parsed => parsed.map_err(|error| refuse(error, head))?,
    };
    let httparse::Status::Complete(len) = status else {
        return if head.len() < limits.max_bytes {
            Ok(Parsed::Partial)
        } else {
            Err(Refusal::HEAD_TOO_LARGE)
        };
    };
    if has_bare_line_end(&head[..len]) {
        return Err(Refusal::bad_request(
            "lines must end with CR LF, without bare CR or LF",
        ));
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        unreachable!("a complete head has a request line");
    };
    let request = Request {
        method,
        target: check_target(method, target)?,
        minor,
        fields: Fields::collect(request.headers, minor)?,
        headers: request.headers,
    };
    Ok(Parsed::Complete(request, len))
}

/// Whether [`parse_request`] may find more than [`Parsed::Partial`] now that `new` bytes have come to the end of `input`.
///
/// Whoever collects a head in pieces asks this first: then a head is parsed with its first piece, so that what is no
/// request at all is refused at once, and when it is whole or at its limit, instead of with every byte. What
/// breaks the rules in between is refused with the end of the head. Takes time linear in `new`.
#[must_use]
pub fn may_end_head(input: &[u8], new: usize, limits: &HeadLimits) -> bool {
    let before = input.len() - new;
    before == 0
        || input.len() >= limits.max_bytes
        || (before..input.len()).any(|at| ends_with_empty_line(&input[..=at]))
}

/// Whether the last line is empty, and the one before it is not: lines before the request may be empty.
fn ends_with_empty_line(input: &[u8]) -> bool {
    let strip_line_end = |input: &'_ [u8]| -> Option<usize> {
        let line = input.strip_suffix(b"\n")?;
        Some(line.strip_suffix(b"\r").unwrap_or(line).len())
    };
    strip_line_end(input)
        .and_then(|end| strip_line_end(&input[..end]))
        .is_some_and(|end| end > 0 && input[end - 1] != b'\n')
}

/// Whether what arrived asks with the method HEAD, so that a refusal of it must have no body (RFC 9110 §9.3.2).
#[must_use]
pub fn is_head_method(input: &[u8]) -> bool {
    let start = input.iter().position(|byte| !b"\r\n".contains(byte));
    start.is_some_and(|start| input[start..].starts_with(b"HEAD "))
}

/// A request head that satisfies RFC 9112. Whether it is a correct upgrade is a second question:
/// [`check_upgrade`](Self::check_upgrade).
#[derive(Debug)]
pub struct Request<'a> {
    method: &'a str,
    target: &'a str,
    minor: u8,
    headers: &'a [httparse::Header<'a>],
    pub(super) fields: Fields<'a>,
}

impl<'a> Request<'a> {
    /// `GET` or `HEAD`.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.method
    }

    /// The request target as sent: path and query, or an absolute URI (RFC 9112 §3.2).
    #[must_use]
    pub fn target(&self) -> &'a str {
        self.target
    }

    /// The path, not decoded; starts with `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        split_target(self.target).0
    }

    /// What follows the first `?`, not decoded.
    #[must_use]
    pub fn query_string(&self) -> Option<&'a str> {
        split_target(self.target).1
    }

    /// The first value of a query parameter, decoded as HTML forms are: `%XX` and `+`.
    /// A parameter without `=` has an empty value.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        self.query_all(name).next()
    }

    /// All values of a query parameter in order, decoded as [`query`](Self::query) does.
    #[must_use]
    pub fn query_all<'n>(&self, name: &'n str) -> QueryValues<'a, 'n> {
        QueryValues {
            rest: self.query_string(),
            name,
        }
    }

    /// The first value of a header, its name in any case. `None` too when the value is not UTF-8;
    /// [`headers`](Self::headers) shows such values.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .and_then(|header| std::str::from_utf8(header.value).ok())
    }

    /// All headers in order, names as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.headers
            .iter()
            .map(|header| (header.name, header.value))
    }

    /// The value of `Host`. HTTP/1.0 requests may have none.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.fields.host
    }

    /// The value of `Origin`: the page that a browser connects from (§10.2).
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.header("origin")
    }

    /// The subprotocols that the client offers, in its order of preference (§4.1, item 10).
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("sec-websocket-protocol"))
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .flat_map(Tokens::new)
    }

    /// Whether this asks for a WebSocket: an HTTP/1.1 GET with `Upgrade: websocket`. Anything
    /// else is a plain HTTP request, HTTP/1.0 included, which has no upgrades.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.minor == 1 && self.method == "GET" && self.fields.upgrade_websocket
    }
}

/// Values of a query parameter; see [`Request::query_all`].
#[derive(Debug, Clone)]
pub struct QueryValues<'a, 'n> {
    rest: Option<&'a str>,
    name: &'n str,
}

impl<'a> Iterator for QueryValues<'a, '_> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) = self.rest {
            let (pair, rest) = match rest.split_once('&') {
                Some((pair, rest)) => (pair, Some(rest)),
                None => (rest, None),
            };
            self.rest = rest;
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !pair.is_empty() && form_decode(name) == self.name {
                return Some(form_decode(value));
            }
        }
        None
    }
}

/// The headers that decide about framing and upgrade, found in one pass.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) host: Option<&'a str>,
    pub(super) upgrade_websocket: bool,
    pub(super) connection_upgrade: bool,
    pub(super) has_body: bool,
    pub(super) key: Once<'a>,
    pub(super) version: Once<'a>,
    content_length: Option<&'a [u8]>,
}

/// A header that must stand exactly once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Once<'a> {
    #[default]
    Missing,
    Is(&'a [u8]),
    Repeated,
}

impl<'a> Once<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Missing => Self::Is(value),
            _ => Self::Repeated,
        };
    }
}

impl<'a> Fields<'a> {
    fn collect(headers: &[httparse::Header<'a>], minor: u8) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            fields.add(header.name, header.value)?;
        }
        if minor == 1 && fields.host.is_none() {
            return Err(Refusal::bad_request("the Host header is missing"));
        }
        Ok(fields)
    }

    fn add(&mut self, name: &str, value: &'a [u8]) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("host") {
            self.add_host(value)?;
        } else if is("upgrade") {
            self.upgrade_websocket |= lists(value, "websocket");
        } else if is("connection") {
            self.connection_upgrade |= lists(value, "upgrade");
        } else if is("sec-websocket-key") {
            self.key.add(value);
        } else if is("sec-websocket-version") {
            self.version.add(value);
        } else if is("transfer-encoding") {
            self.has_body = true;
        } else if is("content-length") {
            self.add_content_length(value)?;
        }
        Ok(())
    }

    /// RFC 9112 §3.2: once, and a valid authority.
    fn add_host(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if self.host.is_some() {
            return Err(Refusal::bad_request("the Host header is repeated"));
        }
        self.host = std::str::from_utf8(value).ok().filter(|host| is_host(host));
        match self.host {
            Some(_) => Ok(()),
            None => Err(Refusal::bad_request("the Host header is not a host name")),
        }
    }

    /// RFC 9112 §6.3: a number, and no second opinion.
    fn add_content_length(&mut self, value: &'a [u8]) -> Result<(), Refusal> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::bad_request("Content-Length is not a number"));
        }
        if self.content_length.is_some_and(|other| other != value) {
            return Err(Refusal::bad_request("Content-Length is contradictory"));
        }
        self.content_length = Some(value);
        self.has_body |= value.iter().any(|&digit| digit != b'0');
        Ok(())
    }
}

fn lists(value: &[u8], token: &str) -> bool {
    std::str::from_utf8(value).is_ok_and(|list| list_contains(list, token))
}

#[cold]
fn refuse(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::HEAD_TOO_LARGE,
        httparse::Error::Version if names_a_version(head) => Refusal::VERSION_NOT_SUPPORTED,
        httparse::Error::HeaderName => Refusal::bad_request("a header name is not a token"),
        httparse::Error::HeaderValue => {
            Refusal::bad_request("a header value holds control characters")
        }
        _ => Refusal::bad_request("this is not an HTTP/1.1 request"),
    }
}

/// Whether the third word is an HTTP version (RFC 9112 §2.3), rather than, say, the rest of a
/// target with a space in it.
fn names_a_version(head: &[u8]) -> bool {
    version_bytes(head) == VERSION_LEN
}

/// Whether `head` ends within a third word that can still become an HTTP version: which of the two
/// answers is right must not depend on how the head arrives.
fn may_name_a_version(head: &[u8]) -> bool {
    let len = version_bytes(head);
    len < VERSION_LEN && third_word(head).is_some_and(|word| word.len() == len)
}

/// `HTTP/`, a digit, a dot, a digit.
const VERSION_LEN: usize = 8;

/// How many bytes of the third word are the beginning of an HTTP version.
fn version_bytes(head: &[u8]) -> usize {
    let third = third_word(head).unwrap_or_default();
    third
        .iter()
        .zip(b"HTTP/0.0")
        .take_while(|&(byte, form)| byte == form || (*form == b'0' && byte.is_ascii_digit()))
        .count()
}

/// What follows the second space.
fn third_word(head: &[u8]) -> Option<&[u8]> {
    head.splitn(3, |&byte| byte == b' ').nth(2)
}

/// RFC 9112 §3.2: a path, or an absolute URI as proxies send it.
fn check_target<'a>(method: &str, target: &'a str) -> Result<&'a str, Refusal> {
    if method != "GET" && method != "HEAD" {
        return Err(Refusal::METHOD_NOT_ALLOWED);
    }
    let known_form = target.starts_with('/') || after_scheme(target).is_some_and(names_a_host);
    if !known_form || !is_visible(target) || target.contains('#') {
        return Err(Refusal::bad_request(
            "the request target is neither a path nor an http URI",
        ));
    }
    Ok(target)
}

/// Whether what follows a scheme starts with a host: RFC 9110 §4.2.1 wants an empty one refused, and §4.2.4
/// a user name.
fn names_a_host(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    !authority.is_empty() && !authority.starts_with(':') && is_host(authority)
}

/// What follows the scheme of an absolute `http`, `https`, `ws` or `wss` URI.
fn after_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    ["http", "https", "ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some(rest)
}

/// Path and query of a checked target.
fn split_target(target: &str) -> (&str, Option<&str>) {
    let origin_form = if target.starts_with('/') {
        target
    } else {
        let rest = after_scheme(target).unwrap_or_default();
        &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
    };
    let (path, query) = match origin_form.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin_form, None),
    };
    (if path.is_empty() { "/" } else { path }, query)
}

/// Decodes `%XX` and `+`. What is not a valid escape stays as it is; bytes that are not UTF-8
/// become U+FFFD, as in browsers' `URLSearchParams`.
fn form_decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let decoded = match (first, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            (&other, _) => other,
        };
        bytes.push(decoded);
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}
