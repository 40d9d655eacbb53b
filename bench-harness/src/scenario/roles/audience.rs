//! The subscribers of a broadcast on one thread: who is there, and from which message on each has to receive what a publisher
//! sends.

use std::collections::VecDeque;
use std::time::Duration;

use super::published::Published;
use crate::clock::{Nanos, nanos};
use crate::commands::broadcast::ledger::{Arrival, Ledger};
use crate::scenario::fleet::Share;

/// A subscriber has to receive what is published so long after its upgrade: a server may let a connection join its topic
/// after it has answered, and on another thread.
pub(crate) const SETTLE: Duration = Duration::from_millis(200);

/// While other processes are asked what they have published, how often to look whether they have answered.
const GLANCE: Duration = Duration::from_millis(10);

/// Subscribers, who come and go, each in a topic of its own.
///
/// A subscriber has to receive, of every publisher of its topic, all from the first message on that came to it; and whatever
/// was sent after it had been there for [`SETTLE`]. Where that begins the publishers' counts tell: those of other processes come
/// later, so what a subscriber misses in between is known when they have come.
pub(super) struct Audience<'a> {
    published: Published<'a>,
    topics: usize,
    /// By place.
    seats: Vec<Seat>,
    /// By topic, of those that this thread has subscribers of.
    ledgers: Vec<Option<Ledger>>,
    /// When subscribers that have joined begin to wait for everything, with how often the seat had been taken by then.
    settling: VecDeque<(Nanos, u32, u32)>,
    /// The load has begun.
    begun: bool,
}

/// A subscriber.
struct Seat {
    topic: usize,
    /// Its number among the thread's subscribers of the topic.
    row: u32,
    present: bool,
    /// It waits for everything.
    settled: bool,
    /// How often somebody has taken it.
    taken: u32,
    /// By publisher of the topic: nothing has come from it since the subscriber joined.
    fresh: Vec<bool>,
    /// Publishers of the topic of whom something came that was sent before it had settled, and the number from which on it
    /// waits for what they send.
    firsts: Vec<(u32, u32)>,
}

/// How a message arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// For the first time, in order, after so many that are missing.
    New { missed: u64 },
    /// For the first time, after a later one. It was missing; and so many are, itself among them, of which nobody knew.
    Late { missed: u64 },
    /// Again.
    Duplicate,
}

impl<'a> Audience<'a> {
    /// Of so many seats.
    pub(super) fn new(published: Published<'a>, share: Share, seats: u32, topics: usize) -> Self {
        let mut rows = vec![0; topics];
        let publishers = published.publishers();
        let of_topic = |topic: usize| (publishers + topics - 1 - topic) / topics;
        let seat = |place| {
            let topic = share.number(place) as usize % topics;
            rows[topic] += 1;
            Seat {
                topic,
                row: rows[topic] - 1,
                present: false,
                settled: false,
                taken: 0,
                fresh: vec![true; of_topic(topic)],
                firsts: Vec::new(),
            }
        };
        let seats = (0..seats).map(seat).collect();
        let ledger = |(topic, &rows): (usize, &u32)| {
            (rows > 0).then(|| Ledger::new(rows as usize, of_topic(topic)))
        };
        let ledgers = rows.iter().enumerate().map(ledger).collect();
        Self {
            published,
            topics,
            seats,
            ledgers,
            settling: VecDeque::new(),
            begun: false,
        }
    }

    /// Seats, taken or not.
    #[inline]
    pub(super) fn seats(&self) -> usize {
        self.seats.len()
    }

    /// The load is about to begin: nobody has sent anything, nobody will for longer than it takes to settle, and who is there
    /// has to receive everything.
    pub(super) fn begin(&mut self) {
        self.begun = true;
        for (_, place, taken) in std::mem::take(&mut self.settling) {
            if self.seats[place as usize].is(taken) {
                self.settle_one(place, |_| 0);
            }
        }
    }

    /// A subscriber joins its topic.
    pub(super) fn join(&mut self, place: u32, now: Nanos) {
        let seat = &mut self.seats[place as usize];
        seat.present = true;
        seat.settled = false;
        seat.taken += 1;
        seat.fresh.fill(true);
        seat.firsts.clear();
        ledger(&mut self.ledgers, seat.topic).join(seat.row);
        self.settling
            .push_back((now + nanos(SETTLE), place, seat.taken));
    }

    /// A subscriber leaves, if it was there: what has not come by now is no loss.
    pub(super) fn leave(&mut self, place: u32) {
        let Some(seat) = self.seats.get_mut(place as usize) else {
            return;
        };
        if std::mem::take(&mut seat.present) {
            ledger(&mut self.ledgers, seat.topic).leave(seat.row);
        }
    }

    /// Subscribers that have been there for a while wait for everything from now on. Returns when to look again, and how many
    /// messages turn out to be missing.
    pub(super) fn settle(&mut self, now: Nanos) -> (Nanos, u64) {
        let mut missed = 0;
        if !self.begun {
            return (Nanos::MAX, missed);
        }
        let published = self.published;
        while let Some(&(time, place, taken)) = self.settling.front() {
            if self.seats[place as usize].is(taken) {
                // When nobody sends any more, there is nothing left to wait for but what is on the way.
                if !published.is_complete() {
                    if time > now {
                        return (time, missed);
                    }
                    if !published.is_known(time) {
                        return (now + nanos(GLANCE), missed);
                    }
                }
                missed += self.settle_one(place, |publisher| published.sent(publisher));
            }
            self.settling.pop_front();
        }
        (Nanos::MAX, missed)
    }

    /// A message of a publisher has come; `None` when nobody is there to whom it could matter.
    ///
    /// # Errors
    /// When it should not have.
    pub(super) fn hear(
        &mut self,
        place: u32,
        publisher: u32,
        number: u32,
    ) -> Result<Option<Heard>, String> {
        let publisher = publisher as usize;
        if publisher >= self.published.publishers() {
            return Err(format!("there is no publisher {publisher}"));
        }
        // A server may send to publishers, too.
        let Some(seat) = self
            .seats
            .get_mut(place as usize)
            .filter(|seat| seat.present)
        else {
            return Ok(None);
        };
        let (index, topic) = (publisher / self.topics, publisher % self.topics);
        if topic != seat.topic {
            return Err(format!(
                "a message of topic {topic} came to a subscriber of topic {}",
                seat.topic
            ));
        }
        let ledger = ledger(&mut self.ledgers, topic);
        if std::mem::take(&mut seat.fresh[index]) {
            seat.introduce(ledger, index as u32, number);
        }
        Ok(Some(match ledger.arrived(seat.row, index as u32, number) {
            Arrival::New(missing) => Heard::New {
                missed: missing.len() as u64,
            },
            Arrival::Late => Heard::Late { missed: 0 },
            Arrival::Duplicate => seat.came_back(ledger, index as u32, number),
        }))
    }

    /// Deliveries that are still to come, as far as is known.
    pub(super) fn outstanding(&self) -> u64 {
        let of = |(topic, ledger): (usize, &Option<Ledger>)| {
            let published = self.published.of_topic(topic, self.topics);
            ledger
                .as_ref()
                .map_or(0, |ledger| ledger.outstanding(published))
        };
        self.ledgers.iter().enumerate().map(of).sum()
    }

    /// The end: all counts are final. Returns how many messages are missing of which nobody knew yet.
    pub(super) fn close(&mut self) -> u64 {
        debug_assert!(self.published.is_complete());
        let (_, missed) = self.settle(Nanos::MAX);
        missed + self.outstanding()
    }

    /// A subscriber waits for all that is sent beyond `counts`. Returns how many of these are missing already.
    fn settle_one(&mut self, place: u32, counts: impl Fn(usize) -> u32) -> u64 {
        let seat = &mut self.seats[place as usize];
        let ledger = ledger(&mut self.ledgers, seat.topic);
        seat.settled = true;
        let count = |index: usize| counts(index * self.topics + seat.topic);
        for (index, _) in seat.fresh.iter().enumerate().filter(|(_, fresh)| **fresh) {
            ledger.expect_from(seat.row, index as u32, count(index));
        }
        let mut missed = 0;
        for (index, first) in &mut seat.firsts {
            let missing = count(*index as usize)..*first;
            if !missing.is_empty() {
                missed += missing.len() as u64;
                *first = missing.start;
                ledger.miss(seat.row, *index, missing);
            }
        }
        missed
    }
}

impl Seat {
    /// It is still the same subscriber.
    fn is(&self, taken: u32) -> bool {
        self.present && self.taken == taken
    }

    /// A message is the first of a publisher. One that was on the way while the subscriber settled shows that it had joined
    /// before, as does one that came before that.
    #[cold]
    fn introduce(&mut self, ledger: &mut Ledger, index: u32, number: u32) {
        if !self.settled || number < ledger.next(self.row, index) {
            self.firsts.push((index, number));
            ledger.expect_from(self.row, index, number);
        }
    }

    /// A message came that was not missing: again, unless it is from before the first one that came. Then the subscriber had
    /// joined by then, and has to receive what lies between.
    #[cold]
    fn came_back(&mut self, ledger: &mut Ledger, index: u32, number: u32) -> Heard {
        let known = self.firsts.iter_mut().find(|(other, _)| *other == index);
        let Some((_, first)) = known.filter(|(_, first)| number < *first) else {
            return Heard::Duplicate;
        };
        let missing = number + 1..std::mem::replace(first, number);
        let missed = missing.len() as u64 + 1;
        ledger.miss(self.row, index, missing);
        Heard::Late { missed }
    }
}

fn ledger(ledgers: &mut [Option<Ledger>], topic: usize) -> &mut Ledger {
    ledgers[topic].as_mut().expect("a seat has a ledger")
}

#[cfg(test)]
mod tests;
