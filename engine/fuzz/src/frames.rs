//! The same messages, replies and refusals as `tungstenite`.
//!
//! Input: a [`Case`].
//!
//! Where the two differ on purpose, and what is compared then:
//!
//! | we | `tungstenite` 0.30 | compared |
//! |---|---|---|
//! | refuse lengths that are not minimal (§5.2) | accepts them | what came before |
//! | refuse as soon as a byte shows it | reads the frame to its end | its judgement when the rest is zeros |
//! | check the header before limits | checks the frame limit before anything but the opcode | that both refuse |
//! | check a close code before its reason | the other way round | that both refuse |
//! | count a bad close code as an error | reports a Close with 1002 instead | that it is that Close |
//! | accept close code 1014 (IANA's registry) | does not know it | what came before |
//! | ignore what follows a Close (§5.5.1) | calls it an error in the client role | nothing after a Close |
//! | limit data frames only | limits control frames too | nothing: limits are above their 125 bytes |
//! | limit fragments | has no such limit | nothing: it is raised out of reach |

use std::io::{self, Read, Write};

use corecast_protocol::{
    CloseCode, Limits, Opcode, ProtocolError, Role, encode_close_server, encode_server,
};
use tungstenite::error::{Error, ProtocolError as TheirProtocolError};
use tungstenite::protocol::{Role as TheirRole, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use crate::receive::{Got, Peer};
use crate::stream::{Case, LARGE, NONE};

/// What `tungstenite` says instead of a close code that must not be sent.
const THEIR_BAD_CODE: &str = "Protocol violation";

/// A close code that IANA has registered and `tungstenite` does not know.
const BAD_GATEWAY: u16 = 1014;

/// Feeds the stream to both.
///
/// # Panics
/// When they differ in another way than the table above tells.
pub fn check(data: &[u8]) {
    let mut case = Case::read(data);
    if case.limits == NONE {
        // They allocate what a header announces.
        case.limits = LARGE;
    }
    case.limits.max_fragments = u32::MAX;
    let mut peer = Peer::new(case.role, case.limits, case.recycle);
    peer.feed(&case.stream);
    let mut ours: Vec<&(Got, usize)> = peer.got().iter().collect();
    let failed = match ours.last() {
        Some((Got::Failed(error), _)) => {
            let error = *error;
            ours.pop();
            Some(error)
        }
        _ => None,
    };
    let frame_at = ours.last().map_or(0, |(_, end)| *end);
    let ours: Vec<&Got> = ours
        .into_iter()
        .map(|(got, _)| got)
        .filter(|got| **got != Got::Fragment)
        .collect();

    match failed {
        None => compare_accepted(&case, &ours),
        Some(error) => compare_refused(&case, &ours, error, frame_at),
    }
}

fn compare_accepted(case: &Case, ours: &[&Got]) {
    let theirs = Theirs::receive(case, &case.stream);
    if let Some((Got::Close(Some((code, _))), before)) = ours.split_last()
        && u16::from(*code) == BAD_GATEWAY
    {
        assert_eq!(ours.len(), theirs.got.len());
        assert_same(before, &theirs.got[..before.len()]);
        return;
    }
    assert_same(ours, &theirs.got);
    assert_eq!(theirs.refused, None, "we accept what they refuse");
    compare_replies(case.role, ours, &theirs.written);
}

fn compare_refused(case: &Case, ours: &[&Got], error: ProtocolError, frame_at: usize) {
    let frame = Announced::read(&case.stream[frame_at..]);
    let mut stream = case.stream.clone();
    stream.extend(frame.missing(case.limits.max_frame));
    let theirs = Theirs::receive(case, &stream);
    assert!(
        theirs.got.len() >= ours.len(),
        "{error}: they stop before {:?}",
        ours.last()
    );
    let (before, after) = theirs.got.split_at(ours.len());
    assert_same(ours, before);
    if is_stricter(error, &frame) {
        return;
    }
    if let (ProtocolError::CloseCodeInvalid(_), [Got::Close(Some((code, why)))]) = (error, after) {
        assert_eq!(
            (*code, why.as_str()),
            (CloseCode::PROTOCOL_ERROR, THEIR_BAD_CODE)
        );
        return;
    }
    assert_eq!(after, [], "{error}: they go on");
    let refused = theirs
        .refused
        .unwrap_or_else(|| panic!("{error}: they accept it"));
    let same_code = refused == error.close_code()
        || (refused == CloseCode::TOO_BIG && frame.len > case.limits.max_frame)
        || (refused == CloseCode::INVALID_PAYLOAD
            && matches!(error, ProtocolError::CloseCodeInvalid(_)));
    assert!(
        same_code,
        "{error}, which is {} to us, is {refused} to them",
        error.close_code()
    );
}

/// Refusals of ours that `tungstenite` does not share.
fn is_stricter(error: ProtocolError, frame: &Announced) -> bool {
    match error {
        ProtocolError::NonMinimalLength => true,
        // A long form for a short length: not minimal either.
        ProtocolError::ControlTooLong => frame.len <= 125,
        _ => false,
    }
}

fn assert_same(ours: &[&Got], theirs: &[Got]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(*ours, theirs);
    }
    assert_eq!(
        ours.len(),
        theirs.len(),
        "the rest: {:?}",
        (ours.get(theirs.len()..), theirs.get(ours.len()..))
    );
}

/// A pong for each ping and a Close for a Close, byte by byte where no random key masks them.
fn compare_replies(role: Role, ours: &[&Got], written: &[u8]) {
    let mut expected = Vec::new();
    for got in ours {
        match got {
            Got::Ping(payload) => encode_server(&mut expected, Opcode::Pong, payload),
            Got::Close(Some((code, why))) => encode_close_server(&mut expected, *code, why),
            Got::Close(None) => encode_close_server(&mut expected, CloseCode::NO_STATUS, ""),
            _ => {}
        }
    }
    if role == Role::Server {
        assert_eq!(written, expected, "replies");
        return;
    }
    let received = |role, bytes: &[u8]| {
        let mut peer = Peer::new(role, Limits::default(), false);
        peer.feed(bytes);
        peer.got()
            .iter()
            .map(|(got, _)| got.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        received(Role::Server, written),
        received(Role::Client, &expected),
        "replies"
    );
}

/// What `tungstenite` makes of a stream.
struct Theirs {
    got: Vec<Got>,
    /// The close code of its error.
    refused: Option<CloseCode>,
    written: Vec<u8>,
}

impl Theirs {
    fn receive(case: &Case, stream: &[u8]) -> Self {
        let mut socket = socket(case, stream);
        let mut got = Vec::new();
        let refused = loop {
            match socket.read() {
                Ok(message) => got.push(translate(message)),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(close_code(&error)),
            }
            if let Some(Got::Close(_)) = got.last() {
                // Writes the reply. In the server role that ends the connection, which is an error.
                let _closed = socket.flush();
                break None;
            }
        };
        Self {
            got,
            refused,
            written: std::mem::take(&mut socket.get_mut().written),
        }
    }
}

fn socket<'s>(case: &Case, stream: &'s [u8]) -> WebSocket<Wire<'s>> {
    let role = match case.role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .read_buffer_size(1024)
        .write_buffer_size(0)
        .max_frame_size(usize::try_from(case.limits.max_frame).ok())
        .max_message_size(usize::try_from(case.limits.max_message).ok());
    let wire = Wire {
        input: stream,
        written: Vec::new(),
    };
    WebSocket::from_raw_socket(wire, role, Some(config))
}

fn translate(message: Message) -> Got {
    match message {
        Message::Text(text) => Got::Text(text.as_str().to_owned()),
        Message::Binary(bytes) => Got::Binary(bytes.to_vec()),
        Message::Ping(payload) => Got::Ping(payload.to_vec()),
        Message::Pong(payload) => Got::Pong(payload.to_vec()),
        Message::Close(close) => Got::Close(close.map(|close| {
            let code = CloseCode::new(close.code.into());
            (
                code.expect("they accept only codes that may be sent"),
                close.reason.to_string(),
            )
        })),
        Message::Frame(frame) => panic!("a raw frame is never read: {frame:?}"),
    }
}

/// The close code for an error of theirs (§7.4.1), as ours have one.
fn close_code(error: &Error) -> CloseCode {
    match error {
        Error::Capacity(_) => CloseCode::TOO_BIG,
        Error::Utf8(_) => CloseCode::INVALID_PAYLOAD,
        Error::Protocol(TheirProtocolError::ResetWithoutClosingHandshake) => {
            panic!("the stream blocks at its end, it does not end")
        }
        Error::Protocol(_) => CloseCode::PROTOCOL_ERROR,
        other => panic!("no error of the peer: {other}"),
    }
}

/// A socket whose peer has sent `input` and is silent now.
struct Wire<'s> {
    input: &'s [u8],
    written: Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the header at the front of some bytes announces, read without a judgement on it (§5.2).
struct Announced {
    header_len: usize,
    /// Payload bytes.
    len: u64,
    /// Bytes that are here.
    here: usize,
}

impl Announced {
    fn read(bytes: &[u8]) -> Self {
        // Bytes that are not here will be zeros.
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let short = byte(1) & 0x7F;
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let key_len = if byte(1) & 0x80 == 0 { 0 } else { 4 };
        let long = (0..length_bytes).fold(0, |len: u64, at| len << 8 | u64::from(byte(2 + at)));
        Self {
            header_len: 2 + length_bytes + key_len,
            len: if length_bytes == 0 {
                short.into()
            } else {
                long
            },
            here: bytes.len(),
        }
    }

    /// The rest of the frame as zeros; only of its header, when its payload is over the limit.
    fn missing(&self, max_frame: u64) -> Vec<u8> {
        let payload_len = if self.len <= max_frame {
            self.len as usize
        } else {
            0
        };
        let missing = (self.header_len + payload_len).saturating_sub(self.here);
        vec![0; missing]
    }
}
