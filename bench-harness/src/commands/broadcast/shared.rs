//! What the threads of a broadcast tell each other.

use crate::client::team::Sum;

/// How much has been published: subscribers of one thread wait for what another one's publishers sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published<'a> {
    publishers: usize,
    messages: &'a Sum,
}

impl<'a> Published<'a> {
    /// By so many publishers; `messages` is the sum of what they sent.
    pub(super) fn new(publishers: usize, messages: &'a Sum) -> Self {
        Self {
            publishers,
            messages,
        }
    }

    /// Publishers of all threads.
    pub(super) fn publishers(&self) -> usize {
        self.publishers
    }

    /// Whether there is a publisher of this number.
    #[inline]
    pub(super) fn knows(&self, publisher: u32) -> bool {
        (publisher as usize) < self.publishers
    }

    /// A thread has sent its last message, so many in all. To be called once by each.
    pub(super) fn tell(&self, messages: u64) {
        self.messages.add(messages);
    }

    /// Messages in all; `None` while a thread may still send, and until that is known here.
    pub(super) fn total(&self) -> Option<u64> {
        self.messages.total()
    }
}
