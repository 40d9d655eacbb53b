//! Messages from one role's encoders to the other role's receiver.

use corecast_protocol::{
    CloseCode, FrameKind, Limits, Opcode, Role, encode_client, encode_close_client,
    encode_close_server, encode_server,
};

use crate::input::{Reader, cut};
use crate::receive::{Got, Peer};

/// Encodes what the input asks for, and expects it at the other role's receiver.
pub(super) fn check(from_client: bool, sizes: &[usize], mut reader: Reader<'_>) {
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
