//! What the threads of a broadcast tell each other.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// What the threads of a role share: how much each publisher has sent.
#[derive(Debug)]
pub(crate) struct Published {
    /// By number of the publisher within the role.
    sent: Vec<AtomicU32>,
    threads: usize,
    /// Threads that have sent their last message.
    told: AtomicUsize,
}

impl Published {
    /// Nothing yet, by so many publishers on so many threads.
    pub(crate) fn new(publishers: usize, threads: usize) -> Self {
        let mut sent = Vec::new();
        sent.resize_with(publishers, AtomicU32::default);
        Self {
            sent,
            threads,
            told: AtomicUsize::new(0),
        }
    }

    /// Publishers of the role.
    pub(super) fn publishers(&self) -> usize {
        self.sent.len()
    }

    /// A publisher is about to send, and has then sent so many. Whoever does not see that yet will receive what comes after.
    pub(super) fn sends(&self, publisher: u32, total: u32) {
        self.sent[publisher as usize].store(total, Ordering::Release);
    }

    /// Messages of a publisher so far.
    pub(super) fn sent(&self, publisher: usize) -> u32 {
        self.sent[publisher].load(Ordering::Acquire)
    }

    /// A thread has sent its last message. To be called once by each.
    pub(super) fn tell(&self) {
        self.told.fetch_add(1, Ordering::AcqRel);
    }

    /// No thread sends any more.
    pub(super) fn is_complete(&self) -> bool {
        self.told.load(Ordering::Acquire) == self.threads
    }

    /// Messages of a topic so far.
    pub(super) fn of_topic(&self, topic: usize, topics: usize) -> u64 {
        let numbers = (topic..self.publishers()).step_by(topics);
        numbers.map(|number| u64::from(self.sent(number))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_summed_up_by_topic() {
        let published = Published::new(5, 2);
        published.sends(1, 3);
        published.sends(4, 10);
        published.sends(3, 4);
        assert_eq!(
            (published.of_topic(0, 2), published.of_topic(1, 2)),
            (10, 7)
        );
        assert_eq!((published.publishers(), published.sent(3)), (5, 4));
        published.tell();
        assert!(!published.is_complete());
        published.tell();
        assert!(published.is_complete());
    }
}
