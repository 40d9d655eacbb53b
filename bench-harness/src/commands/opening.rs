//! Opening the connections of a load, on all threads at once.

use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::greeting;
use crate::client::links::{Driver, Links};
use crate::client::schedule::{Profile, Schedule};
use crate::client::team::Member;
use crate::clock::Nanos;
use crate::error::BenchError;

/// Connections on the way at once, over all threads, unless the user says otherwise: fast, and far below any listen backlog.
pub(super) const CONCURRENCY: u64 = 128;

/// How a thread opens its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// Of this thread.
    pub(super) connections: u32,
    /// On the way at once, over all threads.
    pub(super) concurrency: u64,
    /// New ones per second, over all threads; as fast as they open when `None`.
    pub(super) rate: Option<u64>,
    /// They are what the load is about, and nothing else counts as done.
    pub(super) counts: bool,
}

impl Opening {
    /// On the way at once, on this thread.
    pub(super) fn concurrency_of(&self, member: &Member<'_>) -> usize {
        (self.concurrency as usize).div_ceil(member.count)
    }

    /// Opens them when all threads are ready, and waits for what the server says first. Returns the time that the conductor names
    /// when all threads have opened theirs.
    ///
    /// # Errors
    /// When the ring fails, the run is called off, or nobody has opened any.
    pub(super) fn perform(
        self,
        links: &mut Links<'_>,
        driver: &mut impl Driver,
        member: &Member<'_>,
    ) -> Result<Nanos, BenchError> {
        let start = member.rendezvous(0)?;
        let schedule = |rate| {
            let profile = Profile::constant(rate);
            Schedule::new(start, &profile, member.index, member.count)
        };
        let plan = DialPlan {
            connections: self.connections,
            concurrency: self.concurrency_of(member),
            schedule: self.rate.map(schedule),
        };
        let shown = self.counts.then_some(member.progress);
        open_all(links, driver, &plan, shown)?;
        greeting::await_all(links, driver)?;
        if links.open_now() == 0 && member.count == 1 {
            return Err(nothing_stayed_open(driver.failures()));
        }
        member.rendezvous(links.open_now())
    }
}

/// An error that names the most frequent reason why connections could not be opened, or else why they broke at once.
pub(super) fn nothing_stayed_open([refused, broken]: [&Failures; 2]) -> BenchError {
    match broken.by_count().first() {
        Some((reason, _)) if refused.total() == 0 => {
            BenchError::runtime(format!("no connection stayed open: {reason}"))
        }
        _ => nothing_opened(refused),
    }
}

/// An error that names the most frequent reason.
pub(crate) fn nothing_opened(refused: &Failures) -> BenchError {
    let reason = refused
        .by_count()
        .first()
        .map_or("no answer in time", |(reason, _)| *reason)
        .to_owned();
    BenchError::runtime(format!("no connection could be opened: {reason}"))
}
