//! One thread of a broadcast: its subscribers, its publishers, and the account of both.

use std::ops::Range;
use std::time::Duration;

use super::awaited::Awaited;
use super::ledger::{Arrival, Ledger};
use super::publishers::{Pace, Publishers};
use super::shared::Published;
use super::stalled::Stalled;
use super::{Cast, Outcome};
use crate::client::delivery::{Delivery, DeliveryError, DeliveryReader};
use crate::client::dial::Failures;
use crate::client::frames::Control;
use crate::client::links::{Driver, End, Links, OpenTimes, Outbox};
use crate::client::publication::{Publication, Stamp};
use crate::client::recent::Recent;
use crate::client::reply::Verify;
use crate::client::surprise::Surprises;
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::ring::Wait;
use crate::telemetry::progress::Progress;
use crate::telemetry::recorder::Recorder;

/// A closed loop that has heard nothing for so long stops waiting for what is missing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Other threads may still publish: how often to look.
const GLANCE: Duration = Duration::from_millis(5);

/// What to do about a server that sends something else than what is published.
const UNCHANGED: &str = "the payload has to come unchanged, without an envelope; what the server says first is left out by \
                         --skip COUNT, what it says besides by --ignore TEXT";

/// One thread's connections.
pub(super) struct BroadcastDriver<'a> {
    publication: &'a Publication,
    published: Published<'a>,
    verify: Verify,
    cast: Cast,
    readers: Vec<DeliveryReader>,
    /// Which connections are open.
    here: Vec<bool>,
    recent: Recent,
    publishers: Publishers,
    ledger: Ledger,
    /// `None` with several threads.
    awaited: Option<Awaited>,
    stalled: Stalled,
    /// Subscribers that read and are there.
    listening: u32,
    measured: Range<Nanos>,
    /// When the last delivery came.
    heard: Nanos,
    closing: bool,
    deliveries: u64,
    outcome: Outcome,
    surprises: Surprises,
    /// From the begin of the load on.
    recorder: Option<Recorder<'a>>,
}

impl<'a> BroadcastDriver<'a> {
    /// For the connections of `cast`. The server sends so many messages first that are no deliveries.
    pub(super) fn new(
        publication: &'a Publication,
        published: Published<'a>,
        verify: Verify,
        cast: Cast,
        greeting: u64,
    ) -> Self {
        let reader = || DeliveryReader::after(greeting);
        let mut readers = Vec::new();
        readers.resize_with(cast.slots() as usize, reader);
        let alone = cast.threads == 1;
        let total = published.publishers();
        Self {
            publication,
            published,
            verify,
            here: vec![false; readers.len()],
            readers,
            recent: Recent::new(),
            publishers: Publishers::new(cast.publishers(), publication),
            ledger: Ledger::new(cast.subscribers as usize, total),
            awaited: alone.then(|| Awaited::new(total)),
            stalled: Stalled::default(),
            listening: 0,
            cast,
            measured: 0..0,
            heard: 0,
            closing: false,
            deliveries: 0,
            outcome: Outcome::default(),
            surprises: Surprises::default(),
            recorder: None,
        }
    }

    /// Publishes and receives until the end of the measurement.
    pub(super) fn run(
        &mut self,
        links: &mut Links,
        progress: &'a Progress,
        start: Nanos,
        measured: Range<Nanos>,
        pace: Pace,
        busy_poll: bool,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        self.measured = measured.clone();
        let open_loop = matches!(pace, Pace::Open { .. });
        let mut recorder = Recorder::new(progress, measured.clone(), open_loop);
        recorder.look(clock.now());
        // Before anything can come: a thread that wakes up late finds what others have published by then.
        self.recorder = Some(recorder);
        // What may come before the start, such as a ping, is answered.
        while clock.now() < start {
            links.turn(Wait::AtMost(clock.until(start)), self)?;
        }
        self.heard = clock.now();
        self.outcome.listening = self.listening.into();
        self.publishers.begin(pace);
        loop {
            let now = clock.now();
            if now >= measured.end {
                break;
            }
            let next_due = self.fall_due(now, now).min(measured.end);
            let next_due = next_due.min(self.look(now));
            self.pace_closed_loop(now);
            self.flush(links);
            let wait = clock.until(next_due).min(PATIENCE);
            let wait = if busy_poll {
                Wait::No
            } else {
                Wait::AtMost(wait)
            };
            links.turn(wait, self)?;
            self.show(progress);
        }
        if !open_loop {
            self.publishers.pace = Pace::Stopped;
        }
        Ok(())
    }

    /// Waits for what is on the way, and in an open loop sends what had fallen due; at most `limit`, the second half of which is
    /// for waiting only, and at most `quiet` after the last delivery. What could not be sent is not lost: the rate was not reached.
    pub(super) fn drain(
        &mut self,
        links: &mut Links,
        progress: &Progress,
        quiet: Duration,
        limit: Duration,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        self.fall_due(self.measured.end - 1, clock.now());
        let mut told = false;
        self.heard = clock.now();
        let (unsent, end) = (self.heard + nanos(limit / 2), self.heard + nanos(limit));
        while links.open_now() > 0 {
            let now = clock.now();
            if now >= end || now >= self.heard + nanos(quiet) {
                break;
            }
            let open_loop = matches!(self.publishers.pace, Pace::Open { .. });
            let behind = open_loop && now < unsent && self.publishers.behind();
            if !told && !behind {
                told = true;
                self.published.tell(self.publishers.sent());
            }
            if told
                && self
                    .published
                    .total()
                    .is_some_and(|all| self.ledger.outstanding(all) == 0)
            {
                break;
            }
            if behind {
                self.flush(links);
            }
            links.turn(Wait::AtMost(GLANCE), self)?;
            self.show(progress);
        }
        self.publishers.pace = Pace::Stopped;
        if !told {
            self.published.tell(self.publishers.sent());
        }
        Ok(())
    }

    /// Looks what became of the stalled subscribers, and closes the others.
    pub(super) fn close(&mut self, links: &mut Links, limit: Duration) -> Result<(), BenchError> {
        self.closing = true;
        let clock = links.clock();
        if self.stalled.joined > 0 {
            links.read_stalled();
            let end = clock.now() + nanos(super::stalled::READING);
            self.stalled.heard(clock.now());
            while self.stalled.undecided(clock.now()) && clock.now() < end {
                links.turn(Wait::AtMost(clock.until(end).min(GLANCE)), self)?;
            }
            self.stalled.finish();
        }
        let open: Vec<u32> = links.open_slots().collect();
        for slot in open {
            links.outbox().close(slot);
        }
        let end = clock.now() + nanos(limit);
        while links.open_now() > 0 && clock.now() < end {
            links.turn(Wait::AtMost(clock.until(end)), self)?;
        }
        Ok(())
    }

    /// Hands over the last interval: nothing is recorded any more.
    pub(super) fn stop_recording(&mut self) {
        self.outcome.latency = self.recorder.take().map(Recorder::finish);
    }

    /// What the thread brings home.
    pub(super) fn outcome(mut self) -> Outcome {
        if let Some(awaited) = self.awaited {
            self.outcome.first = Some(awaited.first);
            self.outcome.last = Some(awaited.last);
        }
        let total = self.published.total();
        self.outcome.account = self.ledger.close(total.expect("every thread has told"));
        self.outcome.stalled = self.stalled;
        self.outcome.counts = self.recent.into_counts();
        self.outcome
    }

    /// Makes due what the schedule says `until` then, and returns when the next message will be.
    #[inline]
    fn fall_due(&mut self, until: Nanos, now: Nanos) -> Nanos {
        let recorder = &mut self.recorder;
        self.publishers.fall_due(until, |due, count| {
            if let Some(recorder) = recorder {
                recorder.noticed(due, count, now);
            }
        })
    }

    /// Ends the interval if its time is over. Returns when the one that runs will end.
    fn look(&mut self, now: Nanos) -> Nanos {
        self.recorder.as_mut().map_or(Nanos::MAX, |recorder| {
            recorder.look(now);
            recorder.end()
        })
    }

    fn show(&self, progress: &Progress) {
        let errors = self.outcome.fates.errors() + self.ledger.faults().total();
        progress.show(self.deliveries, self.publishers.sent(), errors);
    }

    fn pace_closed_loop(&mut self, now: Nanos) {
        let Some(awaited) = &mut self.awaited else {
            return;
        };
        if matches!(self.publishers.pace, Pace::Open { .. } | Pace::Stopped) {
            return;
        }
        if awaited.total() > 0 && now.saturating_sub(self.heard) > nanos(PATIENCE) {
            self.heard = now;
            for (publisher, count) in awaited.give_up() {
                self.over(publisher, count);
            }
        }
        if let Pace::Burst(count) = self.publishers.pace
            && self.awaited.as_ref().is_some_and(|it| it.total() == 0)
            && !self.publishers.behind()
        {
            self.publishers.all_due(count);
        }
    }

    /// Messages of a publisher are over: in a closed loop, the next ones are due.
    #[inline]
    fn over(&mut self, publisher: u32, count: u32) {
        if count > 0 && matches!(self.publishers.pace, Pace::InFlight(_)) {
            // One thread: the publisher's number is its place.
            self.publishers.add_due(publisher as usize, count);
        }
    }

    fn flush(&mut self, links: &mut Links) {
        let (awaited, listening) = (&mut self.awaited, self.listening);
        let (measured, published) = (&self.measured, &mut self.outcome.published);
        let clock = links.clock();
        self.publishers
            .flush(links, clock, self.publication, |stamp| {
                if let Some(awaited) = awaited {
                    awaited.sent(stamp, listening);
                }
                *published += u64::from(measured.contains(&stamp.sent));
            });
    }

    /// A message has come to a subscriber that reads.
    #[inline]
    fn delivered(&mut self, slot: u32, stamp: &Stamp, now: Nanos) -> Result<(), String> {
        if !self.published.knows(stamp.publisher) {
            return Err(format!("there is no publisher {}", stamp.publisher));
        }
        self.heard = now;
        let counts = self.measured.contains(&now);
        if counts {
            let body = self.publication.body(stamp);
            let payload_len = self.publication.payload_len(body);
            self.outcome.delivered.add(payload_len);
        }
        if !self.cast.subscribes(slot) {
            self.outcome.to_publishers += u64::from(counts);
            return Ok(());
        }
        self.deliveries += 1;
        let arrival = self.ledger.arrived(slot, stamp.publisher, stamp.number);
        if arrival == Arrival::Duplicate {
            return Ok(());
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.record(stamp.due, stamp.sent, now);
        }
        if let (Arrival::New(missing), Some(awaited)) = (arrival, &mut self.awaited) {
            let mut over = 0;
            if !missing.is_empty() {
                over += awaited.passed_over(stamp.publisher, missing);
            }
            over += awaited.delivered(stamp, now, &self.measured);
            self.over(stamp.publisher, over);
        }
        Ok(())
    }

    /// A message came that cannot be a delivery.
    #[cold]
    fn unexpected(&mut self, slot: u32, error: &DeliveryError, rest: &[u8]) -> String {
        if matches!(
            error,
            DeliveryError::Protocol(_) | DeliveryError::Inflate(_)
        ) {
            return error.to_string();
        }
        let came = match self.publication.deflate {
            true => &[],
            false => self.readers[slot as usize].unexpected(error, rest, self.publication),
        };
        self.surprises.tell(error.to_string(), UNCHANGED, came)
    }

    /// A subscriber is gone: nobody waits for it.
    fn left(&mut self, slot: u32) {
        self.listening -= 1;
        let next = self.ledger.leave(slot).to_vec();
        if self.awaited.is_none() {
            return;
        }
        for (publisher, next) in next.into_iter().enumerate() {
            let missing = next..self.publishers.sent_by(publisher);
            let awaited = self.awaited.as_mut().expect("looked at above");
            let over = awaited.passed_over(publisher as u32, missing);
            self.over(publisher as u32, over);
        }
    }
}

impl Driver for BroadcastDriver<'_> {
    fn opened(&mut self, slot: u32, times: OpenTimes, _now: Nanos, _out: &mut Outbox) {
        self.outcome.fates.opened(times);
        self.here[slot as usize] = true;
        if let Some(place) = self.cast.place(slot) {
            self.publishers.set_open(place, true);
        }
        if self.cast.stalls(slot) {
            self.stalled.joined();
        } else if self.cast.listens(slot) {
            self.listening += 1;
            self.ledger.join(slot);
        }
    }

    #[inline]
    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let mut input = &*bytes;
        let stalls = self.cast.stalls(slot);
        if stalls {
            self.stalled.heard(now);
        }
        loop {
            let reader = &mut self.readers[slot as usize];
            let delivery = reader.next(&mut input, self.publication, self.verify, &mut self.recent);
            let delivery = match delivery {
                Ok(delivery) => delivery,
                Err(error) => return Err(self.unexpected(slot, &error, input)),
            };
            match delivery {
                Some(Delivery::Message(_)) if stalls => self.stalled.message(),
                Some(Delivery::Message(stamp)) => self.delivered(slot, &stamp, now)?,
                Some(Delivery::Control(Control::Close(code))) if stalls => {
                    self.stalled.closed(slot, code);
                    out.hang_up(slot);
                    return Ok(());
                }
                // What follows a Close frame does not count (RFC 6455 §5.5.1).
                Some(Delivery::Control(Control::Close(_))) if self.closing => return Ok(()),
                Some(Delivery::Control(control)) => out.heed(slot, control)?,
                None => return Ok(()),
            }
        }
    }

    fn writable(&mut self, slot: u32) {
        if let Some(place) = self.cast.place(slot) {
            self.publishers.writable(place);
        }
    }

    fn ended(&mut self, slot: u32, opened: bool, end: End, _now: Nanos) {
        self.here[slot as usize] = false;
        let reason = end.reason();
        if !opened {
            self.outcome.fates.ended(opened, reason);
            return;
        }
        if self.cast.stalls(slot) {
            self.stalled.ended(slot, reason);
            return;
        }
        if self.closing {
            return;
        }
        if let Some(place) = self.cast.place(slot) {
            self.publishers.set_open(place, false);
        }
        if self.cast.listens(slot) {
            self.left(slot);
        }
        self.outcome.fates.ended(opened, reason);
    }

    fn failures(&self) -> [&Failures; 2] {
        self.outcome.fates.failures()
    }

    fn not_greeted(&self) -> u64 {
        // Those that stall are not read.
        let awaits = |slot: u32| self.here[slot as usize] && !self.cast.stalls(slot);
        let readers = self.readers.iter().enumerate();
        let awaiting = readers.filter(|(_, reader)| reader.awaits_greeting());
        awaiting.filter(|&(slot, _)| awaits(slot as u32)).count() as u64
    }
}
