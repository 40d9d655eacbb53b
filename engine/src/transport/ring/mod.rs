//! The data ring: multishot accept and receive, silent inline sends, one `enter` per turn.
//!
//! This is the engine's leaf with `unsafe` code for io_uring, and its interface is safe: bytes to send are
//! borrowed until the call that sends them returns, received bytes are lent out of the ring's own
//! pool, and what the kernel uses for longer is owned here until its completion has been seen.
//!
//! Descriptors are looked up when an operation is submitted, at the end of the turn: callers keep a socket open
//! until then, and until its last completion.

#![allow(unsafe_code)]

mod batch;
mod buffers;
mod kernel;
mod selftest;
mod setup;
#[cfg(test)]
pub(crate) mod simulated;
mod token;
mod zero_copy;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::socket::Socket;
use batch::BatchMemory;
pub(crate) use batch::{MAX_PIECES, Then};
pub(crate) use buffers::{BufferRing, Chunk};
pub(crate) use kernel::Kernel;
pub(crate) use setup::Unavailable;
pub(crate) use token::{Op, Token};
use zero_copy::{Lending, ZeroCopy};

/// An io_uring instance with its receive buffers. Belongs to one thread.
pub(crate) struct Ring<K: Kernel = IoUring> {
    /// Before `buffers` and `owned`: dropped first, so that the kernel lets go of their memory.
    uring: Uring<K>,
    buffers: BufferRing,
}

/// The half of [`Ring`] that talks to the kernel; sends may borrow from the other half meanwhile.
pub(crate) struct Uring<K = IoUring> {
    io: K,
    completions: Vec<Raw>,
    batch: BatchMemory,
    owned: HashMap<Token, Bytes>,
    zero_copy: ZeroCopy,
    /// Turns whose completions did not fit into the queue, and nobody was told of yet.
    overflows: u64,
    /// A submission failed half-way: entries may be queued that point to memory which is no longer lent.
    broken: bool,
}

/// A completion as the kernel left it.
struct Raw {
    token: Token,
    result: i32,
    flags: u32,
}

/// What became of an operation.
///
/// Only [`Ring::take_completions`] makes them, one for each time that the kernel completed something, and they cannot be
/// copied: the descriptor of an accept belongs to whoever has its completion.
#[derive(Debug)]
pub(crate) struct Completion {
    token: Token,
    result: i32,
    more: bool,
    chunk: Option<Chunk>,
}

impl Completion {
    #[inline]
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Bytes, a descriptor, or a negative errno.
    #[inline]
    pub(crate) fn result(&self) -> i32 {
        self.result
    }

    /// A multishot operation goes on; without it, it has ended and has to be armed again.
    #[inline]
    pub(crate) fn more(&self) -> bool {
        self.more
    }

    /// For a receive that brought bytes.
    #[inline]
    pub(crate) fn chunk(&self) -> Option<Chunk> {
        self.chunk
    }
}

/// How long an `enter` may wait for a first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until something completes, or this long.
    For(Option<Duration>),
}

impl Ring {
    /// Sets up a ring on this thread, or says why it cannot be had.
    pub(crate) fn new() -> Result<Self, Unavailable> {
        let ring = Self::with_exchange(true)?;
        match ring {
            Some(ring) => Ok(ring),
            None => Self::with_exchange(false)?.ok_or_else(|| {
                Unavailable::SelfTest(io::Error::other("receives do not bring what was sent"))
            }),
        }
    }

    /// `None` when the kernel does not exchange buffers, and their accounting is lost.
    fn with_exchange(exchange: bool) -> Result<Option<Self>, Unavailable> {
        let (mut io, features) = setup::create()?;
        let buffers = BufferRing::register(&mut io).map_err(Unavailable::Buffers)?;
        let mut ring = Self::with(io, buffers, exchange);
        let works = selftest::receives(&mut ring).map_err(Unavailable::SelfTest)?;
        tracing::debug!(
            ?features,
            incremental = ring.buffers.is_incremental(),
            exchange = ring.buffers.exchanges(),
            works,
            "data ring"
        );
        Ok(works.then_some(ring))
    }
}

impl Ring {
    /// Lets sends lend their bytes to the kernel ([`Batch::lend`](batch::Batch::lend)), once it has shown that it can.
    ///
    /// # Errors
    /// Why it cannot.
    pub(crate) fn allow_zero_copy(&mut self) -> Result<(), Unavailable> {
        setup::require_zero_copy(&self.uring.io)?;
        self.uring.zero_copy.allowed = true;
        let proven = selftest::sends_without_copies(self).map_err(Unavailable::SelfTest);
        self.uring.zero_copy.allowed = proven.is_ok();
        proven
    }
}

impl<K: Kernel> Ring<K> {
    fn with(io: K, mut buffers: BufferRing, exchange: bool) -> Self {
        buffers.allow_exchange(exchange);
        let uring = Uring {
            io,
            completions: Vec::new(),
            batch: BatchMemory::default(),
            owned: HashMap::new(),
            zero_copy: ZeroCopy::default(),
            overflows: 0,
            broken: false,
        };
        Self { uring, buffers }
    }

    /// The time by the ring's clock.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.uring.io.now()
    }

    /// The receive buffers.
    pub(crate) fn buffers(&self) -> &BufferRing {
        &self.buffers
    }

    /// The receive buffers, to unmask in them.
    pub(crate) fn buffers_mut(&mut self) -> &mut BufferRing {
        &mut self.buffers
    }

    /// Both halves: sends that borrow from the receive buffers are submitted through the first.
    pub(crate) fn split(&mut self) -> (&mut Uring<K>, &BufferRing) {
        (&mut self.uring, &self.buffers)
    }

    /// Gets the receive buffers ready for the next submission; chunks stay readable through it.
    pub(crate) fn rotate(&mut self) {
        // Completions that nobody has taken speak of the buffers as they are: the head may be used up already.
        if !self.has_completions() {
            self.buffers.rotate();
        }
    }

    /// Whether a submission has left completions to take.
    pub(crate) fn has_completions(&self) -> bool {
        !self.uring.completions.is_empty()
    }

    /// Whether sends may lend their bytes to the kernel.
    #[inline]
    pub(crate) fn lends(&self) -> bool {
        self.uring.zero_copy.allowed
    }

    /// What has been lent to the kernel: the sends since this was last asked, and the bytes of all that it still has.
    pub(crate) fn take_lending(&mut self) -> Lending {
        self.uring.zero_copy.lending()
    }

    /// How often the completion queue has overflowed since this was last asked.
    pub(crate) fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.uring.overflows)
    }

    /// Takes the completions that the last submission left, in order, and gives back the receive
    /// buffers of the turn before.
    pub(crate) fn take_completions(&mut self, into: &mut Vec<Completion>) {
        let before = self.buffers.held();
        self.look_at_completions(into);
        self.buffers.release_first(before);
    }

    /// Takes the completions in the middle of a turn, whose sends are still to come: all receive buffers stay as
    /// they are.
    pub(crate) fn look_at_completions(&mut self, into: &mut Vec<Completion>) {
        let Self { uring, buffers } = self;
        into.clear();
        into.extend(uring.completions.drain(..).map(|raw| Completion {
            token: raw.token,
            result: raw.result,
            more: cqueue::more(raw.flags),
            chunk: cqueue::buffer_select(raw.flags).map(|buffer| {
                let len = raw.result.max(0) as u32;
                buffers.received(buffer, len, cqueue::buffer_more(raw.flags))
            }),
        }));
    }

    /// The half that talks to the kernel.
    pub(crate) fn uring(&mut self) -> &mut Uring<K> {
        &mut self.uring
    }

    /// The socket that an accept brought, with its completion in exchange.
    ///
    /// # Errors
    /// The accept's.
    pub(crate) fn accepted(&mut self, completion: Completion) -> io::Result<Socket> {
        assert_eq!(
            completion.token.op(),
            Some(Op::Accept),
            "only an accept brings a descriptor"
        );
        if completion.result < 0 {
            return Err(io::Error::from_raw_os_error(-completion.result));
        }
        // SAFETY: a successful accept made this descriptor for us: only `Uring::accept` queues anything under such a token. The
        // completion, of which there is one, is consumed.
        Ok(unsafe { self.uring.io.accepted(completion.result) })
    }
}

impl<K: Kernel> Drop for Ring<K> {
    fn drop(&mut self) {
        if !self.uring.io.cancel_all() {
            // The kernel may still write to this memory: better to lose it than to reuse it.
            self.buffers.leak();
            self.uring
                .owned
                .drain()
                .for_each(|(_, bytes)| std::mem::forget(bytes));
        }
        // No cancellation ends what a socket still sends: in memory that is used again its peer would get other bytes.
        self.uring.zero_copy.leak();
    }
}

impl<K: Kernel> Uring<K> {
    /// Arms a multishot accept.
    pub(crate) fn accept(&mut self, token: Token, listener: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
            .build();
        self.queue(entry, token, Op::Accept)
    }

    /// Arms a multishot receive.
    pub(crate) fn recv(&mut self, token: Token, socket: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), buffers::GROUP).build();
        self.queue(entry, token, Op::Recv)
    }

    /// Asks for a receive to end; its own completion still comes.
    pub(crate) fn cancel(&mut self, token: Token, of: Token) -> io::Result<()> {
        let entry = opcode::AsyncCancel::new(of.bits()).build();
        self.queue(entry, token, Op::Cancel)
    }

    /// Watches an eventfd that other threads write to.
    pub(crate) fn watch(&mut self, token: Token, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(eventfd.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.queue(entry, token, Op::Bell)
    }

    /// Sends bytes that may have to wait for room in the socket; completes when all are taken, or
    /// when the connection is gone. One at a time per connection.
    pub(crate) fn send_owned(
        &mut self,
        token: Token,
        socket: BorrowedFd<'_>,
        bytes: Bytes,
    ) -> io::Result<()> {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // The map owns the bytes until the completion has been seen, also when the send is cut off. Those of an
        // earlier send would have to stay there, too.
        match self.owned.entry(token) {
            Entry::Vacant(place) => place.insert(bytes),
            Entry::Occupied(_) => panic!("two backlog sends on one connection"),
        };
        self.queue(entry, token, Op::Drain)
    }

    /// Queues an entry under a token of its own kind: what a completion means is told by its token alone.
    #[inline]
    fn queue(&mut self, entry: squeue::Entry, token: Token, op: Op) -> io::Result<()> {
        assert_eq!(token.op(), Some(op), "a token of another operation");
        let entry = entry.user_data(token.bits());
        loop {
            // SAFETY: every entry that comes here points only to memory that outlives the operation: none at
            // all, the buffer ring, or bytes in `owned`.
            if unsafe { self.io.push(&entry) } {
                return Ok(());
            }
            self.submit_full_queue()?;
        }
    }

    /// Makes room in the submission queue. Without GETEVENTS: completions wait for the turn's end.
    fn submit_full_queue(&mut self) -> io::Result<()> {
        loop {
            match self.io.enter(None) {
                Ok(()) => return Ok(()),
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                // The completion queue has overflowed: empty it first.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    self.enter(Wait::No)?;
                    self.reap();
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("the ring has failed before"));
        }
        // With events always: deferred work, which is all receiving, runs only then.
        match self.io.enter(Some(wait)) {
            Ok(()) => Ok(()),
            Err(e) => match e.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(e),
            },
        }
    }

    /// Moves completions out of the kernel's queue.
    fn reap(&mut self) {
        let Self {
            io,
            completions,
            owned,
            zero_copy,
            ..
        } = self;
        io.reap(|user_data, result, flags| {
            let mut token = Token::from_bits(user_data);
            let (mut result, mut flags) = (result, flags);
            if token.op() == Some(Op::Drain) {
                owned.remove(&token);
            }
            if token.op() == Some(Op::ZeroCopy) {
                // What is left to tell is told as of any inline send.
                match zero_copy.completed(token, result, flags) {
                    Some(short) => ((token, result), flags) = (short, 0),
                    None => return,
                }
            }
            completions.push(Raw {
                token,
                result,
                flags,
            });
        });
    }

    /// Empties the completion queue, what overflowed it included: only then are all inline sends accounted for.
    fn reap_all(&mut self) -> io::Result<()> {
        self.reap();
        if self.io.overflowed() {
            self.overflows += 1;
        }
        while self.io.overflowed() {
            self.enter(Wait::No)?;
            self.reap();
        }
        Ok(())
    }
}

impl Uring {
    /// Lets the kernel signal the registered eventfd, or stops it from doing so.
    pub(crate) fn signal_eventfd(&mut self, on: bool) {
        let queue = self.io.completion();
        if on {
            queue.enable_eventfd();
            // Before the look for completions that follows it: or else both sides could miss each other.
            fence(Ordering::SeqCst);
        } else {
            queue.disable_eventfd();
        }
    }

    /// Registers the eventfd that [`Self::signal_eventfd`] turns on and off.
    pub(crate) fn register_eventfd(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        self.io.submitter().register_eventfd(eventfd.as_raw_fd())
    }
}
