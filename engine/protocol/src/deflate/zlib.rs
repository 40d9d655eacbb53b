//! A stream of zlib-rs that ends each message as RFC 7692 §7.2.1 says.

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Method, Status, Strategy};

/// What a sync flush ends with, and what §7.2.1 has taken off the message: the lengths of an empty stored block.
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// A raw stream (RFC 1951), with no earlier data. `memory` is zlib's level of that name.
pub(super) fn stream(level: u8, window_bits: u8, memory: i32) -> Deflate {
    check(level, window_bits);
    Deflate::new_with_config(DeflateConfig {
        level: i32::from(level),
        method: Method::Deflated,
        // Negative: without a header.
        window_bits: -i32::from(window_bits),
        mem_level: memory,
        strategy: Strategy::Default,
    })
}

/// # Panics
/// When there is no such level or window.
pub(super) fn check(level: u8, window_bits: u8) {
    assert!((1..=9).contains(&level), "level {level} is not in 1..=9");
    assert!(
        (9..=15).contains(&window_bits),
        "{window_bits} window bits are not in 9..=15"
    );
}

/// Appends the message, without the tail.
pub(super) fn append(stream: &mut Deflate, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // Always room for all of it: a stream that is reset with output left in it has less of a buffer for the next (zlib-rs
    // 0.6.8), and panics when that does not do.
    out.resize(start + bound(payload.len()), 0);
    let before = stream.total_out();
    let status = stream.compress(payload, &mut out[start..], DeflateFlush::SyncFlush);
    let written = (stream.total_out() - before) as usize;
    assert!(
        status == Ok(Status::Ok) && start + written < out.len(),
        "deflate keeps to its bound: {status:?}, {written} bytes of {}",
        payload.len()
    );
    out.truncate(start + written);
    debug_assert!(out.ends_with(&TAIL), "a sync flush ends with its tail");
    out.truncate(start + written - TAIL.len());
}

/// More than a message of this length takes with its tail, whatever it holds: zlib's own bound for any window and
/// memory level, and some for the flush.
fn bound(len: usize) -> usize {
    len + (len >> 3) + (len >> 8) + (len >> 9) + 32
}
