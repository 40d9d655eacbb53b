//! What the masking loop needs of a register.
#![allow(unsafe_code)]

/// A register, or several used as one: a run of bytes that is loaded, XORed and stored at once.
///
/// Methods are `inline(always)`, so that they compile with the instruction set of the version
/// that they end up in.
///
/// # Safety
/// That holds for every method: the CPU must have the instructions of the implementing type.
/// Pointers need no alignment and must be valid for `WIDTH` bytes.
pub(crate) trait Vector: Copy {
    /// Bytes per register: a power of two, and at least the four of a masking key, so that
    /// registers of one run all start at the same key byte.
    const WIDTH: usize;

    /// `word` repeated, in memory order.
    unsafe fn splat(word: u32) -> Self;
    /// The `WIDTH` bytes at `src`.
    unsafe fn load(src: *const u8) -> Self;
    /// Writes the `WIDTH` bytes to `dst`.
    unsafe fn store(self, dst: *mut u8);
    /// Bitwise exclusive or.
    unsafe fn xor(self, other: Self) -> Self;
    /// Bitwise or.
    unsafe fn or(self, other: Self) -> Self;
    /// Whether the high bit of every byte is clear.
    unsafe fn is_ascii(self) -> bool;
}

/// Two neighbouring registers used as one of twice the width.
#[derive(Clone, Copy)]
pub(crate) struct Pair<V>(V, V);

impl<V: Vector> Pair<V> {
    /// Both halves ORed: ASCII if and only if the pair is.
    ///
    /// # Safety
    /// As for [`Vector`].
    #[inline(always)]
    pub(crate) unsafe fn folded(self) -> V {
        // SAFETY: the caller's promise for the pair is the promise for its half.
        unsafe { self.0.or(self.1) }
    }
}

// SAFETY of all blocks below: a pair needs the CPU that its half needs, and a pointer valid for
// its width is valid for a half at its start and for a half behind that.
impl<V: Vector> Vector for Pair<V> {
    const WIDTH: usize = 2 * V::WIDTH;

    #[inline(always)]
    unsafe fn splat(word: u32) -> Self {
        // SAFETY: see above.
        unsafe { Self(V::splat(word), V::splat(word)) }
    }

    #[inline(always)]
    unsafe fn load(src: *const u8) -> Self {
        // SAFETY: see above.
        unsafe { Self(V::load(src), V::load(src.add(V::WIDTH))) }
    }

    #[inline(always)]
    unsafe fn store(self, dst: *mut u8) {
        // SAFETY: see above.
        unsafe {
            self.0.store(dst);
            self.1.store(dst.add(V::WIDTH));
        }
    }

    #[inline(always)]
    unsafe fn xor(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(self.0.xor(other.0), self.1.xor(other.1)) }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: see above.
        unsafe { Self(self.0.or(other.0), self.1.or(other.1)) }
    }

    #[inline(always)]
    unsafe fn is_ascii(self) -> bool {
        // SAFETY: see above.
        unsafe { self.folded().is_ascii() }
    }
}
