//! Idle: connections that are only there. What comes is read, pings are answered.

use corecast_protocol::Receiver;

use super::Actor;
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::client::listen::Listener;
use crate::clock::Nanos;
use crate::error::BenchError;
use crate::scenario::account::{Account, Closed};
use crate::scenario::ensemble::CONTROL_KEY;
use crate::scenario::fleet::Fleet;
use crate::telemetry::recorder::Recorder;

/// The connections of one thread.
pub(crate) struct Idle {
    listener: Listener,
    receivers: Vec<Receiver>,
    fleet: Fleet,
    account: Account,
    over: bool,
}

impl Idle {
    /// Holds `slots` connections.
    pub(crate) fn new(slots: u32, fleet: Fleet, account: Account) -> Self {
        let mut receivers = Vec::new();
        receivers.resize_with(slots as usize, Receiver::new);
        Self {
            listener: Listener::new(CONTROL_KEY),
            receivers,
            fleet,
            account,
            over: false,
        }
    }
}

impl Actor for Idle {
    fn begin(&mut self, start: Nanos) {
        self.account.begin(start);
        self.fleet.begin(start);
    }

    fn act(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        _recorder: &mut Option<Recorder<'_>>,
    ) -> Result<Nanos, BenchError> {
        self.account.look(now, self.fleet.open());
        while let Some(slot) = self.fleet.surplus(now) {
            self.fleet.part(slot, now, links.outbox());
        }
        self.fleet.dial(links, now, &mut self.account)
    }

    fn stop(&mut self, now: Nanos) {
        self.account.end(now, self.fleet.open());
        self.fleet.stop();
    }

    fn is_waiting(&self, now: Nanos) -> bool {
        !self.fleet.is_complete(now)
    }

    fn leave(&mut self, now: Nanos, out: &mut Outbox) {
        self.over = true;
        let open: Vec<u32> = self.fleet.open_slots().collect();
        open.into_iter()
            .for_each(|slot| self.fleet.part(slot, now, out));
    }

    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, _out: &mut Outbox) {
        let place = self.fleet.place(slot) as usize;
        self.receivers[place] = Receiver::new();
        self.fleet.opened(slot, times, now, &mut self.account);
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        _now: Nanos,
        out: &mut Outbox,
        _recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String> {
        let place = self.fleet.place(slot) as usize;
        let heard = self
            .listener
            .hear(&mut self.receivers[place], slot, bytes, out)?;
        heard
            .close
            .map_or(Ok(()), |code| self.fleet.partings.heard(slot, &code))
    }

    fn writable(&mut self, _slot: u32) {}

    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos) {
        if self.over {
            self.fleet.forget(slot);
        } else {
            self.fleet.ended(slot, opened, end, now, &mut self.account);
        }
    }

    fn account(&self) -> &Account {
        &self.account
    }

    fn close(self: Box<Self>) -> Closed {
        self.account.close()
    }
}
