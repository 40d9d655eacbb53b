//! The versions of the masking loop that this CPU can run, and the choice among them.
#![allow(unsafe_code)]

use std::fmt;
use std::sync::LazyLock;

use crate::arch;
use crate::kernel::{Mask, XorFn};

/// One compiled version of the masking loop. Holding the value proves that this CPU has the
/// instructions it is made of.
///
/// The free functions of this crate use the fastest version by themselves; naming one is for
/// tests, benchmarks and for telling in a log what was chosen.
#[derive(Clone, Copy)]
pub struct Version {
    name: &'static str,
    xor: XorFn,
}

impl Version {
    /// Every version that this CPU can run, the fastest first, the portable one last.
    pub fn all() -> impl Iterator<Item = Self> {
        arch::versions()
    }

    /// The version that the free functions use on this CPU: found once, on the first call.
    #[inline]
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Version> = LazyLock::new(|| {
            Version::all()
                .next()
                .expect("the portable version always runs")
        });
        *CHOSEN
    }

    /// The instruction set: `avx512`, `avx2`, `sse2`, `neon` or `portable`.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// [`crate::unmask`] by this version.
    #[inline]
    pub fn unmask(self, data: &mut [u8], key: [u8; 4], phase: usize) -> usize {
        self.unmask_is_ascii(data, key, phase);
        phase.wrapping_add(data.len()) & 3
    }

    /// [`crate::unmask_is_ascii`] by this version.
    #[inline]
    pub fn unmask_is_ascii(self, data: &mut [u8], key: [u8; 4], phase: usize) -> bool {
        let at = data.as_mut_ptr();
        // SAFETY: `at` is valid for reads and writes of `data.len()` bytes, source and destination
        // are the same address, and whoever made `self` proved that the CPU runs `xor`.
        unsafe { (self.xor)(at, at, data.len(), Mask::new(key, phase)) }
    }

    /// [`crate::unmask_append`] by this version.
    #[inline]
    pub fn unmask_append(
        self,
        buffer: &mut Vec<u8>,
        piece: &[u8],
        key: [u8; 4],
        phase: usize,
    ) -> bool {
        buffer.reserve(piece.len());
        let end = buffer.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `reserve` made room for `piece.len()` bytes at `end`, which `piece` cannot
        // overlap because `buffer` is borrowed mutably; `xor` initialises all of them before
        // `set_len` counts them. The CPU runs `xor`, as in `unmask_is_ascii`.
        unsafe {
            let ascii = (self.xor)(piece.as_ptr(), end, piece.len(), Mask::new(key, phase));
            buffer.set_len(buffer.len() + piece.len());
            ascii
        }
    }

    /// # Safety
    /// The CPU must have every instruction that `xor` was compiled for.
    pub(crate) unsafe fn new(name: &'static str, xor: XorFn) -> Self {
        Self { name, xor }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").field(&self.name).finish()
    }
}
