//! What a client makes of a server's answer, and what one role makes of the other's bytes.
//!
//! Input: settings, piece sizes, key, then either a response and the frames behind it, or messages to encode.

use corecast_protocol::handshake::{ClientHandshake, ClientRequest, HandshakeError};
use corecast_protocol::{
    CloseCode, FrameKind, Limits, Opcode, Role, encode_client, encode_close_client,
    encode_close_server, encode_server,
};
use tungstenite::handshake::derive_accept_key;

use crate::input::{Reader, cut};
use crate::receive::{Got, Peer};

/// Settings: a round trip from an encoder to the other role's receiver. Otherwise a response.
const ROUND_TRIP: u8 = 1;
/// Settings: the round trip starts at the client. Otherwise at the server.
const FROM_CLIENT: u8 = 2;
/// Settings: the server's answer is made correct by a head in front. Otherwise it is as in the input.
const ACCEPTED: u8 = 4;

/// The nonce of RFC 6455 §1.3, and what it looks like in the request.
const NONCE: [u8; 16] = *b"the sample nonce";
const NONCE_BASE64: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// Subprotocols that the client offers.
const OFFERED: [&str; 2] = ["chat", "superchat"];

/// Header fields that both parsers have room for.
const MAX_HEADERS: usize = 96;

/// Bytes of a response head at most.
const MAX_HEAD: usize = 8 << 10;

/// Up to this length a response is judged at every prefix; beyond it, at the ends of pieces.
const EVERY_PREFIX: usize = 600;

/// Judges a response, or sends messages from one role to the other.
///
/// # Panics
/// When the response is judged differently than by the plain reading of §4.1, or than in other pieces;
/// when what is received is not what was sent.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let settings = reader.byte();
    let sizes = reader.sizes();
    if settings & ROUND_TRIP != 0 {
        round_trip(settings & FROM_CLIENT != 0, &sizes, reader);
    } else {
        let head = if settings & ACCEPTED != 0 {
            accepting_head()
        } else {
            Vec::new()
        };
        response(&[&head, reader.rest()].concat(), &sizes);
    }
}

fn accepting_head() -> Vec<u8> {
    let accept = derive_accept_key(NONCE_BASE64.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n"
    )
    .into_bytes()
}

type Judgement = Result<Option<(Option<String>, usize)>, HandshakeError>;

fn judge(input: &[u8]) -> Judgement {
    let request = ClientRequest {
        subprotocols: &OFFERED,
        ..ClientRequest::new("localhost", "/", NONCE)
    };
    let response = ClientHandshake::new(&request).handle(input)?;
    Ok(response.map(|response| (response.subprotocol.map(str::to_owned), response.consumed)))
}

fn response(bytes: &[u8], sizes: &[usize]) {
    let whole = judge(bytes);
    compare_with_plain_reading(bytes, &whole);
    let ends: Vec<usize> = if bytes.len() <= EVERY_PREFIX {
        (0..bytes.len()).collect()
    } else {
        let mut end = 0;
        cut(bytes, sizes)
            .map(|piece| {
                end += piece.len();
                end
            })
            .collect()
    };
    // First "more", then one and the same judgement.
    let mut judged = false;
    for end in ends {
        let prefix = judge(&bytes[..end]);
        judged |= prefix != Ok(None);
        if judged {
            assert_eq!(prefix, whole, "after {end} of {} bytes", bytes.len());
        }
    }
    if let Ok(Some((_, consumed))) = whole {
        // What stands behind the head are frames.
        let mut peer = Peer::new(Role::Client, Limits::default(), false);
        for piece in cut(&bytes[consumed..], sizes) {
            peer.feed(piece);
        }
    }
}

/// §4.1, items 1 to 6 of the client's checks, with `httparse` and no thought for speed.
fn compare_with_plain_reading(bytes: &[u8], judgement: &Judgement) {
    let head = &bytes[..bytes.len().min(MAX_HEAD)];
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut slots);
    let Ok(httparse::Status::Complete(len)) = parsed.parse(head) else {
        assert!(
            !matches!(judgement, Ok(Some(_))),
            "no whole response, but {judgement:?}"
        );
        return;
    };
    let values = |name: &str| -> Vec<String> {
        parsed
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| String::from_utf8_lossy(header.value).into_owned())
            .collect()
    };
    let lists = |name: &str, token: &str| {
        values(name).iter().any(|value| {
            value
                .split(',')
                .any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case(token))
        })
    };
    let lines = head[..len].split_inclusive(|&byte| byte == b'\n');
    let clean = lines
        .clone()
        .all(|line| line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'));
    let chosen = values("sec-websocket-protocol");
    let good = clean
        && parsed.version == Some(1)
        && parsed.code == Some(101)
        && values("upgrade")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("websocket"))
        && lists("connection", "upgrade")
        && values("sec-websocket-accept") == [derive_accept_key(NONCE_BASE64.as_bytes())]
        && values("sec-websocket-extensions").iter().all(|value| {
            value
                .split(',')
                .all(|item| item.trim_matches([' ', '\t']).is_empty())
        })
        && (chosen.is_empty() || (chosen.len() == 1 && OFFERED.contains(&chosen[0].as_str())));
    let expected = good.then(|| (chosen.first().cloned(), len));
    assert_eq!(judgement.clone().ok().flatten(), expected, "{judgement:?}");
}

/// Encodes what the input asks for, and expects it at the other role's receiver.
fn round_trip(from_client: bool, sizes: &[usize], mut reader: Reader<'_>) {
    let mut sender = Sender {
        key: from_client.then(|| reader.array()),
        stream: Vec::new(),
        sent: Vec::new(),
    };
    while !reader.is_empty() {
        sender.send(&mut reader);
    }
    let role = if from_client {
        Role::Server
    } else {
        Role::Client
    };
    let mut peer = Peer::new(role, Limits::default(), false);
    for piece in cut(&sender.stream, sizes) {
        peer.feed(piece);
    }
    let received: Vec<&Got> = peer.got().iter().map(|(got, _)| got).collect();
    assert_eq!(received, sender.sent.iter().collect::<Vec<_>>());
}

/// One role's encoders, and what the other role is to receive.
struct Sender {
    /// The masking key of a client.
    key: Option<[u8; 4]>,
    stream: Vec<u8>,
    sent: Vec<Got>,
}

impl Sender {
    /// Nothing is sent after a Close.
    fn send(&mut self, reader: &mut Reader<'_>) {
        let [what, len] = reader.array();
        let payload = reader.take(len.into());
        if let Some(Got::Close(_)) = self.sent.last() {
            return;
        }
        match what % 8 {
            0 => self.ping(payload),
            1 => self.pong(payload),
            2 => self.close(what, payload),
            3 => self.message(Opcode::Binary, &payload.repeat(300), 1),
            4 => self.message(Opcode::Text, String::from_utf8_lossy(payload).as_bytes(), 1),
            5 => self.message(Opcode::Binary, payload, 1),
            6 => self.message(Opcode::Text, String::from_utf8_lossy(payload).as_bytes(), 3),
            _ => self.message(Opcode::Binary, payload, 5),
        }
    }

    fn frame(&mut self, kind: impl Into<FrameKind>, payload: &[u8]) {
        match self.key {
            Some(key) => encode_client(&mut self.stream, kind, payload, key),
            None => encode_server(&mut self.stream, kind, payload),
        }
    }

    fn ping(&mut self, payload: &[u8]) {
        let payload = &payload[..payload.len().min(125)];
        self.frame(Opcode::Ping, payload);
        self.sent.push(Got::Ping(payload.to_vec()));
    }

    fn pong(&mut self, payload: &[u8]) {
        let payload = &payload[..payload.len().min(125)];
        self.frame(Opcode::Pong, payload);
        self.sent.push(Got::Pong(payload.to_vec()));
    }

    /// Any code that can be named and any reason: the encoder is to make a good frame of it.
    fn close(&mut self, what: u8, payload: &[u8]) {
        let code = match what >> 3 {
            0 => CloseCode::NO_STATUS,
            1 => CloseCode::ABNORMAL,
            2 => CloseCode::TLS_FAILED,
            _ => {
                let code = u16::from_be_bytes(Reader::new(payload).array());
                CloseCode::new(code).unwrap_or(CloseCode::NORMAL)
            }
        };
        let reason = String::from_utf8_lossy(payload);
        match self.key {
            Some(key) => encode_close_client(&mut self.stream, code, &reason, key),
            None => encode_close_server(&mut self.stream, code, &reason),
        }
        // The longest reason that fits and ends with a whole character.
        let end = (0..=reason.len().min(123))
            .rev()
            .find(|&end| reason.is_char_boundary(end));
        let kept = reason[..end.unwrap_or_default()].to_owned();
        let code = CloseCode::new(code.into());
        self.sent.push(Got::Close(code.map(|code| (code, kept))));
    }

    fn message(&mut self, opcode: Opcode, data: &[u8], fragments: usize) {
        let size = data.len().div_ceil(fragments).max(1);
        let mut pieces: Vec<&[u8]> = data.chunks(size).collect();
        if pieces.is_empty() {
            pieces.push(b"");
        }
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            let opcode = if at == 0 {
                opcode
            } else {
                Opcode::Continuation
            };
            let kind = if at == last {
                opcode.into()
            } else {
                opcode.unfinished()
            };
            self.frame(kind, piece);
            if at != last {
                self.sent.push(Got::Fragment);
            }
        }
        self.sent.push(match opcode {
            Opcode::Text => Got::Text(String::from_utf8(data.to_vec()).expect("made from text")),
            _ => Got::Binary(data.to_vec()),
        });
    }
}
