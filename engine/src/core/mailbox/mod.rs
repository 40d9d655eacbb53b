//! What reaches a core from elsewhere.
//!
//! Each other core has a bounded queue of its own to it, so that two cores share nothing but the ends of their queue
//! ([`pair`]). Threads that are no cores share one queue with a lock ([`threads`]). One doorbell serves them all
//! ([`doorbell`]). [`Post`] is a core's end of everything: where it sends and where it reads.

mod doorbell;
mod pair;
mod post;
mod threads;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::defaults;
use doorbell::Doorbell;
use pair::Limits;
pub(crate) use post::Post;
use threads::FromThreads;

/// Publications of threads that wait for a core at most. Two fill a mailbox where every order of events is tried, or every
/// step is interpreted.
pub(super) const MAX_MAIL: usize = if cfg!(any(miri, all(test, loom))) {
    2
} else {
    defaults::MAX_MAIL
};

/// Something for a core to do.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// Messages for the subscribers of a topic. One reference for each core that gets them.
    Publish(Arc<Publication>),
    /// The topic's retained message is no more.
    Forget(Arc<str>),
    /// Stop accepting, close the connections with 1001 one after the other, and end by this time.
    Drain(Instant),
    /// End now.
    Stop,
}

/// What was published to a topic, in one go.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: Arc<str>,
    /// Whole frames as a server sends them, one behind the other.
    pub(crate) frames: Bytes,
    /// The same in the usual compressed form, once somebody has needed it.
    pub(crate) deflated: OnceLock<Bytes>,
    /// What the application calls the one message that this is, so that a later one may take its place.
    pub(crate) key: Option<u64>,
    /// The one message that this is stays with the topic, for whoever subscribes later.
    pub(crate) retain: bool,
}

impl Mail {
    /// What it counts for against the limits: nothing, where it is an order, which is always taken.
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(publication) => publication.topic.len() + publication.frames.len(),
            Self::Forget(topic) => topic.len(),
            Self::Drain(_) | Self::Stop => 0,
        }
    }

    fn is_order(&self) -> bool {
        matches!(self, Self::Drain(_) | Self::Stop)
    }
}

/// There is no room; nothing was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Every core's mailbox, by position.
pub(crate) type Mailboxes = Arc<[Mailbox]>;

/// The half of a core's mailbox that any thread may use.
// Apart from its neighbours: cores write here, each to another core's.
#[repr(align(128))]
#[derive(Debug)]
pub(crate) struct Mailbox {
    doorbell: Doorbell,
    from_threads: FromThreads,
}

impl Mailbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            doorbell: Doorbell::new()?,
            from_threads: FromThreads::default(),
        })
    }

    /// Posts from any thread. Orders to drain or stop are always taken.
    ///
    /// # Errors
    /// Too much waits for the core already.
    pub(crate) fn post(&self, mail: Mail) -> Result<(), Full> {
        self.from_threads.push(mail)?;
        self.doorbell.notify();
        Ok(())
    }

    /// Rings when the core sleeps and something is posted.
    fn bell(&self) -> BorrowedFd<'_> {
        self.doorbell.bell().fd()
    }
}

/// Sets up the mail of a server with so many cores: what any thread may use, and each core's own end.
///
/// # Errors
/// The system has no descriptor left for a doorbell.
pub(crate) fn set_up(cores: usize) -> io::Result<(Mailboxes, Vec<Post>)> {
    set_up_within(cores, Limits::among(cores - 1))
}

/// The same where so many entries and bytes may wait between each two cores.
#[cfg(test)]
pub(crate) fn set_up_small(
    cores: usize,
    entries: usize,
    bytes: u64,
) -> io::Result<(Mailboxes, Vec<Post>)> {
    set_up_within(cores, Limits::of(entries, bytes))
}

fn set_up_within(cores: usize, limits: Limits) -> io::Result<(Mailboxes, Vec<Post>)> {
    let mailboxes: Mailboxes = (0..cores)
        .map(|_| Mailbox::new())
        .collect::<io::Result<_>>()?;
    let posts = Post::for_each(&mailboxes, limits);
    Ok((mailboxes, posts))
}

#[cfg(all(test, not(loom)))]
mod tests;
