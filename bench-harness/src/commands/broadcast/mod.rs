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

use super::Setup;
use super::crew_load::{self, CrewLoad, Podium};
use super::opening::{self, Opening};
use crate::agents::Order;
use crate::cli::{BroadcastArgs, Common};
use crate::client::contents::Contents;
use crate::client::deflate::WireCounts;
use crate::client::fates::Fates;
use crate::client::publication::Publication;
use crate::client::schedule::Schedule;
use crate::client::team::Member;
use crate::error::BenchError;
use crate::gates::find_max::Rates;
use crate::procfs::{Memory, Watch};
use crate::report::summary::Summary;
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::target::Wire;
use crate::telemetry::recorder::Recorded;
use crate::telemetry::window::Window;
use crate::units::Rate;
use cast::Cast;
use driver::BroadcastDriver;
use publishers::Pace;
use shared::Published;
use stalled::Stalled;

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
pub(crate) struct Outcome {
    fates: Fates,
    latency: Option<Recorded>,
    /// Until the first and the last subscriber had a message: one thread only.
    first: Option<Latency>,
    last: Option<Latency>,
    /// Subscribers that were listening when publishing began.
    listening: u64,
    /// Messages sent in the window.
    published: u64,
    /// Deliveries in the window to connections that only publish.
    to_publishers: u64,
    /// What came in the window, to publishers too.
    delivered: Delivered,
    /// What was wrong with the deliveries.
    account: Faults,
    stalled: Stalled,
    /// What came on the wire, to all connections, of each of the sizes or lines that take turns, where they are compressed.
    counts: Vec<WireCounts>,
}

/// Deliveries, and their payload bytes: messages may differ in length.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Delivered {
    messages: u64,
    payload_bytes: u64,
}

impl Delivered {
    /// Counts one.
    #[inline]
    fn add(&mut self, payload_len: usize) {
        self.messages += 1;
        self.payload_bytes += payload_len as u64;
    }

    /// Adds those of another thread.
    fn merge(&mut self, other: Self) {
        self.messages += other.messages;
        self.payload_bytes += other.payload_bytes;
    }

    /// Payload bytes of one.
    fn mean(self) -> Option<f64> {
        (self.messages > 0).then(|| self.payload_bytes as f64 / self.messages as f64)
    }
}

/// What the conductor brings home.
pub(crate) struct Seen {
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

impl CrewLoad for BroadcastArgs {
    const NAME: &'static str = "broadcast";
    type Material = Publication;
    type Outcome = Outcome;
    type Seen = Seen;

    fn flags(&self) -> &Common {
        &self.common
    }

    fn connections(&self) -> u64 {
        self.connections + self.only_publish()
    }

    fn more_paths(&self) -> Vec<&str> {
        let url = self.publish_url.iter();
        url.map(|url| url.path.as_str()).collect()
    }

    fn rate(&self) -> Option<u64> {
        self.pace.rate.map(Rate::peak)
    }

    fn rates_to_search(&self) -> Result<Rates, BenchError> {
        if self.burst.is_some() {
            return Err(BenchError::usage(
                "--find-max and --burst do not go together",
            ));
        }
        let step = self.common.gates.step_duration;
        Rates::timed(self.pace.rate, step, self.pace.duration)
    }

    fn with_rate(&self, rate: u64, length: Option<Duration>) -> Option<Self> {
        Some(Self {
            pace: self.pace.at_rate(rate, length),
            ..self.clone()
        })
    }

    fn order(&self) -> Order {
        Order::Broadcast(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BenchError> {
        check(self)
    }

    fn check_crew(&self, setup: &Setup<'_>) -> Result<(), BenchError> {
        setup.enough_for_all(self.connections, "subscriber")?;
        setup.enough_for_all(self.all_publishers(), "publisher")?;
        if setup.members() > 1 && self.pace.rate.is_none() {
            return Err(BenchError::usage(
                "a closed loop takes one of --cores, and one process: only the thread that sees all deliveries knows when a \
                 message has reached everybody; set a rate (-r)",
            ));
        }
        Ok(())
    }

    fn material(&self, setup: &Setup<'_>) -> Result<Publication, BenchError> {
        let contents = contents(self)?;
        let (deflate, seed) = (self.deflate, self.common.seed);
        Ok(Publication::new(&contents, deflate, seed, setup.run))
    }

    fn drive(
        &self,
        setup: &Setup<'_>,
        publication: &Publication,
        member: &Member<'_>,
    ) -> Result<Outcome, BenchError> {
        drive(self, setup, publication, member)
    }

    fn conduct(&self, setup: &Setup<'_>, podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
        conduct(self, setup, podium)
    }

    fn any_open(seen: &Seen, _outcome: &Outcome) -> bool {
        seen.open > 0
    }

    fn summarize(
        &self,
        setup: &Setup<'_>,
        publication: &Publication,
        seen: &Seen,
        outcome: &Outcome,
    ) -> Summary {
        summarize::summary(self, setup, publication, seen, outcome)
    }
}

impl crew_load::Outcome for Outcome {
    fn merge(&mut self, other: Self) {
        self.fates.merge(other.fates);
        if let (Some(all), Some(one)) = (&mut self.latency, &other.latency) {
            all.merge(one);
        }
        self.listening += other.listening;
        self.published += other.published;
        self.to_publishers += other.to_publishers;
        self.delivered.merge(other.delivered);
        self.account.merge(&other.account);
        self.stalled.merge(other.stalled);
        WireCounts::merge_lists(&mut self.counts, &other.counts);
    }

    fn fates(&self) -> &Fates {
        &self.fates
    }
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
    if contents.is_generated() && contents.range().0 < smallest {
        let problem = format!("--size is at least {smallest}, for the stamp in every message");
        return Err(BenchError::usage(problem));
    }
    Ok(contents)
}

fn conduct(
    args: &BroadcastArgs,
    setup: &Setup<'_>,
    podium: &mut Podium<'_>,
) -> Result<Seen, BenchError> {
    let empty = podium.monitor.latest().memory();
    let open = podium.open()?;
    let joined = podium.monitor.latest().memory();
    let peak_counts = setup.watch.as_ref().is_some_and(Watch::reset_peak);
    let start = podium.begin(LEAD);
    let window = podium.monitor.measure(args.pace.course().measured(start))?;
    let peak = setup.watch.as_ref().filter(|_| peak_counts);
    let most = peak.map(Watch::peak).transpose()?;
    let memory = empty.zip(joined).map(|(empty, joined)| SeenMemory {
        empty,
        joined,
        most,
    });
    Ok(Seen {
        open,
        window,
        memory,
    })
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
    links.number_from(cast.subscribers, args.connections);
    if args.deflate {
        links.insist_on_deflate();
    }
    let opening = Opening {
        connections: cast.slots(),
        concurrency: opening::CONCURRENCY,
        rate: args.connect_rate,
        counts: false,
    };
    let greeting = args.skip.unwrap_or(0);
    let published = Published::new(args.all_publishers() as usize, member.sum);
    let mut driver = BroadcastDriver::new(publication, published, args.verify, cast, greeting);
    let start = opening.perform(&mut links, &mut driver, member)?;
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
