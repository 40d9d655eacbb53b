//! What the connections of a role do, on one thread. Each kind has a file.

pub(super) mod audience;
pub(super) mod broadcast;
pub(super) mod churn;
pub(super) mod echo;
pub(super) mod idle;
pub(super) mod published;
pub(super) mod turns;

use super::account::Account;
use crate::client::links::{End, Links, OpenTimes, Outbox};
use crate::clock::Nanos;
use crate::error::BenchError;
use crate::telemetry::recorder::Recorder;

/// The connections of one role on one thread. Slots are those of the thread's [`Links`].
pub(super) trait Actor {
    /// The load begins then.
    fn begin(&mut self, start: Nanos);

    /// Makes due what the plan says, sends, dials and closes. Returns when there is more to do.
    ///
    /// # Errors
    /// When the ring fails.
    fn act(
        &mut self,
        links: &mut Links<'_>,
        now: Nanos,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<Nanos, BenchError>;

    /// The load is over: nothing falls due and nothing is dialled any more.
    fn stop(&mut self, now: Nanos);

    /// What waits to be sent stays unsent: the server does not take it.
    fn give_up(&mut self) {}

    /// Something is still on the way, or as many connections as are wanted are not open yet.
    fn is_waiting(&self, now: Nanos) -> bool;

    /// Says goodbye on all connections. What comes from then on is nobody's concern.
    fn leave(&mut self, now: Nanos, out: &mut Outbox);

    /// As [`crate::client::links::Driver::opened`].
    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, out: &mut Outbox);

    /// As [`crate::client::links::Driver::received`].
    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
        recorder: &mut Option<Recorder<'_>>,
    ) -> Result<(), String>;

    /// As [`crate::client::links::Driver::writable`].
    fn writable(&mut self, slot: u32);

    /// As [`crate::client::links::Driver::ended`].
    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos);

    /// What it has noted down.
    fn account(&self) -> &Account;

    /// The end of the notes: what has not come by now is lost.
    fn close(self: Box<Self>) -> super::account::Closed;
}
