//! Machine words: runs everywhere, Miri included.
#![allow(unsafe_code)]

use crate::kernel::{self, Mask};
use crate::vector::{Pair, Vector};
use crate::version::Version;

/// Two words as the 16-byte register.
pub(crate) type Words = Pair<u64>;

/// The portable version alone.
pub(crate) fn versions() -> impl Iterator<Item = Version> {
    // SAFETY: `xor` uses no instruction that the target does not guarantee.
    std::iter::once(unsafe { Version::new("portable", xor) })
}

/// # Safety
/// As [`kernel::xor`].
unsafe fn xor(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
    // SAFETY: the caller's promise; machine words run everywhere.
    unsafe { kernel::xor::<Words, u64>(src, dst, len, mask) }
}

/// Implements [`Vector`] for an unsigned integer type.
macro_rules! word {
    ($word:ty, $splat:expr) => {
        impl Vector for $word {
            const WIDTH: usize = size_of::<$word>();

            #[inline(always)]
            unsafe fn splat(word: u32) -> Self {
                $splat(word)
            }

            #[inline(always)]
            unsafe fn load(src: *const u8) -> Self {
                // SAFETY: the caller's pointer is valid for `WIDTH` bytes.
                unsafe { src.cast::<Self>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn store(self, dst: *mut u8) {
                // SAFETY: the caller's pointer is valid for `WIDTH` bytes.
                unsafe { dst.cast::<Self>().write_unaligned(self) }
            }

            #[inline(always)]
            unsafe fn xor(self, other: Self) -> Self {
                self ^ other
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                self | other
            }

            #[inline(always)]
            unsafe fn is_ascii(self) -> bool {
                const HIGH_BITS: $word = <$word>::from_ne_bytes([0x80; size_of::<$word>()]);
                self & HIGH_BITS == 0
            }
        }
    };
}

word!(u32, |word| word);
word!(u64, |word| u64::from(word) << 32 | u64::from(word));
