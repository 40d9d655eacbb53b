//! `broadcast`: publishes, and checks that every subscriber receives everything once and in order.

mod awaited;
mod cast;
mod driver;
pub(crate) mod ledger;
mod publishers;
mod shared;
mod stalled;
mod summarize;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::echo::nothing_opened;
use super::{Setup, dial_schedule};
use crate::agents::{Order, Post};
use crate::cli::{BroadcastArgs, Common};
use crate::client::contents::Contents;
use crate::client::deflate::WireCounts;
use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::greeting;
use crate::client::publication::Publication;
use crate::client::schedule::Schedule;
use crate::client::team::{Conductor, Member};
use crate::clock::{Clock, nanos};
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::gates::find_max::Rates;
use crate::procfs::{Detail, Memory, Watch};
use crate::report::Record;
use crate::session::{Load, Shared, Stage};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::phases::ConnectTimes;
use crate::target::Wire;
use crate::telemetry::monitor::{History, Monitor};
use crate::telemetry::recorder::Recorded;
use crate::telemetry::sample::Phase;
use crate::telemetry::window::Window;
use crate::units::Rate;
use cast::Cast;
use driver::BroadcastDriver;
use publishers::Pace;
use shared::Published;
use stalled::Stalled;

/// Connections on the way at once while opening, over all threads: fast, and far below any listen backlog.
const OPENING: usize = 128;

/// From the last upgrade until the first message is due. A server may let a connection join its topic after it has
/// answered the upgrade, and on another thread.
const LEAD: Duration = Duration::from_millis(200);

/// Deliveries are waited for until none has come for so long. What a thousand publishers have on the way can take
/// a slow server many seconds.
const DRAIN_QUIET: Duration = Duration::from_secs(5);

/// Deliveries are waited for this long after the end, at most.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// Connections may take this long to close in the end.
const CLOSING: Duration = Duration::from_secs(2);

/// Messages on the way, or in a burst, of one publisher at most.
const MAX_ON_THE_WAY: u64 = 1 << 16;

/// Accounts of one subscriber and one publisher, 4 bytes each.
const MAX_ACCOUNTS: u64 = 1 << 28;

/// What a thread brings home.
#[derive(Default, Serialize, Deserialize)]
struct Outcome {
    latency: Option<Recorded>,
    times: ConnectTimes,
    /// Until the first and the last subscriber had a message: one thread only.
    first: Option<Latency>,
    last: Option<Latency>,
    /// Subscribers that were listening when publishing began.
    listening: u64,
    /// Messages sent in the window.
    published: u64,
    /// Deliveries in the window to connections that only publish.
    to_publishers: u64,
    /// What was wrong with the deliveries.
    account: Faults,
    stalled: Stalled,
    /// What came on the wire, to all connections, where messages are compressed.
    counts: WireCounts,
    refused: Failures,
    broken: Failures,
}

/// What the conductor brings home.
struct Seen {
    open: u64,
    window: Window,
    memory: Option<SeenMemory>,
}

/// The server's memory.
#[derive(Clone, Copy)]
struct SeenMemory {
    /// Before the first connection.
    empty: Memory,
    /// When all have joined and nothing has been published.
    joined: Memory,
    /// Most resident from then until the end of the window, where the system tells.
    most: Option<u64>,
}

impl Load for BroadcastArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn outlook(&self) -> Option<Outlook> {
        Some(Outlook::new(
            "broadcast",
            &self.common,
            self.pace.rate.is_some(),
        ))
    }

    fn rates(&self) -> Result<Rates, BenchError> {
        if self.burst.is_some() {
            return Err(BenchError::usage(
                "--find-max and --burst do not go together",
            ));
        }
        let step = self.common.gates.step_duration;
        Rates::timed(self.pace.rate, step, self.pace.duration)
    }

    fn at_rate(&self, rate: u64, length: Option<Duration>) -> Option<Box<dyn Load>> {
        let mut load = self.clone();
        load.pace.rate = Some(rate.into());
        load.pace.duration = length.unwrap_or(self.pace.duration);
        Some(Box::new(load))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        measure(self, stage)
    }

    fn order(&self) -> Option<Order> {
        Some(Order::Broadcast(Box::new(self.clone())))
    }
}

impl Shared for BroadcastArgs {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let setup = Setup::at(post, &self.common, self.connections + self.only_publish())?;
        let publication = publication(self, setup.run)?;
        post.run(|member| drive(self, &setup, &publication, &member))
    }
}

fn measure(args: &BroadcastArgs, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
    check(args)?;
    let setup = Setup::new(&args.common, args.connections + args.only_publish())?;
    setup.enough_for_all(args.connections, "subscriber")?;
    setup.enough_for_all(args.all_publishers(), "publisher")?;
    if setup.members() > 1 && args.pace.rate.is_none() {
        return Err(BenchError::usage(
            "a closed loop takes one of --cores, and one process: only the thread that sees all deliveries knows when a \
             message has reached everybody; set a rate (-r)",
        ));
    }
    let empty = memory(&setup)?;
    let publication = publication(args, setup.run)?;
    let clock = Clock::start();
    let work = |member: Member<'_>| drive(args, &setup, &publication, &member);
    let conduct = |conductor: &Conductor<'_>| conduct(args, &setup, empty, stage, conductor, clock);
    let (outcomes, (seen, history)) = setup.crew.run(args.order(), clock, work, conduct)?;
    let outcome = merge(outcomes);
    if seen.open == 0 {
        return Err(nothing_opened(&outcome.refused));
    }
    Ok(Record {
        summary: summarize::summary(args, &setup, &publication, &seen, &outcome),
        history,
    })
}

fn publication(args: &BroadcastArgs, run: u32) -> Result<Publication, BenchError> {
    let contents = contents(args)?;
    let (deflate, seed) = (args.deflate, args.common.seed);
    Ok(Publication::new(&contents, deflate, seed, run))
}

fn check(args: &BroadcastArgs) -> Result<(), BenchError> {
    args.pace.check()?;
    let target = &args.common.target;
    let publish = args.publish_url.as_ref();
    let problem = if target.wire == Wire::Raw {
        "broadcast speaks WebSocket: use ws:// (`floor --broadcast` does, too)".to_owned()
    } else if publish.is_some_and(|url| url.wire == Wire::Raw || url.authority != target.authority)
    {
        "--publish-url must be ws:// with the same host and port as URL".to_owned()
    } else if args.in_flight.max(args.burst.unwrap_or(1)) > MAX_ON_THE_WAY {
        format!("--in-flight and --burst are at most {MAX_ON_THE_WAY}")
    } else if args.connections.saturating_mul(args.all_publishers()) > MAX_ACCOUNTS {
        format!("subscribers times publishers is at most {MAX_ACCOUNTS}: each pair has an account")
    } else if args.stalled() == args.connections {
        "--slow leaves nobody to measure".to_owned()
    } else {
        return Ok(());
    };
    Err(BenchError::usage(problem))
}

/// What messages contain.
fn contents(args: &BroadcastArgs) -> Result<Contents, BenchError> {
    let contents = args.contents()?;
    let smallest = Publication::smallest(&contents);
    let problem = if !contents.is_uniform() {
        "the messages of a broadcast are alike but for their stamps: give one --size, or --payload file:PATH".to_owned()
    } else if contents.is_generated() && contents.range().0 < smallest {
        format!("--size is at least {smallest}, for the stamp in every message")
    } else {
        return Ok(contents);
    };
    Err(BenchError::usage(problem))
}

/// The server's memory now, when it is watched.
fn memory(setup: &Setup<'_>) -> Result<Option<Memory>, BenchError> {
    let snapshot = |watch: &Watch| watch.snapshot(Detail::Full);
    let shot = setup.watch.as_ref().map(snapshot).transpose()?;
    Ok(shot.map(|shot| shot.memory))
}

fn conduct(
    args: &BroadcastArgs,
    setup: &Setup<'_>,
    empty: Option<Memory>,
    stage: &mut Stage<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<(Seen, History), BenchError> {
    let plan = setup.plan(
        "broadcast",
        setup.connections,
        args.pace.rate.map(Rate::peak),
    );
    let watch = setup.watch.as_ref();
    let mut monitor = Monitor::begin(conductor, watch, clock, plan, stage.screen)?;
    conductor.go(clock.now());
    let reports = monitor.gather(Phase::Opening)?;
    let open = reports.iter().map(|report| report.open).sum();
    let joined = memory(setup)?;
    let peak_counts = setup.watch.as_ref().is_some_and(Watch::reset_peak);
    let start = clock.now() + nanos(conductor.lead(LEAD));
    conductor.go(start);
    let window = monitor.measure(args.pace.course().measured(start))?;
    let peak = setup.watch.as_ref().filter(|_| peak_counts);
    let most = peak.map(Watch::peak).transpose()?;
    let memory = empty.zip(joined).map(|(empty, joined)| SeenMemory {
        empty,
        joined,
        most,
    });
    let seen = Seen {
        open,
        window,
        memory,
    };
    Ok((seen, monitor.finish()?))
}

/// The life of one thread.
fn drive(
    args: &BroadcastArgs,
    setup: &Setup<'_>,
    publication: &Publication,
    member: &Member<'_>,
) -> Result<Outcome, BenchError> {
    let cast = Cast::new(args, member);
    let mut links = setup.links(member, cast.slots() as usize)?;
    links.set_manners(cast.manners(args));
    if args.deflate {
        links.insist_on_deflate();
    }
    let connections = cast.slots();
    let greeting = args.skip.unwrap_or(0);
    let published = Published::new(args.all_publishers() as usize, member.sum);
    let mut driver = BroadcastDriver::new(publication, published, args.verify, cast, greeting);
    let start = member.rendezvous(0)?;
    let plan = DialPlan {
        connections,
        concurrency: OPENING.div_ceil(member.count),
        schedule: dial_schedule(args.connect_rate, start, member),
    };
    open_all(&mut links, &mut driver, &plan)?;
    greeting::await_all(&mut links, &mut driver, BroadcastDriver::not_greeted)?;
    if links.open_now() == 0 && member.count == 1 {
        return Err(nothing_opened(driver.refused()));
    }
    let start = member.rendezvous(links.open_now())?;
    let measured = args.pace.course().measured(start);
    let pace = pace(args, start, member);
    driver.run(
        &mut links,
        member.progress,
        start,
        measured.clone(),
        pace,
        args.pace.busy_poll,
    )?;
    driver.drain(&mut links, member.progress, DRAIN_QUIET, DRAIN_LIMIT)?;
    driver.stop_recording();
    member.rendezvous(links.open_now())?;
    driver.close(&mut links, CLOSING)?;
    Ok(driver.outcome())
}

fn pace(args: &BroadcastArgs, start: u64, member: &Member<'_>) -> Pace {
    match (args.pace.course().profile(), args.burst) {
        (Some(profile), _) => Pace::Open {
            schedule: Schedule::new(start, &profile, member.index, member.count),
            next: 0,
        },
        (None, Some(count)) => Pace::Burst(count as u32),
        (None, None) => Pace::InFlight(args.in_flight as u32),
    }
}

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        if let (Some(all), Some(one)) = (&mut all.latency, &one.latency) {
            all.merge(one);
        }
        all.times.merge(&one.times);
        all.listening += one.listening;
        all.published += one.published;
        all.to_publishers += one.to_publishers;
        all.account.merge(&one.account);
        all.stalled.merge(one.stalled);
        all.counts.merge(&one.counts);
        all.refused.merge(one.refused);
        all.broken.merge(one.broken);
        all
    });
    merged.expect("a team has at least one thread")
}
