//! Messages on the way: how many subscribers each still waits for. Paces closed loops, and tells
//! when the first and the last subscriber had a message.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use crate::client::publication::Stamp;
use crate::clock::Nanos;
use crate::stats::latency::Latency;

/// Messages that were given up are kept while they are fewer. Those beyond count in no time until the last delivery.
const MOST_GIVEN_UP: usize = 100_000;

/// The messages on the way of every publisher. Kept only by a client of one thread, which alone
/// sees all deliveries.
pub(super) struct Awaited {
    publishers: Vec<OnTheWay>,
    /// Messages on the way, of all publishers.
    total: u64,
    /// Messages by publisher and number that nothing waits for any more, and that may come all the same.
    given_up: HashMap<(u32, u32), Message>,
    /// From the time due to the first and to the last delivery.
    pub(super) first: Latency,
    pub(super) last: Latency,
}

#[derive(Default)]
struct OnTheWay {
    /// Number of the front message.
    base: u32,
    messages: VecDeque<Message>,
}

struct Message {
    due: Nanos,
    /// Subscribers that have not received it.
    left: u32,
    heard: bool,
    /// A subscriber was passed over or has left: that the others have it is no time to record.
    spoiled: bool,
}

impl Message {
    /// A subscriber has it. Records the first and the last delivery, if it was due in `measured`. True: it was the last.
    #[inline]
    fn arrived(
        &mut self,
        (first, last): (&mut Latency, &mut Latency),
        now: Nanos,
        measured: &Range<Nanos>,
    ) -> bool {
        let counts = measured.contains(&self.due);
        let late = now.saturating_sub(self.due);
        if !self.heard {
            self.heard = true;
            if counts {
                first.record(late);
            }
        }
        self.left -= 1;
        if self.left == 0 && counts && !self.spoiled {
            last.record(late);
        }
        self.left == 0
    }

    /// A subscriber will not have it.
    fn pass_over(&mut self) {
        self.left -= 1;
        self.spoiled = true;
    }
}

impl Awaited {
    /// Nothing is on the way yet.
    pub(super) fn new(publishers: usize) -> Self {
        let mut list = Vec::new();
        list.resize_with(publishers, OnTheWay::default);
        Self {
            publishers: list,
            total: 0,
            given_up: HashMap::new(),
            first: Latency::new(),
            last: Latency::new(),
        }
    }

    /// A message was sent to so many subscribers.
    pub(super) fn sent(&mut self, stamp: &Stamp, subscribers: u32) {
        let way = &mut self.publishers[stamp.publisher as usize];
        if way.messages.is_empty() {
            way.base = stamp.number;
        }
        way.messages.push_back(Message {
            due: stamp.due,
            left: subscribers,
            heard: false,
            spoiled: false,
        });
        self.total += 1;
    }

    /// A subscriber has a message, for the first time. Records the first and last delivery of those that were due in
    /// `measured`. Returns how many messages of the publisher are over now.
    #[inline]
    pub(super) fn delivered(&mut self, stamp: &Stamp, now: Nanos, measured: &Range<Nanos>) -> u32 {
        let way = &mut self.publishers[stamp.publisher as usize];
        let at = stamp.number.wrapping_sub(way.base) as usize;
        let Some(message) = way.messages.get_mut(at) else {
            self.delivered_late(stamp, now, measured);
            return 0;
        };
        let times = (&mut self.first, &mut self.last);
        if !message.arrived(times, now, measured) {
            return 0;
        }
        self.finish(stamp.publisher)
    }

    /// The same of a message that was given up.
    #[cold]
    fn delivered_late(&mut self, stamp: &Stamp, now: Nanos, measured: &Range<Nanos>) {
        let key = (stamp.publisher, stamp.number);
        let times = (&mut self.first, &mut self.last);
        if let Some(message) = self.given_up.get_mut(&key)
            && message.arrived(times, now, measured)
        {
            self.given_up.remove(&key);
        }
    }

    /// A subscriber will not receive these messages of a publisher, or not in time. Returns how many messages are
    /// over now.
    #[cold]
    pub(super) fn passed_over(&mut self, publisher: u32, numbers: Range<u32>) -> u32 {
        let way = &mut self.publishers[publisher as usize];
        if !self.given_up.is_empty() {
            for number in numbers.start..numbers.end.min(way.base) {
                if let Entry::Occupied(mut message) = self.given_up.entry((publisher, number)) {
                    message.get_mut().pass_over();
                    if message.get().left == 0 {
                        message.remove();
                    }
                }
            }
        }
        for number in numbers.start.max(way.base)..numbers.end {
            let Some(message) = way.messages.get_mut((number - way.base) as usize) else {
                break;
            };
            message.pass_over();
        }
        self.finish(publisher)
    }

    /// Waits no longer for anything: what comes later still counts in the latencies. Returns the publishers that had messages
    /// on the way, and how many.
    #[cold]
    pub(super) fn give_up(&mut self) -> Vec<(u32, u32)> {
        self.total = 0;
        let mut given_up = Vec::new();
        for (publisher, way) in self.publishers.iter_mut().enumerate() {
            let count = way.messages.len() as u32;
            for (message, number) in way.messages.drain(..).zip(way.base..) {
                if self.given_up.len() < MOST_GIVEN_UP {
                    self.given_up.insert((publisher as u32, number), message);
                }
            }
            way.base += count;
            if count > 0 {
                given_up.push((publisher as u32, count));
            }
        }
        given_up
    }

    /// Messages on the way, of all publishers.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Takes off the messages at the front that are over: a later one does not end before an earlier one.
    #[inline]
    fn finish(&mut self, publisher: u32) -> u32 {
        let way = &mut self.publishers[publisher as usize];
        let mut over = 0;
        while way.messages.front().is_some_and(|front| front.left == 0) {
            way.messages.pop_front();
            way.base += 1;
            over += 1;
        }
        self.total -= u64::from(over);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Range<Nanos> = 0..Nanos::MAX;

    fn stamp(number: u32, due: Nanos) -> Stamp {
        Stamp {
            publisher: 0,
            number,
            due,
            sent: due,
        }
    }

    #[test]
    fn a_message_is_over_when_the_last_subscriber_has_it() {
        let mut awaited = Awaited::new(1);
        awaited.sent(&stamp(0, 1_000), 2);
        awaited.sent(&stamp(1, 2_000), 2);
        assert_eq!(awaited.delivered(&stamp(0, 1_000), 11_000, &ALWAYS), 0);
        assert_eq!(awaited.delivered(&stamp(0, 1_000), 31_000, &ALWAYS), 1);
        assert_eq!(awaited.total(), 1);
        let at = |latency: &Latency| latency.distribution().unwrap().max;
        assert!((at(&awaited.first) - 10.0).abs() < 0.1, "microseconds");
        assert!((at(&awaited.last) - 30.0).abs() < 0.1);
    }

    #[test]
    fn who_is_passed_over_is_not_waited_for() {
        let mut awaited = Awaited::new(1);
        for number in 0..3 {
            awaited.sent(&stamp(number, 1), 2);
        }
        for number in 0..3 {
            awaited.delivered(&stamp(number, 1), 2, &ALWAYS);
        }
        assert_eq!(awaited.passed_over(0, 0..2), 2);
        assert_eq!(awaited.passed_over(0, 0..3), 1, "only what is on the way");
        assert!(awaited.last.distribution().is_none());
        assert_eq!(awaited.total(), 0);
    }

    #[test]
    fn after_giving_up_counting_goes_on() {
        let mut awaited = Awaited::new(1);
        awaited.sent(&stamp(0, 1), 1);
        awaited.sent(&stamp(1, 1), 1);
        assert_eq!(awaited.give_up(), [(0, 2)]);
        let late = 2_000_000_000;
        assert_eq!(awaited.delivered(&stamp(0, 1), late, &ALWAYS), 0);
        let last = awaited.last.distribution().unwrap();
        assert!(last.count == 1 && last.max > 1.9e6, "counts all the same");
        awaited.sent(&stamp(2, 1), 1);
        assert_eq!(awaited.delivered(&stamp(2, 1), 2, &ALWAYS), 1);
        assert_eq!(awaited.total(), 0);
    }
}
