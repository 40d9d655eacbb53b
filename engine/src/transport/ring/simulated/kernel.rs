//! An io_uring that runs in memory: submissions, operations in flight, completions and their overflow.
//!
//! It does what Linux 6.18 does with DEFER_TASKRUN: an operation is tried when it is submitted; what has to wait
//! completes inside a later `enter` that asks for events, some turns late and in any order, but each connection's
//! bytes in theirs.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::squeue;

use super::abi::{ProvidedBuffers, Submission};
use super::{Fault, Handle, LinkId, World, op};
use crate::transport::ring::{Kernel, Wait};
use crate::transport::socket::Socket;

/// What happens outside of the engine: peers, other threads.
pub(crate) trait Outside {
    /// When something will happen next; `None`: never again.
    fn next(&self, world: &World) -> Option<Duration>;
    /// Does everything that is due by the world's time.
    fn act(&mut self, world: &mut World);
}

/// How large the queues are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    pub(crate) submissions: usize,
    pub(crate) completions: usize,
}

/// Things that may happen outside without any effect on a ring that sleeps.
const EVENTS_PER_SLEEP: usize = 100_000;

/// A completion: `user_data`, result, flags.
type Entry = (u64, i32, u32);

/// The simulated io_uring.
pub(crate) struct SimulatedKernel {
    world: Rc<RefCell<World>>,
    outside: Rc<RefCell<dyn Outside>>,
    started: Instant,
    queues: Queues,
    submissions: VecDeque<Submission>,
    completions: VecDeque<Entry>,
    overflow: VecDeque<Entry>,
    pub(super) buffers: Option<ProvidedBuffers>,
    /// Operations that wait, in the order of their submission.
    pub(super) in_flight: Vec<Operation>,
    /// Calls that were allowed to wait.
    waits: u64,
    /// Calls that only looked for completions.
    looks: u64,
    /// Accepted, but not fetched.
    pub(super) accepted: HashMap<RawFd, (OwnedFd, LinkId)>,
}

/// An operation that waits.
pub(super) struct Operation {
    pub(super) user_data: u64,
    pub(super) kind: Kind,
    /// Its completion will be ECANCELED.
    pub(super) cancelled: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Accept,
    Receive(LinkId),
    /// Bytes taken so far, and the submission that says where they lie.
    Send(LinkId, usize, Submission),
    /// A send without a copy that is over, but for its notification.
    Lent(LinkId, Kept),
    Poll,
}

/// Bytes that a socket sends from where they lie.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    /// Says where they are.
    pub(super) submission: Submission,
    /// All that was taken for the connection when they had been.
    pub(super) end: u64,
    /// What they were then.
    pub(super) checksum: u64,
}

/// What became of an operation when it was tried.
pub(super) enum Tried {
    Over,
    Waits(Kind),
}

impl SimulatedKernel {
    pub(crate) fn new(
        world: Rc<RefCell<World>>,
        outside: Rc<RefCell<dyn Outside>>,
        started: Instant,
        queues: Queues,
    ) -> Self {
        Self {
            world,
            outside,
            started,
            queues,
            submissions: VecDeque::new(),
            completions: VecDeque::new(),
            overflow: VecDeque::new(),
            buffers: None,
            in_flight: Vec::new(),
            waits: 0,
            looks: 0,
            accepted: HashMap::new(),
        }
    }

    /// `user_data` of every operation that has not completed for good.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = u64> {
        self.in_flight.iter().map(|operation| operation.user_data)
    }

    /// The buffers that the kernel may fill, in its order.
    pub(crate) fn published(&self) -> Vec<u16> {
        self.buffers
            .as_ref()
            .map_or_else(Vec::new, ProvidedBuffers::published)
    }

    /// How many calls were allowed to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.waits
    }

    /// How many calls looked for completions, and did not wait.
    pub(crate) fn looks(&self) -> u64 {
        self.looks
    }

    /// Completions that nobody has fetched.
    pub(crate) fn unfetched(&self) -> usize {
        self.completions.len() + self.overflow.len()
    }
}

// SAFETY: memory is touched only by `enter`, which runs operations and answers each as it went: the completions are made where the
// bytes are copied, in order, and a receive writes where the buffer that it names was filled to. Sends that may not wait are over
// when they have been tried. `cancel_all` forgets all that points anywhere, and the buffers are written by operations
// alone. `accepted` hands out the descriptor that it kept.
unsafe impl Kernel for SimulatedKernel {
    unsafe fn push(&mut self, entry: &squeue::Entry) -> bool {
        if self.submissions.len() == self.queues.submissions {
            self.world.borrow_mut().dice.saw(Fault::SubmissionsFull);
            return false;
        }
        self.submissions.push_back(Submission::decode(entry));
        true
    }

    fn queued(&mut self) -> u32 {
        self.submissions.len() as u32
    }

    fn enter(&mut self, events: Option<Wait>) -> io::Result<()> {
        self.waits += u64::from(matches!(events, Some(Wait::For(_))));
        self.looks += u64::from(matches!(events, Some(Wait::No)));
        self.pass_time();
        if let Some(buffers) = &mut self.buffers {
            buffers.poison();
        }
        let queued = self.submissions.len();
        let submitted = self.submit_some()?;
        if submitted < queued {
            return Ok(());
        }
        let Some(wait) = events else {
            return Ok(());
        };
        self.flush_overflow();
        let world = Rc::clone(&self.world);
        self.run_ready(&mut world.borrow_mut(), true);
        drop(world);
        match wait {
            Wait::For(time) if self.completions.is_empty() => {
                // Only a call that has submitted nothing tells how the wait went.
                self.wait(time)
                    .or_else(|e| if submitted > 0 { Ok(()) } else { Err(e) })
            }
            _ => Ok(()),
        }
    }

    fn reap(&mut self, mut each: impl FnMut(u64, i32, u32)) {
        for (user_data, result, flags) in self.completions.drain(..) {
            each(user_data, result, flags);
        }
    }

    fn overflowed(&mut self) -> bool {
        !self.overflow.is_empty()
    }

    unsafe fn register_buffers(
        &mut self,
        ring: *mut u8,
        count: u16,
        _group: u16,
        flags: u16,
    ) -> io::Result<()> {
        // SAFETY: as the caller promises.
        self.buffers = Some(unsafe { ProvidedBuffers::new(ring, count, flags != 0) });
        Ok(())
    }

    fn cancel_all(&mut self) -> bool {
        self.submissions.clear();
        self.in_flight.clear();
        true
    }

    unsafe fn accepted(&mut self, descriptor: RawFd) -> Socket {
        let (descriptor, id) = self
            .accepted
            .remove(&descriptor)
            .expect("a descriptor that an accept brought, fetched once");
        Socket::Simulated(Handle::new(&self.world, descriptor, Some(id)))
    }

    fn now(&self) -> Instant {
        self.started + self.world.borrow().time
    }
}

/// Time.
impl SimulatedKernel {
    /// A call takes a little, and sometimes the clock has gone on by much more.
    fn pass_time(&mut self) {
        let mut world = self.world.borrow_mut();
        let micros = world.dice.up_to(200) as u64;
        world.time += Duration::from_micros(micros);
        if world.dice.fault(Fault::ClockJump) {
            // Mostly a pause of the machine, seldom days.
            let most = if world.dice.one_in(12) {
                400_000_000
            } else {
                300
            };
            let millis = world.dice.up_to(most) as u64;
            world.time += Duration::from_millis(millis);
            world.jumped_at = world.time;
            world.note("clock jumps, ms", millis as i64, 0);
        }
        self.outside.borrow_mut().act(&mut world);
    }

    /// Sleeps until something completes, or for a time.
    fn wait(&mut self, time: Option<Duration>) -> io::Result<()> {
        let world = Rc::clone(&self.world);
        let world = &mut *world.borrow_mut();
        let end = time.map(|time| world.time + time);
        let mut next = None;
        for _ in 0..EVENTS_PER_SLEEP {
            self.run_ready(world, false);
            if !self.completions.is_empty() {
                return Ok(());
            }
            if world.dice.fault(Fault::Interrupted) {
                return Err(io::Error::from_raw_os_error(libc::EINTR));
            }
            next = self.outside.borrow().next(world);
            match (next, end) {
                (None, None) => {
                    world.asleep = true;
                    return Err(io::Error::from_raw_os_error(libc::EINTR));
                }
                (Some(next), end) if end.is_none_or(|end| next <= end) => {
                    world.time = next.max(world.time);
                    self.outside.borrow_mut().act(world);
                }
                (_, end) => {
                    world.time = end.unwrap_or_default().max(world.time);
                    world.dice.saw(Fault::TimedOut);
                    return Err(io::Error::from_raw_os_error(libc::ETIME));
                }
            }
        }
        panic!(
            "the world goes on for ever, and nothing completes: {next:?} of {end:?} at {:?}, {} waiting",
            world.time,
            world.waiting.len()
        );
    }
}

/// Submitting.
impl SimulatedKernel {
    /// Submits what is queued, or less. How many that were.
    fn submit_some(&mut self) -> io::Result<usize> {
        let world = Rc::clone(&self.world);
        let world = &mut *world.borrow_mut();
        let mut count = self.submissions.len();
        if count > 0 && world.dice.fault(Fault::SubmittedNothing) {
            let error = if self.overflow.is_empty() {
                libc::EAGAIN
            } else {
                libc::EBUSY
            };
            return Err(io::Error::from_raw_os_error(error));
        }
        if count > 1 && world.dice.fault(Fault::SubmittedInPart) {
            count = world.dice.among(1..=count - 1);
        }
        for submission in self.submissions.drain(..count).collect::<Vec<_>>() {
            self.issue(world, submission);
            if world.dice.fault(Fault::Between) {
                world.time += Duration::from_micros(20);
                self.outside.borrow_mut().act(world);
            }
        }
        Ok(count)
    }

    fn issue(&mut self, world: &mut World, submission: Submission) {
        let user_data = submission.user_data;
        let kind = match submission.opcode {
            op::ACCEPT => Kind::Accept,
            op::POLL_ADD => Kind::Poll,
            op::ASYNC_CANCEL => return self.cancel(world, user_data, submission.addr),
            op::RECV => Kind::Receive(self.link_of(world, submission.fd)),
            op::SEND_ZC => {
                let id = self.link_of(world, submission.fd);
                return self.send_lent(world, id, submission);
            }
            op::SEND | op::SENDMSG => {
                let id = self.link_of(world, submission.fd);
                if submission.op_flags & libc::MSG_DONTWAIT as u32 != 0 {
                    return self.send_inline(world, id, submission);
                }
                Kind::Send(id, 0, submission)
            }
            unknown => panic!("operation {unknown} is not simulated"),
        };
        let tried = self.attempt(world, user_data, kind);
        if let Tried::Waits(kind) = tried {
            self.in_flight.push(Operation {
                user_data,
                kind,
                cancelled: false,
            });
        }
    }

    fn link_of(&self, world: &World, descriptor: RawFd) -> LinkId {
        world
            .by_number(descriptor)
            .expect("a descriptor that is open when its operation is submitted")
    }
}

/// Completions.
impl SimulatedKernel {
    /// A last completion without more to it.
    pub(super) fn complete(&mut self, world: &mut World, user_data: u64, result: i32) {
        self.post(world, (user_data, result, 0));
    }

    /// A last completion: is never lost.
    pub(super) fn post(&mut self, world: &mut World, entry: Entry) {
        if self.has_room() {
            self.completions.push_back(entry);
        } else {
            world.dice.saw(Fault::Overflow);
            self.overflow.push_back(entry);
        }
    }

    /// One completion of many. Without room it becomes the last: then it gives false.
    pub(super) fn post_more(
        &mut self,
        world: &mut World,
        (user_data, result, flags): Entry,
    ) -> bool {
        if self.has_room() {
            self.completions
                .push_back((user_data, result, flags | op::F_MORE));
            return true;
        }
        world.dice.saw(Fault::OverflowEnded);
        self.post(world, (user_data, result, flags));
        false
    }

    fn has_room(&self) -> bool {
        self.completions.len() < self.queues.completions && self.overflow.is_empty()
    }

    fn flush_overflow(&mut self) {
        while self.completions.len() < self.queues.completions
            && let Some(entry) = self.overflow.pop_front()
        {
            self.completions.push_back(entry);
        }
    }
}

impl Drop for SimulatedKernel {
    fn drop(&mut self) {
        for (_, (_descriptor, id)) in self.accepted.drain() {
            // Its completion has never been read.
            let _ = self.world.borrow_mut().shutdown(id, Shutdown::Both);
        }
    }
}
