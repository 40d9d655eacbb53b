//! `echo`: sends messages and checks that each comes back.

pub(crate) mod account;
mod driver;
mod unexpected;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::crew_load::{self, CrewLoad, Podium};
use super::findings::{Findings, explain_nothing, judged_by};
use super::opening::{self, Opening};
use super::{Setup, opcode_name};
use crate::agents::Order;
use crate::cli::{Common, EchoArgs};
use crate::client::contents::Contents;
use crate::client::deflate::WireCounts;
use crate::client::fates::Fates;
use crate::client::links::Links;
use crate::client::schedule::Schedule;
use crate::client::team::Member;
use crate::client::think::Thinking;
use crate::client::workload::{Recipe, Workload};
use crate::clock::nanos;
use crate::error::BenchError;
use crate::gates::find_max::Rates;
use crate::report::summary::{CompressionCounts, Latencies, Messages, Parameters, Summary};
use crate::rng::Rng;
use crate::stats::faults::Faults;
use crate::stats::validity::{Evidence, judge};
use crate::target::Wire;
use crate::telemetry::recorder::Recorded;
use crate::telemetry::window::Window;
use crate::units::Rate;
use driver::{EchoDriver, Phases};

/// Messages on the way per connection in an open loop, unless `--in-flight` says otherwise. What is due
/// beyond waits in the client, and its latency counts.
const OPEN_LOOP_DEPTH: u64 = 64;

/// Messages on the way per connection at most; send times are kept for each.
const MAX_IN_FLIGHT: u64 = 4096;

/// From the word to go until the first message is due: time for every thread to wake up.
const LEAD: Duration = Duration::from_millis(2);

/// What had fallen due by the end may be sent for so long after it, and replies are waited for as long again.
const DRAIN: Duration = Duration::from_secs(5);

/// Connections may take this long to close in the end.
const CLOSING: Duration = Duration::from_secs(2);

/// Why nothing came back, most likely.
const NOTHING_CAME: &str = "nothing came back in the window: does the server send back every message as it is? `connect` and `idle` \
                            ask for no replies, `broadcast` that what one sends reaches all";

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
pub(crate) struct Outcome {
    fates: Fates,
    latency: Recorded,
    faults: Faults,
    /// What came on the wire of each of the payloads that take turns, where they are compressed.
    counts: Vec<WireCounts>,
}

/// What the conductor brings home.
pub(crate) struct Seen {
    open: u64,
    window: Window,
}

impl CrewLoad for EchoArgs {
    const NAME: &'static str = "echo";
    type Material = Workload;
    type Outcome = Outcome;
    type Seen = Seen;

    fn flags(&self) -> &Common {
        &self.common
    }

    fn connections(&self) -> u64 {
        self.connections
    }

    fn rate(&self) -> Option<u64> {
        self.pace.rate.map(Rate::peak)
    }

    fn rates_to_search(&self) -> Result<Rates, BenchError> {
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
        Order::Echo(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BenchError> {
        check(self)
    }

    fn check_crew(&self, setup: &Setup<'_>) -> Result<(), BenchError> {
        let senders = self.active.unwrap_or(self.connections);
        setup.enough_for_all(senders, "sending connection")
    }

    fn material(&self, _setup: &Setup<'_>) -> Result<Workload, BenchError> {
        workload(self)
    }

    fn drive(
        &self,
        setup: &Setup<'_>,
        load: &Workload,
        member: &Member<'_>,
    ) -> Result<Outcome, BenchError> {
        drive(self, setup, load, member)
    }

    fn conduct(&self, _setup: &Setup<'_>, podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
        let open = podium.open()?;
        let start = podium.begin(LEAD);
        let window = podium.monitor.measure(self.pace.course().measured(start))?;
        Ok(Seen { open, window })
    }

    fn any_open(seen: &Seen, _outcome: &Outcome) -> bool {
        seen.open > 0
    }

    fn summarize(
        &self,
        setup: &Setup<'_>,
        load: &Workload,
        seen: &Seen,
        outcome: &Outcome,
    ) -> Summary {
        summarize(self, setup, load, seen, outcome)
    }
}

impl crew_load::Outcome for Outcome {
    fn merge(&mut self, other: Self) {
        self.fates.merge(other.fates);
        self.latency.merge(&other.latency);
        self.faults.merge(&other.faults);
        for (all, one) in self.counts.iter_mut().zip(&other.counts) {
            all.merge(one);
        }
    }

    fn fates(&self) -> &Fates {
        &self.fates
    }
}

fn check(args: &EchoArgs) -> Result<(), BenchError> {
    args.pace.check()?;
    let problem = if args.active.is_some_and(|active| active > args.connections) {
        "--active is more than --connections".to_owned()
    } else if depth(args) > MAX_IN_FLIGHT {
        format!("--in-flight is at most {MAX_IN_FLIGHT}")
    } else if (args.deflate || args.skip.is_some()) && args.common.target.wire == Wire::Raw {
        "--deflate and --skip are for WebSockets: use ws://".to_owned()
    } else {
        return Ok(());
    };
    Err(BenchError::usage(problem))
}

fn depth(args: &EchoArgs) -> u64 {
    args.in_flight.unwrap_or(if args.pace.rate.is_some() {
        OPEN_LOOP_DEPTH
    } else {
        1
    })
}

/// The messages of the run.
fn workload(args: &EchoArgs) -> Result<Workload, BenchError> {
    let recipe = Recipe {
        wire: args.common.target.wire,
        contents: contents(args)?,
        deflate: args.deflate,
        in_flight: depth(args) as usize,
    };
    Ok(Workload::new(&recipe, args.common.seed))
}

/// What messages contain.
fn contents(args: &EchoArgs) -> Result<Contents, BenchError> {
    let contents = args.contents()?;
    let smallest = contents.smallest();
    if contents.is_generated() && contents.range().0 < smallest {
        let problem = format!("--payload json takes a --size of at least {smallest}");
        return Err(BenchError::usage(problem));
    }
    Ok(contents)
}

/// The life of one thread.
fn drive(
    args: &EchoArgs,
    setup: &Setup<'_>,
    load: &Workload,
    member: &Member<'_>,
) -> Result<Outcome, BenchError> {
    let connections = member.share(args.connections) as u32;
    let active = member.share(args.active.unwrap_or(args.connections)) as u32;
    let mut links = setup.links(member, connections as usize)?;
    if args.deflate {
        links.insist_on_deflate();
    }
    let region = links.adopt(load.frames.clone());
    let mut driver = EchoDriver::new(
        load,
        region,
        args.verify,
        connections,
        active,
        depth(args) as usize,
        args.skip.unwrap_or(0),
    );
    if let Some(think) = args.think {
        driver.set_thinking(Thinking::new(think, thinking_rng(args, member)));
    }
    let opening = Opening {
        connections,
        concurrency: opening::CONCURRENCY,
        rate: args.connect_rate,
        counts: false,
    };
    let start = opening.perform(&mut links, &mut driver, member)?;
    let course = args.pace.course();
    let phases = Phases {
        start,
        measured: course.measured(start),
    };
    let schedule = course
        .profile()
        .map(|profile| Schedule::new(start, &profile, member.index, member.count));
    driver.run(
        &mut links,
        member.progress,
        &phases,
        schedule,
        args.pace.busy_poll,
    )?;
    driver.drain(&mut links, member.progress, DRAIN)?;
    driver.stop_recording();
    member.rendezvous(links.open_now())?;
    close(&mut links, &mut driver)?;
    Ok(driver.outcome())
}

/// Draws think times, on each thread other ones than those that nonces are made of.
fn thinking_rng(args: &EchoArgs, member: &Member<'_>) -> Rng {
    Rng::new(args.common.seed, u64::MAX - member.index as u64)
}

/// Closes as the protocol asks for. What does not answer in time is dropped.
fn close(links: &mut Links, driver: &mut EchoDriver<'_>) -> Result<(), BenchError> {
    driver.close(links)?;
    let clock = links.clock();
    let end = clock.now() + nanos(CLOSING);
    while links.open_now() > 0 && clock.now() < end {
        links.turn(crate::ring::Wait::AtMost(clock.until(end)), driver)?;
    }
    Ok(())
}

fn summarize(
    args: &EchoArgs,
    setup: &Setup<'_>,
    load: &Workload,
    seen: &Seen,
    outcome: &Outcome,
) -> Summary {
    let window = &seen.window;
    let compression = args
        .deflate
        .then(|| CompressionCounts::new(&outcome.counts, |variant| load.reply_len(variant)));
    let lag = outcome.latency.lag();
    let latencies = Latencies::new(&outcome.latency);
    let evidence = Evidence {
        wanted_connections: args.connections,
        connections: seen.open,
        window: Some((args.pace.duration, window.wall)),
        messages: window.done,
        counts_messages: true,
        rate: args
            .pace
            .course()
            .mean_rate()
            .map(|rate| (rate, window.rate())),
        client: window.client_load,
        busy_poll: args.pace.busy_poll,
        lag: lag.zip(latencies.corrected),
        server: window.server_load(),
        broken: outcome.fates.broken.total(),
        faults: outcome.faults,
        compressed: compression.as_ref().map(|part| part.compressed),
    };
    let mut judgement = judge(&evidence);
    explain_nothing(&mut judgement, &evidence, NOTHING_CAME);
    let mut summary = setup.summarize(
        EchoArgs::NAME,
        judgement,
        judged_by(args.pace.cost),
        parameters(args, setup, load),
        &Findings {
            window,
            count: window.done,
            fates: &outcome.fates,
            faults: Some(outcome.faults),
        },
    );
    summary.messages = Some(Messages {
        count: window.done,
        per_second: window.rate(),
        payload_bytes_per_second: window.rate() * load.mean_payload_len(),
    });
    summary.latency_us = Some(latencies);
    summary.compression = compression;
    summary.client.timer_lag_us = lag;
    summary
}

fn parameters(args: &EchoArgs, setup: &Setup<'_>, load: &Workload) -> Parameters {
    Parameters {
        connections: args.connections,
        active: args.active,
        payload_bytes: Some(load.mean_payload_len().round() as u64),
        payload_range: load.payload_range(),
        wire_bytes: Some(load.mean_frame_len() as u64),
        opcode: Some(opcode_name(load.opcode).to_owned()),
        payload: Some(args.payload.payload.kind),
        payload_file: args.payload.payload.file(),
        deflate: args.deflate.then_some(true),
        in_flight: Some(depth(args)),
        verify: Some(args.verify),
        think_s: args
            .think
            .map(|think| [think.least, think.most].map(|time| time.as_secs_f64())),
        skip: args.skip,
        connect_rate: args.connect_rate,
        ..setup.paced_parameters(&args.pace)
    }
}
