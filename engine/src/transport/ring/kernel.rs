//! What a ring asks of the kernel: the few calls around one io_uring. The simulation answers them too.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, squeue};

use super::Wait;
use crate::transport::socket::Socket;

/// How long the end of a ring waits for its operations to let go of their memory.
const CANCEL_TIME: Duration = Duration::from_secs(1);

/// One io_uring and the clock beside it.
///
/// # Safety
/// Memory safety rests on what the methods say, those that are safe to call included. An implementation promises that
///
/// - only [`enter`](Self::enter) makes operations go on: between two calls nothing reads an entry of the buffer ring, and nothing
///   touches what an operation or an entry points to;
/// - an entry that is no longer among the [`queued`](Self::queued) after an `enter` is not read any more, and its operation, if it
///   is a send with `MSG_DONTWAIT`, is over, but for what follows;
/// - `IORING_OP_SEND_ZC` goes on reading its bytes, and nothing else, until its last completion. With `MSG_DONTWAIT` its result
///   is among the completions at once, with `IORING_CQE_F_MORE` if a notification (`IORING_CQE_F_NOTIF`) follows;
/// - what [`reap`](Self::reap) gives is true: `user_data` of an entry that was pushed, its result, and its flags as io_uring
///   defines them, once. With a completion without `IORING_CQE_F_MORE` the operation is over, and its memory is not
///   touched again. A receive that names a buffer has written that many bytes, behind those that it had
///   written since the buffer was published, and no other operation writes there until it is published again. An
///   accept that succeeded made a new descriptor that nobody else owns;
/// - completions come in the order in which they happened, and none is left once a `reap` has been followed by an
///   [`overflowed`](Self::overflowed) that says no;
/// - after a [`cancel_all`](Self::cancel_all) that says yes nothing is touched at all, also not the memory that was
///   registered, but for the bytes of a `IORING_OP_SEND_ZC` without its notification;
/// - the socket of [`accepted`](Self::accepted) owns that descriptor.
pub(crate) unsafe trait Kernel {
    /// Queues a submission; `false` when there is no room for it.
    ///
    /// # Safety
    /// What the entry points to stays in place until the operation is over.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool;

    /// Submissions that are queued.
    fn queued(&mut self) -> u32;

    /// `io_uring_enter`: submits all that is queued. With `events`, runs deferred work and waits as told.
    ///
    /// # Errors
    /// The kernel's, those that only say that there is nothing to wait for included.
    fn enter(&mut self, events: Option<Wait>) -> io::Result<()>;

    /// Takes every completion that is in the queue: `user_data`, result, flags.
    fn reap(&mut self, each: impl FnMut(u64, i32, u32));

    /// Whether completions wait outside of the queue, which was full.
    fn overflowed(&mut self) -> bool;

    /// Registers a ring of `count` provided buffers.
    ///
    /// # Errors
    /// The kernel's.
    ///
    /// # Safety
    /// `ring`, and the buffers that its entries will name, live until this is dropped.
    unsafe fn register_buffers(
        &mut self,
        ring: *mut u8,
        count: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()>;

    /// Cancels all operations, those that are only queued included; whether none is left.
    fn cancel_all(&mut self) -> bool;

    /// The socket that an accept brought.
    ///
    /// # Safety
    /// The descriptor is the result of an accept of this ring, and nobody else's.
    unsafe fn accepted(&mut self, descriptor: RawFd) -> Socket;

    /// The time.
    fn now(&self) -> Instant;
}

// SAFETY: it passes on what the kernel says. That nothing happens outside of `enter` is `IORING_SETUP_DEFER_TASKRUN`, without which
// `setup::create` makes no ring; a send with `MSG_DONTWAIT` is tried while it is submitted, and never again; what a send without a copy has given to a socket is
// pinned until the last of its packets is freed, and then a notification is posted. `cancel_all` says
// yes only when the kernel has answered that no operation is left, and what is still queued is not submitted
// when a ring is closed.
unsafe impl Kernel for IoUring {
    #[inline]
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.submission().push(entry) }.is_ok()
    }

    #[inline]
    fn queued(&mut self) -> u32 {
        self.submission().len() as u32
    }

    #[inline]
    fn enter(&mut self, events: Option<Wait>) -> io::Result<()> {
        let queued = self.queued();
        let flags = EnterFlags::GETEVENTS;
        let submitter = self.submitter();
        let entered = match events {
            // SAFETY: no argument is passed, and the count is what is queued.
            None => unsafe { submitter.enter::<()>(queued, 0, 0, None) },
            // SAFETY: as above.
            Some(Wait::No) => unsafe { submitter.enter::<()>(queued, 0, flags.bits(), None) },
            // SAFETY: as above.
            Some(Wait::For(None)) => unsafe {
                submitter.enter::<()>(queued, 1, flags.bits(), None)
            },
            Some(Wait::For(Some(time))) => {
                let time = Timespec::from(time);
                let args = SubmitArgs::new().timespec(&time);
                let flags = flags | EnterFlags::EXT_ARG;
                // SAFETY: `args` and the time it points to live until the call returns.
                unsafe { submitter.enter(queued, 1, flags.bits(), Some(&args)) }
            }
        };
        entered.map(drop)
    }

    #[inline]
    fn reap(&mut self, mut each: impl FnMut(u64, i32, u32)) {
        for entry in self.completion() {
            each(entry.user_data(), entry.result(), entry.flags());
        }
    }

    #[inline]
    fn overflowed(&mut self) -> bool {
        self.submission().cq_overflow()
    }

    unsafe fn register_buffers(
        &mut self,
        ring: *mut u8,
        count: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        // SAFETY: as the caller promises.
        unsafe {
            self.submitter()
                .register_buf_ring_with_flags(ring as u64, count, group, flags)
        }
    }

    fn cancel_all(&mut self) -> bool {
        // Or else the ring lives as long as its thread. Fails only if it was never registered.
        let _ = self.submitter().unregister_ring_fd();
        let cancelled = self
            .submitter()
            .register_sync_cancel(Some(Timespec::from(CANCEL_TIME)), CancelBuilder::any());
        match cancelled {
            Ok(()) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOENT),
        }
    }

    #[inline]
    unsafe fn accepted(&mut self, descriptor: RawFd) -> Socket {
        // SAFETY: the caller promises that it is a fresh descriptor without another owner.
        Socket::Ring(unsafe { OwnedFd::from_raw_fd(descriptor) })
    }

    #[inline]
    fn now(&self) -> Instant {
        Instant::now()
    }
}
