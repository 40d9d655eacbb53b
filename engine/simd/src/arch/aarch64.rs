//! NEON.
//!
//! SAFETY of every intrinsic: the trait's caller promises a pointer that is valid for 16 bytes, and
//! NEON is enabled on every target that this file is compiled for; loads and stores of bytes need
//! no alignment.
#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::portable;
use crate::kernel::{self, Mask};
use crate::vector::Vector;
use crate::version::Version;

/// NEON is part of ARMv8-A itself.
pub(crate) type Baseline = uint8x16_t;

/// NEON, then portable.
pub(crate) fn versions() -> impl Iterator<Item = Version> {
    Neon::new()
        .map(Neon::version)
        .into_iter()
        .chain(portable::versions())
}

/// Proof that this CPU has NEON.
#[derive(Clone, Copy)]
struct Neon(());

impl Neon {
    fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    fn version(self) -> Version {
        unsafe fn xor(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
            // SAFETY: the caller's promise, which includes NEON.
            unsafe { kernel::xor::<uint8x16_t, uint8x16_t>(src, dst, len, mask) }
        }
        // SAFETY: `self` exists only where the CPU has NEON.
        unsafe { Version::new("neon", xor) }
    }
}

impl Vector for uint8x16_t {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: see the top of this file.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(word)) }
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: see the top of this file.
        unsafe { vld1q_u8(src) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: see the top of this file.
        unsafe { vst1q_u8(dst, self) }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: see the top of this file.
        unsafe { veorq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see the top of this file.
        unsafe { vorrq_u8(self, other) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: see the top of this file.
        unsafe { vmaxvq_u8(self) < 0x80 }
    }
}
