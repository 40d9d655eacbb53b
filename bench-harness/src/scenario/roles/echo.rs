//! Echo: each message is sent by the connection whose turn it is, and has to come back.

use std::collections::VecDeque;

use super::Actor;
use super::turns::{Dues, Turns};
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::client::reply::{Replies, Reply, ReplyReader, Verify};
use crate::client::workload::Workload;
use crate::clock::Nanos;
use crate::commands::echo::account::{self, Displaced, Missing};
use crate::error::BenchError;
use crate::ring::Region;
use crate::scenario::account::{Account, Closed};
use crate::scenario::fleet::{Ended, Fleet};
use crate::telemetry::recorder::Recorder;

/// Messages on the way on one connection at most. What is due beyond waits for it, and its latency counts.
pub(crate) const DEPTH: usize = 64;

/// The connections of one thread.
pub(crate) struct Echo<'a> {
    load: &'a Workload,
    region: Region,
    verify: Verify,
    replies: Replies,
    fleet: Fleet,
    talks: Vec<Talk>,
    turns: Turns,
    dues: Dues,
    /// Slots with something to send.
    dirty: Vec<u32>,
    /// Slots to close when all is answered.
    leaving: Vec<u32>,
    account: Account,
    /// Replies that were passed over, by connection.
    missing: account::Account,
    /// Connections so far.
    opened: u32,
    over: bool,
}

/// One connection.
#[derive(Default)]
struct Talk {
    /// Number of the connection within the thread's part of the role.
    id: u32,
    reader: ReplyReader,
    /// When each of those was due that wait to be sent…
    queue: VecDeque<Nanos>,
    /// …and of those that wait for their reply, with when they were sent.
    flight: VecDeque<(Nanos, Nanos)>,
    /// When each of those was due that were passed over, with its number; only the latest, whose reply could still be told.
    passed: VecDeque<(u64, Nanos)>,
    /// Messages sent on this connection.
    sent: u64,
    dirty: bool,
    /// It is to be closed when all is answered.
    leaving: bool,
}

impl<'a> Echo<'a> {
    /// Sends `load`, which was adopted as `region`, on `slots` connections.
    pub(crate) fn new(
        load: &'a Workload,
        region: Region,
        verify: Verify,
        slots: u32,
        fleet: Fleet,
        dues: Dues,
        account: Account,
    ) -> Self {
        let mut talks = Vec::new();
        talks.resize_with(slots as usize, Talk::default);
        Self {
            load,
            region,
            verify,
            replies: Replies::new(load),
            fleet,
            talks,
            turns: Turns::default(),
            dues,
            dirty: Vec::new(),
            leaving: Vec::new(),
            account,
            missing: account::Account::new(load.variants),
            opened: 0,
            over: false,
        }
    }

    fn talk(&mut self, slot: u32) -> &mut Talk {
        let place = self.fleet.place(slot) as usize;
        &mut self.talks[place]
    }

    fn mark(&mut self, slot: u32) {
        let talk = self.talk(slot);
        if !talk.dirty {
            talk.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// A connection may send, if it is to stay.
    fn join(&mut self, slot: u32) {
        self.fleet.greeted(slot);
        if self.fleet.has(slot) {
            self.turns.join(slot);
        }
    }

    /// Deals out what is due.
    fn assign(&mut self) {
        while let Some(due) = self.dues.take() {
            let Some(slot) = self.turns.take() else {
                self.dues.give_back(due);
                return;
            };
            self.talk(slot).queue.push_back(due);
            self.mark(slot);
        }
    }

    /// Sends what may be sent, one send per connection. True: more could go in the next turn.
    fn flush(&mut self, links: &mut Links<'_>) -> Result<bool, BenchError> {
        let clock = links.clock();
        let mut more = Vec::new();
        for slot in std::mem::take(&mut self.dirty) {
            if self.send(links, slot, clock.now())? {
                more.push(slot);
            } else {
                self.talk(slot).dirty = false;
            }
        }
        self.dirty = more;
        Ok(!self.dirty.is_empty())
    }

    fn send(&mut self, links: &mut Links<'_>, slot: u32, now: Nanos) -> Result<bool, BenchError> {
        // With a send under way, `writable` comes back here.
        if !links.can_send(slot) {
            return Ok(false);
        }
        let (load, region) = (self.load, self.region);
        let talk = self.talk(slot);
        let allowed = talk.queue.len().min(DEPTH - talk.flight.len());
        let count = allowed.min(load.batch);
        if count == 0 {
            return Ok(false);
        }
        let frames = load.range(talk.sent, count as u64);
        talk.flight
            .extend(talk.queue.drain(..count).map(|due| (due, now)));
        talk.sent += count as u64;
        links.send(slot, region, frames)?;
        self.account.counts().sent += count as u64;
        Ok(allowed > count)
    }

    /// Closes those that are too many, each when all of its messages have been answered.
    fn shrink(&mut self, links: &mut Links<'_>, now: Nanos) {
        while let Some(slot) = self.fleet.surplus(now) {
            self.turns.leave(slot);
            self.talk(slot).leaving = true;
            self.leaving.push(slot);
        }
        for slot in std::mem::take(&mut self.leaving) {
            let talk = self.talk(slot);
            if talk.queue.is_empty() && talk.flight.is_empty() {
                talk.leaving = false;
                self.fleet.part(slot, now, links.outbox());
            } else {
                self.leaving.push(slot);
            }
        }
    }

    /// A message has come back.
    fn answer(
        &mut self,
        slot: u32,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let talk = self.talk(slot);
        let Some((due, sent)) = talk.flight.pop_front() else {
            return Err("a reply came that nothing was sent for".to_owned());
        };
        let more = !talk.queue.is_empty();
        self.came(due, sent, now, recorder);
        if more {
            self.mark(slot);
        }
        Ok(())
    }
}

impl Echo<'_> {
    /// A reply has come that was not the one that was due.
    #[cold]
    fn displaced(
        &mut self,
        slot: u32,
        variant: usize,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let place = self.fleet.place(slot) as usize;
        let talk = &self.talks[place];
        let (id, due, sent) = (talk.id, talk.answered(), talk.sent);
        match self.missing.displaced(id, variant, due, sent) {
            Displaced::Ahead(number) => {
                self.pass_over(slot, number);
                self.answer(slot, now, recorder)?;
            }
            Displaced::Late(Missing { number, sent }) => {
                let due = self.talks[place].take_passed(number).unwrap_or(sent);
                self.account.came_late();
                self.came(due, sent, now, recorder);
            }
            Displaced::Again => self.account.faults().duplicated += 1,
            Displaced::Unknown => return Err("a reply came that nothing was sent for".to_owned()),
        }
        let talk = &mut self.talks[place];
        let variants = self.load.variants as u64;
        talk.reader.expect((talk.answered() % variants) as usize);
        Ok(())
    }

    /// Counts the messages of a connection before this one as lost, until they come.
    #[cold]
    fn pass_over(&mut self, slot: u32, number: u64) {
        let place = self.fleet.place(slot) as usize;
        let talk = &mut self.talks[place];
        let (id, first) = (talk.id, talk.answered());
        let mut missing = Vec::new();
        for (number, (due, sent)) in
            (first..number).zip(talk.flight.drain(..(number - first) as usize))
        {
            talk.passed.push_back((number, due));
            missing.push(Missing { number, sent });
        }
        let old = |&(passed, _): &(u64, Nanos)| passed + self.load.variants as u64 <= number;
        while talk.passed.front().is_some_and(old) {
            talk.passed.pop_front();
        }
        self.account.faults().lost += missing.len() as u64;
        self.missing.miss(id, missing.into_iter(), number);
    }

    /// Notes a reply down.
    #[inline]
    fn came(&mut self, due: Nanos, sent: Nanos, now: Nanos, recorder: &mut Option<Recorder<'_>>) {
        self.account.counts().done += 1;
        self.account.answered(due, sent, now);
        if let Some(recorder) = recorder {
            recorder.record(due, sent, now);
        }
    }
}

impl Talk {
    /// Messages that were answered or passed over: the number of the one that is due to come back.
    fn answered(&self) -> u64 {
        self.sent - self.flight.len() as u64
    }

    /// When a message was due that was passed over, and now has come.
    fn take_passed(&mut self, number: u64) -> Option<Nanos> {
        let at = self.passed.iter().position(|(it, _)| *it == number)?;
        self.passed.remove(at).map(|(_, due)| due)
    }
}

impl Actor for Echo<'_> {
    fn begin(&mut self, start: Nanos) {
        self.account.begin(start);
        self.fleet.begin(start);
        self.dues.begin(start);
    }

    fn act(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<Nanos, BenchError> {
        self.account.look(now, self.fleet.open());
        let next = self.dues.fall(now, &mut self.account, recorder);
        self.assign();
        let more = self.flush(links)?;
        self.shrink(links, now);
        let look = self.fleet.dial(links, now, &mut self.account)?;
        Ok(if more { now } else { next.min(look) })
    }

    fn stop(&mut self, now: Nanos) {
        self.account.end(now, self.fleet.open());
        self.fleet.stop();
    }

    fn is_waiting(&self, now: Nanos) -> bool {
        let unanswered = |talk: &Talk| !talk.flight.is_empty() || !talk.queue.is_empty();
        let reachable = self.fleet.open() > 0 || !self.leaving.is_empty();
        let opening = !self.fleet.is_complete(now);
        opening || (reachable && (self.dues.waiting() > 0 || self.talks.iter().any(unanswered)))
    }

    fn leave(&mut self, now: Nanos, out: &mut Outbox) {
        self.over = true;
        let open: Vec<u32> = self
            .fleet
            .open_slots()
            .chain(self.leaving.drain(..))
            .collect();
        open.into_iter()
            .for_each(|slot| self.fleet.part(slot, now, out));
    }

    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, _out: &mut Outbox) {
        self.opened += 1;
        let id = self.opened;
        let skip = self.fleet.skip();
        *self.talk(slot) = Talk {
            id,
            reader: ReplyReader::after(skip),
            ..Talk::default()
        };
        self.fleet.opened(slot, times, now, &mut self.account);
        if skip == 0 {
            self.join(slot);
        }
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let mut input = &*bytes;
        let place = self.fleet.place(slot) as usize;
        loop {
            let reader = &mut self.talks[place].reader;
            let awaited = reader.awaits_greeting();
            let reply = reader.next(&mut input, self.load, self.verify, &mut self.replies);
            if awaited && !reader.awaits_greeting() {
                self.join(slot);
            }
            match reply.map_err(|error| error.to_string())? {
                Some(Reply::Message | Reply::Displaced(_)) if self.over => {}
                Some(Reply::Message) => self.answer(slot, now, recorder)?,
                Some(Reply::Displaced(variant)) => self.displaced(slot, variant, now, recorder)?,
                Some(Reply::Control(control)) => {
                    if self.fleet.partings.heed(slot, control, out)? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn writable(&mut self, slot: u32) {
        if !self.talk(slot).queue.is_empty() {
            self.mark(slot);
        }
    }

    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos) {
        self.turns.leave(slot);
        if self.over {
            self.fleet.forget(slot);
            return;
        }
        let talk = std::mem::take(self.talk(slot));
        if talk.leaving {
            self.leaving.retain(|&other| other != slot);
        }
        if talk.dirty {
            self.dirty.retain(|&other| other != slot);
        }
        self.missing.forget(talk.id);
        if self.fleet.ended(slot, opened, end, now, &mut self.account) == Ended::Broken {
            self.account.faults().lost += talk.flight.len() as u64;
        }
        talk.queue
            .into_iter()
            .rev()
            .for_each(|due| self.dues.give_back(due));
    }

    fn account(&self) -> &Account {
        &self.account
    }

    fn close(mut self: Box<Self>) -> Closed {
        let unanswered: usize = self
            .talks
            .iter()
            .map(|talk| talk.flight.len() + talk.queue.len())
            .sum();
        self.account.faults().lost += (unanswered + self.dues.waiting()) as u64;
        self.account.close()
    }
}
