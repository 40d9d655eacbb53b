//! `echo`: sends messages and checks that each comes back.

pub(crate) mod account;
mod driver;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Setup, dial_schedule, loop_name, opcode_name};
use crate::agents::{Order, Post};
use crate::cli::{Common, EchoArgs};
use crate::client::contents::Contents;
use crate::client::deflate::WireCounts;
use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::greeting;
use crate::client::links::Links;
use crate::client::schedule::Schedule;
use crate::client::team::{Conductor, Member};
use crate::client::think::Thinking;
use crate::client::workload::{Recipe, Workload};
use crate::clock::{Clock, nanos};
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::gates::find_max::Rates;
use crate::report::Record;
use crate::report::summary::{
    CompressionCounts, ConnectPhases, Errors, Latencies, Messages, Parameters, Summary,
};
use crate::rng::Rng;
use crate::session::{Load, Shared, Stage};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::phases::ConnectTimes;
use crate::stats::validity::{Evidence, JudgedBy, judge};
use crate::target::Wire;
use crate::telemetry::monitor::Monitor;
use crate::telemetry::recorder::Recorded;
use crate::telemetry::sample::Phase;
use crate::telemetry::window::Window;
use crate::units::Rate;
use driver::{EchoDriver, Phases};

/// Connections on the way at once while opening, over all threads: fast, and far below any listen backlog.
const OPENING: usize = 128;

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

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
struct Outcome {
    latency: Recorded,
    times: ConnectTimes,
    refused: Failures,
    broken: Failures,
    faults: Faults,
    /// What came on the wire of each of the payloads that take turns, where they are compressed.
    counts: Vec<WireCounts>,
}

impl Load for EchoArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn outlook(&self) -> Option<Outlook> {
        Some(Outlook::new("echo", &self.common, self.pace.rate.is_some()))
    }

    fn rates(&self) -> Result<Rates, BenchError> {
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
        Some(Order::Echo(Box::new(self.clone())))
    }
}

impl Shared for EchoArgs {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let setup = Setup::at(post, &self.common, self.connections)?;
        let load = workload(self)?;
        post.run(|member| drive(self, &setup, &load, &member))
    }
}

fn measure(args: &EchoArgs, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
    check(args)?;
    let setup = Setup::new(&args.common, args.connections)?;
    setup.enough_for_all(
        args.active.unwrap_or(args.connections),
        "sending connection",
    )?;
    let load = workload(args)?;
    let clock = Clock::start();
    let work = |member: Member<'_>| drive(args, &setup, &load, &member);
    let conduct = |conductor: &Conductor<'_>| {
        let watch = setup.watch.as_ref();
        let plan = setup.plan("echo", args.connections, args.pace.rate.map(Rate::peak));
        let mut monitor = Monitor::begin(conductor, watch, clock, plan, stage.screen)?;
        conductor.go(clock.now());
        let reports = monitor.gather(Phase::Opening)?;
        let open: u64 = reports.iter().map(|report| report.open).sum();
        let start = clock.now() + nanos(conductor.lead(LEAD));
        conductor.go(start);
        let window = monitor.measure(args.pace.course().measured(start))?;
        Ok((open, window, monitor.finish()?))
    };
    let (outcomes, seen) = setup.crew.run(args.order(), clock, work, conduct)?;
    let (open, window, history) = seen;
    let outcome = merge(outcomes);
    if open == 0 {
        return Err(nothing_opened(&outcome.refused));
    }
    Ok(Record {
        summary: summarize(args, &setup, &load, open, &window, &outcome),
        history,
    })
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
    let start = member.rendezvous(0)?;
    let plan = DialPlan {
        connections,
        concurrency: OPENING.div_ceil(member.count),
        schedule: dial_schedule(args.connect_rate, start, member),
    };
    open_all(&mut links, &mut driver, &plan)?;
    greeting::await_all(&mut links, &mut driver, EchoDriver::not_greeted)?;
    if links.open_now() == 0 && member.count == 1 {
        return Err(nothing_opened(driver.refused()));
    }
    let start = member.rendezvous(links.open_now())?;
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

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.latency.merge(&one.latency);
        all.times.merge(&one.times);
        all.refused.merge(one.refused);
        all.broken.merge(one.broken);
        all.faults.merge(&one.faults);
        all.counts
            .iter_mut()
            .zip(&one.counts)
            .for_each(|(all, one)| all.merge(one));
        all
    });
    merged.expect("a team has at least one thread")
}

fn summarize(
    args: &EchoArgs,
    setup: &Setup<'_>,
    load: &Workload,
    open: u64,
    window: &Window,
    outcome: &Outcome,
) -> Summary {
    let compression = args
        .deflate
        .then(|| CompressionCounts::new(&outcome.counts, load.mean_payload_len().round() as usize));
    let lag = outcome.latency.lag.as_ref().and_then(Latency::distribution);
    let corrected = outcome.latency.corrected.distribution();
    let evidence = Evidence {
        wanted_connections: args.connections,
        connections: open,
        window: Some((args.pace.duration, window.wall)),
        messages: window.done,
        counts_messages: true,
        rate: args
            .pace
            .course()
            .mean_rate()
            .map(|rate| (rate, window.rate())),
        client: window.client_load,
        lag: lag.zip(corrected),
        server: window.server_load(),
        broken: outcome.broken.total(),
        faults: outcome.faults,
        compressed: compression.as_ref().map(|part| part.compressed),
    };
    let by = if args.pace.cost {
        JudgedBy::Cost
    } else {
        JudgedBy::Throughput
    };
    let judgement = judge(&evidence);
    let target = args.common.target.to_string();
    let parameters = parameters(args, setup, load);
    let mut summary = Summary::new("echo", target, judgement, by, parameters, window.wall);
    summary.messages = Some(Messages {
        count: window.done,
        per_second: window.rate(),
        payload_bytes_per_second: window.rate() * load.mean_payload_len(),
    });
    summary.latency_us = Some(Latencies {
        corrected,
        uncorrected: outcome
            .latency
            .uncorrected
            .as_ref()
            .and_then(Latency::distribution),
    });
    summary.connect_us = Some(ConnectPhases::new(&outcome.times));
    summary.compression = compression;
    summary.server = window.server(window.done);
    summary.client = window.client(window.done);
    summary.client.timer_lag_us = lag;
    summary.agents = setup.crew.parts();
    summary.errors = Errors::new(&outcome.refused, &outcome.broken, Some(outcome.faults));
    summary
}

fn parameters(args: &EchoArgs, setup: &Setup<'_>, load: &Workload) -> Parameters {
    let course = args.pace.course();
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
        mode: Some(loop_name(args.pace.rate).to_owned()),
        in_flight: Some(depth(args)),
        rate: course.mean_rate().map(|rate| rate.round() as u64),
        rate_from: course.climb().map(|rate| rate.from),
        rate_to: course.climb().map(|rate| rate.to),
        ramp_s: args.pace.ramp.map(|ramp| ramp.as_secs_f64()),
        tick_s: args.pace.tick.map(|tick| tick.as_secs_f64()),
        verify: Some(args.verify),
        busy_poll: Some(args.pace.busy_poll),
        warmup_s: Some(args.pace.warmup.as_secs_f64()),
        duration_s: Some(args.pace.duration.as_secs_f64()),
        think_s: args
            .think
            .map(|think| [think.least, think.most].map(|time| time.as_secs_f64())),
        skip: args.skip,
        connect_rate: args.connect_rate,
        ..setup.parameters()
    }
}
