//! What the load commands have in common: a crew of threads, a conductor, and a summary of what both brought home.
//!
//! A command says what is its own as a [`CrewLoad`]; being run, measured, searched and shared with agents follows from that.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Setup;
use super::opening::nothing_stayed_open;
use crate::agents::{Order, Post};
use crate::cli::Common;
use crate::client::fates::Fates;
use crate::client::team::{Conductor, Member};
use crate::clock::{Clock, Nanos, nanos};
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::gates::find_max::Rates;
use crate::report::Record;
use crate::report::summary::Summary;
use crate::session::{Load, Shared, Stage, no_rate_to_find};
use crate::telemetry::monitor::Monitor;
use crate::telemetry::sample::Phase;

/// A load that a crew puts on a server.
pub(crate) trait CrewLoad: Sized + Sync + 'static {
    /// The command's name.
    const NAME: &'static str;
    /// What all threads share, such as the messages.
    type Material: Sync;
    /// What a thread brings home.
    type Outcome: Outcome;
    /// What the conductor brings home.
    type Seen;

    /// The flags that all loads have.
    fn flags(&self) -> &Common;

    /// Connections at once.
    fn connections(&self) -> u64;

    /// Connections whose source ports are taken: those that exist at once, and those that have just ended.
    fn ports(&self) -> u64 {
        self.connections()
    }

    /// Paths that connections are made to, beside the URL's.
    fn more_paths(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Messages or connections per second asked for; the most, when that climbs.
    fn rate(&self) -> Option<u64>;

    /// Between which rates --find-max may search.
    ///
    /// # Errors
    /// Why the load has no rate to find.
    fn rates_to_search(&self) -> Result<Rates, BenchError> {
        Err(no_rate_to_find())
    }

    /// The same load at another rate, and for another time when one is given. `None` where there is no rate to find.
    fn with_rate(&self, _rate: u64, _length: Option<Duration>) -> Option<Self> {
        None
    }

    /// What agents are told.
    fn order(&self) -> Order;

    /// Refuses flags that do not go together.
    ///
    /// # Errors
    /// Which, and why.
    fn check(&self) -> Result<(), BenchError>;

    /// Refuses a crew that cannot put this load on.
    ///
    /// # Errors
    /// Why it cannot.
    fn check_crew(&self, _setup: &Setup<'_>) -> Result<(), BenchError> {
        Ok(())
    }

    /// What all threads share.
    ///
    /// # Errors
    /// Flags that do not go together, or files that cannot be what they should.
    fn material(&self, setup: &Setup<'_>) -> Result<Self::Material, BenchError>;

    /// The life of one thread.
    ///
    /// # Errors
    /// No ring, no connection at all, or a run that was called off.
    fn drive(
        &self,
        setup: &Setup<'_>,
        material: &Self::Material,
        member: &Member<'_>,
    ) -> Result<Self::Outcome, BenchError>;

    /// What the conductor does meanwhile.
    ///
    /// # Errors
    /// When a thread or the server has ended, or the user does not want to go on.
    fn conduct(&self, setup: &Setup<'_>, podium: &mut Podium<'_>)
    -> Result<Self::Seen, BenchError>;

    /// Whether any connection was open; without, there is nothing to summarize.
    fn any_open(seen: &Self::Seen, outcome: &Self::Outcome) -> bool;

    /// What to say when there is nothing to summarize.
    fn futile(outcome: &Self::Outcome) -> BenchError {
        nothing_stayed_open(outcome.fates().failures())
    }

    /// The figures of the run.
    fn summarize(
        &self,
        setup: &Setup<'_>,
        material: &Self::Material,
        seen: &Self::Seen,
        outcome: &Self::Outcome,
    ) -> Summary;
}

/// What a thread brings home.
pub(crate) trait Outcome: Send + Serialize + DeserializeOwned {
    /// Adds what another thread brought home.
    fn merge(&mut self, other: Self);

    /// What became of its connections.
    fn fates(&self) -> &Fates;
}

/// Where the conductor stands: it sees the run, and gives threads the word to go on.
pub(crate) struct Podium<'a> {
    /// Its eye on the run.
    pub(crate) monitor: Monitor<'a>,
    /// The run's clock.
    pub(crate) clock: Clock,
    conductor: &'a Conductor<'a>,
}

impl Podium<'_> {
    /// Lets all threads go on, with a time to go by.
    pub(crate) fn go(&self, time: Nanos) {
        self.conductor.go(time);
    }

    /// Lets all threads open their connections, and waits until they have. Returns how many are open.
    ///
    /// # Errors
    /// When a thread or the server has ended, or the user does not want to go on.
    pub(crate) fn open(&mut self) -> Result<u64, BenchError> {
        self.go(self.clock.now());
        let reports = self.monitor.gather(Phase::Opening)?;
        Ok(reports.iter().map(|report| report.open).sum())
    }

    /// Lets all threads begin, so long from now that each has heard of it. Returns when.
    pub(crate) fn begin(&self, lead: Duration) -> Nanos {
        let start = self.clock.now() + nanos(self.conductor.lead(lead));
        self.go(start);
        start
    }
}

impl<L: CrewLoad> Load for L {
    fn common(&self) -> &Common {
        self.flags()
    }

    fn outlook(&self) -> Option<Outlook> {
        Some(Outlook::new(L::NAME, self.flags(), self.rate().is_some()))
    }

    fn rates(&self) -> Result<Rates, BenchError> {
        self.rates_to_search()
    }

    fn at_rate(&self, rate: u64, length: Option<Duration>) -> Option<Box<dyn Load>> {
        Some(Box::new(self.with_rate(rate, length)?))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        self.check()?;
        let mut setup = Setup::new(self.flags(), self.connections())?;
        setup.learn(&self.more_paths())?;
        setup.connections = self.ports();
        self.check_crew(&setup)?;
        let material = self.material(&setup)?;
        let clock = Clock::start();
        let work = |member: Member<'_>| self.drive(&setup, &material, &member);
        let conduct = |conductor: &Conductor<'_>| {
            let plan = setup.plan(L::NAME, self.connections(), self.rate());
            let watch = setup.watch.as_ref();
            let mut podium = Podium {
                monitor: Monitor::begin(conductor, watch, clock, plan, stage.screen)?,
                clock,
                conductor,
            };
            let seen = self.conduct(&setup, &mut podium)?;
            Ok((seen, podium.monitor.finish()?))
        };
        let order = self.order();
        let (outcomes, (seen, history)) = setup.crew.run(order, clock, work, conduct)?;
        let outcome = merged(outcomes);
        if !L::any_open(&seen, &outcome) {
            return Err(L::futile(&outcome));
        }
        Ok(Record {
            summary: self.summarize(&setup, &material, &seen, &outcome),
            history,
        })
    }
}

impl<L: CrewLoad> Shared for L {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let mut setup = Setup::at(post, self.flags(), self.connections())?;
        setup.learn(&self.more_paths())?;
        setup.connections = self.ports();
        let material = self.material(&setup)?;
        post.run(|member| self.drive(&setup, &material, &member))
    }
}

fn merged<O: Outcome>(outcomes: Vec<O>) -> O {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.merge(one);
        all
    });
    merged.expect("a team has at least one thread")
}
