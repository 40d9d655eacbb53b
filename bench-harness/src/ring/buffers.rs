//! The provided-buffer ring: where multishot receives put their bytes.
//!
//! On Linux 6.12 and later the buffers are consumed incrementally (`IOU_PBUF_RING_INC`): a receive
//! takes only the bytes it needs, so a few large buffers, which stay in the cache, serve any number
//! of connections, and large messages land in large pieces. On older kernels every receive
//! takes a whole buffer.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{Submitter, cqueue};

/// Buffer group number of the ring's only group.
pub(super) const GROUP: u16 = 0;

/// `IOU_PBUF_RING_INC` (linux/io_uring.h).
const INCREMENTAL: u16 = 2;

/// 32 × 64 KiB = 2 MiB: what a core's second-level cache holds. A power of two.
const LARGE: Shape = Shape {
    count: 32,
    size: 64 << 10,
};

/// For kernels without incremental buffers: as many receives per turn as there are buffers, so
/// more and smaller ones. 1024 × 4 KiB = 4 MiB. A power of two.
const SMALL: Shape = Shape {
    count: 1024,
    size: 4 << 10,
};

/// The kernel wants the ring of buffer entries on a page boundary; buffers profit too.
const PAGE: usize = 4096;

/// A piece of a receive buffer, lent until it is given back.
#[derive(Debug)]
#[must_use = "the kernel runs out of buffers when pieces are not given back"]
pub(crate) struct Lent {
    buffer: u16,
    start: u32,
    len: u32,
}

impl Lent {
    /// Bytes in it; at least 1.
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }
}

/// The registered ring, its memory, and who holds which part of it.
///
/// A buffer goes back to the kernel when the kernel has said that it will put nothing more into it
/// and all pieces of it have been given back.
pub(super) struct BufferRing {
    shape: Shape,
    incremental: bool,
    entries: Memory,
    storage: Memory,
    tail: u16,
    holders: Vec<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    count: u16,
    size: u32,
}

#[derive(Clone, Copy, Default)]
struct Holder {
    /// Bytes of the buffer filled so far.
    filled: u32,
    /// Pieces out on loan.
    pieces: u32,
    /// The kernel puts nothing more into this buffer.
    finished: bool,
}

impl BufferRing {
    /// Registers incremental buffers, or plain ones where the kernel does not know them.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        Self::register_as(submitter, LARGE, true).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => Self::register_plain(submitter),
            _ => Err(error),
        })
    }

    /// Registers buffers of which every receive takes a whole one.
    pub(super) fn register_plain(submitter: &Submitter<'_>) -> io::Result<Self> {
        Self::register_as(submitter, SMALL, false)
    }

    fn register_as(submitter: &Submitter<'_>, shape: Shape, incremental: bool) -> io::Result<Self> {
        let count = usize::from(shape.count);
        let mut ring = Self {
            shape,
            incremental,
            entries: Memory::new(count * size_of::<BufRingEntry>()),
            storage: Memory::new(count * shape.size as usize),
            tail: 0,
            holders: vec![Holder::default(); count],
        };
        let address = ring.entries.start.as_ptr() as u64;
        let flags = if incremental { INCREMENTAL } else { 0 };
        // SAFETY: the memory holds `count` entries, is page-aligned, and belongs to `ring`, which
        // unregisters it (`unregister`) before it is freed.
        unsafe {
            submitter.register_buf_ring_with_flags(address, shape.count, GROUP, flags)?;
        }
        for buffer in 0..shape.count {
            ring.provide(buffer);
        }
        Ok(ring)
    }

    /// Takes the memory away from the kernel.
    pub(super) fn unregister(&mut self, submitter: &Submitter<'_>) {
        // It can only fail for a group that is not registered.
        let _ = submitter.unregister_buf_ring(GROUP);
    }

    /// The bytes that a receive completion brings; `None` at the end of the stream.
    #[inline]
    pub(super) fn take(&mut self, entry: &cqueue::Entry) -> io::Result<Option<Lent>> {
        let flags = entry.flags();
        let Some(buffer) = cqueue::buffer_select(flags) else {
            return super::outcome(entry).map(|_| None);
        };
        let len = entry.result().max(0) as u32;
        let holder = &mut self.holders[usize::from(buffer)];
        let start = holder.filled;
        holder.filled += len;
        assert!(
            holder.filled <= self.shape.size,
            "kernel filled past a buffer's end"
        );
        holder.finished = !(self.incremental && cqueue::buffer_more(flags));
        holder.pieces += 1;
        let lent = Lent { buffer, start, len };
        if len == 0 {
            self.give_back(lent);
            return super::outcome(entry).map(|_| None);
        }
        Ok(Some(lent))
    }

    #[inline]
    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        // SAFETY: a `Lent` is made only by `take`, for bytes inside the storage that the kernel has
        // written (the storage is zeroed to begin with) and leaves alone until `give_back`
        // consumes the value. No mutable slice exists: `bytes_mut` borrows `self` exclusively.
        unsafe { slice::from_raw_parts(self.address(lent).as_ptr(), lent.len()) }
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self, lent: &mut Lent) -> &mut [u8] {
        // SAFETY: as in `bytes`; pieces never overlap, and `self` is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.address(lent).as_ptr(), lent.len()) }
    }

    #[inline]
    pub(super) fn give_back(&mut self, lent: Lent) {
        let holder = &mut self.holders[usize::from(lent.buffer)];
        holder.pieces -= 1;
        if holder.finished && holder.pieces == 0 {
            *holder = Holder::default();
            self.provide(lent.buffer);
        }
    }

    fn address(&self, lent: &Lent) -> NonNull<u8> {
        let offset = usize::from(lent.buffer) * self.shape.size as usize + lent.start as usize;
        // SAFETY: `buffer` < count and start + len <= size (asserted in `take`), so the result lies
        // inside the allocation of count × size bytes.
        unsafe { self.storage.start.add(offset) }
    }

    /// Puts a whole buffer at the ring's tail.
    fn provide(&mut self, buffer: u16) {
        let at = usize::from(self.tail & (self.shape.count - 1));
        let offset = usize::from(buffer) * self.shape.size as usize;
        let base = self.entries.start.cast::<BufRingEntry>();
        // SAFETY: `at` is below `count` (a power of two), `offset` inside the storage. The kernel
        // reads entries only up to the tail, which is published below, so nobody reads this one
        // now. The tail shares memory with the first entry's reserved field, which the
        // setters leave alone; it is aligned to 2 and only ever accessed atomically by us.
        unsafe {
            let entry = &mut *base.add(at).as_ptr();
            entry.set_addr(self.storage.start.add(offset).as_ptr() as u64);
            entry.set_len(self.shape.size);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(base.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed, page-aligned memory that the kernel writes to.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

impl Memory {
    fn new(bytes: usize) -> Self {
        assert!(bytes > 0);
        let layout = Layout::from_size_align(bytes, PAGE).expect("fixed sizes fit");
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc::alloc_zeroed(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| alloc::handle_alloc_error(layout));
        Self { start, layout }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, freed once.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

const _: () = assert!(LARGE.count.is_power_of_two() && SMALL.count.is_power_of_two());
