//! AVX-512, AVX2 and SSE2.
//!
//! SAFETY of every intrinsic in a [`Vector`] implementation: the trait's caller promises the
//! instruction set of the register, and a pointer that is valid for its width; the `loadu` and
//! `storeu` forms need no alignment.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::portable;
use crate::kernel::{self, Mask};
use crate::vector::Vector;
use crate::version::Version;

/// SSE2 is part of x86-64 itself.
pub(crate) type Baseline = __m128i;

/// Those that this CPU has, widest registers first.
pub(crate) fn versions() -> impl Iterator<Item = Version> {
    let avx512 = Avx512::new().map(Avx512::version);
    let avx2 = Avx2::new().map(Avx2::version);
    avx512
        .into_iter()
        .chain(avx2)
        .chain([Sse2::new().version()])
        .chain(portable::versions())
}

/// Proof that this CPU has AVX-512 without a price on it.
#[derive(Clone, Copy)]
struct Avx512(());

impl Avx512 {
    /// Asks for VBMI2 beside the F that the loop uses: it came with Ice Lake and Zen 4, the first
    /// whose clock hardly drops for 512-bit integer work; a drop would slow everything else on the
    /// core.
    fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vbmi2");
        has.then_some(Self(()))
    }

    fn version(self) -> Version {
        #[target_feature(enable = "avx512f")]
        unsafe fn xor(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
            // SAFETY: the caller's promise; AVX-512F is enabled here, and implies SSE2.
            unsafe { kernel::xor::<__m128i, __m512i>(src, dst, len, mask) }
        }
        // SAFETY: `self` exists only where the CPU has AVX-512F.
        unsafe { Version::new("avx512", xor) }
    }
}

/// Proof that this CPU has AVX2.
#[derive(Clone, Copy)]
struct Avx2(());

impl Avx2 {
    fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    fn version(self) -> Version {
        #[target_feature(enable = "avx2")]
        unsafe fn xor(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
            // SAFETY: the caller's promise; AVX2 is enabled here, and implies SSE2.
            unsafe { kernel::xor::<__m128i, __m256i>(src, dst, len, mask) }
        }
        // SAFETY: `self` exists only where the CPU has AVX2.
        unsafe { Version::new("avx2", xor) }
    }
}

/// Proof that this CPU has SSE2.
#[derive(Clone, Copy)]
struct Sse2(());

impl Sse2 {
    /// Not optional: the x86-64 ABI passes floats in SSE registers.
    fn new() -> Self {
        Self(())
    }

    fn version(self) -> Version {
        unsafe fn xor(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
            // SAFETY: the caller's promise; SSE2 is always enabled on x86-64.
            unsafe { kernel::xor::<__m128i, __m128i>(src, dst, len, mask) }
        }
        // SAFETY: every x86-64 CPU has SSE2.
        unsafe { Version::new("sse2", xor) }
    }
}

/// Implements [`Vector`] for a register by the intrinsics named.
macro_rules! register {
    ($register:ty, $splat:ident, $load:ident, $store:ident, $xor:ident, $or:ident, $is_ascii:expr) => {
        impl Vector for $register {
            const WIDTH: usize = size_of::<$register>();

            #[inline(always)]
            unsafe fn splat(word: u32) -> Self {
                // SAFETY: see the top of this file.
                unsafe { $splat(word.cast_signed()) }
            }

            #[inline(always)]
            unsafe fn load(src: *const u8) -> Self {
                // SAFETY: see the top of this file.
                unsafe { $load(src.cast()) }
            }

            #[inline(always)]
            unsafe fn store(self, dst: *mut u8) {
                // SAFETY: see the top of this file.
                unsafe { $store(dst.cast(), self) }
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                // SAFETY: see the top of this file.
                unsafe { $xor(self, other) }
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                // SAFETY: see the top of this file.
                unsafe { $or(self, other) }
            }

            #[inline(always)]
            unsafe fn is_ascii(self) -> bool {
                // SAFETY: see the top of this file.
                unsafe { $is_ascii(self) }
            }
        }
    };
}

register!(
    __m128i,
    _mm_set1_epi32,
    _mm_loadu_si128,
    _mm_storeu_si128,
    _mm_xor_si128,
    _mm_or_si128,
    |it| _mm_movemask_epi8(it) == 0
);
register!(
    __m256i,
    _mm256_set1_epi32,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_xor_si256,
    _mm256_or_si256,
    |it| _mm256_movemask_epi8(it) == 0
);
register!(
    __m512i,
    _mm512_set1_epi32,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
    _mm512_xor_si512,
    _mm512_or_si512,
    // By words, because a test by bytes would need AVX-512BW.
    |it| _mm512_test_epi32_mask(it, _mm512_set1_epi32(0x8080_8080_u32.cast_signed())) == 0
);
