//! What the threads of a broadcast tell each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How much has been published: subscribers of one thread wait for what another one's publishers sent.
#[derive(Debug)]
pub(super) struct Published {
    publishers: usize,
    threads: usize,
    messages: AtomicU64,
    told: AtomicUsize,
}

impl Published {
    /// Nothing yet, by so many publishers on so many threads.
    pub(super) fn new(publishers: usize, threads: usize) -> Self {
        Self {
            publishers,
            threads,
            messages: AtomicU64::new(0),
            told: AtomicUsize::new(0),
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
        self.messages.fetch_add(messages, Ordering::Relaxed);
        // Orders the sum before the count for whoever sees the count.
        self.told.fetch_add(1, Ordering::Release);
    }

    /// Messages in all; `None` while a thread may still send.
    pub(super) fn total(&self) -> Option<u64> {
        let all = self.told.load(Ordering::Acquire) == self.threads;
        all.then(|| self.messages.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_known_when_all_have_told() {
        let published = Published::new(3, 2);
        assert!(published.knows(2) && !published.knows(3));
        published.tell(5);
        assert_eq!(published.total(), None);
        published.tell(7);
        assert_eq!(published.total(), Some(12));
    }
}
