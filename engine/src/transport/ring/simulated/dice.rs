//! The one source of chance: which faults happen, and when.

use std::ops::RangeInclusive;

/// What can go wrong, or come in an unusual order. The tests demand that each does in the course of their seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Fault {
    /// A send took some bytes.
    ShortSend,
    /// A send took nothing: EAGAIN.
    FullSend,
    /// A send found the connection reset.
    SendReset,
    /// A send came after that, or after a shutdown: EPIPE.
    SendPipe,
    /// A send found no memory: ENOBUFS.
    SendNoMemory,
    /// A send without a copy could not lock memory: ENOMEM.
    NoLockedMemory,
    /// A send without a copy kept its bytes beyond the call.
    BytesKept,
    /// It did after its connection had been closed.
    BytesKeptAfterClose,
    /// A backlog send waited for room.
    DrainWaited,
    /// A backlog send was cut off with some bytes taken.
    DrainCut,
    /// A receive found no buffer: ENOBUFS.
    NoBuffers,
    /// A multishot receive ended although there was no reason.
    ReceiveEnded,
    /// A receive found the connection reset.
    ReceiveReset,
    /// Ready operations were left for a later call.
    Late,
    /// Operations completed in another order than they became ready.
    Reordered,
    /// A cancellation found its receive.
    CancelFound,
    /// A cancellation came after its receive had ended.
    CancelMissed,
    /// Completions did not fit into their queue.
    Overflow,
    /// A multishot ended because its completion did not fit.
    OverflowEnded,
    /// Submissions did not fit into their queue.
    SubmissionsFull,
    /// Only a part of the submissions was taken.
    SubmittedInPart,
    /// Nothing was taken: EAGAIN or EBUSY.
    SubmittedNothing,
    /// A wait was interrupted: EINTR.
    Interrupted,
    /// A wait ended without a completion: ETIME.
    TimedOut,
    /// A multishot accept ended although there was no reason.
    AcceptEnded,
    /// Out of descriptors or memory.
    AcceptFailed,
    /// The connection was gone before it was accepted.
    AcceptAborted,
    /// The poll on the bell ended although there was no reason.
    BellEnded,
    /// The clock went on by far more than was slept.
    ClockJump,
    /// Something happened outside between two submissions of one call.
    Between,
    /// Bytes that were sent with MSG_MORE waited for the FIN.
    Corked,
    /// A close with unread input, or input after a close: the peer lost what it had not read.
    ClosedOnInput,
}

impl Fault {
    pub(crate) const COUNT: usize = Self::ClosedOnInput as usize + 1;

    /// Every fault, with its name.
    pub(crate) const ALL: [(Self, &str); Self::COUNT] = [
        (Self::ShortSend, "ShortSend"),
        (Self::FullSend, "FullSend"),
        (Self::SendReset, "SendReset"),
        (Self::SendPipe, "SendPipe"),
        (Self::SendNoMemory, "SendNoMemory"),
        (Self::NoLockedMemory, "NoLockedMemory"),
        (Self::BytesKept, "BytesKept"),
        (Self::BytesKeptAfterClose, "BytesKeptAfterClose"),
        (Self::DrainWaited, "DrainWaited"),
        (Self::DrainCut, "DrainCut"),
        (Self::NoBuffers, "NoBuffers"),
        (Self::ReceiveEnded, "ReceiveEnded"),
        (Self::ReceiveReset, "ReceiveReset"),
        (Self::Late, "Late"),
        (Self::Reordered, "Reordered"),
        (Self::CancelFound, "CancelFound"),
        (Self::CancelMissed, "CancelMissed"),
        (Self::Overflow, "Overflow"),
        (Self::OverflowEnded, "OverflowEnded"),
        (Self::SubmissionsFull, "SubmissionsFull"),
        (Self::SubmittedInPart, "SubmittedInPart"),
        (Self::SubmittedNothing, "SubmittedNothing"),
        (Self::Interrupted, "Interrupted"),
        (Self::TimedOut, "TimedOut"),
        (Self::AcceptEnded, "AcceptEnded"),
        (Self::AcceptFailed, "AcceptFailed"),
        (Self::AcceptAborted, "AcceptAborted"),
        (Self::BellEnded, "BellEnded"),
        (Self::ClockJump, "ClockJump"),
        (Self::Between, "Between"),
        (Self::Corked, "Corked"),
        (Self::ClosedOnInput, "ClosedOnInput"),
    ];
}

/// Seeded chance, and a count of the faults that it has made.
pub(crate) struct Dice {
    random: fastrand::Rng,
    /// In 65,536ths, drawn per seed: some runs know nothing of a fault, others hardly anything else.
    odds: [u16; Fault::COUNT],
    counts: [u64; Fault::COUNT],
    calm: bool,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let odds = std::array::from_fn(|_| match random.u8(..) {
            0..80 => 0,
            80..180 => random.u16(1..600),
            180..240 => random.u16(600..6_000),
            _ => random.u16(6_000..24_000),
        });
        Self {
            random,
            odds,
            counts: [0; Fault::COUNT],
            calm: false,
        }
    }

    /// From now on no fault is made on purpose.
    pub(crate) fn calm_down(&mut self) {
        self.calm = true;
    }

    /// Whether it has calmed down.
    pub(crate) fn is_calm(&self) -> bool {
        self.calm
    }

    /// Whether a fault is to happen here; counts it.
    pub(crate) fn fault(&mut self, fault: Fault) -> bool {
        let odds = self.odds[fault as usize];
        let happens = !self.calm && odds > 0 && self.random.u16(..) < odds;
        if happens {
            self.saw(fault);
        }
        happens
    }

    /// Counts a fault that came about by itself.
    pub(crate) fn saw(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    pub(crate) fn counts(&self) -> &[u64; Fault::COUNT] {
        &self.counts
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(..n) == 0
    }

    /// A number of the range, each as likely.
    pub(crate) fn among(&mut self, range: RangeInclusive<usize>) -> usize {
        self.random.usize(range)
    }

    /// A number up to `most`, small ones being likelier: each power of two is as likely as the next.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        let bits = usize::BITS - most.leading_zeros();
        let bound = 1_usize << self.random.u32(..=bits);
        self.random.usize(..bound).min(most)
    }

    /// A payload's length up to `most`: mostly short, sometimes any.
    pub(crate) fn length(&mut self, most: usize) -> usize {
        match self.one_in(4) {
            true => self.among(0..=most),
            false => self.up_to(most),
        }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.random.u64(..)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.random.shuffle(items);
    }
}
