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

/// Appends the message, without the tail. `false` when that takes more than `limit` bytes; `out` is as it was then,
/// and the stream has to be reset.
pub(super) fn append(
    stream: &mut Deflate,
    payload: &[u8],
    out: &mut Vec<u8>,
    limit: usize,
) -> bool {
    let start = out.len();
    // One byte more than is allowed: when it is left, the flush was complete.
    out.resize(start + limit + TAIL.len() + 1, 0);
    let before = stream.total_out();
    let status = stream.compress(payload, &mut out[start..], DeflateFlush::SyncFlush);
    let written = usize::try_from(stream.total_out() - before).unwrap_or(usize::MAX);
    let is_complete = status == Ok(Status::Ok) && written <= limit + TAIL.len();
    if is_complete {
        out.truncate(start + written);
        debug_assert!(out.ends_with(&TAIL), "a sync flush ends with its tail");
        out.truncate(start + written - TAIL.len());
    } else {
        out.truncate(start);
    }
    is_complete
}

/// More than a message of this length takes, whatever it holds: zlib's own bound for any memory level, and what an
/// earlier message may have left of its last byte.
pub(super) fn bound(len: usize) -> usize {
    len + (len >> 3) + (len >> 8) + (len >> 9) + 32
}
