//! Churn: connections that open when they are due, say what they have to say, and close.

use std::collections::VecDeque;
use std::time::Duration;

use corecast_protocol::{Opcode, Receiver, encode_client};

use super::Actor;
use super::turns::Dues;
use crate::client::greeting::Greeting;
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::client::listen::Listener;
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::rng::Rng;
use crate::scenario::account::{Account, Closed};
use crate::scenario::ensemble::CONTROL_KEY;
use crate::scenario::fleet::RETRY;
use crate::scenario::openings::{Openings, SILENT};
use crate::scenario::partings::Partings;
use crate::telemetry::recorder::Recorder;

/// The places of one thread, each for one connection after the other.
pub(crate) struct Churn {
    base: u32,
    listener: Listener,
    /// The frame to have echoed, and how often.
    message: Vec<u8>,
    messages: u64,
    /// Messages of any kind that the server sends first on each, and the connections that await them.
    skip: u64,
    greetings: Openings,
    hold: Nanos,
    places: Vec<Place>,
    /// Slots without a connection.
    free: Vec<u32>,
    dues: Dues,
    /// No socket was to be had: none is asked for before. 0: there was one.
    sockets_from: Nanos,
    openings: Openings,
    /// Connections that have said all and stay until then, with their number. Entries of those that broke stay until their time
    /// has passed.
    holding: VecDeque<(Nanos, u32, u64)>,
    /// How many of them are there.
    held: usize,
    partings: Partings,
    open: usize,
    account: Account,
    stopped: bool,
    over: bool,
}

/// What each connection does.
pub(crate) struct Talk {
    /// Messages of any kind that the server sends first.
    pub(crate) skip: u64,
    /// Messages to have echoed, one after the other.
    pub(crate) messages: u64,
    /// Payload bytes of each.
    pub(crate) size: u64,
    /// The connection stays for so long.
    pub(crate) hold: Duration,
}

#[derive(Default)]
struct Place {
    greeting: Greeting,
    /// It has awaited its greeting for too long.
    silent: bool,
    receiver: Receiver,
    /// The number of its connection; tells an old entry of `holding` from a new one.
    cycle: u64,
    due: Nanos,
    dialled: Nanos,
    /// Messages that are still to come back.
    unanswered: u64,
    /// It has a connection, which has not ended.
    busy: bool,
    /// The connection has been open…
    opened: bool,
    /// …and stays for a while.
    held: bool,
}

impl Churn {
    /// `slots` places from slot `base` on, each for connections that do what `talk` says, and close.
    pub(crate) fn new(
        base: u32,
        slots: u32,
        talk: &Talk,
        dues: Dues,
        account: Account,
        rng: &mut Rng,
    ) -> Self {
        let messages = talk.messages;
        let mut payload = vec![0; talk.size as usize];
        rng.fill(&mut payload);
        let mut message = Vec::new();
        encode_client(&mut message, Opcode::Binary, &payload, CONTROL_KEY);
        let mut listener = Listener::new(CONTROL_KEY);
        if messages > 0 {
            listener.expect(&payload);
        }
        let mut places = Vec::new();
        places.resize_with(slots as usize, Place::default);
        Self {
            base,
            listener,
            message,
            messages,
            skip: talk.skip,
            greetings: Openings::default(),
            hold: nanos(talk.hold),
            places,
            free: (base..base + slots).rev().collect(),
            dues,
            sockets_from: 0,
            openings: Openings::default(),
            holding: VecDeque::new(),
            held: 0,
            partings: Partings::new(CONTROL_KEY),
            open: 0,
            account,
            stopped: false,
            over: false,
        }
    }

    fn place(&mut self, slot: u32) -> &mut Place {
        &mut self.places[(slot - self.base) as usize]
    }

    /// Dials for those that are due, as long as there are places. Returns when to look again.
    fn dial(&mut self, links: &mut Links<'_>, now: Nanos) -> Nanos {
        if now < self.sockets_from {
            return self.sockets_from;
        }
        while let Some(&slot) = self.free.last() {
            let Some(due) = self.dues.take() else {
                return Nanos::MAX;
            };
            if let Err(error) = links.dial(slot) {
                // The next one would not have a socket either: it stays due.
                self.dues.give_back(due);
                if self.sockets_from == 0 {
                    self.account.refuse(format!("socket: {error}"));
                } else {
                    self.account.refuse_again();
                }
                self.sockets_from = now + nanos(RETRY);
                return self.sockets_from;
            }
            self.sockets_from = 0;
            self.free.pop();
            self.openings.begin(slot, now);
            self.account.counts().sent += 1;
            let (skip, messages) = (self.skip, self.messages);
            let place = self.place(slot);
            *place = Place {
                cycle: place.cycle + 1,
                due,
                dialled: now,
                greeting: Greeting::of(skip),
                unanswered: messages,
                busy: true,
                ..Place::default()
            };
        }
        Nanos::MAX
    }

    /// The next message, or the pause before the end when all have come back.
    fn go_on(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        let hold = self.hold;
        let place = self.place(slot);
        let cycle = place.cycle;
        if place.unanswered > 0 {
            out.send(slot, self.message.clone());
        } else if hold > 0 {
            place.held = true;
            self.held += 1;
            self.holding.push_back((now + hold, slot, cycle));
        } else {
            self.part(slot, now, out);
        }
    }

    fn part(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        self.let_go(slot);
        self.open -= 1;
        self.partings.begin(slot, now, out);
    }

    /// It does not stay any longer, if it did.
    fn let_go(&mut self, slot: u32) {
        self.held -= usize::from(std::mem::take(&mut self.place(slot).held));
    }

    /// Closes those whose pause is over. Returns when the next one's is.
    fn release(&mut self, now: Nanos, out: &mut Outbox) -> Nanos {
        while let Some(&(until, slot, cycle)) = self.holding.front() {
            if until > now {
                return until;
            }
            self.holding.pop_front();
            let place = self.place(slot);
            if place.held && place.cycle == cycle {
                self.part(slot, now, out);
            }
        }
        Nanos::MAX
    }

    /// Ends those that the server has not greeted in time. Returns when to look again.
    fn await_greetings(&mut self, now: Nanos, out: &mut Outbox) -> Nanos {
        let (overdue, next) = self.greetings.overdue(now);
        for slot in overdue {
            self.place(slot).silent = true;
            out.hang_up(slot);
        }
        next
    }

    /// Takes what the server says first. Returns how much of `bytes` that was; `None`: nothing that follows counts.
    fn skip(&mut self, slot: u32, bytes: &[u8], out: &mut Outbox) -> Result<Option<usize>, String> {
        let mut input = bytes;
        let greeting = &mut self.places[(slot - self.base) as usize].greeting;
        let broken = |error| format!("protocol error: {error}");
        while let Some(control) = greeting.next(&mut input, false).map_err(broken)? {
            if self.partings.heed(slot, control, out)? {
                return Ok(None);
            }
        }
        Ok(Some(bytes.len() - input.len()))
    }

    /// The end of the notes: what a connection waits for now, it has waited for in vain.
    fn write_off(&mut self, place: usize) {
        let place = &self.places[place];
        if !place.opened {
            self.account.refuse("no answer by the end");
        } else if place.unanswered > 0 || place.greeting.is_awaited() {
            self.account.faults().lost += 1;
        }
    }
}

impl Actor for Churn {
    fn begin(&mut self, start: Nanos) {
        self.account.begin(start);
        self.dues.begin(start);
    }

    fn act(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<Nanos, BenchError> {
        self.account.look(now, self.open);
        let next = self.dues.fall(now, &mut self.account, recorder);
        let patience = self.openings.enforce(now, links);
        let patience = patience.min(self.await_greetings(now, links.outbox()));
        let dial = self.dial(links, now);
        let release = self.release(now, links.outbox());
        let patience = patience.min(self.partings.enforce(now, links.outbox()));
        Ok(next.min(dial).min(release).min(patience))
    }

    fn stop(&mut self, now: Nanos) {
        self.account.end(now, self.open);
        self.stopped = true;
    }

    fn is_waiting(&self, _now: Nanos) -> bool {
        let busy = self.places.len() - self.free.len();
        self.stopped && (self.dues.waiting() > 0 || busy > self.held)
    }

    fn leave(&mut self, now: Nanos, out: &mut Outbox) {
        self.over = true;
        for index in 0..self.places.len() {
            let Place { busy, opened, .. } = self.places[index];
            let slot = self.base + index as u32;
            if !busy || self.partings.has(slot) {
                continue;
            }
            self.write_off(index);
            if opened {
                self.part(slot, now, out);
            } else {
                out.hang_up(slot);
            }
        }
    }

    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, out: &mut Outbox) {
        self.open += 1;
        self.openings.end(slot);
        if self.over {
            return out.hang_up(slot);
        }
        let place = self.place(slot);
        place.opened = true;
        let (due, dialled) = (place.due, place.dialled);
        self.account
            .connected(times.tcp + times.upgrade.unwrap_or(0));
        self.account.answered(due, dialled, now);
        if self.skip > 0 {
            self.greetings.begin(slot, now);
        } else {
            self.go_on(slot, now, out);
        }
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
        _recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let mut bytes = bytes;
        if self.place(slot).greeting.is_awaited() {
            let Some(taken) = self.skip(slot, bytes, out)? else {
                return Ok(());
            };
            if self.place(slot).greeting.is_awaited() {
                return Ok(());
            }
            self.greetings.end(slot);
            if !self.over {
                self.go_on(slot, now, out);
            }
            bytes = &mut bytes[taken..];
        }
        let place = &mut self.places[(slot - self.base) as usize];
        let heard = self.listener.hear(&mut place.receiver, slot, bytes, out)?;
        // One message is on its way at a time. A server that is sent none may say what it likes.
        if self.messages > 0 && heard.messages > u64::from(place.unanswered > 0) {
            return Err("more replies came than messages were sent".to_owned());
        }
        if let Some(code) = heard.close {
            return self.partings.heard(slot, &code);
        }
        if self.over {
            return Ok(());
        }
        if self.messages > 0 && heard.messages == 1 {
            place.unanswered -= 1;
            self.account.counts().done += 1;
            self.go_on(slot, now, out);
        }
        Ok(())
    }

    fn writable(&mut self, _slot: u32) {}

    fn ended(&mut self, slot: u32, opened: bool, end: End, _now: Nanos) {
        let parted = self.partings.has(slot);
        if opened && !parted {
            self.open -= 1;
        }
        self.openings.end(slot);
        self.greetings.end(slot);
        self.let_go(slot);
        let end = if self.place(slot).silent {
            End::Failed(SILENT.to_owned())
        } else {
            end
        };
        self.free.push(slot);
        self.place(slot).busy = false;
        if self.over {
            self.partings.forget(slot);
            return;
        }
        match (self.partings.ended(slot, end), opened) {
            (Ok(()), _) => self.account.counts().closed += 1,
            (Err(reason), true) => {
                let unanswered = u64::from(self.place(slot).unanswered > 0);
                self.account.faults().lost += unanswered;
                self.account.break_off(reason);
            }
            (Err(reason), false) => self.account.refuse(reason),
        }
    }

    fn account(&self) -> &Account {
        &self.account
    }

    fn close(mut self: Box<Self>) -> Closed {
        self.account.faults().lost += self.dues.waiting() as u64;
        self.account.close()
    }
}
