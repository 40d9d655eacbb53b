//! Think time: the pause of a user between a reply and the next message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::{Nanos, nanos};
use crate::rng::Rng;
use crate::units::Span;

/// Who thinks, and until when.
#[derive(Debug)]
pub(crate) struct Thinking {
    least: Nanos,
    /// A thought takes less than this longer than `least`.
    spread: Nanos,
    rng: Rng,
    /// The ends of thoughts, with the connections that they are of.
    ends: BinaryHeap<Reverse<(Nanos, u32)>>,
}

impl Thinking {
    /// Thoughts take a time of `span`, each as likely as any other; `rng` draws it.
    pub(crate) fn new(span: Span, rng: Rng) -> Self {
        let least = nanos(span.least);
        Self {
            least,
            spread: nanos(span.most) - least,
            rng,
            ends: BinaryHeap::new(),
        }
    }

    /// A connection begins to think.
    #[inline]
    pub(crate) fn begin(&mut self, slot: u32, now: Nanos) {
        let longer = match self.spread {
            0 => 0,
            spread => self.rng.below(spread),
        };
        self.ends.push(Reverse((now + self.least + longer, slot)));
    }

    /// Every connection of `slots` is somewhere in a thought, evenly: so they do not all begin at once.
    pub(crate) fn begin_all(&mut self, slots: impl ExactSizeIterator<Item = u32>, now: Nanos) {
        let (longest, count) = (u128::from(self.least + self.spread), slots.len() as u128);
        for (number, slot) in slots.enumerate() {
            let end = now + (longest * number as u128 / count) as Nanos;
            self.ends.push(Reverse((end, slot)));
        }
    }

    /// A connection whose thought is over; one at a time.
    #[inline]
    pub(crate) fn over(&mut self, now: Nanos) -> Option<u32> {
        let Reverse((end, slot)) = *self.ends.peek()?;
        if end > now {
            return None;
        }
        self.ends.pop();
        Some(slot)
    }

    /// When the next thought is over; `Nanos::MAX` when nobody thinks.
    #[inline]
    pub(crate) fn next_end(&self) -> Nanos {
        self.ends
            .peek()
            .map_or(Nanos::MAX, |&Reverse((end, _))| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units;

    fn thinking(span: &str) -> Thinking {
        Thinking::new(units::span(span).unwrap(), Rng::new(1, 0))
    }

    #[test]
    fn thoughts_end_in_their_order() {
        let mut thinking = thinking("1us");
        for (slot, now) in [(7, 100), (3, 50), (5, 70)] {
            thinking.begin(slot, now);
        }
        assert_eq!(thinking.next_end(), 1_050);
        assert_eq!(thinking.over(1_049), None);
        assert_eq!(thinking.over(1_080), Some(3));
        assert_eq!(thinking.over(1_080), Some(5));
        assert_eq!(thinking.over(1_080), None);
        assert_eq!(thinking.over(9_999), Some(7));
        assert_eq!(
            (thinking.over(9_999), thinking.next_end()),
            (None, Nanos::MAX)
        );
    }

    #[test]
    fn thoughts_of_a_range_are_spread_over_it() {
        let mut thinking = thinking("10us..20us");
        (0..10_000).for_each(|slot| thinking.begin(slot, 0));
        let mut ends = Vec::new();
        while let Some(_slot) = {
            ends.push(thinking.next_end());
            thinking.over(Nanos::MAX - 1)
        } {}
        ends.pop();
        assert_eq!(ends.len(), 10_000);
        assert!(ends.iter().all(|end| (10_000..20_000).contains(end)));
        let mean = ends.iter().sum::<Nanos>() / 10_000;
        assert!((14_800..15_200).contains(&mean), "{mean}");
    }

    #[test]
    fn those_who_begin_are_spread_over_a_thought() {
        let mut thinking = thinking("4us");
        thinking.begin_all([8, 9, 10, 11].into_iter(), 100);
        let mut found = Vec::new();
        for now in [100, 1_100, 2_100, 3_100] {
            found.extend(thinking.over(now));
            assert_eq!(thinking.over(now), None);
        }
        assert_eq!(found, [8, 9, 10, 11]);
    }
}
