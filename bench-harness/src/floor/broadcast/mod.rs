//! The barest fan-out: bytes of a publisher go to every subscriber, and nothing else is done.
//!
//! It speaks just enough WebSocket for `corecast-bench broadcast` to drive it: the upgrade, and frames whose length
//! is known beforehand (`--broadcast SIZE`). Whoever asks for a path with `pub=` only publishes; all others
//! subscribe, and may publish, too.

pub(crate) mod epoll;
pub(crate) mod ring;

use std::io;

use corecast_protocol::handshake::accept_key;
use corecast_protocol::{Header, Opcode};

/// Bytes of a request head at most.
const MAX_HEAD: usize = 8 << 10;

/// The first byte of the only frames that are understood: a whole binary message.
const BINARY: u8 = 0x82;

/// The frames of a run: as they come in, and as they go out.
#[derive(Clone, Copy, Debug)]
struct Frames {
    /// Header of a client's frame, without the mask key.
    head_in: usize,
    payload: usize,
    header_out: Header,
}

/// A connection must be dropped: it closes, or sends what the floor does not understand.
#[derive(Debug, PartialEq, Eq)]
struct Dropped;

impl From<io::Error> for Dropped {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// What a connection has sent and what it is.
#[derive(Debug)]
struct Peer {
    stage: Stage,
    /// An incomplete request head or frame.
    pending: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Upgrading,
    Publisher,
    Subscriber,
}

impl Frames {
    /// Frames with so many payload bytes.
    fn new(payload: usize) -> Self {
        let header_out = Header::new(Opcode::Binary, None, payload);
        Self {
            head_in: usize::from(header_out.header_len),
            payload,
            header_out,
        }
    }

    fn len_in(&self) -> usize {
        self.head_in + 4 + self.payload
    }

    /// Appends to `out` what subscribers get for all whole frames at the front of `input`, and returns how many
    /// bytes those had.
    fn relay(&self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Dropped> {
        let mut used = 0;
        for frame in input.chunks_exact(self.len_in()) {
            if frame[0] != BINARY {
                return Err(Dropped);
            }
            out.extend_from_slice(&self.header_out.encode());
            let (head, payload) = frame.split_at(self.head_in + 4);
            let key = [
                head[self.head_in],
                head[self.head_in + 1],
                head[self.head_in + 2],
                head[self.head_in + 3],
            ];
            unmask(payload, key, out);
            used += frame.len();
        }
        match input.get(used) {
            Some(&first) if first != BINARY => Err(Dropped),
            _ => Ok(used),
        }
    }
}

/// Appends the unmasked payload (RFC 6455 §5.3), eight bytes at a time.
fn unmask(payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    let wide = u64::from(u32::from_ne_bytes(key));
    let wide = wide | wide << 32;
    let (words, rest) = payload.as_chunks::<8>();
    out.reserve(payload.len());
    for word in words {
        out.extend_from_slice(&(u64::from_ne_bytes(*word) ^ wide).to_ne_bytes());
    }
    out.extend(
        rest.iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            stage: Stage::Upgrading,
            pending: Vec::new(),
        }
    }
}

impl Peer {
    /// Takes in bytes of a request head. When it is complete: the answer.
    fn upgrade(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Dropped> {
        self.pending.extend_from_slice(bytes);
        if !self.pending.ends_with(b"\r\n\r\n") {
            return if self.pending.len() > MAX_HEAD {
                Err(Dropped)
            } else {
                Ok(None)
            };
        }
        let head = std::mem::take(&mut self.pending);
        let head = String::from_utf8(head).map_err(|_| Dropped)?;
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key")
                .then(|| value.trim())
        });
        let accept = accept_key(key.ok_or(Dropped)?);
        let target = head.split(' ').nth(1).unwrap_or_default();
        self.stage = if target.contains("pub=") {
            Stage::Publisher
        } else {
            Stage::Subscriber
        };
        let mut answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Accept: "
            .to_vec();
        answer.extend_from_slice(&accept);
        answer.extend_from_slice(b"\r\n\r\n");
        Ok(Some(answer))
    }

    /// Takes in bytes after the upgrade, and appends to `out` what subscribers get.
    fn publish(&mut self, frames: &Frames, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Dropped> {
        if self.pending.is_empty() {
            let used = frames.relay(bytes, out)?;
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
            let used = frames.relay(&self.pending, out)?;
            self.pending.drain(..used);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use corecast_protocol::encode_client;

    use super::*;

    #[test]
    fn frames_are_relayed_however_they_are_cut() {
        for size in [28, 64, 125, 126, 301] {
            let payloads: Vec<Vec<u8>> = (0..3).map(|n| vec![n; size]).collect();
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            let frames = Frames::new(size);
            for payload in &payloads {
                encode_client(&mut stream, Opcode::Binary, payload, [1, 2, 3, 4]);
                expected.extend_from_slice(&frames.header_out.encode());
                expected.extend_from_slice(payload);
            }
            for step in [1, 7, 100, stream.len()] {
                let (mut peer, mut out) = (Peer::default(), Vec::new());
                for piece in stream.chunks(step) {
                    peer.publish(&frames, piece, &mut out).unwrap();
                }
                assert_eq!(out, expected, "{size} in pieces of {step}");
            }
        }
    }

    #[test]
    fn what_it_does_not_understand_ends_a_connection() {
        let frames = Frames::new(64);
        let mut close = Vec::new();
        encode_client(&mut close, Opcode::Close, &[3, 232], [1, 2, 3, 4]);
        let mut peer = Peer::default();
        assert_eq!(peer.publish(&frames, &close, &mut Vec::new()), Err(Dropped));
        assert_eq!(peer.upgrade(&vec![b'x'; MAX_HEAD + 1]), Err(Dropped));
    }

    #[test]
    fn the_path_says_who_subscribes() {
        for (path, stage) in [
            ("/?pub=a", Stage::Publisher),
            ("/?sub=a", Stage::Subscriber),
        ] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let mut peer = Peer::default();
            let (first, rest) = head.as_bytes().split_at(40);
            assert_eq!(peer.upgrade(first), Ok(None));
            let answer = peer.upgrade(rest).unwrap().unwrap();
            assert!(
                answer
                    .windows(28)
                    .any(|part| part == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            );
            assert_eq!(peer.stage, stage);
        }
    }
}
