//! What reaches a core from other threads: a bounded queue and a doorbell.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::bell::Bell;
use super::defaults::{self, MAX_MAIL_BYTES};
use super::sync::{AtomicBool, Mutex};

/// Messages that wait for a core at most. Two fill a mailbox where every order of events is tried, or every step is
/// interpreted.
pub(super) const MAX_MAIL: usize = if cfg!(any(miri, all(test, loom))) {
    2
} else {
    defaults::MAX_MAIL
};

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
    bell: Bell,
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
        Ok(Self {
            queue: Mutex::default(),
            bell: Bell::new()?,
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
                self.bell.ring();
            }
        }
        Ok(())
    }

    /// Whether [`Self::take`] would find something. Cheap: one load.
    pub(crate) fn has_mail(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    /// Takes all mail and silences the bell.
    pub(crate) fn take(&self, into: &mut VecDeque<Mail>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.bell.silence();
        self.rung.store(false, Ordering::Release);
        into.append(&mut queue.mail);
        queue.bytes = 0;
    }

    /// Readable when there is mail.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.fd()
    }

    /// To sleep on where there is no descriptor.
    #[cfg(all(test, loom))]
    pub(super) fn model_bell(&self) -> &Bell {
        &self.bell
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

#[cfg(all(test, not(loom)))]
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
    #[cfg_attr(miri, ignore = "128 MiB")]
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
