//! A turn's sends, which are over when they have been submitted.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Instant;
use std::{io, ptr};

use bytes::Bytes;
use io_uring::squeue::Flags;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode, squeue};

use super::{Kernel, Op, Token, Uring, Wait};

/// The kernel refuses more pieces than this in one message (`UIO_MAXIOV`).
pub(crate) const MAX_PIECES: usize = 1024;

/// Sent at once or not at all, all of it if the socket takes it, and without SIGPIPE.
const INLINE: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// A turn's sends, one per connection, each over when [`Batch::submit`] returns.
///
/// Nothing is handed to the kernel before that, so a batch that is dropped leaves no trace.
pub(crate) struct Batch<'r, 'a, K = IoUring> {
    uring: &'r mut Uring<K>,
    bytes: PhantomData<&'a [u8]>,
}

/// What follows a send on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Anything, at any time.
    More,
    /// A shutdown for writing, at once: the bytes wait for the FIN, and leave in one packet with it.
    Shutdown,
}

#[derive(Default)]
pub(super) struct BatchMemory {
    sends: Vec<QueuedSend>,
    pieces: Vec<libc::iovec>,
    messages: Vec<libc::msghdr>,
    /// What is to be lent, and how much that is.
    lent: Vec<Bytes>,
    lent_bytes: usize,
}

struct QueuedSend {
    token: Token,
    socket: RawFd,
    what: Sent,
    flags: i32,
}

/// What is sent.
enum Sent {
    /// These pieces: `pieces[first..first + count]`.
    Borrowed { first: usize, count: usize },
    /// This one of `lent`, without a copy.
    Lent(usize),
}

impl QueuedSend {
    fn is_gathered(&self) -> bool {
        matches!(self.what, Sent::Borrowed { count: 2.., .. })
    }
}

impl BatchMemory {
    fn clear(&mut self) {
        self.sends.clear();
        self.pieces.clear();
        self.messages.clear();
        self.lent.clear();
        self.lent_bytes = 0;
    }
}

impl<'a, K: Kernel> Batch<'_, 'a, K> {
    /// Adds one connection's send: its pieces in order, at most [`MAX_PIECES`].
    pub(crate) fn send(
        &mut self,
        token: Token,
        socket: BorrowedFd<'a>,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        then: Then,
    ) {
        assert_eq!(token.op(), Some(Op::Send), "a token of another operation");
        let memory = &mut self.uring.batch;
        let first = memory.pieces.len();
        memory
            .pieces
            .extend(pieces.into_iter().map(|piece| libc::iovec {
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len: piece.len(),
            }));
        let count = memory.pieces.len() - first;
        assert!(
            (1..=MAX_PIECES).contains(&count),
            "a send has 1 to {MAX_PIECES} pieces"
        );
        memory.sends.push(QueuedSend {
            token,
            socket: socket.as_raw_fd(),
            what: Sent::Borrowed { first, count },
            flags: match then {
                Then::More => INLINE,
                Then::Shutdown => INLINE | libc::MSG_MORE,
            },
        });
    }

    /// Whether a connection may be lent `len` more bytes, so that it has `limit` of them at most, or one send. Its token is that
    /// of its inline sends.
    pub(crate) fn may_lend(
        &mut self,
        token: Token,
        len: usize,
        limit: usize,
        now: Instant,
    ) -> bool {
        let Uring {
            batch, zero_copy, ..
        } = &mut *self.uring;
        zero_copy.may_lend(token, batch.lent_bytes, len, limit, now)
    }

    /// Adds one connection's send, whose bytes the kernel does not copy: it has them until the peer has acknowledged them. It is
    /// over as any other, and told of in the same way; only the memory is used for longer.
    pub(crate) fn lend(&mut self, token: Token, socket: BorrowedFd<'a>, bytes: Bytes) {
        assert_eq!(token.op(), Some(Op::Send), "a token of another operation");
        let memory = &mut self.uring.batch;
        memory.lent_bytes += bytes.len();
        memory.lent.push(bytes);
        memory.sends.push(QueuedSend {
            token,
            socket: socket.as_raw_fd(),
            what: Sent::Lent(memory.lent.len() - 1),
            flags: INLINE,
        });
    }

    /// Submits the sends and whatever was queued before them, and collects completions. On return
    /// every send is over: those that fell short have left a completion with what was taken.
    ///
    /// # Errors
    /// The kernel refuses to take submissions; the ring cannot be used again.
    pub(crate) fn submit(self, wait: Wait) -> io::Result<()> {
        let uring = self.uring;
        let submitted = uring.submit_batch(wait);
        uring.broken |= submitted.is_err();
        submitted
    }
}

impl<K: Kernel> Uring<K> {
    /// Begins a turn's sends.
    #[inline]
    pub(crate) fn batch<'a>(&mut self) -> Batch<'_, 'a, K> {
        self.batch.clear();
        Batch {
            uring: self,
            bytes: PhantomData,
        }
    }

    /// The end of [`Batch::submit`].
    fn submit_batch(&mut self, wait: Wait) -> io::Result<()> {
        let uring = self;
        // Reserved at once: queued entries point into it, so it must not move.
        let gathered = uring.batch.sends.iter().filter(|send| send.is_gathered());
        uring.batch.messages.reserve(gathered.count());
        for index in 0..uring.batch.sends.len() {
            let entry = match uring.batch.sends[index].what {
                Sent::Borrowed { first, count } => uring.batch.borrowed(index, first, count),
                Sent::Lent(number) => uring.lent(index, number),
            };
            loop {
                // SAFETY: a send that lends points to bytes in `zero_copy`, which are there until its last completion has been
                // seen. Any other points to bytes borrowed for the batch's `'a`, or to a message in `batch.messages` whose
                // pieces are such bytes. `'a` outlives `self`, `batch` is not touched before the sends are
                // over, and with MSG_DONTWAIT the kernel neither defers a send nor polls for it (it
                // sets REQ_F_NOWAIT): it is over when the `enter` below has submitted it.
                if unsafe { uring.io.push(&entry) } {
                    break;
                }
                uring.submit_full_queue()?;
            }
        }
        uring.enter(wait)?;
        while uring.io.queued() > 0 {
            // Interrupted before everything was submitted.
            uring.reap();
            uring.enter(Wait::No)?;
        }
        uring.reap_all()
    }
}

impl<K> Uring<K> {
    /// The entry of a send whose bytes are owned from here on.
    fn lent(&mut self, index: usize, number: usize) -> squeue::Entry {
        let send = &self.batch.sends[index];
        let bytes = std::mem::take(&mut self.batch.lent[number]);
        let (token, bytes) = self.zero_copy.lend(send.token, bytes);
        // Not silent: the kernel does not allow that.
        opcode::SendZc::new(Fd(send.socket), bytes.as_ptr(), bytes.len() as u32)
            .flags(send.flags)
            .build()
            .user_data(token.bits())
    }
}

impl BatchMemory {
    /// The entry of a send whose pieces are borrowed.
    fn borrowed(&mut self, index: usize, first: usize, count: usize) -> squeue::Entry {
        let send = &self.sends[index];
        let pieces = &self.pieces[first..first + count];
        let entry = if let [piece] = pieces {
            let len = u32::try_from(piece.iov_len).unwrap_or(u32::MAX);
            opcode::Send::new(Fd(send.socket), piece.iov_base.cast(), len)
                .flags(send.flags)
                .build()
        } else {
            debug_assert!(self.messages.len() < self.messages.capacity());
            self.messages.push(libc::msghdr {
                msg_name: ptr::null_mut(),
                msg_namelen: 0,
                msg_iov: pieces.as_ptr().cast_mut(),
                msg_iovlen: pieces.len(),
                msg_control: ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            });
            let message: *const libc::msghdr = &self.messages[self.messages.len() - 1];
            opcode::SendMsg::new(Fd(send.socket), message)
                .flags(send.flags as u32)
                .build()
        };
        entry
            .flags(Flags::SKIP_SUCCESS)
            .user_data(send.token.bits())
    }
}
