//! The masking loop, once for all instruction sets.
//!
//! No remainder loops: a length that is no multiple of the register is covered by a first and
//! a last register that overlap. Both are loaded before either is stored, so that in place too each
//! byte is XORed exactly once, and the overlap is written twice with the same value.
#![allow(unsafe_code)]

use crate::vector::{Pair, Vector};

/// Lengths under this are done with 16-byte registers, inlined in the caller. It is the width
/// of the widest register, so that the dispatched versions always have one to fill.
pub(crate) const SHORT: usize = 64;

/// The shape of every compiled version: [`xor`] for one instruction set.
///
/// # Safety
/// The CPU must have that instruction set; the pointers as for [`xor`].
pub(crate) type XorFn = unsafe fn(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool;

/// The masking key, turned so that its first byte meets the next payload byte (RFC 6455 §5.3).
#[derive(Clone, Copy)]
pub(crate) struct Mask(u32);

impl Mask {
    /// The key starting at its byte `phase & 3`.
    #[inline(always)]
    pub(crate) fn new(key: [u8; 4], phase: usize) -> Self {
        Self(u32::from_le_bytes(key)).after(phase)
    }

    /// The mask for the byte that follows `bytes` masked ones.
    #[inline(always)]
    fn after(self, bytes: usize) -> Self {
        Self(self.0.rotate_right(8 * (bytes & 3) as u32))
    }

    /// Four mask bytes as a word in memory order, whatever the endianness.
    #[inline(always)]
    fn word(self) -> u32 {
        self.0.to_le()
    }
}

/// XORs `len` bytes from `src` with the mask into `dst`, and tells whether all results are
/// ASCII.
///
/// # Safety
/// `src` is valid for reads and `dst` for writes of `len` bytes; the two ranges are the same
/// or do not overlap. The CPU has the instructions of `Narrow` and `Wide`.
#[inline(always)]
pub(crate) unsafe fn xor<Narrow: Vector, Wide: Vector>(
    src: *const u8,
    dst: *mut u8,
    len: usize,
    mask: Mask,
) -> bool {
    const { assert!(Wide::WIDTH <= SHORT) };
    // SAFETY: the caller's promises are the callees'; the length each one asks for is tested.
    unsafe {
        match len {
            _ if len < SHORT => short::<Narrow>(src, dst, len, mask),
            _ if len <= 2 * Wide::WIDTH => ends::<Wide>(src, dst, len, mask),
            _ if len <= 4 * Wide::WIDTH => ends::<Pair<Wide>>(src, dst, len, mask),
            _ if len <= 8 * Wide::WIDTH => ends::<Block<Wide>>(src, dst, len, mask),
            _ => stream::<Wide>(src, dst, len, mask),
        }
    }
}

/// [`xor`] for fewer than [`SHORT`] bytes.
///
/// # Safety
/// As [`xor`], and `len < SHORT`.
#[inline(always)]
pub(crate) unsafe fn short<V: Vector>(
    src: *const u8,
    dst: *mut u8,
    len: usize,
    mask: Mask,
) -> bool {
    const { assert!(V::WIDTH == 16) };
    // SAFETY: the caller's promises are the callees'; the length each one asks for is tested.
    unsafe {
        match len {
            32.. => ends::<Pair<V>>(src, dst, len, mask),
            16.. => ends::<V>(src, dst, len, mask),
            8.. => ends::<u64>(src, dst, len, mask),
            4.. => ends::<u32>(src, dst, len, mask),
            _ => bytes(src, dst, len, mask),
        }
    }
}

/// [`xor`] for the longest run of lengths that two registers cover.
///
/// # Safety
/// As [`xor`], and `V::WIDTH <= len <= 2 * V::WIDTH`.
#[inline(always)]
unsafe fn ends<V: Vector>(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
    debug_assert!(V::WIDTH <= len && len <= 2 * V::WIDTH);
    let last = len - V::WIDTH;
    // SAFETY: both registers lie within `len` bytes because `V::WIDTH <= len`, and together
    // cover them all because `len <= 2 * V::WIDTH`.
    unsafe {
        let head = V::load(src).xor(V::splat(mask.word()));
        let tail = V::load(src.add(last)).xor(V::splat(mask.after(last).word()));
        head.store(dst);
        tail.store(dst.add(last));
        head.or(tail).is_ascii()
    }
}

/// Four registers: enough independent loads to hide their latency, and few enough that a step, its
/// sum and the tail, one block each, fit the 16 registers of SSE2 and AVX2 beside mask and head.
type Block<V> = Pair<Pair<V>>;

/// What a store must not straddle, because it then costs twice.
const CACHE_LINE: usize = 64;

/// [`xor`] for any length from one block up.
///
/// Aligns its stores: a payload rarely starts aligned behind its 6, 8 or 14 bytes of header. In
/// place, that aligns the loads too.
///
/// # Safety
/// As [`xor`], and `len` is at least the width of a [`Block`].
#[inline(always)]
unsafe fn stream<V: Vector>(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
    debug_assert!(len >= Block::<V>::WIDTH);
    let alignment = if Pair::<V>::WIDTH < CACHE_LINE {
        Pair::<V>::WIDTH
    } else {
        CACHE_LINE
    };
    let last = len - Block::<V>::WIDTH;
    let unaligned = dst.addr().wrapping_neg() & (alignment - 1);
    // SAFETY: `head` and `tail` lie within `len` because a block does. A step at `at < last`
    // ends before `len`. Every byte is stored: `unaligned` is less than the width of `head`, which
    // thus covers those before the first step, and the steps end at or behind `last`, where `tail`
    // begins. In place, each load sees original bytes: the steps do not overlap each other, and
    // `head` and `tail`, which overlap them, are loaded before and stored after all of them.
    unsafe {
        let head = Pair::<V>::load(src).xor(Pair::splat(mask.word()));
        let tail = Block::<V>::load(src.add(last)).xor(Block::splat(mask.after(last).word()));

        // A whole block of sums: one register for all would be a chain that each step waits for.
        let mut seen = tail;
        let word = Block::splat(mask.after(unaligned).word());
        let mut at = unaligned;
        while at < last {
            let step = Block::<V>::load(src.add(at)).xor(word);
            step.store(dst.add(at));
            seen = seen.or(step);
            at += Block::<V>::WIDTH;
        }

        head.store(dst);
        tail.store(dst.add(last));
        head.or(seen.folded()).is_ascii()
    }
}

/// [`xor`] for the few bytes that fill no word.
///
/// # Safety
/// As [`xor`].
#[inline(always)]
unsafe fn bytes(src: *const u8, dst: *mut u8, len: usize, mask: Mask) -> bool {
    let mut seen = 0;
    for i in 0..len {
        // SAFETY: `i < len`.
        unsafe {
            let byte = *src.add(i) ^ mask.after(i).0 as u8;
            *dst.add(i) = byte;
            seen |= byte;
        }
    }
    seen.is_ascii()
}
