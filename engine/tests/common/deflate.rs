//! permessage-deflate as a client does it (RFC 7692), by two libraries that know nothing of each other.
//!
//! The first inflater of a connection reads everything that comes compressed and is never reset, as some clients do
//! whatever was agreed; it remembers no byte more than the window that was. The second is reset before each message where the
//! server promised to keep no context, and has to come to the same.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

/// What a flush ends with and a message leaves out (§7.2.1).
pub(crate) const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The parameters of the server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) server_no_context_takeover: bool,
    pub(crate) client_no_context_takeover: bool,
    pub(crate) server_max_window_bits: u8,
    pub(crate) client_max_window_bits: u8,
}

impl Agreed {
    /// Reads the value of `Sec-WebSocket-Extensions`.
    #[track_caller]
    pub(crate) fn read(answer: &str) -> Self {
        let mut parts = answer.split(';').map(str::trim);
        assert_eq!(parts.next(), Some("permessage-deflate"), "{answer}");
        let mut agreed = Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        };
        let bits = |value: &str| value.parse().expect("window bits");
        for part in parts {
            match part.split_once('=') {
                None if part == "server_no_context_takeover" => {
                    agreed.server_no_context_takeover = true;
                }
                None if part == "client_no_context_takeover" => {
                    agreed.client_no_context_takeover = true;
                }
                Some(("server_max_window_bits", value)) => {
                    agreed.server_max_window_bits = bits(value);
                }
                Some(("client_max_window_bits", value)) => {
                    agreed.client_max_window_bits = bits(value);
                }
                _ => panic!("{part:?} in {answer:?}"),
            }
        }
        agreed
    }
}

/// Both directions of a connection on which compression was agreed.
#[derive(Debug)]
pub(crate) struct Deflate {
    pub(crate) agreed: Agreed,
    window: Window,
    second: Decompress,
    deflater: Compress,
}

impl Deflate {
    pub(crate) fn new(agreed: Agreed) -> Self {
        // No library deflates with a window of 8 bits; whoever is held to one sends nothing compressed.
        let own_bits = agreed.client_max_window_bits.max(9);
        Self {
            agreed,
            window: Window::new(agreed.server_max_window_bits),
            second: Decompress::new(false),
            deflater: Compress::new_with_window_bits(Compression::default(), false, own_bits),
        }
    }

    /// The payload of a message whose frames together carried these bytes.
    #[track_caller]
    pub(crate) fn inflate(&mut self, compressed: &[u8]) -> Vec<u8> {
        assert!(
            !compressed.is_empty(),
            "an empty message has a block, too (§7.2.3.6)"
        );
        assert!(!compressed.ends_with(&TAIL), "the tail is left out");
        let input = [compressed, &TAIL].concat();
        let message = self.window.inflate(&input);
        if self.agreed.server_no_context_takeover {
            self.second.reset(false);
        }
        let mut again = Vec::with_capacity(message.len() + 1);
        let status = self
            .second
            .decompress_vec(&input, &mut again, FlushDecompress::Sync);
        assert_eq!(status.expect("valid DEFLATE"), Status::Ok, "no final block");
        assert!(again == message, "it is not what was agreed");
        message
    }

    /// What a message's frames have to carry together.
    pub(crate) fn deflate(&mut self, message: &[u8]) -> Vec<u8> {
        if self.agreed.client_no_context_takeover {
            self.deflater.reset();
        }
        deflate(&mut self.deflater, message)
    }
}

/// A message compressed by itself.
pub(crate) fn deflated(message: &[u8]) -> Vec<u8> {
    deflate(&mut Compress::new(Compression::default(), false), message)
}

fn deflate(deflater: &mut Compress, message: &[u8]) -> Vec<u8> {
    if message.is_empty() {
        // §7.2.3.6: a second flush in a row would write nothing.
        return vec![0];
    }
    // Room for what cannot be compressed, so that one flush is enough.
    let mut out = Vec::with_capacity(message.len() + message.len() / 8 + 64);
    let status = deflater.compress_vec(message, &mut out, FlushCompress::Sync);
    assert_eq!(status.expect("a stream of ours"), Status::Ok);
    assert!(out.ends_with(&TAIL), "a flush ends so");
    out.truncate(out.len() - TAIL.len());
    out
}

/// An inflater that remembers so many bytes and no more.
struct Window {
    state: Box<DecompressorOxide>,
    /// What it made last, in a ring.
    ring: Vec<u8>,
    at: usize,
}

impl Window {
    fn new(bits: u8) -> Self {
        Self {
            state: Box::default(),
            ring: vec![0; 1 << bits],
            at: 0,
        }
    }

    #[track_caller]
    fn inflate(&mut self, mut input: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        loop {
            let flags = inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
            let (status, read, made) =
                decompress(&mut self.state, input, &mut self.ring, self.at, flags);
            input = &input[read..];
            message.extend_from_slice(&self.ring[self.at..self.at + made]);
            self.at = (self.at + made) % self.ring.len();
            match status {
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::NeedsMoreInput => {
                    assert!(input.is_empty());
                    return message;
                }
                wrong => panic!("no valid DEFLATE, or beyond the window: {wrong:?}"),
            }
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window of {}", self.ring.len())
    }
}

#[test]
fn a_window_that_is_too_large_is_noticed() {
    let far = super::payload::pattern(1, 2000).repeat(2);
    let mut compressed = deflated(&far);
    assert!(
        compressed.len() < 2500,
        "it refers to what is 2,000 bytes before"
    );
    compressed.extend(TAIL);
    assert_eq!(Window::new(11).inflate(&compressed), far);
    let held = std::panic::catch_unwind(|| Window::new(10).inflate(&compressed));
    assert!(held.is_err(), "1,024 bytes are kept");
}
