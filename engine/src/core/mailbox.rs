//! What reaches a core from other threads: a bounded queue and a doorbell.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};

/// Messages that wait for a core at most. With 64-byte messages this is half a megabyte, and more than a core
/// delivers in any turn.
const MAX_MAIL: usize = 8192;

/// Payload bytes that wait for a core at most, so that few large messages are bounded as well.
const MAX_MAIL_BYTES: usize = 64 << 20;

/// Something for a core to do.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// An encoded frame for the subscribers of a topic.
    Publish { topic: Arc<str>, frame: Bytes },
    /// Stop accepting, close the connections with 1001 one after the other, and end by this time.
    Drain(Instant),
    /// End now.
    Stop,
}

impl Mail {
    fn bytes(&self) -> usize {
        match self {
            Self::Publish { frame, .. } => frame.len(),
            Self::Drain(_) | Self::Stop => 0,
        }
    }
}

/// One core's mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    bell: OwnedFd,
    /// The bell has been rung and not been answered.
    rung: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    mail: VecDeque<Mail>,
    bytes: usize,
}

/// The mailbox is full; nothing was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            queue: Mutex::default(),
            bell,
            rung: AtomicBool::new(false),
        })
    }

    /// Posts a publication; orders to drain or stop are always taken.
    pub(crate) fn post(&self, mail: Mail) -> Result<(), Full> {
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = mail.bytes();
            let full = queue.mail.len() >= MAX_MAIL
                || (queue.bytes > 0 && queue.bytes + bytes > MAX_MAIL_BYTES);
            if full && matches!(mail, Mail::Publish { .. }) {
                return Err(Full);
            }
            queue.bytes += bytes;
            queue.mail.push_back(mail);
            // Under the lock, as silencing it is: it never rings for mail that is taken already, which a core that
            // waits for the bell would take for news again and again.
            if !self.rung.swap(true, Ordering::AcqRel) {
                // Full only when it has been rung 2^64 - 2 times: then it is ringing.
                let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
            }
        }
        Ok(())
    }

    /// Whether [`Self::take`] would find something. Cheap: one relaxed load.
    pub(crate) fn has_mail(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Takes all mail and silences the bell.
    pub(crate) fn take(&self, into: &mut VecDeque<Mail>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        self.rung.store(false, Ordering::Release);
        into.append(&mut queue.mail);
        queue.bytes = 0;
    }

    /// Readable when there is mail.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// One core's view of all mailboxes.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    boxes: Arc<[Arc<Mailbox>]>,
    own: usize,
}

impl Post {
    pub(crate) fn new(boxes: Arc<[Arc<Mailbox>]>, own: usize) -> Self {
        Self { boxes, own }
    }

    pub(crate) fn own(&self) -> &Mailbox {
        &self.boxes[self.own]
    }

    /// Whether this is the only core.
    pub(crate) fn is_alone(&self) -> bool {
        self.boxes.len() == 1
    }

    /// Posts to every other core: how many took it, and how many are full.
    pub(crate) fn to_others(&self, mail: &Mail) -> (usize, usize) {
        let others = self
            .boxes
            .iter()
            .enumerate()
            .filter(|&(index, _)| index != self.own);
        let taken = others
            .filter(|(_, mailbox)| mailbox.post(mail.clone()).is_ok())
            .count();
        (taken, self.boxes.len() - 1 - taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(bytes: usize) -> Mail {
        Mail::Publish {
            topic: "t".into(),
            frame: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn is_bounded_and_still_takes_orders() {
        let mailbox = Mailbox::new().unwrap();
        let taken = (0..MAX_MAIL + 10)
            .filter(|_| mailbox.post(publication(1)).is_ok())
            .count();
        assert_eq!(taken, MAX_MAIL);
        assert_eq!(mailbox.post(Mail::Stop), Ok(()));
        let mut mail = VecDeque::new();
        mailbox.take(&mut mail);
        assert_eq!(mail.len(), MAX_MAIL + 1);
        assert!(!mailbox.has_mail());
        assert_eq!(mailbox.post(publication(1)), Ok(()));
    }

    #[test]
    fn is_bounded_in_bytes() {
        let mailbox = Mailbox::new().unwrap();
        assert_eq!(
            mailbox.post(publication(2 * MAX_MAIL_BYTES)),
            Ok(()),
            "a lone one always fits"
        );
        assert_eq!(mailbox.post(publication(1)), Err(Full));
    }
}
