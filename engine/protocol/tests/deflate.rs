//! Whatever is compressed comes back out of other makers' inflaters (RFC 7692 §7.2).

use corecast_protocol::deflate::{ContextDeflater, Deflater};
use flate2::{Decompress, FlushDecompress};

/// What §7.2.2 has the receiver append.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Inflates message after message on one stream that is never reset, as many clients do.
struct Receiver(Decompress);

impl Receiver {
    fn new(window_bits: u8) -> Self {
        Self(Decompress::new_with_window_bits(false, window_bits))
    }

    fn inflate(&mut self, message: &[u8]) -> Vec<u8> {
        let wire = [message, &TAIL].concat();
        let mut out = Vec::with_capacity(64);
        let mut taken = 0;
        while taken < wire.len() {
            let before = self.0.total_in();
            out.reserve(4096);
            self.0
                .decompress_vec(&wire[taken..], &mut out, FlushDecompress::Sync)
                .expect("a valid stream");
            taken += usize::try_from(self.0.total_in() - before).expect("small");
        }
        out
    }
}

#[test]
fn a_message_without_context() {
    let mut deflater = Deflater::new(6, 15);
    let mut receiver = Receiver::new(15);
    let payload = b"{\"price\":101.25}".repeat(10);
    for _ in 0..3 {
        let mut out = b"before".to_vec();
        assert!(deflater.deflate(&payload, &mut out));
        assert!(out.starts_with(b"before"));
        assert_eq!(receiver.inflate(&out[6..]), payload);
    }
    for short in [&b""[..], b"a", b"ab"] {
        let mut out = b"before".to_vec();
        assert!(!deflater.deflate(short, &mut out));
        assert_eq!(out, b"before");
    }
}

#[test]
fn messages_with_context() {
    let mut deflater = ContextDeflater::new(6, 12);
    let mut receiver = Receiver::new(12);
    let mut lengths = Vec::new();
    for payload in [
        &b"hello, context"[..],
        b"",
        b"hello, context",
        b"",
        b"",
        b"a",
    ] {
        let mut out = Vec::new();
        deflater.deflate(payload, &mut out);
        assert_eq!(receiver.inflate(&out), payload);
        lengths.push(out.len());
    }
    assert!(lengths[2] < lengths[0], "{lengths:?}");
}
