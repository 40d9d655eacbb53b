//! The queue of threads that are no cores. It takes a lock, for a few instructions at each end.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::{Full, MAX_MAIL, Mail};
use crate::core::defaults::MAX_MAIL_BYTES;
use crate::core::sync::Mutex;

/// Mail from any thread to one core, in the order in which it was posted.
#[derive(Debug, Default)]
pub(super) struct FromThreads {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    mail: VecDeque<Mail>,
    bytes: usize,
    /// What the core took last and has not read to its end: it counts until then.
    taken: usize,
    taken_bytes: usize,
}

impl FromThreads {
    /// Takes publications within the limits, and orders always. A lone publication of any size fits.
    pub(super) fn push(&self, mail: Mail) -> Result<(), Full> {
        let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = queue.mail.len() + queue.taken;
        let bytes = queue.bytes + queue.taken_bytes;
        let full = waiting >= MAX_MAIL || (bytes > 0 && bytes + mail.bytes() > MAX_MAIL_BYTES);
        if full && !mail.is_order() {
            return Err(Full);
        }
        queue.bytes += mail.bytes();
        queue.mail.push_back(mail);
        Ok(())
    }

    /// Takes all there is, if what was taken before has been read.
    pub(super) fn take(&self, into: &mut VecDeque<Mail>) {
        if !into.is_empty() {
            return;
        }
        let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.mail, into);
        queue.taken = into.len();
        queue.taken_bytes = std::mem::take(&mut queue.bytes);
    }

    /// What was taken has been read, so there is room for as much again. Whether more has come meanwhile.
    pub(super) fn release(&self) -> bool {
        let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        (queue.taken, queue.taken_bytes) = (0, 0);
        !queue.mail.is_empty()
    }
}
