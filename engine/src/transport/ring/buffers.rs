//! The core's receive buffers: a small pool that the kernel fills and that stays in the cache.
//!
//! With `IOU_PBUF_RING_INC` (kernel 6.12) a receive takes only the bytes it needs, so many small
//! messages share one buffer and a large frame lands in one piece. Used in turn, such a pool walks
//! through all its memory and every receive is a cache miss. So once a turn the partly used buffer
//! at the head is exchanged for the one that was freed last: two buffers alternate and stay warm,
//! and every turn begins with a whole buffer. See [`BufferRing::rotate`] for why that is sound.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::Kernel;

/// The buffer group of the pool; there is one per ring.
pub(super) const GROUP: u16 = 0;

const IOU_PBUF_RING_INC: u16 = 2;

/// How the pool is cut up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Bytes per buffer.
    pub(crate) size: u32,
    /// Buffers in the pool; a power of two.
    pub(crate) count: u16,
}

impl Shape {
    /// 4 MiB per core, of which only what a turn fills becomes real memory. Large buffers seldom cut a frame in two at
    /// their end, and a pool that is seldom used up seldom ends a receive: both cost more than the cache that a small
    /// pool would save (measured in ARCHITECTURE.md). What a turn can receive is also what one
    /// flooding connection can make the core hold, so it is not larger still.
    pub(crate) const INCREMENTAL: Self = Self {
        size: 1 << 20,
        count: 4,
    };
    /// Without incremental consumption a receive takes a whole buffer, however short the message.
    pub(crate) const WHOLE: Self = Self {
        size: 64 << 10,
        count: 32,
    };
}

/// Received bytes: where they lie in the pool. Valid until the [`BufferRing::rotate`] after next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) buffer: u16,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Chunk {
    /// All of it but the first `bytes`.
    pub(crate) fn skip(self, bytes: usize) -> Self {
        let bytes = bytes as u32;
        Self {
            offset: self.offset + bytes,
            len: self.len - bytes,
            ..self
        }
    }
}

/// The provided-buffer ring and the memory behind it.
#[derive(Debug)]
pub(crate) struct BufferRing {
    shape: Shape,
    incremental: bool,
    /// Whether a published entry may be exchanged; proven by [`super::selftest`].
    exchange: bool,
    ring: Pages,
    memory: Pages,
    tail: u16,
    /// Bytes of each buffer that the kernel has filled since it was published.
    filled: Box<[u32]>,
    /// Buffers that the kernel may fill, in its order; the first is the one being filled.
    published: VecDeque<u16>,
    /// Holding bytes of the turn in progress, which sends may still reference.
    held: Vec<u16>,
    /// Free, the most recently used last.
    free: Vec<u16>,
}

impl BufferRing {
    /// Registers the pool with a ring: incremental where the kernel knows how, whole buffers before 6.12.
    pub(super) fn register(kernel: &mut impl Kernel) -> io::Result<Self> {
        Self::with_shape(kernel, Shape::INCREMENTAL, true)
            .or_else(|_| Self::with_shape(kernel, Shape::WHOLE, false))
    }

    pub(super) fn with_shape(
        kernel: &mut impl Kernel,
        shape: Shape,
        incremental: bool,
    ) -> io::Result<Self> {
        let entries = usize::from(shape.count);
        let ring = Pages::new(entries * size_of::<BufRingEntry>());
        // SAFETY: the layout covers these bytes, and nothing else knows of them yet. The ring's tail is among them.
        unsafe {
            ring.start()
                .write_bytes(0, entries * size_of::<BufRingEntry>())
        };
        let memory = Pages::new(entries * shape.size as usize);
        let flags = if incremental { IOU_PBUF_RING_INC } else { 0 };
        // SAFETY: `ring` is page-aligned memory for `count` entries that lives, together with the
        // memory its entries will point to, until `Drop` of the owning ring, which closes the
        // io_uring first (field order in `Ring`).
        unsafe { kernel.register_buffers(ring.start(), shape.count, GROUP, flags) }?;
        let mut buffers = Self {
            shape,
            incremental,
            exchange: false,
            ring,
            memory,
            tail: 0,
            filled: vec![0; entries].into_boxed_slice(),
            published: VecDeque::with_capacity(entries),
            held: Vec::with_capacity(entries),
            free: (0..shape.count).rev().collect(),
        };
        buffers.publish_free();
        Ok(buffers)
    }

    pub(super) fn allow_exchange(&mut self, allowed: bool) {
        self.exchange = allowed && self.incremental;
    }

    pub(crate) fn is_incremental(&self) -> bool {
        self.incremental
    }

    pub(crate) fn exchanges(&self) -> bool {
        self.exchange
    }

    /// Accounts for a receive's completion. `more` is `IORING_CQE_F_BUF_MORE`: the kernel goes on
    /// filling the same buffer.
    pub(super) fn received(&mut self, buffer: u16, len: u32, more: bool) -> Chunk {
        let slot = usize::from(buffer);
        let offset = self.filled[slot];
        assert!(
            offset + len <= self.shape.size,
            "the kernel filled past a buffer's end"
        );
        self.filled[slot] += len;
        if !(more && self.incremental) {
            let used = self.published.pop_front();
            assert_eq!(
                used,
                Some(buffer),
                "the kernel uses buffers in the order of the ring"
            );
            self.held.push(buffer);
        }
        Chunk {
            buffer,
            offset,
            len,
        }
    }

    /// The bytes of a chunk.
    pub(crate) fn bytes(&self, chunk: Chunk) -> &[u8] {
        let start = self.locate(chunk);
        // SAFETY: `locate` checked that the range was filled by the kernel, which never writes it
        // again before `rotate` has taken the buffer through `held` and `free`; `&self` keeps
        // `bytes_mut` away.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), chunk.len as usize) }
    }

    /// The bytes of a chunk, to unmask them in place.
    pub(crate) fn bytes_mut(&mut self, chunk: Chunk) -> &mut [u8] {
        let start = self.locate(chunk);
        // SAFETY: as in `bytes`, and `&mut self` makes this the only slice.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), chunk.len as usize) }
    }

    fn locate(&self, chunk: Chunk) -> NonNull<u8> {
        let slot = usize::from(chunk.buffer);
        let end = chunk
            .offset
            .checked_add(chunk.len)
            .expect("chunk within a buffer");
        assert!(
            end <= self.filled[slot],
            "chunk of bytes that were not received"
        );
        // SAFETY: `end <= filled <= size`, so the offset stays inside buffer `slot` of `memory`.
        unsafe {
            self.memory
                .start
                .add(slot * self.shape.size as usize + chunk.offset as usize)
        }
    }

    /// Where all buffers are: those published in their order, how many hold bytes, how many are free.
    #[cfg(test)]
    pub(crate) fn census(&self) -> (Vec<u16>, usize, usize) {
        let published = self.published.iter().copied().collect();
        (published, self.held.len(), self.free.len())
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        usize::from(self.shape.count)
    }

    /// How many buffers hold bytes of the turn in progress; [`Self::release_first`] frees them.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Frees the buffers that were held before the last `enter`: the sends that referenced them are over.
    pub(super) fn release_first(&mut self, count: usize) {
        self.free.extend(self.held.drain(..count));
    }

    /// Gets the pool ready for the next `enter`: the turn's chunks stay readable through it, so that
    /// sends may go out of the receive buffers, but nothing that it receives lands on them.
    ///
    /// The partly filled buffer at the head is exchanged by rewriting its published entry. The
    /// kernel reads an entry (address, length and buffer id) when a receive selects a buffer, and
    /// advances it in place when the receive has taken its bytes. With `DEFER_TASKRUN` both happen
    /// only inside this thread's `enter`, and sockets are never read by a kernel worker, so between
    /// two calls of `enter` the entry is ours. Whether the running kernel agrees is tested when the
    /// ring is set up; where it does not, buffers are consumed to their end instead.
    pub(super) fn rotate(&mut self) {
        if self.exchange
            && let Some(&head) = self.published.front()
            && self.filled[usize::from(head)] > 0
            && let Some(fresh) = self.free.pop()
        {
            self.published[0] = fresh;
            self.held.push(head);
            let position = self.tail.wrapping_sub(self.published.len() as u16);
            self.write_entry(position, fresh);
        }
        self.publish_free();
    }

    /// Whether a receive that found no buffer may be tried again.
    pub(crate) fn available(&self) -> bool {
        !self.published.is_empty()
    }

    /// Gives the pool's memory up for good.
    pub(super) fn leak(&mut self) {
        for pages in [&mut self.ring, &mut self.memory] {
            pages.leaked = true;
        }
    }

    fn publish_free(&mut self) {
        // One stays back, so that the head can always be exchanged.
        let reserve = usize::from(self.exchange);
        if self.free.len() <= reserve {
            return;
        }
        // The most recently used come last in `free`: they stay back.
        let count = self.free.len() - reserve;
        for position in 0..count {
            let buffer = self.free[position];
            self.write_entry(self.tail, buffer);
            self.published.push_back(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        self.free.drain(..count);
        // SAFETY: the tail shares memory with the first entry's reserved field, which nothing else
        // writes; the kernel reads it with acquire semantics.
        let tail = unsafe {
            let first = self.ring.start().cast::<BufRingEntry>().cast_const();
            AtomicU16::from_ptr(BufRingEntry::tail(first).cast_mut())
        };
        tail.store(self.tail, Ordering::Release);
    }

    fn write_entry(&mut self, position: u16, buffer: u16) {
        let slot = usize::from(position & (self.shape.count - 1));
        self.filled[usize::from(buffer)] = 0;
        let address = self.memory.start() as u64 + u64::from(buffer) * u64::from(self.shape.size);
        // SAFETY: `slot` is below `count`, so the entry lies inside `ring`; only this thread writes
        // entries, and the kernel reads them only inside this thread's `enter`. The fields are
        // written one by one because the first entry's reserved field is the ring's tail.
        unsafe {
            let entry = &mut *self.ring.start().cast::<BufRingEntry>().add(slot);
            entry.set_addr(address);
            entry.set_len(self.shape.size);
            entry.set_bid(buffer);
        }
    }
}

/// Page-aligned memory; untouched pages cost nothing.
#[derive(Debug)]
struct Pages {
    start: NonNull<u8>,
    layout: Layout,
    leaked: bool,
}

impl Pages {
    const ALIGN: usize = 4096;

    /// Not initialised: clearing the pool would make all of it real memory.
    fn new(bytes: usize) -> Self {
        let layout =
            Layout::from_size_align(bytes.max(1).next_multiple_of(Self::ALIGN), Self::ALIGN)
                .expect("a pool of a few MiB");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self {
            start,
            layout,
            leaked: false,
        }
    }

    fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated in `new` with this layout, and freed once.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
