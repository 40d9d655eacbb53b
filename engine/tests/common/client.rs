//! A WebSocket client that does as it is told, also what is forbidden.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;
use super::deflate::{Agreed, Deflate};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
const FIN: u8 = 0x80;
/// The message is compressed (RFC 7692 §6).
pub(crate) const RSV1: u8 = 0x40;

/// The nonce and its answer from RFC 6455 §1.3.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame as it came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) fin: bool,
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
    /// What it carried, if that was the payload compressed (RFC 7692 §6).
    pub(crate) deflated: Option<Vec<u8>>,
}

impl Frame {
    /// Whether it came compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.deflated.is_some()
    }

    /// The code and reason of a Close frame; no code gives `None`.
    pub(crate) fn close_code(&self) -> Option<(u16, &str)> {
        assert_eq!(self.opcode, CLOSE, "a Close frame, not {self:?}");
        let (code, reason) = self.payload.split_first_chunk()?;
        let reason = std::str::from_utf8(reason).expect("the reason is text");
        Some((u16::from_be_bytes(*code), reason))
    }
}

/// The upgrade request for a path.
pub(crate) fn request(path: &str) -> String {
    request_with(path, "")
}

/// The upgrade request for a path with further headers, each ended by CR LF.
pub(crate) fn request_with(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
}

/// A masked frame with FIN.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(FIN | opcode, payload)
}

/// A masked frame without FIN.
pub(crate) fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw_frame(opcode, payload)
}

/// A masked frame with any first byte. The key is different for different lengths.
pub(crate) fn raw_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = (payload.len() as u32)
        .wrapping_mul(0x9e37_79b9)
        .wrapping_add(0x1234_5678)
        .to_le_bytes();
    let mut out = header(first, payload.len(), true);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
    out
}

/// A frame's header up to the mask key.
pub(crate) fn header(first: u8, len: usize, masked: bool) -> Vec<u8> {
    let bit = if masked { 0x80 } else { 0 };
    let mut out = vec![first];
    match len {
        0..=125 => out.push(bit | len as u8),
        126..=0xffff => {
            out.push(bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out
}

fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// The payload of a Close frame.
pub(crate) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// A connection whose reads and writes are bounded in time.
pub(crate) fn tcp(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server takes us");
    bounded(stream)
}

/// A connection that receives into a small buffer, so that the server soon feels when it does not read.
///
/// Not smaller: filled with small segments, a buffer of a few KiB can shrink its window below one segment for good, and
/// the kernel then sends 2 KiB whenever its persist timer fires, which is five times a second.
pub(crate) fn narrow_tcp(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(16 << 10).expect("a size");
    socket
        .connect_timeout(&address.into(), PATIENCE)
        .expect("the server takes us");
    bounded(socket.into())
}

/// A connection from an address of ours: all of 127/8 is loopback.
pub(crate) fn tcp_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source = SocketAddr::from((source, 0));
    socket.bind(&source.into()).expect("a loopback address");
    socket
        .connect_timeout(&address.into(), PATIENCE)
        .expect("the server takes us");
    bounded(socket.into())
}

/// Has the connection end with RST in place of FIN.
pub(crate) fn reset_when_dropped(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .expect("linger");
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// A response to a request: status, head and body.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// Sends a request that is not upgraded, and reads the answer to the end of the connection.
pub(crate) fn http(address: SocketAddr, request: &str) -> Response {
    let mut stream = tcp(address);
    stream.write_all(request.as_bytes()).expect("a request");
    read_response(stream)
}

/// Reads a response and the end of the connection.
pub(crate) fn read_response(mut stream: TcpStream) -> Response {
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("an answer, and the end of the connection");
    parse_response(&answer)
}

fn parse_response(answer: &str) -> Response {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Response {
        status: status.expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A client whose connection is open.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Received and not read yet, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The head of the server's answer.
    pub(crate) head: String,
    /// If compression was agreed.
    deflate: Option<Box<Deflate>>,
}

impl Client {
    /// Connects to `/`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "/")
    }

    pub(crate) fn connect_to(address: SocketAddr, path: &str) -> Self {
        Self::upgrade(tcp(address), &request(path))
    }

    /// Connects to `/` and receives into a small buffer.
    pub(crate) fn connect_narrow(address: SocketAddr) -> Self {
        Self::upgrade(narrow_tcp(address), &request("/"))
    }

    /// Sends a request and reads the answer, which must be 101.
    pub(crate) fn upgrade(mut stream: TcpStream, request: &str) -> Self {
        stream.write_all(request.as_bytes()).expect("a request");
        Self::opened(stream)
    }

    /// Reads the answer to a request that has been sent; it must be 101.
    pub(crate) fn opened(stream: TcpStream) -> Self {
        let mut client = Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            head: String::new(),
            deflate: None,
        };
        let end = loop {
            if let Some(end) = client.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            client.fill().expect("an answer to the handshake");
        };
        client.start = end;
        client.head = String::from_utf8(client.buffer[..end].to_vec()).expect("an answer in text");
        let accept = format!("\r\nSec-WebSocket-Accept: {ACCEPT}\r\n");
        assert!(
            client.head.starts_with("HTTP/1.1 101 ") && client.head.contains(&accept),
            "{}",
            client.head
        );
        let agreed = client.extensions().map(Agreed::read);
        client.deflate = agreed.map(|agreed| Box::new(Deflate::new(agreed)));
        client
    }

    /// The extensions that the server has agreed to.
    pub(crate) fn extensions(&self) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "))
    }

    /// What was agreed about compression, if it was.
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        Some(self.deflate.as_ref()?.agreed)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A second half, for a thread that writes while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor")
    }

    /// Reads wait so long at most, from now on.
    pub(crate) fn patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).expect("a timeout");
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(opcode, payload));
    }

    /// What the frames of a compressed message have to carry. It has to be sent: later messages may refer to it.
    #[track_caller]
    pub(crate) fn deflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let deflate = self.deflate.as_mut().expect("compression was agreed");
        deflate.deflate(payload)
    }

    /// Sends a message compressed.
    #[track_caller]
    pub(crate) fn send_deflated(&mut self, opcode: u8, payload: &[u8]) {
        let compressed = self.deflate(payload);
        self.write(&raw_frame(FIN | RSV1 | opcode, &compressed));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// The next frame; an error of kind `UnexpectedEof` at the end of the connection.
    pub(crate) fn try_frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some((mut frame, len)) = parse(&self.buffer[self.start..]) {
                self.start += len;
                self.inflate(&mut frame);
                return Ok(frame);
            }
            self.fill()?;
        }
    }

    fn inflate(&mut self, frame: &mut Frame) {
        if let Some(compressed) = &frame.deflated {
            assert!(
                frame.fin && [TEXT, BINARY].contains(&frame.opcode),
                "whole messages are compressed: {frame:?}"
            );
            let deflate = self.deflate.as_mut().expect("compression was agreed");
            frame.payload = deflate.inflate(compressed);
        }
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame")
    }

    /// The next frame must be this.
    #[track_caller]
    pub(crate) fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.frame();
        assert!(frame.fin, "the server does not fragment");
        assert_eq!(frame.opcode, opcode, "opcode of {frame:?}");
        let differs = frame.payload.iter().zip(payload).position(|(a, b)| a != b);
        assert!(
            frame.payload == payload,
            "{} bytes instead of {}, the first difference at {differs:?}",
            frame.payload.len(),
            payload.len(),
        );
    }

    #[track_caller]
    pub(crate) fn expect_text(&mut self, text: &str) {
        let frame = self.frame();
        assert_eq!(
            (frame.opcode, String::from_utf8_lossy(&frame.payload)),
            (TEXT, text.into())
        );
    }

    /// Sends text and waits until it comes back.
    #[track_caller]
    pub(crate) fn round_trip(&mut self, text: &str) {
        self.text(text);
        self.expect_text(text);
    }

    /// The next frame must be a Close frame with this code. Gives its reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let frame = self.frame();
        let (found, reason) = frame.close_code().expect("a code");
        assert_eq!(found, code, "reason: {reason}");
        reason.to_owned()
    }

    /// Reads frames until the Close frame, which must have this code; gives the others.
    #[track_caller]
    pub(crate) fn until_close(&mut self, code: u16) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame();
            if frame.opcode == CLOSE {
                assert_eq!(frame.close_code().map(|(code, _)| code), Some(code));
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Answers a Close frame with the same code.
    pub(crate) fn answer_close(&mut self, code: u16) {
        self.send(CLOSE, &close_payload(code, ""));
    }

    /// The server ends the connection: FIN, and nothing before it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) {
        let end = self.try_frame().expect_err("no further frame");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof, "{end}");
    }

    /// The server ends the connection, with FIN or RST.
    #[track_caller]
    pub(crate) fn expect_cut(&mut self) {
        let end = self.try_frame().expect_err("no further frame");
        let cut = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(cut.contains(&end.kind()), "{end}");
    }

    /// Nothing comes for a while.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self, time: Duration) {
        self.patience(time);
        let end = self.try_frame().expect_err("no frame");
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock, "{end}");
        self.patience(PATIENCE);
    }

    /// Ends the writing side without a Close frame.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a FIN");
    }

    /// Cuts the connection with a RST.
    pub(crate) fn reset(self) {
        reset_when_dropped(&self.stream);
    }

    /// The whole closing handshake, begun here.
    #[track_caller]
    pub(crate) fn close(mut self, code: u16) {
        self.send(CLOSE, &close_payload(code, ""));
        self.expect_close(code);
        self.expect_end();
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let filled = self.buffer.len();
        self.buffer.resize(filled + (64 << 10), 0);
        let read = loop {
            match self.stream.read(&mut self.buffer[filled..]) {
                // A read with a time limit says so when the process was stopped and goes on, signal(7).
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read? {
            0 if filled > 0 => Err(io::Error::other("the connection ends within a frame")),
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A whole frame at the front of the bytes, and its length.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0x30, 0, "reserved bits are not set");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (len, at) = match second {
        126 => (u16::from_be_bytes(*rest.first_chunk()?).into(), 2),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 8),
        short => (u64::from(short), 0),
    };
    let shortest = header(first, len as usize, false).len();
    assert_eq!(shortest, 2 + at, "the length takes its shortest form");
    let payload = rest.get(at..at + len as usize)?;
    let frame = Frame {
        fin: first & FIN != 0,
        opcode: first & 0x0f,
        payload: payload.to_vec(),
        deflated: (first & RSV1 != 0).then(|| payload.to_vec()),
    };
    Some((frame, 2 + at + len as usize))
}
