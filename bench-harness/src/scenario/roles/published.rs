//! How much each publisher of a role has sent.

use crate::agents::Census;
use crate::clock::Nanos;

/// The publishers of a role, by number within it, among those of the whole run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published<'a> {
    census: &'a Census,
    /// The number in the run of the role's first publisher, and how many there are.
    first: usize,
    count: usize,
}

impl<'a> Published<'a> {
    /// Those from number `first` on.
    pub(crate) fn new(census: &'a Census, first: usize, count: usize) -> Self {
        Self {
            census,
            first,
            count,
        }
    }

    /// Publishers of the role.
    #[inline]
    pub(super) fn publishers(&self) -> usize {
        self.count
    }

    /// As [`Census::sends`].
    pub(super) fn sends(&self, publisher: u32, total: u32) {
        self.census.sends(self.first + publisher as usize, total);
    }

    /// As [`Census::sent`].
    pub(super) fn sent(&self, publisher: usize) -> u32 {
        self.census.sent(self.first + publisher)
    }

    /// As [`Census::tell`]: a thread has sent its last message of this role. To be called once by each.
    pub(super) fn tell(&self) {
        self.census.tell();
    }

    /// As [`Census::is_complete`]: of all roles.
    pub(super) fn is_complete(&self) -> bool {
        self.census.is_complete()
    }

    /// As [`Census::is_known`].
    pub(super) fn is_known(&self, time: Nanos) -> bool {
        self.census.is_known(time)
    }

    /// Messages of a topic so far.
    pub(super) fn of_topic(&self, topic: usize, topics: usize) -> u64 {
        let numbers = (topic..self.count).step_by(topics);
        numbers.map(|number| u64::from(self.sent(number))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_summed_up_by_topic() {
        let census = Census::new(9, 1, true);
        let (published, others) = (Published::new(&census, 2, 5), Published::new(&census, 7, 2));
        published.sends(1, 3);
        published.sends(4, 10);
        published.sends(3, 4);
        others.sends(0, 99);
        assert_eq!(
            (published.of_topic(0, 2), published.of_topic(1, 2)),
            (10, 7)
        );
        assert_eq!((published.publishers(), published.sent(3)), (5, 4));
    }
}
