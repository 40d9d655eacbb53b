//! A request means the same however it is cut, and the same to others.
//!
//! Input: settings, piece sizes, request.
//!
//! What we accept as an upgrade must be accepted by `tungstenite` too, with the same
//! `Sec-WebSocket-Accept`. It differs on purpose in these, of which all but the first make it refuse more:
//!
//! - It does not ask for `Host`, knows no limits but its own, and takes bare LF, bodies, repeated headers and
//!   subprotocols that are no tokens. Here `plain.rs` says what is right.
//! - It reads the first `Connection` and `Upgrade` only, takes no list in `Upgrade` and no tab in `Connection`.
//! - It wants the spare bits of a key's last character to be zero.
//! - Its URI type refuses some targets that are visible ASCII.
//!
//! It knows no extensions: what is made of those is compared with the plain reading in `extensions.rs`.

use corecast_protocol::handshake::{
    HeadLimits, HeaderSlots, Key, Parsed, Refusal, Request, choose_subprotocol, encode_switching,
    may_end_head, parse_request,
};
use tungstenite::error::Error;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request as TheirRequest, create_response};

use crate::input::{Reader, cut};
use plain::Plain;

mod offers;
mod plain;

/// Settings: limits that short requests reach.
const TIGHT: u8 = 1;
/// Settings: a correct upgrade without its end stands before the input.
const UPGRADE: u8 = 2;

const TIGHT_LIMITS: HeadLimits = HeadLimits {
    max_bytes: 200,
    max_headers: 6,
};

const UPGRADE_HEAD: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Subprotocols of the server.
const SUPPORTED: [&str; 2] = ["superchat", "chat"];

/// Up to this length a request is parsed at every prefix; beyond it, at the ends of pieces.
const EVERY_PREFIX: usize = 600;

/// Parses the request whole and at its prefixes, and compares with the plain reading and `tungstenite`.
///
/// # Panics
/// When one of them differs.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let settings = reader.byte();
    let sizes = reader.sizes();
    let limits = if settings & TIGHT != 0 {
        TIGHT_LIMITS
    } else {
        HeadLimits::default()
    };
    let head = if settings & UPGRADE != 0 {
        UPGRADE_HEAD
    } else {
        b""
    };
    let bytes = [head, reader.rest()].concat();

    compare_prefixes(&bytes, &sizes, &limits);
    compare_when_asked(&bytes, &sizes, &limits);
    let mut slots = HeaderSlots::new();
    match parse_request(&bytes, &mut slots, &limits) {
        Ok(Parsed::Complete(request, len)) => complete(&request, &bytes[..len], &limits),
        Ok(Parsed::Partial) => assert_eq!(Plain::read(&bytes, &limits), None, "it is whole"),
        Err(refusal) => {
            let plain = Plain::read(&bytes, &limits);
            assert!(
                plain.is_none_or(|plain| !plain.is_request()),
                "{}",
                refusal.reason
            );
            check_answer(&refusal);
        }
    }
}

/// What a prefix is judged to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Partial,
    Refused(Refusal),
    Complete {
        len: usize,
        upgrade: Result<(), Refusal>,
    },
}

fn judge(bytes: &[u8], limits: &HeadLimits) -> Judgement {
    let mut slots = HeaderSlots::new();
    match parse_request(bytes, &mut slots, limits) {
        Ok(Parsed::Partial) => Judgement::Partial,
        Ok(Parsed::Complete(request, len)) => Judgement::Complete {
            len,
            upgrade: request.check_upgrade().map(|_| ()),
        },
        Err(refusal) => Judgement::Refused(refusal),
    }
}

/// First "more", then one and the same judgement.
fn compare_prefixes(bytes: &[u8], sizes: &[usize], limits: &HeadLimits) {
    let whole = judge(bytes, limits);
    let every = [1];
    let sizes = if bytes.len() <= EVERY_PREFIX {
        &every[..]
    } else {
        sizes
    };
    let mut end = 0;
    let mut judged = false;
    for piece in cut(bytes, sizes) {
        end += piece.len();
        let prefix = judge(&bytes[..end], limits);
        judged |= prefix != Judgement::Partial;
        if judged {
            assert_eq!(prefix, whole, "after {end} of {} bytes", bytes.len());
        }
    }
}

/// Whoever parses only when [`may_end_head`] says so misses no end of a head.
fn compare_when_asked(bytes: &[u8], sizes: &[usize], limits: &HeadLimits) {
    let ends = ends_of_heads(bytes);
    let mut end = 0;
    for piece in cut(bytes, sizes) {
        let before = end;
        end += piece.len();
        let asked = may_end_head(&bytes[..end], piece.len(), limits);
        let ends_here = ends.iter().any(|at| (before + 1..=end).contains(at));
        let expected = before == 0 || end >= limits.max_bytes || ends_here;
        assert_eq!(asked, expected, "{before}..{end} of {}", bytes.len());
        if let Judgement::Complete { .. } = judge(&bytes[..end], limits) {
            assert!(
                asked,
                "a whole head is missed: {before}..{end} of {}",
                bytes.len()
            );
            return;
        }
    }
}

/// Where an empty line ends that follows one which is not empty.
fn ends_of_heads(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut at, mut after_text) = (0, false);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        let is_empty = matches!(line, b"\n" | b"\r\n");
        if is_empty && after_text {
            ends.push(at);
        }
        after_text = !is_empty;
    }
    ends
}

fn complete(request: &Request<'_>, head: &[u8], limits: &HeadLimits) {
    let plain = Plain::read(head, limits).expect("the same bytes are whole");
    assert!(plain.is_request(), "breaks RFC 9112");
    let theirs: Vec<_> = plain.headers().collect();
    assert_eq!(request.headers().collect::<Vec<_>>(), theirs);
    compare_target(request);
    match request.check_upgrade() {
        Ok(key) => {
            assert!(plain.is_upgrade(), "breaks RFC 6455 §4.2.1");
            upgrade(request, key, head, &plain);
            offers::check(request, &plain);
        }
        Err(refusal) => {
            assert!(!plain.is_upgrade(), "{}", refusal.reason);
            check_answer(&refusal);
        }
    }
}

/// Path and query put together are the end of the target; parameters are what browsers make of them.
fn compare_target(request: &Request<'_>) {
    let (path, query) = (request.path(), request.query_string());
    assert!(path.starts_with('/'), "path {path:?}");
    let joined = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
    let implied = request.target().len() < joined.len() || !request.target().ends_with(&joined);
    // Only an absolute target may leave out the path.
    assert!(
        !implied || (path == "/" && !request.target().starts_with('/')),
        "{joined}"
    );

    let pairs: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    for (name, _) in &pairs {
        let ours: Vec<_> = request.query_all(name).collect();
        let same_name = pairs.iter().filter(|(other, _)| other == name);
        let theirs: Vec<_> = same_name.map(|(_, value)| value.clone()).collect();
        assert_eq!(ours, theirs, "parameter {name:?}");
        assert_eq!(request.query(name), theirs.into_iter().next());
    }
}

fn upgrade(request: &Request<'_>, key: Key<'_>, head: &[u8], plain: &Plain<'_>) {
    let chosen = choose_subprotocol(request, &SUPPORTED);
    let offered: Vec<&str> = request.subprotocols().collect();
    assert_eq!(
        chosen,
        SUPPORTED.into_iter().find(|name| offered.contains(name))
    );
    let mut answer = Vec::new();
    encode_switching(&mut answer, key, chosen, None, &[])
        .expect("a subprotocol of the server's own");
    let mut slots = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut slots);
    let parsed = response.parse(&answer).expect("a response");
    assert_eq!(parsed, httparse::Status::Complete(answer.len()));
    assert_eq!(response.code, Some(101));
    let ours = response
        .headers
        .iter()
        .find(|header| header.name == "Sec-WebSocket-Accept");
    let ours = ours.expect("an accept key").value;

    match their_accept(head) {
        Ok(theirs) => assert_eq!(ours, theirs),
        Err(Error::HttpFormat(error)) => assert!(!plain.has_plain_target(), "{error}"),
        Err(error) => assert!(!plain.is_plain_upgrade(), "they refuse: {error}"),
    }
}

/// The accept key that `tungstenite` answers with.
fn their_accept(head: &[u8]) -> Result<Vec<u8>, Error> {
    let (len, request) = TheirRequest::try_parse(head)?.expect("the same bytes are whole");
    assert_eq!(len, head.len());
    let response = create_response(&request)?;
    Ok(response.headers()["Sec-WebSocket-Accept"]
        .as_bytes()
        .to_vec())
}

/// A refusal is a whole response, whose length is as announced.
fn check_answer(refusal: &Refusal) {
    let mut answer = Vec::new();
    refusal.encode(&mut answer);
    let mut slots = [httparse::EMPTY_HEADER; 8];
    let mut response = httparse::Response::new(&mut slots);
    let parsed = response.parse(&answer).expect("a response");
    let httparse::Status::Complete(head_len) = parsed else {
        panic!("the head of the answer has no end");
    };
    assert_eq!(response.code, Some(refusal.status));
    let length = response
        .headers
        .iter()
        .find(|header| header.name == "Content-Length");
    let body_len = (answer.len() - head_len).to_string();
    assert_eq!(length.expect("a length").value, body_len.as_bytes());
}
