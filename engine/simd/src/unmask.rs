//! The calls for payload bytes, with the choice between the inlined short path and the
//! dispatched long one.
#![allow(unsafe_code)]

use crate::arch::Baseline;
use crate::kernel::{self, Mask, SHORT};
use crate::version::Version;

/// XORs `data` in place with the masking key, starting at key byte `phase` (0 to 3; higher bits
/// are ignored), and returns the phase after it, from which the next piece of the same frame
/// continues (RFC 6455 §5.3).
///
/// ```
/// let (key, mut payload) = ([1, 2, 3, 4], *b"Hello, world");
/// let phase = corecast_simd::unmask(&mut payload[..5], key, 0);
/// corecast_simd::unmask(&mut payload[5..], key, phase);
/// corecast_simd::unmask(&mut payload, key, 0); // masking twice gives the bytes back
/// assert_eq!(&payload, b"Hello, world");
/// ```
#[inline]
pub fn unmask(data: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    unmask_is_ascii(data, key, phase);
    phase.wrapping_add(data.len()) & 3
}

/// As [`unmask`], and tells whether all unmasked bytes are ASCII (an empty slice is).
///
/// The answer costs nothing measurable beside the XOR, and ASCII needs no UTF-8 pass.
#[inline]
pub fn unmask_is_ascii(data: &mut [u8], key: [u8; 4], phase: usize) -> bool {
    if data.len() >= SHORT {
        return Version::chosen().unmask_is_ascii(data, key, phase);
    }
    let at = data.as_mut_ptr();
    // SAFETY: `at` is valid for reads and writes of `data.len()` < SHORT bytes, source and
    // destination are the same address, and every CPU of this target runs `Baseline`.
    unsafe { kernel::short::<Baseline>(at, at, data.len(), Mask::new(key, phase)) }
}

/// Appends `piece` unmasked to `buffer`, in one pass; tells whether the appended bytes are all
/// ASCII.
///
/// For a masked piece that has to be copied anyway, such as the fragment of a message, and for
/// a client that masks a payload which it only borrows. Grows `buffer` as `Vec::reserve` does.
#[inline]
pub fn unmask_append(buffer: &mut Vec<u8>, piece: &[u8], key: [u8; 4], phase: usize) -> bool {
    Version::chosen().unmask_append(buffer, piece, key, phase)
}
