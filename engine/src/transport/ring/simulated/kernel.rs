//! An io_uring that runs in memory: submissions, operations in flight, completions and their overflow.
//!
//! It does what Linux 6.18 does with DEFER_TASKRUN: an operation is tried when it is submitted; what has to wait
//! completes inside a later `enter` that asks for events, some turns late and in any order, but each connection's
//! bytes in theirs.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
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
    buffers: Option<ProvidedBuffers>,
    /// Operations that wait, in the order of their submission.
    in_flight: Vec<Operation>,
    /// Calls that were allowed to wait.
    waits: u64,
    /// Accepted, but not fetched.
    accepted: HashMap<RawFd, (OwnedFd, LinkId)>,
}

/// An operation that waits.
struct Operation {
    user_data: u64,
    kind: Kind,
    /// Its completion will be ECANCELED.
    cancelled: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Accept,
    Receive(LinkId),
    /// Bytes taken so far, and the submission that says where they lie.
    Send(LinkId, usize, Submission),
    Poll,
}

/// What became of an operation when it was tried.
enum Tried {
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

    /// Completions that nobody has fetched.
    pub(crate) fn unfetched(&self) -> usize {
        self.completions.len() + self.overflow.len()
    }
}

impl Kernel for SimulatedKernel {
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

    /// A send that is over at once, and silent when everything was taken.
    fn send_inline(&mut self, world: &mut World, id: LinkId, submission: Submission) {
        // SAFETY: the engine's sends borrow what they name until this call returns.
        let pieces = unsafe { submission.pieces(submission.opcode == op::SENDMSG) };
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let result = match self.send_result(world, id, total) {
            Ok(taken) => {
                let cork = submission.op_flags & libc::MSG_MORE as u32 != 0 && taken == total;
                let mut left = taken;
                for piece in pieces {
                    let part = left.min(piece.len());
                    world.take(id, &piece[..part], cork);
                    left -= part;
                }
                taken as i32
            }
            Err(error) => -error,
        };
        world.note("send", id, result);
        let silent = submission.flags & op::SKIP_SUCCESS != 0 && result == total as i32;
        if !silent {
            self.complete(world, submission.user_data, result);
        }
    }

    fn send_result(&self, world: &mut World, id: LinkId, total: usize) -> Result<usize, i32> {
        if let Some(error) = world.send_error(id) {
            return Err(error);
        }
        if world.dice.fault(Fault::SendNoMemory) {
            world.links[id as usize].failed = true;
            return Err(libc::ENOBUFS);
        }
        let mut taken = world.room(id).min(total);
        if world.dice.fault(Fault::ShortSend) {
            taken = world.dice.up_to(taken);
        }
        match taken {
            0 => {
                world.dice.saw(Fault::FullSend);
                Err(libc::EAGAIN)
            }
            all if all == total => Ok(all),
            short => {
                world.dice.saw(Fault::ShortSend);
                Ok(short)
            }
        }
    }

    fn cancel(&mut self, world: &mut World, user_data: u64, of: u64) {
        let target = self
            .in_flight
            .iter()
            .position(|operation| operation.user_data == of && !operation.cancelled);
        let result = match target {
            // It ends by itself, and the cancellation comes too late.
            Some(target) if world.dice.fault(Fault::CancelMissed) => {
                let operation = self.in_flight.remove(target);
                if let Kind::Receive(id) = operation.kind {
                    self.receive_last(world, operation.user_data, id);
                }
                -libc::ENOENT
            }
            Some(target) => {
                world.dice.saw(Fault::CancelFound);
                self.in_flight[target].cancelled = true;
                0
            }
            None => {
                world.dice.saw(Fault::CancelMissed);
                -libc::ENOENT
            }
        };
        world.note("cancel", (of & 0xFFFF_FFFF) as i64, result);
        self.complete(world, user_data, result);
    }

    /// A receive's last completion: bytes if there are any, or ECANCELED.
    fn receive_last(&mut self, world: &mut World, user_data: u64, id: LinkId) {
        match self.receive_some(world, id) {
            Some(Ok((len, flags))) => self.post(world, (user_data, len, flags)),
            Some(Err(result)) => self.complete(world, user_data, result),
            None => self.complete(world, user_data, -libc::ECANCELED),
        }
    }
}

/// Operations that wait.
impl SimulatedKernel {
    /// Tries the operations that can go on, in any order.
    fn run_ready(&mut self, world: &mut World, some_may_wait: bool) {
        let mut ready: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|operation| is_ready(world, operation))
            .map(|operation| operation.user_data)
            .collect();
        if ready.len() > 1 && world.dice.fault(Fault::Reordered) {
            world.dice.shuffle(&mut ready);
        }
        for user_data in ready {
            if some_may_wait && world.dice.fault(Fault::Late) {
                continue;
            }
            let position = self
                .in_flight
                .iter()
                .position(|operation| operation.user_data == user_data);
            let operation = self.in_flight.remove(position.expect("it was ready"));
            if operation.cancelled {
                self.complete(world, user_data, -libc::ECANCELED);
                continue;
            }
            if let Tried::Waits(kind) = self.attempt(world, user_data, operation.kind) {
                self.in_flight.push(Operation { kind, ..operation });
            }
        }
    }

    fn attempt(&mut self, world: &mut World, user_data: u64, kind: Kind) -> Tried {
        match kind {
            Kind::Accept => self.try_accept(world, user_data),
            Kind::Receive(id) => self.try_receive(world, user_data, id),
            Kind::Send(id, done, submission) => self.try_send(world, id, done, submission),
            Kind::Poll => self.try_poll(world, user_data),
        }
    }

    fn try_accept(&mut self, world: &mut World, user_data: u64) -> Tried {
        if !world.listening {
            self.complete(world, user_data, -libc::EINVAL);
            return Tried::Over;
        }
        while !world.waiting.is_empty() {
            if world.dice.fault(Fault::AcceptFailed) {
                let errors = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
                let error = errors[world.dice.among(0..=3)];
                self.complete(world, user_data, -error);
                return Tried::Over;
            }
            if world.dice.fault(Fault::AcceptAborted) {
                if let Some(id) = world.waiting.pop_front() {
                    world.arrive_reset(id, libc::ECONNRESET);
                }
                self.complete(world, user_data, -libc::ECONNABORTED);
                return Tried::Over;
            }
            let Some(id) = world.waiting.pop_front() else {
                break;
            };
            let descriptor = world.descriptor().expect("a descriptor for a connection");
            let number = descriptor.as_raw_fd();
            world.assign(number, id);
            world.note("accept", id, 0);
            self.accepted.insert(number, (descriptor, id));
            if world.dice.fault(Fault::AcceptEnded) {
                self.complete(world, user_data, number);
                return Tried::Over;
            }
            if !self.post_more(world, (user_data, number, 0)) {
                return Tried::Over;
            }
        }
        Tried::Waits(Kind::Accept)
    }

    fn try_receive(&mut self, world: &mut World, user_data: u64, id: LinkId) -> Tried {
        loop {
            match self.receive_some(world, id) {
                None => return Tried::Waits(Kind::Receive(id)),
                Some(Err(result)) => {
                    self.complete(world, user_data, result);
                    return Tried::Over;
                }
                Some(Ok((len, flags))) => {
                    if world.dice.fault(Fault::ReceiveEnded) {
                        self.post(world, (user_data, len, flags));
                        return Tried::Over;
                    }
                    if !self.post_more(world, (user_data, len, flags)) {
                        return Tried::Over;
                    }
                }
            }
        }
    }

    /// Receives once: length and flags, or the result that ends the receive, or nothing for now.
    fn receive_some(&mut self, world: &mut World, id: LinkId) -> Option<Result<(i32, u32), i32>> {
        let buffers = self.buffers.as_mut().expect("registered buffers");
        // A buffer is looked for first, also when nothing is there to fill it with.
        let Some(selected) = buffers.select() else {
            world.dice.saw(Fault::NoBuffers);
            world.note("no buffer", id, 0);
            return Some(Err(-libc::ENOBUFS));
        };
        let there = world.links[id as usize].incoming.len();
        if there == 0 {
            let end = world.end_of_input(id)?;
            world.error_told(id);
            world.note("end of input", id, end);
            return Some(Err(-end));
        }
        let len = there.min(selected.len as usize);
        world.receive(id, buffers.fill(selected, len as u32));
        let more = buffers.commit(selected, len as u32);
        world.note("receive", id, len as i64);
        let mut flags = op::F_BUFFER | u32::from(selected.id) << 16;
        if more {
            flags |= op::F_BUF_MORE;
        }
        Some(Ok((len as i32, flags)))
    }

    fn try_send(
        &mut self,
        world: &mut World,
        id: LinkId,
        done: usize,
        submission: Submission,
    ) -> Tried {
        let total = submission.len as usize;
        // SAFETY: the engine owns these bytes until it has seen the completion.
        let bytes = unsafe { submission.pieces(false) }[0];
        let (taken, result) = match self.send_result(world, id, total - done) {
            Ok(taken) => (taken, None),
            Err(libc::EAGAIN) => (0, None),
            // What has been taken is told first, the error with the next operation.
            Err(_) if done > 0 => {
                world.dice.saw(Fault::DrainCut);
                (0, Some(done as i32))
            }
            Err(error) => (0, Some(-error)),
        };
        world.take(id, &bytes[done..done + taken], false);
        let done = done + taken;
        let result = result.or((done == total).then_some(total as i32));
        world.note("send backlog", id, result.unwrap_or(done as i32));
        match result {
            Some(result) => {
                self.complete(world, submission.user_data, result);
                Tried::Over
            }
            None => {
                world.dice.saw(Fault::DrainWaited);
                Tried::Waits(Kind::Send(id, done, submission))
            }
        }
    }

    fn try_poll(&mut self, world: &mut World, user_data: u64) -> Tried {
        if !std::mem::take(&mut world.bell) {
            return Tried::Waits(Kind::Poll);
        }
        if world.dice.fault(Fault::BellEnded) {
            self.complete(world, user_data, i32::from(libc::POLLIN));
            return Tried::Over;
        }
        match self.post_more(world, (user_data, i32::from(libc::POLLIN), 0)) {
            true => Tried::Waits(Kind::Poll),
            false => Tried::Over,
        }
    }
}

fn is_ready(world: &World, operation: &Operation) -> bool {
    operation.cancelled
        || match operation.kind {
            Kind::Accept => !world.waiting.is_empty() || !world.listening,
            Kind::Receive(id) => world.readable(id),
            Kind::Send(id, ..) => {
                let link = &world.links[id as usize];
                world.room(id) > 0 || link.reset || link.fin_out
            }
            Kind::Poll => world.bell,
        }
}

/// Completions.
impl SimulatedKernel {
    /// A last completion without more to it.
    fn complete(&mut self, world: &mut World, user_data: u64, result: i32) {
        self.post(world, (user_data, result, 0));
    }

    /// A last completion: is never lost.
    fn post(&mut self, world: &mut World, entry: Entry) {
        if self.has_room() {
            self.completions.push_back(entry);
        } else {
            world.dice.saw(Fault::Overflow);
            self.overflow.push_back(entry);
        }
    }

    /// One completion of many. Without room it becomes the last: then it gives false.
    fn post_more(&mut self, world: &mut World, (user_data, result, flags): Entry) -> bool {
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
