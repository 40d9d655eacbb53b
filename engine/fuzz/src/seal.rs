//! Finished streams that are made to go on (RFC 1951 §3.2.3, RFC 7692 §7.2.1).
//!
//! Input: whether the rest is a stream or what libdeflate is to compress, and at which level; the rest.

use corecast_protocol::deflate::seal;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use crate::input::Reader;

/// Streams that hold more are not read: a few bytes can stand for a megabyte.
const MAX_HELD: usize = 1 << 16;

const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Seals the bytes behind others.
///
/// # Panics
/// When more is changed than may be, or the stream was a good one and holds something else now.
pub fn check(data: &[u8]) {
    let mut reader = Reader::new(data);
    let settings = reader.byte();
    if settings & 1 == 0 {
        check_stream(reader.rest());
    } else {
        let level = CompressionLvl::new(i32::from(1 + settings % 9)).expect("1 to 9");
        let mut compressor = Compressor::new(level);
        let payload = reader.rest();
        let mut stream = vec![0; compressor.deflate_compress_bound(payload.len())];
        let length = compressor
            .deflate_compress(payload, &mut stream)
            .expect("within its bound");
        check_stream(&stream[..length]);
    }
}

fn check_stream(stream: &[u8]) {
    let mut out = [b"before", stream].concat();
    if !seal(&mut out, 6) {
        assert_eq!(out, [b"before", stream].concat(), "nothing is changed");
        return;
    }
    let sealed = out.strip_prefix(b"before").expect("what was there stays");
    let (same, added) = sealed.split_at(stream.len());
    assert_eq!(same[0], stream[0] & !1);
    assert_eq!(same[1..], stream[1..]);
    assert!(added.is_empty() || added == [0], "{added:?}");
    if let Some(payload) = finished(stream)
        && !has_ones_behind(stream, &payload)
    {
        assert_eq!(twice(sealed, payload.len()), [&payload[..]; 2]);
    }
}

/// What the stream holds if it is one, and nothing follows it.
fn finished(stream: &[u8]) -> Option<Vec<u8>> {
    let mut inflater = Decompress::new(false);
    let mut out = Vec::with_capacity(MAX_HELD);
    let status = inflater.decompress_vec(stream, &mut out, FlushDecompress::Finish);
    (matches!(status, Ok(Status::StreamEnd)) && inflater.total_in() == stream.len() as u64)
        .then_some(out)
}

/// Whether the last byte is not filled up with zeros: then a one can be taken from it and nothing changes.
fn has_ones_behind(stream: &[u8], payload: &[u8]) -> bool {
    let mut without = stream.to_vec();
    let last = without.last_mut().expect("a finished stream");
    match last.checked_ilog2() {
        Some(bit) => *last -= 1 << bit,
        None => return false,
    }
    finished(&without).as_deref() == Some(payload)
}

/// The sealed stream as a message, and once more as the next.
fn twice(sealed: &[u8], length: usize) -> [Vec<u8>; 2] {
    let wire = [sealed, &TAIL].concat();
    let mut inflater = Decompress::new(false);
    [1, 2].map(|count| {
        let mut out = Vec::with_capacity(length + 1);
        inflater
            .decompress_vec(&wire, &mut out, FlushDecompress::Sync)
            .expect("a valid stream");
        assert_eq!(inflater.total_in(), wire.len() as u64 * count);
        out
    })
}
