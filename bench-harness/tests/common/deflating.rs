//! A small server that agrees to compression, or to what a test wants, and leaves the frames to the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tungstenite::http::{HeaderValue, Request, Response};

use super::servers::{accept_on, listener};

/// The answer of a server that agrees to what the harness offers.
pub(crate) const YES: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The first byte of a whole compressed text or binary message.
pub(crate) const COMPRESSED_TEXT: u8 = 0xc1;
pub(crate) const COMPRESSED_BINARY: u8 = 0xc2;

/// No message of a test is larger.
const MOST: usize = 128 << 10;

/// A connection after the opening handshake.
pub(crate) struct Conn {
    stream: TcpStream,
}

/// Serves on a free port, each connection on a thread of its own, with `extensions` in the answer to its handshake.
pub(crate) fn serve(
    extensions: Option<&'static str>,
    talk: impl Fn(Conn) + Send + Sync + 'static,
) -> SocketAddr {
    accept_on(listener(), move |_, stream| {
        if let Some((conn, ())) = open(stream, extensions, |_| ()) {
            talk(conn);
        }
    })
}

/// A server that inflates what is published, compresses it once, and sends it to all but those who asked for a path with
/// `pub`; `change` gets the subscriber's number, the message and its frame.
pub(crate) fn broadcasting(
    change: impl Fn(usize, &[u8], Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> SocketAddr {
    let subscribers = Mutex::new(Vec::<TcpStream>::new());
    accept_on(listener(), move |_, stream| {
        let joining = |path: &str| (!path.contains("pub")).then(|| subscribers.lock().unwrap());
        let Some((mut conn, joining)) = open(stream, Some(YES), joining) else {
            return;
        };
        // Held until here: whoever has the answer to its handshake misses nothing.
        if let Some(mut subscribers) = joining {
            subscribers.push(conn.stream.try_clone().unwrap());
        }
        while let Some((first, payload)) = conn.read() {
            let message = inflated(&payload);
            let frame = frame(first, &deflated(&message));
            for (number, stream) in subscribers.lock().unwrap().iter_mut().enumerate() {
                // Whoever has left is no concern of a test's.
                let _ = stream.write_all(&change(number, &message, frame.clone()));
            }
        }
    })
}

/// Reads the request, calls `before` with its path, and answers.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn open<T>(
    stream: TcpStream,
    extensions: Option<&'static str>,
    before: impl FnOnce(&str) -> T,
) -> Option<(Conn, T)> {
    let mut made = None;
    let looked = |request: &Request<()>, mut response: Response<()>| {
        made = Some(before(&request.uri().to_string()));
        if let Some(extensions) = extensions {
            let value = HeaderValue::from_static(extensions);
            let headers = response.headers_mut();
            headers.insert("Sec-WebSocket-Extensions", value);
        }
        Ok(response)
    };
    let peer = tungstenite::accept_hdr(stream, looked).ok()?;
    let stream = peer.get_ref().try_clone().unwrap();
    Some((Conn { stream }, made?))
}

impl Conn {
    /// The next frame: its first byte, and its payload without the mask. `None` at the end; a Close frame is answered.
    pub(crate) fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = self.bytes()?;
        let len = match second & 0x7f {
            126 => u16::from_be_bytes(self.bytes()?).into(),
            127 => u64::from_be_bytes(self.bytes()?) as usize,
            len => len.into(),
        };
        let key: [u8; 4] = self.bytes()?;
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload).ok()?;
        for (byte, key) in payload.iter_mut().zip(key.into_iter().cycle()) {
            *byte ^= key;
        }
        if first == 0x88 {
            self.write(0x88, &payload);
            return None;
        }
        Some((first, payload))
    }

    /// Sends a frame. Whoever has left is no concern of a test's.
    pub(crate) fn write(&mut self, first: u8, payload: &[u8]) {
        let _ = self.stream.write_all(&frame(first, payload));
    }

    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// An unmasked frame that begins with this byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = super::hub::frame(payload);
    frame[0] = first;
    frame
}

/// The payload of a compressed message, at a level that the harness does not use.
pub(crate) fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 * MOST);
    let mut state = Compress::new(Compression::new(1), false);
    state
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// The message of a compressed payload.
pub(crate) fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MOST);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut state = Decompress::new(false);
    state
        .decompress_vec(&whole, &mut out, FlushDecompress::Sync)
        .unwrap();
    assert_eq!(state.total_in(), whole.len() as u64);
    out
}
