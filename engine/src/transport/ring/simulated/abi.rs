//! The kernel's side of shared memory: submissions as 64 bytes, the ring of provided buffers, messages.

use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::squeue;

/// `struct io_uring_sqe`, as far as it is used here.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Submission {
    pub(super) opcode: u8,
    pub(super) flags: u8,
    pub(super) ioprio: u16,
    pub(super) fd: i32,
    pub(super) off: u64,
    pub(super) addr: u64,
    pub(super) len: u32,
    /// MSG_ flags of a send.
    pub(super) op_flags: u32,
    pub(super) user_data: u64,
    pub(super) buffer_group: u16,
    rest: [u8; 22],
}

const _: () = assert!(size_of::<Submission>() == 64 && size_of::<squeue::Entry>() == 64);

impl Submission {
    pub(super) fn decode(entry: &squeue::Entry) -> Self {
        // SAFETY: both are 64 bytes of plain integers, in the kernel's layout; any bits are valid integers.
        unsafe { ptr::read_unaligned(ptr::from_ref(entry).cast()) }
    }

    /// The pieces that a send or sendmsg names.
    ///
    /// # Safety
    /// It was pushed by whoever keeps what [`super::Kernel::push`] demands, and its operation is not over.
    pub(super) unsafe fn pieces(&self, gathered: bool) -> Vec<&[u8]> {
        if !gathered {
            // SAFETY: the caller promises that `addr` points to `len` readable bytes.
            return vec![unsafe {
                slice::from_raw_parts(self.addr as *const u8, self.len as usize)
            }];
        }
        // SAFETY: the caller promises that `addr` points to a message, and it to its pieces.
        let pieces = unsafe {
            let message = &*(self.addr as *const libc::msghdr);
            slice::from_raw_parts(message.msg_iov, message.msg_iovlen)
        };
        let bytes = pieces.iter().map(|piece| {
            // SAFETY: as above, for the bytes of each piece.
            unsafe { slice::from_raw_parts(piece.iov_base.cast::<u8>(), piece.iov_len) }
        });
        bytes.collect()
    }
}

/// What freshly published buffers are filled with: whoever still reads them finds out.
const POISON: u8 = 0xDB;

/// `struct io_uring_buf`. The last field of a ring's first entry is its tail.
#[repr(C)]
struct Published {
    address: u64,
    len: u32,
    id: u16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<Published>() == 16);

/// A registered ring of provided buffers.
pub(super) struct ProvidedBuffers {
    entries: *mut Published,
    count: u16,
    incremental: bool,
    head: u16,
    /// What the kernel knows of each place: address and length that are left.
    known: Vec<Option<(u64, u32)>>,
}

/// A buffer that a receive may fill.
#[derive(Clone, Copy)]
pub(super) struct Selected {
    pub(super) id: u16,
    pub(super) len: u32,
    address: u64,
}

impl ProvidedBuffers {
    /// # Safety
    /// As of [`super::Kernel::register_buffers`].
    pub(super) unsafe fn new(ring: *mut u8, count: u16, incremental: bool) -> Self {
        Self {
            entries: ring.cast(),
            count,
            incremental,
            head: 0,
            known: vec![None; usize::from(count)],
        }
    }

    fn tail(&self) -> u16 {
        // SAFETY: `new`'s caller keeps the ring in place; the tail is only ever reached as an atomic.
        unsafe { (*self.entries).tail.load(Ordering::Acquire) }
    }

    fn entry(&self, position: u16) -> *mut Published {
        let place = usize::from(position & (self.count - 1));
        // SAFETY: `place` is below `count`, which the ring was registered with.
        unsafe { self.entries.add(place) }
    }

    /// Ids of the published buffers, in the ring's order.
    pub(super) fn published(&self) -> Vec<u16> {
        let published = self.tail().wrapping_sub(self.head);
        assert!(published <= self.count, "more entries than places");
        (0..published)
            .map(|ahead| {
                let entry = self.entry(self.head.wrapping_add(ahead));
                // SAFETY: entries between head and tail have been written, and nobody writes them now.
                unsafe { (*entry).id }
            })
            .collect()
    }

    /// Poisons what has been published since the last time: nobody may rely on its bytes any more.
    pub(super) fn poison(&mut self) {
        for ahead in 0..self.tail().wrapping_sub(self.head) {
            let position = self.head.wrapping_add(ahead);
            let entry = self.entry(position);
            // SAFETY: as in `published`.
            let now = unsafe { ((*entry).address, (*entry).len) };
            let known = &mut self.known[usize::from(position & (self.count - 1))];
            if *known != Some(now) {
                *known = Some(now);
                // SAFETY: a published entry names memory that is the kernel's to write.
                unsafe { ptr::write_bytes(now.0 as *mut u8, POISON, now.1 as usize) };
            }
        }
    }

    /// The buffer at the head, if there is one.
    pub(super) fn select(&self) -> Option<Selected> {
        let entry = (self.head != self.tail()).then(|| self.entry(self.head))?;
        // SAFETY: as in `published`.
        let (id, len, address) = unsafe { ((*entry).id, (*entry).len, (*entry).address) };
        Some(Selected { id, len, address })
    }

    /// Lends a selected buffer's first bytes to be filled.
    pub(super) fn fill(&mut self, selected: Selected, len: u32) -> &mut [u8] {
        assert!(len <= selected.len, "past the buffer's end");
        // SAFETY: a published entry names memory that is the kernel's to write, and `&mut self` keeps others of
        // the kernel away. The bytes are initialised: `poison` has written them.
        unsafe { slice::from_raw_parts_mut(selected.address as *mut u8, len as usize) }
    }

    /// Accounts for the bytes filled. Whether the same buffer goes on.
    pub(super) fn commit(&mut self, selected: Selected, len: u32) -> bool {
        let place = usize::from(self.head & (self.count - 1));
        let left = selected.len - len;
        if self.incremental && left > 0 {
            let address = selected.address + u64::from(len);
            let entry = self.entry(self.head);
            // SAFETY: the entry at the head is the kernel's to advance until it is used up.
            unsafe {
                (*entry).address = address;
                (*entry).len = left;
            }
            self.known[place] = Some((address, left));
            return true;
        }
        self.known[place] = None;
        self.head = self.head.wrapping_add(1);
        false
    }
}
