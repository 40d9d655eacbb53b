//! Opening, closing and opening again, on one thread.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use corecast_protocol::{CloseCode, Opcode, Receiver, encode_client, encode_close_client};

use super::Outcome;
use crate::cli::Common;
use crate::client::dial::Failures;
use crate::client::fates::Fates;
use crate::client::greeting::Greeting;
use crate::client::links::{Driver, End, Links, OpenTimes, Outbox};
use crate::client::listen::Listener;
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::ring::Wait;
use crate::rng::Rng;
use crate::stats::latency::Latency;
use crate::target::Wire;
use crate::telemetry::progress::Progress;

/// A connection may take this long from our Close frame to the end of the TCP connection, and before that from its upgrade
/// to the end of its greeting, and for each reply.
const LIMIT: Duration = Duration::from_secs(5);

/// It may take this long to open: as long as other loads wait.
const OPENING_LIMIT: Duration = Duration::from_secs(10);

/// Payload of the messages that connections have echoed before they close, in bytes.
const MESSAGE_BYTES: usize = 64;

/// A place whose connection could not be opened tries again after this.
const RETRY: Duration = Duration::from_millis(10);

/// What a connection does before it closes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Talk {
    /// Messages that it awaits first, of any kind.
    pub(super) greeting: u64,
    /// Messages that it then has echoed, one after the other.
    pub(super) messages: u64,
}

/// One thread's places.
pub(super) struct ConnectDriver {
    wire: Wire,
    listener: Listener,
    /// The Close frame, masked once and sent by all.
    close_frame: Vec<u8>,
    /// The frame to have echoed, likewise.
    message: Vec<u8>,
    talk: Talk,
    places: Vec<Place>,
    churn: bool,
    measured: Range<Nanos>,
    /// Places to open.
    free: Vec<u32>,
    /// Places to open later, when their time has come.
    retry: VecDeque<(Nanos, u32)>,
    /// Places that wait for the server, with their cycle, by deadline.
    deadlines: VecDeque<Deadline>,
    /// Places that open, likewise.
    opening: VecDeque<Deadline>,
    cycles: u64,
    /// Cycles come to their end, and none begins.
    finishing: bool,
    over: bool,
    outcome: Outcome,
}

/// When a place gives up.
struct Deadline {
    at: Nanos,
    slot: u32,
    cycle: u32,
    awaited: Awaited,
}

/// What a place waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Open,
    Greeting,
    /// To a message of which so many were still to be answered.
    Reply(u64),
    Close,
}

#[derive(Default)]
struct Place {
    greeting: Greeting,
    /// What took too long.
    overdue: Option<Awaited>,
    /// It is open.
    open: bool,
    receiver: Receiver,
    /// Goes on with every beginning and end of a connection; tells an old deadline from a new one.
    cycle: u32,
    /// Messages that are still to be echoed.
    unanswered: u64,
    /// When the first of them was sent.
    began: Nanos,
    /// When our Close frame was sent, and whether the server's has come.
    closing: Option<Nanos>,
    closed: bool,
}

impl Place {
    /// Whether this is still to come.
    fn awaits(&self, awaited: Awaited) -> bool {
        match awaited {
            Awaited::Open => !self.open,
            Awaited::Greeting => self.greeting.is_awaited(),
            Awaited::Reply(unanswered) => self.unanswered == unanswered,
            Awaited::Close => self.closing.is_some(),
        }
    }
}

impl ConnectDriver {
    /// For so many connections at once; those that churn do what `talk` says, and close.
    pub(super) fn new(common: &Common, places: u32, talk: Option<Talk>) -> Self {
        let churn = talk.is_some();
        let talk = talk.unwrap_or_default();
        let mut rng = Rng::new(common.seed, 0);
        let key = rng.bytes();
        let payload: [u8; MESSAGE_BYTES] = rng.bytes();
        let mut message = Vec::new();
        encode_client(&mut message, Opcode::Binary, &payload, key);
        let mut listener = Listener::new(key);
        if talk.messages > 0 {
            listener.expect(&payload);
        }
        let mut close_frame = Vec::new();
        encode_close_client(&mut close_frame, CloseCode::NORMAL, "", key);
        let mut list = Vec::new();
        list.resize_with(places as usize, Place::default);
        Self {
            wire: common.target.wire,
            listener,
            close_frame,
            message,
            talk,
            places: list,
            churn,
            measured: 0..Nanos::MAX,
            free: (0..places).rev().collect(),
            retry: VecDeque::new(),
            deadlines: VecDeque::new(),
            opening: VecDeque::new(),
            cycles: 0,
            finishing: false,
            over: false,
            outcome: Outcome {
                fates: Fates::default(),
                close: Latency::new(),
                opened: 0,
                closed: 0,
            },
        }
    }

    /// What the thread brings home.
    pub(super) fn outcome(self) -> Outcome {
        Outcome {
            closed: self.cycles,
            ..self.outcome
        }
    }

    /// Opens, upgrades and closes on every place until the end of `measured`.
    pub(super) fn churn(
        &mut self,
        links: &mut Links,
        progress: &Progress,
        measured: Range<Nanos>,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        let end = measured.end;
        self.measured = measured;
        loop {
            let now = clock.now();
            if now >= end {
                break;
            }
            while self.retry.front().is_some_and(|&(due, _)| due <= now) {
                self.free
                    .extend(self.retry.pop_front().map(|(_, slot)| slot));
            }
            while let Some(slot) = self.free.pop() {
                self.dial(links, slot, now);
            }
            self.enforce_deadlines(links, now);
            let due = self.retry.front().map_or(end, |&(due, _)| due.min(end));
            links.turn(
                Wait::AtMost(clock.until(due.min(self.next_deadline()))),
                self,
            )?;
            progress.show(self.cycles, 0, self.outcome.fates.errors());
        }
        self.finish_cycles(links)?;
        self.over = true;
        Ok(())
    }

    /// Lets every place come to the end of its cycle: one that hangs would not be noticed in a short run.
    fn finish_cycles(&mut self, links: &mut Links) -> Result<(), BenchError> {
        self.finishing = true;
        let clock = links.clock();
        while links.open_now() + links.opening() + links.ending() > 0 {
            self.enforce_deadlines(links, clock.now());
            let due = self.next_deadline().min(clock.now() + nanos(LIMIT));
            links.turn(Wait::AtMost(clock.until(due)), self)?;
        }
        Ok(())
    }

    /// When the first place gives up.
    fn next_deadline(&self) -> Nanos {
        let first = |queue: &VecDeque<Deadline>| queue.front().map_or(Nanos::MAX, |next| next.at);
        first(&self.deadlines).min(first(&self.opening))
    }

    /// Closes all open connections, so many at once.
    pub(super) fn close_all(
        &mut self,
        links: &mut Links,
        concurrency: usize,
    ) -> Result<(), BenchError> {
        let clock = links.clock();
        let slots: Vec<u32> = links.open_slots().collect();
        let mut waiting = slots.into_iter();
        while links.open_now() > 0 {
            let now = clock.now();
            // Open connections that have not begun to close are not on the way.
            let on_the_way = links.open_now().saturating_sub(waiting.len());
            for slot in waiting
                .by_ref()
                .take(concurrency.saturating_sub(on_the_way))
            {
                self.begin_close(slot, now, links.outbox());
            }
            self.enforce_deadlines(links, now);
            let wake = self.next_deadline().min(now + nanos(LIMIT));
            links.turn(Wait::AtMost(clock.until(wake)), self)?;
        }
        Ok(())
    }

    fn dial(&mut self, links: &mut Links, slot: u32, now: Nanos) {
        let place = &mut self.places[slot as usize];
        *place = Place {
            cycle: place.cycle.wrapping_add(1),
            greeting: Greeting::of(self.talk.greeting),
            unanswered: self.talk.messages,
            ..Place::default()
        };
        if let Err(error) = links.dial(slot) {
            self.outcome.fates.ended(false, format!("socket: {error}"));
            self.retry.push_back((now + nanos(RETRY), slot));
            return;
        }
        self.set_deadline(slot, now, Awaited::Open);
    }

    /// The next message, or our Close frame when all have been answered.
    fn go_on(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        let place = &mut self.places[slot as usize];
        if place.unanswered > 0 && !self.finishing {
            let unanswered = place.unanswered;
            if unanswered == self.talk.messages {
                place.began = now;
            }
            self.set_deadline(slot, now, Awaited::Reply(unanswered));
            out.send(slot, self.message.clone());
        } else {
            self.begin_close(slot, now, out);
        }
    }

    fn begin_close(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        self.places[slot as usize].closing = Some(now);
        self.set_deadline(slot, now, Awaited::Close);
        match self.wire {
            Wire::WebSocket => out.send(slot, self.close_frame.clone()),
            Wire::Raw => {
                self.places[slot as usize].closed = true;
                out.hang_up(slot);
            }
        }
    }

    fn set_deadline(&mut self, slot: u32, now: Nanos, awaited: Awaited) {
        let (queue, limit) = match awaited {
            Awaited::Open => (&mut self.opening, OPENING_LIMIT),
            _ => (&mut self.deadlines, LIMIT),
        };
        queue.push_back(Deadline {
            at: now + nanos(limit),
            slot,
            cycle: self.places[slot as usize].cycle,
            awaited,
        });
    }

    /// Hangs up where the server does not, or does not say what it should.
    fn enforce_deadlines(&mut self, links: &mut Links, now: Nanos) {
        while let Some((slot, awaited)) = self.overdue(now) {
            let place = &mut self.places[slot as usize];
            place.overdue = Some(awaited);
            place.closed = false;
            match awaited {
                Awaited::Open => links.give_up(slot, OPENING_LIMIT),
                _ => links.outbox().hang_up(slot),
            }
        }
    }

    /// The next place that has waited for too long, and for what.
    fn overdue(&mut self, now: Nanos) -> Option<(u32, Awaited)> {
        for queue in [&mut self.opening, &mut self.deadlines] {
            while let Some(deadline) = queue.front() {
                let place = &self.places[deadline.slot as usize];
                let current = place.cycle == deadline.cycle && place.awaits(deadline.awaited);
                if current && deadline.at > now {
                    break;
                }
                let (slot, awaited) = (deadline.slot, deadline.awaited);
                queue.pop_front();
                if current {
                    return Some((slot, awaited));
                }
            }
        }
        None
    }

    /// Takes in what a server says first. Returns how many of the bytes were of that.
    fn greeted(
        &mut self,
        slot: u32,
        bytes: &[u8],
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<usize, String> {
        let mut input = bytes;
        loop {
            let greeting = &mut self.places[slot as usize].greeting;
            let control = greeting.next(&mut input, false);
            match control.map_err(|error| format!("protocol error: {error}"))? {
                Some(control) => out.heed(slot, control)?,
                None => break,
            }
        }
        if !self.places[slot as usize].greeting.is_awaited() {
            self.go_on(slot, now, out);
        }
        Ok(bytes.len() - input.len())
    }

    /// Why a connection ended that should not have, or not so.
    fn reason(&self, slot: u32, opened: bool, end: End) -> String {
        let place = &self.places[slot as usize];
        match end {
            End::Closed if place.overdue == Some(Awaited::Greeting) => format!(
                "the server did not send as many messages as --skip says within {} s",
                LIMIT.as_secs()
            ),
            End::Closed if matches!(place.overdue, Some(Awaited::Reply(_))) => {
                format!("no reply came within {} s", LIMIT.as_secs())
            }
            End::Closed if opened && place.closing.is_some() => {
                "no closing handshake, or no end of TCP after it".to_owned()
            }
            end => end.reason(),
        }
    }
}

impl Driver for ConnectDriver {
    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, out: &mut Outbox) {
        if self.measured.contains(&now) {
            self.outcome.fates.opened(times);
        }
        self.outcome.opened += 1;
        self.places[slot as usize].open = true;
        if self.talk.greeting > 0 {
            self.set_deadline(slot, now, Awaited::Greeting);
        } else if self.churn {
            self.go_on(slot, now, out);
        }
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<(), String> {
        if self.wire == Wire::Raw {
            return Err("bytes came from a server that was sent none".to_owned());
        }
        let mut bytes = bytes;
        if self.places[slot as usize].greeting.is_awaited() {
            let of_greeting = self.greeted(slot, bytes, now, out)?;
            bytes = &mut bytes[of_greeting..];
        }
        let place = &mut self.places[slot as usize];
        let heard = self.listener.hear(&mut place.receiver, slot, bytes, out)?;
        let talks = self.talk.messages > 0;
        // One message is on its way at a time. A server that is sent none may say what it likes.
        let expected = u64::from(place.unanswered > 0);
        if talks && heard.messages > expected {
            let problem = "more messages came than were sent; greetings are left out by --skip";
            return Err(problem.to_owned());
        }
        match heard.close {
            Some(code) if place.closing.is_none() => {
                Err(format!("the server closed the connection: {code}"))
            }
            Some(_) => {
                place.closed = true;
                Ok(())
            }
            None if talks && heard.messages == 1 => {
                if place.unanswered == self.talk.messages && self.measured.contains(&now) {
                    let times = &mut self.outcome.fates.times;
                    times.first_message.record(now - place.began);
                }
                place.unanswered -= 1;
                self.go_on(slot, now, out);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn writable(&mut self, _slot: u32) {}

    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos) {
        let place = &self.places[slot as usize];
        let clean = end == End::Closed && place.closed;
        if let (Some(since), true) = (place.closing, clean) {
            // One that was cut short by the end of the run is no cycle.
            self.cycles += u64::from(place.unanswered == 0);
            if self.measured.contains(&now) {
                self.outcome.close.record(now.saturating_sub(since));
            }
        } else if !self.over {
            let reason = self.reason(slot, opened, end);
            self.outcome.fates.ended(opened, reason);
        }
        let place = &mut self.places[slot as usize];
        place.closing = None;
        // Nothing is awaited of it any more.
        place.cycle = place.cycle.wrapping_add(1);
        if self.churn && clean {
            self.free.push(slot);
        } else if self.churn {
            self.retry.push_back((now + nanos(RETRY), slot));
        }
    }

    fn failures(&self) -> [&Failures; 2] {
        self.outcome.fates.failures()
    }
}
