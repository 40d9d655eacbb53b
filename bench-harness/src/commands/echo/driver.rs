//! The sending and receiving side of `echo` on one thread.
//!
//! Messages of a connection are numbered; everything follows from three counts per connection: how
//! many are *due*, *sent* and *answered*. In a closed loop an answer makes the next one due; in an open
//! loop the schedule does, whatever the server does.

mod out_of_turn;

use std::ops::Range;
use std::time::Duration;

use super::Outcome;
use super::account::Account;
use crate::client::dial::Failures;
use crate::client::fates::Fates;
use crate::client::frames::Control;
use crate::client::links::{Driver, End, Links, OpenTimes, Outbox};
use crate::client::reply::{Replies, Reply, ReplyReader, Verify};
use crate::client::schedule::Schedule;
use crate::client::surprise::Surprises;
use crate::client::think::Thinking;
use crate::client::workload::Workload;
use crate::clock::{Clock, Nanos, nanos};
use crate::error::BenchError;
use crate::ring::{Region, Wait};
use crate::telemetry::progress::Progress;
use crate::telemetry::recorder::{Recorded, Recorder};

/// The clock is read again after so many sends of a turn, so that the last of many is not
/// stamped long before it leaves.
const SENDS_PER_STAMP: u32 = 32;

/// Messages that may fall due at once, before the end of the run and the user are looked at again.
const DUE_AT_ONCE: u64 = 1 << 16;

/// The times of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phases {
    /// The first message is due.
    pub(super) start: Nanos,
    /// Counted.
    pub(super) measured: Range<Nanos>,
}

/// One thread's connections, seen as conversations.
pub(super) struct EchoDriver<'a> {
    load: &'a Workload,
    region: Region,
    verify: Verify,
    replies: Replies,
    talks: Vec<Talk>,
    /// Slots that send; message `n` of the thread's schedule goes to number `n % active.len()`.
    active: Vec<u32>,
    /// Most messages on the way per connection.
    depth: u64,
    /// Send times of messages on the way: `depth` for each active connection, used in turn.
    stamps: Box<[Nanos]>,
    pace: Pace,
    /// Those who pause before their next message.
    thinking: Option<Thinking>,
    measured: Range<Nanos>,
    /// From the begin of the load on.
    recorder: Option<Recorder<'a>>,
    /// From its end on.
    latency: Option<Recorded>,
    /// Connections with something to send.
    dirty: Vec<u32>,
    sent: u64,
    answered: u64,
    closing: bool,
    fates: Fates,
    surprises: Surprises,
    account: Account,
    /// Messages without a reply at the end of their connection, or of the run.
    unanswered: u64,
    /// When the interval ends that runs.
    interval_end: Nanos,
}

/// What makes messages due.
#[derive(Clone, Debug)]
enum Pace {
    /// Nothing any more.
    Stopped,
    /// An answer.
    Closed,
    /// Time; with the number of the thread's next message.
    Open { schedule: Schedule, next: u64 },
}

struct Talk {
    reader: ReplyReader,
    /// Index in `active`; `None` for a connection that never sends.
    place: Option<u32>,
    due: u64,
    sent: u64,
    answered: u64,
    dirty: bool,
    open: bool,
}

impl Talk {
    /// There is something to send.
    #[inline]
    fn mark(&mut self, slot: u32, dirty: &mut Vec<u32>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(slot);
        }
    }
}

impl<'a> EchoDriver<'a> {
    /// For `connections` slots, `active` of which send with up to `depth` messages on the way. The server sends so many
    /// messages first that are no replies.
    pub(super) fn new(
        load: &'a Workload,
        region: Region,
        verify: Verify,
        connections: u32,
        active: u32,
        depth: usize,
        greeting: u64,
    ) -> Self {
        let spread = |n: u32| (u64::from(n) * u64::from(connections) / u64::from(active)) as u32;
        let active: Vec<u32> = (0..active).map(spread).collect();
        let silent = |_| Talk {
            reader: ReplyReader::after(greeting),
            place: None,
            due: 0,
            sent: 0,
            answered: 0,
            dirty: false,
            open: false,
        };
        let mut talks: Vec<Talk> = (0..connections).map(silent).collect();
        for (place, &slot) in active.iter().enumerate() {
            talks[slot as usize].place = Some(place as u32);
        }
        Self {
            load,
            region,
            verify,
            replies: Replies::new(load),
            talks,
            stamps: vec![0; active.len() * depth].into_boxed_slice(),
            active,
            depth: depth as u64,
            pace: Pace::Stopped,
            thinking: None,
            measured: 0..0,
            recorder: None,
            latency: None,
            dirty: Vec::new(),
            sent: 0,
            answered: 0,
            closing: false,
            fates: Fates::default(),
            surprises: Surprises::default(),
            account: Account::new(load.variants),
            unanswered: 0,
            interval_end: 0,
        }
    }

    /// Connections of the closed loop pause before their next message. To be called before it begins.
    pub(super) fn set_thinking(&mut self, thinking: Thinking) {
        self.thinking = Some(thinking);
    }

    /// Sends and receives until the end of the measurement.
    pub(super) fn run(
        &mut self,
        links: &mut Links,
        progress: &'a Progress,
        phases: &Phases,
        schedule: Option<Schedule>,
        busy_poll: bool,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        std::thread::sleep(clock.until(phases.start));
        self.measured = phases.measured.clone();
        let mut recorder = Recorder::new(progress, self.measured.clone(), schedule.is_some());
        recorder.look(clock.now());
        self.recorder = Some(recorder);
        match schedule {
            None => self.begin_closed(clock.now()),
            Some(schedule) => self.pace = Pace::Open { schedule, next: 0 },
        }
        let end = phases.measured.end;
        loop {
            let now = clock.now();
            if now >= end {
                break;
            }
            let next_due = self.fall_due(now, now).min(self.end_thoughts(now));
            let next_due = next_due.min(end).min(self.look(now));
            let wait = self.flush(links, clock, next_due)?;
            links.turn(if busy_poll { Wait::No } else { wait }, self)?;
            self.show(progress);
        }
        if matches!(self.pace, Pace::Closed) {
            self.pace = Pace::Stopped;
        }
        Ok(())
    }

    /// Sends what had fallen due in an open loop, for so long at most, and waits as long for what is on the way. What could not
    /// be sent is not lost: the rate was not reached.
    pub(super) fn drain(
        &mut self,
        links: &mut Links,
        progress: &Progress,
        limit: Duration,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        let until = clock.now() + nanos(limit);
        while self.is_behind(clock.now()) && clock.now() < until {
            let wait = self.flush(links, clock, until)?;
            links.turn(wait, self)?;
            self.show(progress);
        }
        // What was queued for the ring in the last flush is submitted here, before control frames.
        links.turn(Wait::No, self)?;
        let until = clock.now() + nanos(limit);
        while self.on_the_way() > 0 && clock.now() < until {
            links.turn(Wait::AtMost(clock.until(until)), self)?;
            self.show(progress);
        }
        self.pace = Pace::Stopped;
        self.unanswered += self.on_the_way();
        Ok(())
    }

    /// Sends a Close frame on every open connection; plain TCP is simply hung up.
    pub(super) fn close(&mut self, links: &mut Links) -> Result<(), BenchError> {
        self.closing = true;
        let raw = self.load.wire == crate::target::Wire::Raw;
        let open: Vec<u32> = links.open_slots().collect();
        for slot in open {
            if raw {
                links.outbox().hang_up(slot);
            } else {
                links.outbox().close(slot);
            }
        }
        Ok(())
    }

    /// Hands over the last interval: nothing is recorded any more.
    pub(super) fn stop_recording(&mut self) {
        self.latency = self.recorder.take().map(Recorder::finish);
    }

    /// What the thread brings home.
    pub(super) fn outcome(self) -> Outcome {
        Outcome {
            fates: self.fates,
            latency: self.latency.expect("recording has been stopped"),
            faults: self.account.close(self.unanswered),
            counts: self.replies.counts,
        }
    }

    fn begin_closed(&mut self, now: Nanos) {
        self.pace = Pace::Closed;
        if let Some(thinking) = &mut self.thinking {
            for _ in 0..self.depth {
                thinking.begin_all(self.active.iter().copied(), now);
            }
            return;
        }
        for n in 0..self.active.len() {
            let slot = self.active[n];
            self.talks[slot as usize].due = self.depth;
            self.mark(slot);
        }
    }

    /// Makes due the messages of those who have thought long enough, and returns when the next one will have.
    #[inline]
    fn end_thoughts(&mut self, now: Nanos) -> Nanos {
        let Some(thinking) = &mut self.thinking else {
            return Nanos::MAX;
        };
        while let Some(slot) = thinking.over(now) {
            let talk = &mut self.talks[slot as usize];
            talk.due += 1;
            talk.mark(slot, &mut self.dirty);
        }
        thinking.next_end()
    }

    /// Makes due what the schedule says `until` then, and returns when the next message will be.
    #[inline]
    fn fall_due(&mut self, until: Nanos, now: Nanos) -> Nanos {
        let Pace::Open { schedule, next } = &mut self.pace else {
            return Nanos::MAX;
        };
        let mut due = schedule.due(*next);
        let (first, first_due) = (*next, due);
        while due <= until && *next - first < DUE_AT_ONCE {
            let slot = self.active[(*next % self.active.len() as u64) as usize];
            let talk = &mut self.talks[slot as usize];
            talk.due += 1;
            talk.mark(slot, &mut self.dirty);
            *next += 1;
            due = schedule.due(*next);
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.noticed(first_due, *next - first, now);
        }
        due
    }

    /// Sends what may be sent, one send per connection. Returns how long to wait for more.
    #[inline]
    fn flush(&mut self, links: &mut Links, clock: Clock, until: Nanos) -> Result<Wait, BenchError> {
        if self.dirty.is_empty() {
            return Ok(Wait::AtMost(clock.until(until)));
        }
        let mut now = clock.now();
        let mut since_stamp = 0;
        let mut kept = 0;
        for n in 0..self.dirty.len() {
            let slot = self.dirty[n];
            since_stamp += 1;
            if since_stamp == SENDS_PER_STAMP {
                since_stamp = 0;
                now = clock.now();
            }
            if self.send(links, slot, now)? {
                self.dirty[kept] = slot;
                kept += 1;
            } else {
                self.talks[slot as usize].dirty = false;
            }
        }
        self.dirty.truncate(kept);
        if kept > 0 {
            return Ok(Wait::No);
        }
        Ok(Wait::AtMost(Duration::from_nanos(
            until.saturating_sub(now),
        )))
    }

    /// Sends what is due on one connection. True: more could go in the next turn.
    #[inline]
    fn send(&mut self, links: &mut Links, slot: u32, now: Nanos) -> Result<bool, BenchError> {
        // A connection with a send under way comes back with `writable`.
        if !links.can_send(slot) {
            return Ok(false);
        }
        let talk = &mut self.talks[slot as usize];
        let place = u64::from(talk.place.expect("only active connections send"));
        let allowed = (talk.due - talk.sent).min(self.depth - (talk.sent - talk.answered));
        let count = allowed.min(self.load.batch as u64);
        if count == 0 {
            return Ok(false);
        }
        for number in talk.sent..talk.sent + count {
            self.stamps[(place * self.depth + number % self.depth) as usize] = now;
        }
        let frames = self.load.range(talk.sent, count);
        talk.sent += count;
        self.sent += count;
        links.send(slot, self.region, frames)?;
        Ok(allowed > count)
    }

    /// A message has come back.
    #[inline]
    fn answer(&mut self, slot: u32, now: Nanos) -> Result<(), String> {
        let talk = &mut self.talks[slot as usize];
        if talk.answered == talk.sent {
            return Err(self.uncalled_for(slot));
        }
        let number = talk.answered;
        talk.answered += 1;
        self.answered += 1;
        let place = u64::from(talk.place.expect("only active connections are answered"));
        let sent = self.stamps[(place * self.depth + number % self.depth) as usize];
        if number == 0 {
            self.fates
                .times
                .first_message
                .record(now.saturating_sub(sent));
        }
        let (due, more) = match &self.pace {
            Pace::Open { schedule, .. } => {
                let due = schedule.due(number * self.active.len() as u64 + place);
                (due, talk.due > talk.sent)
            }
            Pace::Closed => match &mut self.thinking {
                Some(thinking) => {
                    thinking.begin(slot, now);
                    (sent, false)
                }
                None => {
                    talk.due += 1;
                    (sent, true)
                }
            },
            // What was on the way at the end counts, however long it takes.
            Pace::Stopped => (sent, false),
        };
        self.record(due, sent, now);
        if more {
            self.mark(slot);
        }
        Ok(())
    }

    #[inline]
    fn record(&mut self, due: Nanos, sent: Nanos, now: Nanos) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(due, sent, now);
        }
    }

    /// Ends the interval if its time is over. Returns when the one that runs will end.
    fn look(&mut self, now: Nanos) -> Nanos {
        let end = self.recorder.as_mut().map_or(Nanos::MAX, |recorder| {
            recorder.look(now);
            recorder.end()
        });
        if end != self.interval_end {
            self.interval_end = end;
            self.lose_patience(now);
        }
        end
    }

    #[inline]
    fn mark(&mut self, slot: u32) {
        self.talks[slot as usize].mark(slot, &mut self.dirty);
    }

    /// Whether messages of an open loop are due that have not been sent.
    fn is_behind(&mut self, now: Nanos) -> bool {
        let last = self.measured.end - 1;
        let open_loop = matches!(self.pace, Pace::Open { .. });
        let still_due = self.fall_due(last, now) <= last;
        let unsent = |talk: &Talk| talk.open && talk.due > talk.sent;
        open_loop && (still_due || self.talks.iter().any(unsent))
    }

    /// Messages that wait for their reply.
    fn on_the_way(&self) -> u64 {
        let open = self.talks.iter().filter(|talk| talk.open);
        open.map(|talk| talk.sent - talk.answered).sum()
    }

    fn show(&self, progress: &Progress) {
        let errors = self.fates.errors() + self.account.faults().total();
        progress.show(self.answered, self.sent, errors);
    }
}

impl Driver for EchoDriver<'_> {
    fn opened(&mut self, slot: u32, times: OpenTimes, _now: Nanos, _out: &mut Outbox) {
        self.talks[slot as usize].open = true;
        self.fates.opened(times);
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
        loop {
            let reader = &mut self.talks[slot as usize].reader;
            let reply = reader.next(&mut input, self.load, self.verify, &mut self.replies);
            let reply = match reply {
                Ok(reply) => reply,
                Err(error) => return Err(self.unexpected(slot, &error, bytes, input)),
            };
            match reply {
                Some(Reply::Message) => self.answer(slot, now)?,
                Some(Reply::Displaced(variant)) => self.displaced(slot, variant, now)?,
                // What follows a Close frame does not count (RFC 6455 §5.5.1).
                Some(Reply::Control(Control::Close(_))) if self.closing => return Ok(()),
                Some(Reply::Control(control)) => out.heed(slot, control)?,
                None => return Ok(()),
            }
        }
    }

    fn writable(&mut self, slot: u32) {
        let talk = &self.talks[slot as usize];
        if talk.due > talk.sent {
            self.mark(slot);
        }
    }

    fn ended(&mut self, slot: u32, opened: bool, end: End, _now: Nanos) {
        let talk = &mut self.talks[slot as usize];
        talk.open = false;
        if self.closing {
            return;
        }
        if opened {
            self.unanswered += talk.sent - talk.answered;
        }
        self.fates.ended(opened, end.reason());
    }

    fn failures(&self) -> [&Failures; 2] {
        self.fates.failures()
    }

    fn not_greeted(&self) -> u64 {
        let awaits = |talk: &&Talk| talk.open && talk.reader.awaits_greeting();
        self.talks.iter().filter(awaits).count() as u64
    }
}
