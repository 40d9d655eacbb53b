//! Who has received what: loss, duplicates and order, for every subscriber and publisher.

use std::collections::HashMap;
use std::ops::Range;

use crate::stats::faults::Faults;

/// Stretches of missing messages remembered for one subscriber and publisher. A message that comes late
/// from further back counts as a duplicate; that it was missing stays counted, too.
const REMEMBERED: usize = 256;

/// What the subscribers of one thread have received.
pub(crate) struct Ledger {
    publishers: usize,
    /// The number of the message that is due next, publisher by publisher, for each subscriber.
    next: Box<[u32]>,
    /// Stretches that were passed over and may still come.
    gaps: HashMap<(u32, u32), Vec<Range<u32>>>,
    /// Subscribers that count: they have joined and not left.
    present: Vec<bool>,
    /// Sum of `next` over those present: what they have received or been passed over for.
    passed: u64,
    counts: Faults,
}

/// How a message arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// For the first time, in order, with those before it that were passed over (usually none).
    New(Range<u32>),
    /// For the first time, after a later one.
    Late,
    /// Again.
    Duplicate,
}

impl Ledger {
    /// For so many subscribers and publishers.
    pub(crate) fn new(subscribers: usize, publishers: usize) -> Self {
        Self {
            publishers,
            next: vec![0; subscribers * publishers].into_boxed_slice(),
            gaps: HashMap::new(),
            present: vec![false; subscribers],
            passed: 0,
            counts: Faults::default(),
        }
    }

    /// A subscriber has joined. It waits for everything from the begin on, or from where it left; unless
    /// [`Ledger::expect_from`] says otherwise.
    pub(crate) fn join(&mut self, subscriber: u32) {
        if !std::mem::replace(&mut self.present[subscriber as usize], true) {
            self.passed += sum(&self.next[self.row(subscriber)]);
        }
    }

    /// A subscriber that is present waits for the messages of a publisher from this number on: it joined, or joined again,
    /// when the others had been published. What it had missed before is forgotten.
    pub(crate) fn expect_from(&mut self, subscriber: u32, publisher: u32, number: u32) {
        let at = self.row(subscriber).start + publisher as usize;
        self.passed = self.passed + u64::from(number) - u64::from(self.next[at]);
        self.next[at] = number;
        self.gaps.remove(&(subscriber, publisher));
    }

    /// The number of a publisher's message that a subscriber waits for.
    pub(crate) fn next(&self, subscriber: u32, publisher: u32) -> u32 {
        self.next[self.row(subscriber).start + publisher as usize]
    }

    /// Message `number` of a publisher has come to a subscriber.
    #[inline]
    pub(crate) fn arrived(&mut self, subscriber: u32, publisher: u32, number: u32) -> Arrival {
        let next = &mut self.next[subscriber as usize * self.publishers + publisher as usize];
        if number < *next {
            return self.came_back(subscriber, publisher, number);
        }
        let missing = *next..number;
        self.passed += u64::from(number + 1 - *next);
        *next = number + 1;
        if !missing.is_empty() {
            self.pass_over(subscriber, publisher, missing.clone());
        }
        Arrival::New(missing)
    }

    /// Messages before the one that a subscriber waits for turn out to be missing. They may still come.
    pub(crate) fn miss(&mut self, subscriber: u32, publisher: u32, numbers: Range<u32>) {
        if !numbers.is_empty() {
            self.pass_over(subscriber, publisher, numbers);
        }
    }

    #[cold]
    fn pass_over(&mut self, subscriber: u32, publisher: u32, missing: Range<u32>) {
        self.counts.lost += u64::from(missing.end - missing.start);
        let gaps = self.gaps.entry((subscriber, publisher)).or_default();
        if gaps.len() == REMEMBERED {
            gaps.remove(0);
        }
        gaps.push(missing);
    }

    #[cold]
    fn came_back(&mut self, subscriber: u32, publisher: u32, number: u32) -> Arrival {
        let gaps = self.gaps.entry((subscriber, publisher)).or_default();
        let Some(at) = gaps.iter().position(|gap| gap.contains(&number)) else {
            self.counts.duplicated += 1;
            return Arrival::Duplicate;
        };
        let gap = gaps.remove(at);
        let rest = [gap.start..number, number + 1..gap.end];
        gaps.extend(rest.into_iter().filter(|gap| !gap.is_empty()));
        self.counts.lost -= 1;
        self.counts.reordered += 1;
        Arrival::Late
    }

    /// A subscriber is gone: what it has not received is no loss. Returns, publisher by publisher, the first
    /// number that it does not wait for any more.
    pub(crate) fn leave(&mut self, subscriber: u32) -> &[u32] {
        let row = self.row(subscriber);
        if std::mem::take(&mut self.present[subscriber as usize]) {
            self.passed -= sum(&self.next[row.clone()]);
        }
        &self.next[row]
    }

    fn row(&self, subscriber: u32) -> Range<usize> {
        let begin = subscriber as usize * self.publishers;
        begin..begin + self.publishers
    }

    /// Deliveries that are still to come when so many messages were `published` in all.
    pub(crate) fn outstanding(&self, published: u64) -> u64 {
        let present = self.present.iter().filter(|&&present| present).count() as u64;
        (published * present).saturating_sub(self.passed)
    }

    /// What is certain by now, all of it together only grows: what was passed over counts as lost until it comes late.
    pub(crate) fn faults(&self) -> &Faults {
        &self.counts
    }

    /// The final account: what has not come by now is lost.
    pub(crate) fn close(&self, published: u64) -> Faults {
        Faults {
            lost: self.counts.lost + self.outstanding(published),
            ..self.counts
        }
    }
}

fn sum(numbers: &[u32]) -> u64 {
    numbers.iter().copied().map(u64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of one subscriber and publisher after these messages.
    fn account(numbers: &[u32], published: u64) -> Faults {
        let mut ledger = Ledger::new(1, 1);
        ledger.join(0);
        for &number in numbers {
            ledger.arrived(0, 0, number);
        }
        ledger.close(published)
    }

    #[test]
    fn losses_duplicates_and_disorder_are_told_apart() {
        let counts = |lost, duplicated, reordered| Faults {
            lost,
            duplicated,
            reordered,
        };
        assert_eq!(account(&[0, 1, 2, 3], 4), counts(0, 0, 0));
        assert_eq!(account(&[0, 1, 3], 4), counts(1, 0, 0), "one in the middle");
        assert_eq!(account(&[0, 1], 4), counts(2, 0, 0), "the last two");
        assert_eq!(account(&[], 4), counts(4, 0, 0), "all");
        assert_eq!(account(&[0, 1, 1, 2, 3], 4), counts(0, 1, 0));
        assert_eq!(account(&[0, 2, 1, 3], 4), counts(0, 0, 1), "swapped");
        assert_eq!(
            account(&[0, 2, 1, 1, 3], 4),
            counts(0, 1, 1),
            "late, and again"
        );
        assert_eq!(account(&[4, 2, 0, 1, 3], 5), counts(0, 0, 4), "a torn gap");
    }

    #[test]
    fn every_subscriber_and_publisher_has_an_account_of_its_own() {
        let mut ledger = Ledger::new(3, 2);
        (0..2).for_each(|subscriber| ledger.join(subscriber));
        assert_eq!(ledger.arrived(0, 0, 0), Arrival::New(0..0));
        assert_eq!(ledger.arrived(0, 1, 1), Arrival::New(0..1));
        assert_eq!(ledger.arrived(1, 0, 0), Arrival::New(0..0));
        assert_eq!(ledger.arrived(0, 1, 0), Arrival::Late);
        assert_eq!(ledger.arrived(0, 0, 0), Arrival::Duplicate);
        // Publisher 0 sent one message, publisher 1 two: subscriber 1 lacks the latter's.
        assert_eq!(ledger.outstanding(3), 2);
    }

    #[test]
    fn who_has_left_lacks_nothing() {
        let mut ledger = Ledger::new(2, 1);
        (0..2).for_each(|subscriber| ledger.join(subscriber));
        ledger.arrived(0, 0, 0);
        ledger.arrived(1, 0, 0);
        assert_eq!(ledger.outstanding(5), 8);
        assert_eq!(ledger.leave(1), [1]);
        ledger.leave(1);
        assert_eq!(ledger.outstanding(5), 4);
    }

    #[test]
    fn who_joins_late_lacks_only_what_was_published_after() {
        let mut ledger = Ledger::new(1, 2);
        ledger.join(0);
        ledger.expect_from(0, 1, 7);
        assert_eq!(
            ledger.outstanding(10),
            3,
            "3 of publisher 1, none of publisher 0"
        );
        assert_eq!(ledger.arrived(0, 1, 8), Arrival::New(7..8));
        ledger.leave(0);
        assert_eq!(ledger.outstanding(20), 0);
        ledger.join(0);
        assert_eq!(ledger.next(0, 1), 9);
        ledger.expect_from(0, 1, 15);
        assert_eq!(
            ledger.arrived(0, 1, 7),
            Arrival::Duplicate,
            "what it missed is forgotten"
        );
        assert_eq!(ledger.arrived(0, 1, 15), Arrival::New(15..15));
        assert_eq!(ledger.outstanding(20), 4);
    }

    #[test]
    fn what_turns_out_to_be_missing_may_come_late() {
        let mut ledger = Ledger::new(1, 1);
        ledger.join(0);
        ledger.expect_from(0, 0, 7);
        ledger.miss(0, 0, 4..7);
        assert_eq!(ledger.arrived(0, 0, 5), Arrival::Late);
        assert_eq!(ledger.arrived(0, 0, 3), Arrival::Duplicate);
        let counts = ledger.close(8);
        assert_eq!((counts.lost, counts.reordered), (2 + 1, 1));
    }

    #[test]
    fn only_so_many_gaps_are_remembered() {
        let mut ledger = Ledger::new(1, 1);
        ledger.join(0);
        for number in 0..=REMEMBERED as u32 {
            ledger.arrived(0, 0, 2 * number + 1);
        }
        assert_eq!(ledger.arrived(0, 0, 0), Arrival::Duplicate);
        assert_eq!(ledger.arrived(0, 0, 2), Arrival::Late);
    }
}
