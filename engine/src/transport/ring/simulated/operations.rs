//! The operations: what each does when it is tried, at its submission and whenever it could go on.

use std::hash::{DefaultHasher, Hasher};
use std::os::fd::AsRawFd;

use super::abi::Submission;
use super::kernel::{Kept, Kind, Operation, SimulatedKernel, Tried};
use super::{Fault, LinkId, World, op};

/// Operations that are over at once.
impl SimulatedKernel {
    /// A send that is over at once, and silent when everything was taken.
    pub(super) fn send_inline(&mut self, world: &mut World, id: LinkId, submission: Submission) {
        let (result, total) = self.take_at_once(world, id, submission);
        world.note("send", id, result);
        let silent = submission.flags & op::SKIP_SUCCESS != 0 && result == total as i32;
        if !silent {
            self.complete(world, submission.user_data, result);
        }
    }

    /// A send without a copy: over at once, and never silent. What was taken of its bytes is read once more when it is known
    /// that the peer has it.
    pub(super) fn send_lent(&mut self, world: &mut World, id: LinkId, submission: Submission) {
        let may_wait = submission.op_flags & libc::MSG_DONTWAIT as u32 == 0;
        assert!(
            !may_wait,
            "a send without a copy that may wait is not simulated"
        );
        assert_eq!(submission.flags & op::SKIP_SUCCESS, 0, "EINVAL");
        // Few sends come here, and fewer after one that was refused: more than one throw for each.
        if (0..8).any(|_| world.dice.fault(Fault::NoLockedMemory)) {
            // It has a notification only if it came as far as to ask for one.
            let flags = if world.dice.one_in(2) { op::F_MORE } else { 0 };
            self.post(world, (submission.user_data, -libc::ENOMEM, flags));
            if flags != 0 {
                self.keep(world, id, submission);
            }
            return;
        }
        let (result, _) = self.take_at_once(world, id, submission);
        world.note("send without a copy", id, result);
        self.post(world, (submission.user_data, result, op::F_MORE));
        self.keep(world, id, submission);
    }

    fn keep(&mut self, world: &World, id: LinkId, submission: Submission) {
        let kept = Kept {
            submission,
            end: world.links[id as usize].taken,
            checksum: checksum(submission),
        };
        self.in_flight.push(Operation {
            user_data: submission.user_data,
            kind: Kind::Lent(id, kept),
            cancelled: false,
        });
    }

    /// What a send takes that may not wait, as its result, and how much it asked for.
    fn take_at_once(
        &mut self,
        world: &mut World,
        id: LinkId,
        submission: Submission,
    ) -> (i32, usize) {
        // SAFETY: the engine's sends borrow what they name until this call returns, or own it for longer.
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
        (result, total)
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

    pub(super) fn cancel(&mut self, world: &mut World, user_data: u64, of: u64) {
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
    pub(super) fn run_ready(&mut self, world: &mut World, some_may_wait: bool) {
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
            let position = self
                .in_flight
                .iter()
                .position(|operation| operation.user_data == user_data)
                .expect("it was ready");
            // What was cancelled tells of it in its own time.
            let dawdles = self.in_flight[position].cancelled && world.dice.one_in(3);
            if some_may_wait && (dawdles || world.dice.fault(Fault::Late)) {
                continue;
            }
            let operation = self.in_flight.remove(position);
            if operation.cancelled {
                self.complete(world, user_data, -libc::ECANCELED);
                continue;
            }
            if let Tried::Waits(kind) = self.attempt(world, user_data, operation.kind) {
                self.in_flight.push(Operation { kind, ..operation });
            }
        }
    }

    pub(super) fn attempt(&mut self, world: &mut World, user_data: u64, kind: Kind) -> Tried {
        match kind {
            Kind::Accept => self.try_accept(world, user_data),
            Kind::Receive(id) => self.try_receive(world, user_data, id),
            Kind::Send(id, done, submission) => self.try_send(world, id, done, submission),
            Kind::Lent(id, kept) => self.give_back(world, id, kept),
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
            world.links[id as usize].accepted_at = Some(world.time);
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

    /// Receives once: length and flags, or the result that ends the receive, or nothing yet.
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

    /// Tells that bytes are needed no more, which up to now nobody was allowed to change.
    fn give_back(&mut self, world: &mut World, id: LinkId, kept: Kept) -> Tried {
        let unchanged = checksum(kept.submission) == kept.checksum;
        assert!(unchanged, "bytes have changed while they were lent");
        world.note("give back", id, kept.end as i64);
        self.post(world, (kept.submission.user_data, 0, op::F_NOTIF));
        Tried::Over
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

fn is_ready(world: &mut World, operation: &Operation) -> bool {
    operation.cancelled
        || match operation.kind {
            Kind::Accept => !world.waiting.is_empty() || !world.listening,
            Kind::Receive(id) => world.readable(id),
            Kind::Send(id, ..) => {
                let link = &world.links[id as usize];
                world.room(id) > 0 || link.reset || link.fin_out
            }
            Kind::Lent(id, kept) => !world.keeps(id, kept.end),
            Kind::Poll => world.bell,
        }
}

/// Of the bytes that a send without a copy names.
fn checksum(submission: Submission) -> u64 {
    // SAFETY: the engine owns these bytes until it has seen the notification.
    let bytes = unsafe { submission.pieces(false) }[0];
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
