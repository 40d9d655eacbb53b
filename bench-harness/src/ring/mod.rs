//! The io_uring of one client or floor thread: the only module with `unsafe`.
//!
//! The safe surface rests on one rule: **every byte the kernel may touch is owned by the [`Ring`]**
//! — receive buffers, prepared frames ([`Ring::adopt`]), one-off sends ([`Ring::send_owned`]) and
//! the address to connect to. None of it moves or is freed before the ring itself, but for scratch bytes
//! ([`Ring::rewrite`]), which only silent sends use.
//!
//! Sends come in two kinds. A *silent* send is taken by the kernel while it is submitted or not at
//! all (`MSG_DONTWAIT`), and only reports when it fell short ([`Completion::Short`]). A *polled*
//! send waits in the kernel for room and always reports ([`Completion::Sent`]). Two sends of one
//! connection in one submission would tear the byte stream when the first falls short, so callers
//! queue at most one per connection between two calls of [`Ring::turn`].
#![allow(unsafe_code)]

mod buffers;
mod completion;
mod gather;
mod owned;
mod setup;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, SubmissionQueue, Submitter, cqueue, opcode, squeue};
use socket2::SockAddr;

use buffers::BufferRing;
pub(crate) use buffers::Lent;
pub(crate) use completion::Completion;
use completion::Op;
use gather::Gather;
use owned::OwnedSends;
use setup::IoOwner;
pub(crate) use setup::Unavailable;

/// Submission entries. When they are used up in mid-turn the ring submits early, which also bounds
/// how long the first send of a turn waits for the last one to be queued.
const SQ_ENTRIES: u32 = 512;

/// Completion entries: a turn may see one completion per connection and more for arming; what does
/// not fit is kept by the kernel and fetched by [`Ring::next`].
const CQ_ENTRIES: u32 = 16 * SQ_ENTRIES;

/// `IORING_ENTER_GETEVENTS` (linux/io_uring.h): deferred work runs only in an enter that carries it.
const ENTER_GETEVENTS: u32 = 1;

/// All bytes or as many as fit, at once, and no SIGPIPE.
const SILENT_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
/// All bytes, the kernel waits for room.
const POLLED_FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// One io_uring instance with its receive buffers and the memory it sends from.
///
/// Bound to the thread that creates it (`SINGLE_ISSUER`), and not `Send`.
pub(crate) struct Ring {
    // These three borrow from `_io`, which is declared, and therefore dropped, after them.
    submitter: Submitter<'static>,
    sq: SubmissionQueue<'static>,
    cq: CompletionQueue<'static>,
    buffers: BufferRing,
    _io: IoOwner,
    regions: Vec<Vec<u8>>,
    owned: OwnedSends,
    gather: Gather,
    peer: Option<Box<SockAddr>>,
    /// Completions taken out to make room when the kernel refused a submission with EBUSY.
    spilled: VecDeque<cqueue::Entry>,
}

/// Prepared bytes that the ring owns and sends from, see [`Ring::adopt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region(usize);

/// Bytes that the ring owns and that change from turn to turn, see [`Ring::scratch`].
#[derive(Debug)]
pub(crate) struct Scratch(Region);

/// How long [`Ring::turn`] may sleep when no completion is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until a completion comes.
    Forever,
    /// Until a completion comes or the time has passed.
    AtMost(Duration),
}

impl Wait {
    /// The same, but not longer than this.
    pub(crate) fn at_most(self, limit: Duration) -> Self {
        match self {
            Self::No => Self::No,
            Self::Forever => Self::AtMost(limit),
            Self::AtMost(time) => Self::AtMost(time.min(limit)),
        }
    }
}

impl Ring {
    /// Sets a ring up on the calling thread, to connect to `peer` if one is given.
    ///
    /// # Errors
    /// [`Unavailable`] when the kernel or a sandbox refuses io_uring; it says what to do.
    pub(crate) fn new(peer: Option<SockAddr>) -> Result<Self, Unavailable> {
        Self::with_buffers(peer, BufferRing::register)
    }

    fn with_buffers(
        peer: Option<SockAddr>,
        register: fn(&Submitter<'_>) -> io::Result<BufferRing>,
    ) -> Result<Self, Unavailable> {
        let io = IoOwner::new(SQ_ENTRIES, CQ_ENTRIES)?;
        let (mut submitter, sq, cq) = io.parts();
        submitter.register_ring_fd().map_err(Unavailable::Refused)?;
        let buffers = register(&submitter).map_err(Unavailable::Refused)?;
        Ok(Self {
            submitter,
            sq,
            cq,
            buffers,
            _io: io,
            regions: Vec::new(),
            owned: OwnedSends::default(),
            gather: Gather::new(SQ_ENTRIES as usize),
            peer: peer.map(Box::new),
            spilled: VecDeque::new(),
        })
    }

    /// Takes bytes to send from, as often as wanted and by any number of connections.
    pub(crate) fn adopt(&mut self, bytes: Vec<u8>) -> Region {
        self.regions.push(bytes);
        Region(self.regions.len() - 1)
    }

    /// Bytes to send from that may be written anew; none yet.
    pub(crate) fn scratch(&mut self) -> Scratch {
        Scratch(self.adopt(Vec::new()))
    }

    /// Writes scratch bytes anew, and takes what they held in exchange. What is still queued is submitted first.
    pub(crate) fn rewrite(&mut self, scratch: &Scratch, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        // Only silent sends use scratch bytes (`send_scratch`). They are over when the submission is:
        // nothing in the kernel refers to the bytes any more, so they may change or move.
        self.submit()?;
        let region = &mut self.regions[scratch.0.0];
        Ok(mem::replace(region, bytes))
    }

    /// The scratch bytes.
    pub(crate) fn scratch_bytes(&self, scratch: &Scratch) -> &[u8] {
        &self.regions[scratch.0.0]
    }

    /// Sends all scratch bytes silently.
    pub(crate) fn send_scratch(
        &mut self,
        fd: BorrowedFd<'_>,
        slot: u32,
        scratch: &Scratch,
    ) -> io::Result<()> {
        let range = 0..self.regions[scratch.0.0].len();
        self.send_silent(fd, slot, scratch.0, range)
    }

    /// Connects `fd` to the ring's peer.
    ///
    /// # Panics
    /// When the ring was made without a peer.
    pub(crate) fn connect(&mut self, fd: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
        let peer = self.peer.as_ref().expect("a ring that connects has a peer");
        let entry =
            opcode::Connect::new(Fd(fd.as_raw_fd()), peer.as_ptr().cast(), peer.len()).build();
        // SAFETY: the address is boxed in `self.peer`, never changed, and outlives the submission.
        unsafe { self.push(entry.user_data(Op::Connect.tag(0, slot))) }
    }

    /// Accepts connections on a listener until an [`Completion::Accepted`] is no longer armed.
    pub(crate) fn accept(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(fd.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build();
        // SAFETY: the operation refers to no memory of ours.
        unsafe { self.push(entry.user_data(Op::Accept.tag(0, 0))) }
    }

    /// Receives from `fd` until a [`Completion::Received`] is no longer armed.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(fd.as_raw_fd()), buffers::GROUP).build();
        // SAFETY: the memory it fills is that of the registered buffer ring, owned by
        // `self.buffers`, which unregisters it before it frees it.
        unsafe { self.push(entry.user_data(Op::Receive.tag(0, slot))) }
    }

    /// Receives once from `fd`: its [`Completion::Received`] is not armed, and the kernel takes
    /// nothing more from the socket.
    pub(crate) fn receive_once(&mut self, fd: BorrowedFd<'_>, slot: u32) -> io::Result<()> {
        // Without an address and a length, the buffer that the kernel selects decides.
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), ptr::null_mut(), 0)
            .buf_group(buffers::GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: as for `receive`: it fills memory of the registered buffer ring only.
        unsafe { self.push(entry.user_data(Op::Receive.tag(0, slot))) }
    }

    /// Sends a range of a region silently.
    pub(crate) fn send_silent(
        &mut self,
        fd: BorrowedFd<'_>,
        slot: u32,
        region: Region,
        range: Range<usize>,
    ) -> io::Result<()> {
        let entry = silent(fd, &self.regions[region.0][range]);
        // SAFETY: the bytes lie in a region, which is changed only when no send refers to it (`rewrite`), and freed after the ring.
        unsafe { self.push(entry.user_data(Op::Silent.tag(0, slot))) }
    }

    /// Sends received bytes silently from where they lie. Hand `pieces` back only after the
    /// completions of the following [`Ring::turn`] have been taken.
    pub(crate) fn send_lent(
        &mut self,
        fd: BorrowedFd<'_>,
        slot: u32,
        pieces: &[Lent],
    ) -> io::Result<()> {
        if let [piece] = pieces {
            let entry = silent(fd, self.buffers.bytes(piece));
            // SAFETY: the buffer ring's memory is freed after the ring is closed.
            return unsafe { self.push(entry.user_data(Op::Silent.tag(0, slot))) };
        }
        if !self.gather.fits(pieces.len()) || self.sq.is_full() {
            // Submitting is what makes room: the kernel copies the vectors as it takes the entries.
            self.submit()?;
        }
        let buffers = &self.buffers;
        let message = self
            .gather
            .message(pieces.iter().map(|piece| buffers.bytes(piece)));
        let entry = opcode::SendMsg::new(Fd(fd.as_raw_fd()), message)
            .flags(SILENT_FLAGS as u32)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: header and vectors lie in `self.gather` and stay unchanged until the entry is
        // submitted (there is room for it now, so this push does not submit); the kernel copies
        // them then. The bytes are the buffer ring's.
        unsafe { self.push(entry.user_data(Op::Silent.tag(0, slot))) }
    }

    /// Most pieces one [`Ring::send_lent`] can take.
    pub(crate) const fn max_pieces() -> usize {
        gather::MAX_PIECES
    }

    /// Sends a range of a region, waiting in the kernel for room.
    pub(crate) fn send_polled(
        &mut self,
        fd: BorrowedFd<'_>,
        slot: u32,
        region: Region,
        range: Range<usize>,
    ) -> io::Result<()> {
        let entry = polled(fd, &self.regions[region.0][range]);
        // SAFETY: the bytes lie in a region, which is changed only when no send refers to it (`rewrite`), and freed after the ring.
        unsafe { self.push(entry.user_data(Op::Polled.tag(0, slot))) }
    }

    /// Sends bytes once, waiting in the kernel for room; the ring keeps them until then.
    pub(crate) fn send_owned(
        &mut self,
        fd: BorrowedFd<'_>,
        slot: u32,
        bytes: Vec<u8>,
    ) -> io::Result<()> {
        let key = self.owned.insert(bytes);
        let entry = polled(fd, self.owned.get(key));
        // SAFETY: `self.owned` keeps the buffer until the completion of this send is seen; the
        // buffer's heap memory does not move when the table grows.
        unsafe { self.push(entry.user_data(Op::Owned.tag(key, slot))) }
    }

    /// Submits everything queued in one system call, and sleeps in it as `wait` says. Take the
    /// completions with [`Ring::next`] until there is none before queueing further sends.
    pub(crate) fn turn(&mut self, wait: Wait) -> io::Result<()> {
        self.sq.sync();
        self.cq.sync();
        let wait = if self.cq.is_empty() && self.spilled.is_empty() {
            wait
        } else {
            Wait::No
        };
        self.enter(wait)?;
        // A submission that was interrupted or refused in the middle leaves entries behind.
        self.submit()
    }

    /// Next completion, or `None` when all are taken.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = match self.spilled.pop_front() {
                Some(entry) => entry,
                None => self.next_entry()?,
            };
            if let Some(completion) = self.translate(&entry) {
                return Some(completion);
            }
        }
    }

    /// The bytes of a receive.
    #[inline]
    pub(crate) fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffers.bytes(lent)
    }

    /// The bytes of a receive, to change in place.
    #[inline]
    pub(crate) fn bytes_mut(&mut self, lent: &mut Lent) -> &mut [u8] {
        self.buffers.bytes_mut(lent)
    }

    /// Hands the bytes of a receive back to the kernel.
    #[inline]
    pub(crate) fn give_back(&mut self, lent: Lent) {
        self.buffers.give_back(lent);
    }

    /// # Safety
    /// Memory that the entry points to must stay valid until the operation is over.
    #[inline]
    unsafe fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.sq.is_full() {
            self.submit()?;
        }
        // SAFETY: passed on to the caller. There is room: `submit` empties the queue.
        unsafe { self.sq.push(&entry) }
            .map_err(|_| io::Error::other("submission queue is full after a submission"))
    }

    /// Submits until the submission queue is empty.
    fn submit(&mut self) -> io::Result<()> {
        self.sq.sync();
        while !self.sq.is_empty() {
            self.enter(Wait::No)?;
        }
        self.gather.reset();
        Ok(())
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let entered = match wait {
            // SAFETY: no argument is passed; the counts come from the queue itself.
            Wait::No => unsafe {
                let queued = self.sq.len() as u32;
                self.submitter
                    .enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None)
            },
            Wait::Forever => self.submitter.submit_and_wait(1),
            Wait::AtMost(time) => {
                let time = Timespec::from(time);
                let args = SubmitArgs::new().timespec(&time);
                self.submitter.submit_with_args(1, &args)
            }
        };
        self.sq.sync();
        self.cq.sync();
        match entered.map_err(|e| (e.raw_os_error(), e)) {
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR), _)) => Ok(()),
            Err((Some(libc::EBUSY), _)) => {
                self.spilled.extend(&mut self.cq);
                self.cq.sync();
                Ok(())
            }
            Err((_, error)) => Err(error),
        }
    }

    fn next_entry(&mut self) -> Option<cqueue::Entry> {
        if let Some(entry) = self.cq.next() {
            return Some(entry);
        }
        self.cq.sync();
        if self.sq.cq_overflow() {
            // What did not fit waits in the kernel. An error here shows again in the next turn.
            // SAFETY: submits nothing and passes no argument.
            let _ = unsafe {
                self.submitter
                    .enter::<libc::sigset_t>(0, 0, ENTER_GETEVENTS, None)
            };
            self.cq.sync();
        }
        self.cq.next()
    }

    /// None: a send that succeeded and has nothing to say.
    #[inline]
    fn translate(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (op, key, slot) = Op::from_tag(entry.user_data());
        let armed = cqueue::more(entry.flags());
        Some(match op {
            Op::Receive => Completion::Received {
                slot,
                bytes: self.buffers.take(entry),
                armed,
            },
            Op::Silent => Completion::Short {
                slot,
                sent: match outcome(entry) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                    sent => sent,
                },
            },
            Op::Polled => Completion::Sent {
                slot,
                sent: outcome(entry),
            },
            Op::Owned => {
                let wanted = self.owned.remove(key);
                let sent = outcome(entry);
                let sent = sent.and_then(|n| {
                    let cut = io::Error::from(io::ErrorKind::ConnectionReset);
                    if n < wanted { Err(cut) } else { Ok(n) }
                });
                Completion::Sent { slot, sent }
            }
            Op::Connect => Completion::Connected {
                slot,
                result: outcome(entry).map(drop),
            },
            Op::Accept => Completion::Accepted {
                // SAFETY: the result of a successful accept is a new descriptor, reported once.
                socket: outcome(entry).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }),
                armed,
            },
        })
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // From here on no receive can pick a buffer any more. With DEFER_TASKRUN operations only
        // run when this thread enters the ring, and it will not again: the memory may be freed.
        self.buffers.unregister(&self.submitter);
    }
}

fn silent(fd: BorrowedFd<'_>, bytes: &[u8]) -> squeue::Entry {
    opcode::Send::new(Fd(fd.as_raw_fd()), bytes.as_ptr(), send_len(bytes))
        .flags(SILENT_FLAGS)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
}

fn polled(fd: BorrowedFd<'_>, bytes: &[u8]) -> squeue::Entry {
    opcode::Send::new(Fd(fd.as_raw_fd()), bytes.as_ptr(), send_len(bytes))
        .flags(POLLED_FLAGS)
        .build()
}

fn send_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("callers cut sends to less than 4 GiB")
}

fn outcome(entry: &cqueue::Entry) -> io::Result<usize> {
    let result = entry.result();
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

#[cfg(test)]
mod tests;
