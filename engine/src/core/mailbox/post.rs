//! A core's own end of the mail: what it sends to the others, and what it reads.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::doorbell::Sleeper;
use super::pair::{Limits, Receiver, Sender, pair};
use super::{Full, Mail, Mailbox, Mailboxes};
use crate::core::core_set::CoreSet;

/// One core's end of the mail. Belongs to the core's thread.
///
/// Sending has three steps, because a publisher is told at once whether its message will arrive, while all messages to a topic
/// travel as one at the end of the turn: [`reserve`](Self::reserve), [`send`](Self::send), [`ring`](Self::ring).
#[derive(Debug)]
pub(crate) struct Post {
    mailboxes: Mailboxes,
    own: usize,
    others: CoreSet,
    /// By the receiving core's position; none to this core itself.
    to: Box<[Option<Sender>]>,
    /// By the sending core's position. In this core's own place comes what threads have posted.
    from: Box<[Option<Receiver>]>,
    from_threads: VecDeque<Mail>,
    /// How much may be read of each of them before the next [`collect`](Self::collect).
    readable: Box<[usize]>,
    /// Those with something to read, each once, in the order in which it is their turn.
    senders: VecDeque<usize>,
    /// The cores that mail was reserved for, and sent to, since the last [`ring`](Self::ring).
    reserved: CoreSet,
    sent: CoreSet,
    sleeper: Sleeper,
}

impl Post {
    /// The ends of all cores, by position, with so much room between each two of them.
    pub(super) fn for_each(mailboxes: &Mailboxes, limits: Limits) -> Vec<Self> {
        let mut posts: Vec<_> = (0..mailboxes.len())
            .map(|own| Self::new(Arc::clone(mailboxes), own))
            .collect();
        for from in 0..posts.len() {
            for to in (0..posts.len()).filter(|&to| to != from) {
                let (sender, receiver) = pair(limits);
                posts[from].to[to] = Some(sender);
                posts[to].from[from] = Some(receiver);
            }
        }
        posts
    }

    fn new(mailboxes: Mailboxes, own: usize) -> Self {
        let cores = mailboxes.len();
        let mut others = CoreSet::first(cores);
        others.remove(own);
        Self {
            mailboxes,
            own,
            others,
            to: (0..cores).map(|_| None).collect(),
            from: (0..cores).map(|_| None).collect(),
            from_threads: VecDeque::new(),
            readable: vec![0; cores].into(),
            senders: VecDeque::new(),
            reserved: CoreSet::default(),
            sent: CoreSet::default(),
            sleeper: Sleeper::default(),
        }
    }

    /// This core's position.
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// The other cores.
    pub(crate) fn others(&self) -> CoreSet {
        self.others
    }
}

/// Sending.
impl Post {
    /// Keeps room for a message of `bytes` bytes, the first that goes to a topic on another core in this turn. Until
    /// [`ring`](Self::ring) it is there for [`send`](Self::send), whatever the other core does.
    ///
    /// # Errors
    /// Too much waits for that core already. A message that is larger than the limit has room when nothing waits.
    pub(crate) fn reserve(&mut self, core: usize, topic: &str, bytes: usize) -> Result<(), Full> {
        self.reserved.insert(core);
        self.sender(core).reserve(topic.len() + bytes)
    }

    /// Keeps room for a further message, which will travel with one for which there is room.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve).
    pub(crate) fn reserve_more(&mut self, core: usize, bytes: usize) -> Result<(), Full> {
        self.sender(core).reserve_more(bytes)
    }

    /// Posts what room has been kept for. The other core finds it when it looks for mail, or when it hears the bell.
    ///
    /// # Panics
    /// There is no room that was kept for it.
    pub(crate) fn send(&mut self, core: usize, mail: Mail) {
        self.sender(core).send(mail);
        self.sent.insert(core);
    }

    /// Ends a turn's sending: tells the cores that were sent to, each once, and wakes those that sleep. Room that was not used
    /// is given back.
    pub(crate) fn ring(&mut self) {
        for core in std::mem::take(&mut self.reserved).iter() {
            self.sender(core).end_turn();
        }
        for core in std::mem::take(&mut self.sent).iter() {
            self.mailboxes[core].doorbell.notify();
        }
    }

    /// Whether there is a core that was sent to and has not been told.
    #[inline]
    pub(crate) fn owes_ring(&self) -> bool {
        !self.sent.is_empty()
    }

    fn sender(&mut self, core: usize) -> &mut Sender {
        self.to[core]
            .as_mut()
            .expect("the position of another core")
    }
}

/// Nobody sleeps over mail that a core has sent in its last turn.
impl Drop for Post {
    fn drop(&mut self) {
        self.ring();
    }
}

/// Reading.
impl Post {
    /// Whether there is mail to [`collect`](Self::collect) or to read. Cheap: one load.
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        !self.senders.is_empty() || self.own_mailbox().doorbell.has_news()
    }

    /// Begins a turn's reading. What comes later is for the next turn, so that senders that are faster than this core cannot keep it
    /// from its other work.
    pub(crate) fn collect(&mut self) {
        let mailbox = &self.mailboxes[self.own];
        if !mailbox.doorbell.has_news() {
            return;
        }
        mailbox.doorbell.answer();
        mailbox.from_threads.take(&mut self.from_threads);
        for (core, from) in self.from.iter().enumerate() {
            let readable = match from {
                Some(receiver) => receiver.len(),
                None => self.from_threads.len(),
            };
            if readable > 0 && self.readable[core] == 0 {
                self.senders.push_back(core);
            }
            self.readable[core] = readable;
        }
    }

    /// The next of what was collected: of each sender in order, and of all in turn.
    pub(crate) fn next_mail(&mut self) -> Option<Mail> {
        let core = self.senders.pop_front()?;
        let mail = match &mut self.from[core] {
            Some(receiver) => receiver.next(),
            None => self.from_threads.pop_front(),
        };
        self.readable[core] -= 1;
        if self.readable[core] > 0 {
            self.senders.push_back(core);
        } else if core == self.own && self.own_mailbox().from_threads.release() {
            // Its news may have been answered while this was still being read.
            self.own_mailbox().doorbell.notify();
        }
        mail
    }

    fn own_mailbox(&self) -> &Mailbox {
        &self.mailboxes[self.own]
    }
}

/// Sleeping.
impl Post {
    /// Rings when this core sleeps and there is mail: readable once for each time.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.own_mailbox().bell()
    }

    /// To be asked right before the core sleeps until the [`bell`](Self::bell) rings. `false` when there is mail.
    #[must_use]
    pub(crate) fn try_sleep(&self) -> bool {
        self.senders.is_empty() && self.sleeper.try_sleep(&self.own_mailbox().doorbell)
    }

    /// The core is awake, if it ever slept. From now on nobody rings.
    pub(crate) fn wake(&self) {
        self.sleeper.wake(&self.own_mailbox().doorbell);
    }

    /// Silences the bell after [`wake`](Self::wake), for a core that will look whether it rings. One that waits for each ring
    /// saves the system call.
    pub(crate) fn silence(&self) {
        self.sleeper.silence(&self.own_mailbox().doorbell);
    }

    /// To sleep on where there is no descriptor.
    #[cfg(all(test, loom))]
    pub(in crate::core) fn model_bell(&self) -> &crate::core::bell::Bell {
        self.own_mailbox().doorbell.bell()
    }
}
