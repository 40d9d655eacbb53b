//! `idle`: what connections cost that do nothing.

use std::time::Duration;

use corecast_protocol::Receiver;
use serde::{Deserialize, Serialize};

use super::echo::nothing_opened;
use super::{Setup, dial_schedule};
use crate::agents::{Order, Post};
use crate::cli::{Common, IdleArgs};
use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::links::{Driver, End, Links, OpenTimes, Outbox};
use crate::client::listen::Listener;
use crate::client::team::{Conductor, Member};
use crate::clock::{Clock, Nanos, nanos};
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::report::Record;
use crate::report::summary::{
    ConnectPhases, Connections, Errors, HeardCounts, MemoryPerConnection, Parameters, Summary,
};
use crate::ring::Wait;
use crate::rng::Rng;
use crate::session::{Load, Shared, Stage};
use crate::stats::faults::Faults;
use crate::stats::phases::ConnectTimes;
use crate::stats::validity::{Evidence, JudgedBy, judge};
use crate::target::Wire;
use crate::telemetry::monitor::{History, Monitor};
use crate::telemetry::sample::Phase;
use crate::telemetry::window::{Moment, Window};

/// Connections on the way at once while opening, over all threads.
const OPENING: usize = 128;

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
struct Outcome {
    heard: HeardCounts,
    lost: u64,
    times: ConnectTimes,
    refused: Failures,
    broken: Failures,
}

/// What the conductor brings home.
struct Seen {
    open: u64,
    opening: Duration,
    before: Moment,
    after: Moment,
    window: Window,
}

impl Load for IdleArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn outlook(&self) -> Option<Outlook> {
        Some(Outlook::new(
            "idle",
            &self.common,
            self.connect_rate.is_some(),
        ))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        measure(self, stage)
    }

    fn order(&self) -> Option<Order> {
        Some(Order::Idle(Box::new(self.clone())))
    }
}

impl Shared for IdleArgs {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let setup = Setup::at(post, &self.common, self.connections)?;
        post.run(|member| drive(self, &setup, &member))
    }
}

fn measure(args: &IdleArgs, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
    let setup = Setup::new(&args.common, args.connections)?;
    if setup.watch.is_none() {
        let need = "idle measures the server's memory and processor time: pass --server-pid";
        return Err(BenchError::usage(need));
    }
    if args.deflate && args.common.target.wire == Wire::Raw {
        return Err(BenchError::usage("--deflate is for WebSockets: use ws://"));
    }
    let clock = Clock::start();
    let work = |member: Member<'_>| drive(args, &setup, &member);
    let conduct = |conductor: &Conductor<'_>| conduct(args, &setup, stage, conductor, clock);
    let (outcomes, (seen, history)) = setup.crew.run(args.order(), clock, work, conduct)?;
    let outcome = merge(outcomes);
    if seen.open == 0 {
        return Err(nothing_opened(&outcome.refused));
    }
    Ok(Record {
        summary: summarize(args, &setup, &seen, &outcome),
        history,
    })
}

fn conduct(
    args: &IdleArgs,
    setup: &Setup<'_>,
    stage: &mut Stage<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<(Seen, History), BenchError> {
    let plan = setup.plan("idle", args.connections, args.connect_rate);
    let watch = setup.watch.as_ref();
    let mut monitor = Monitor::begin(conductor, watch, clock, plan, stage.screen)?;
    let before = monitor.latest();
    let start = clock.now();
    conductor.go(start);
    let reports = monitor.gather(Phase::Opening)?;
    let opening = Duration::from_nanos(clock.now() - start);
    let from = clock.now() + nanos(args.settle);
    conductor.go(from);
    let window = monitor.measure(from..from + nanos(args.duration))?;
    let seen = Seen {
        open: reports.iter().map(|report| report.open).sum(),
        opening,
        before,
        after: monitor.latest(),
        window,
    };
    Ok((seen, monitor.finish()?))
}

/// The life of one thread.
fn drive(args: &IdleArgs, setup: &Setup<'_>, member: &Member<'_>) -> Result<Outcome, BenchError> {
    let connections = member.share(args.connections) as u32;
    let mut links = setup.links(member, connections as usize)?;
    if args.deflate {
        links.insist_on_deflate();
    }
    let mut driver = IdleDriver::new(args, connections);
    let start = member.rendezvous(0)?;
    let schedule = dial_schedule(args.connect_rate, start, member);
    let concurrency = OPENING.div_ceil(member.count);
    open_all(
        &mut links,
        &mut driver,
        &DialPlan {
            connections,
            concurrency,
            schedule,
        },
    )?;
    if links.open_now() == 0 && member.count == 1 {
        return Err(nothing_opened(&driver.outcome.refused));
    }
    let from = member.rendezvous(links.open_now())?;
    listen_until(&mut links, &mut driver, from)?;
    driver.counting = true;
    let end = from + nanos(args.duration);
    listen_until(&mut links, &mut driver, end)?;
    driver.counting = false;
    driver.closing = true;
    member.rendezvous(links.open_now())?;
    Ok(driver.outcome)
}

fn listen_until(links: &mut Links, driver: &mut IdleDriver, end: Nanos) -> Result<(), BenchError> {
    let clock = links.clock();
    while clock.now() < end {
        links.turn(Wait::AtMost(clock.until(end)), driver)?;
    }
    Ok(())
}

struct IdleDriver {
    wire: Wire,
    listener: Listener,
    receivers: Vec<Receiver>,
    counting: bool,
    closing: bool,
    outcome: Outcome,
}

impl IdleDriver {
    fn new(args: &IdleArgs, connections: u32) -> Self {
        let mut receivers = Vec::new();
        receivers.resize_with(connections as usize, Receiver::new);
        Self {
            wire: args.common.target.wire,
            listener: Listener::new(Rng::new(args.common.seed, 0).bytes()),
            receivers,
            counting: false,
            closing: false,
            outcome: Outcome {
                heard: HeardCounts::default(),
                lost: 0,
                times: ConnectTimes::new(),
                refused: Failures::default(),
                broken: Failures::default(),
            },
        }
    }
}

impl Driver for IdleDriver {
    fn opened(&mut self, _slot: u32, times: OpenTimes, _now: Nanos, _out: &mut Outbox) {
        times.record(&mut self.outcome.times);
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        _now: Nanos,
        out: &mut Outbox,
    ) -> Result<(), String> {
        if self.wire == Wire::Raw {
            return Err("bytes came from a server that was sent none".to_owned());
        }
        let heard = self
            .listener
            .hear(&mut self.receivers[slot as usize], slot, bytes, out)?;
        if self.counting {
            self.outcome.heard.messages += heard.messages;
            self.outcome.heard.pings += heard.pings;
        }
        match heard.close {
            Some(code) => Err(format!("the server closed the connection: {code}")),
            None => Ok(()),
        }
    }

    fn writable(&mut self, _slot: u32) {}

    fn ended(&mut self, _slot: u32, opened: bool, end: End, _now: Nanos) {
        if self.closing {
            return;
        }
        let reason = match end {
            End::Closed => "the server ended the connection".to_owned(),
            End::Failed(reason) => reason,
        };
        if opened {
            self.outcome.broken.add(reason);
            self.outcome.lost += u64::from(self.counting);
        } else {
            self.outcome.refused.add(reason);
        }
    }

    fn failures(&self) -> [&Failures; 2] {
        [&self.outcome.refused, &self.outcome.broken]
    }
}

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.heard.messages += one.heard.messages;
        all.heard.pings += one.heard.pings;
        all.lost += one.lost;
        all.times.merge(&one.times);
        all.refused.merge(one.refused);
        all.broken.merge(one.broken);
        all
    });
    merged.expect("a team has at least one thread")
}

fn summarize(args: &IdleArgs, setup: &Setup<'_>, seen: &Seen, outcome: &Outcome) -> Summary {
    let judgement = judge(&Evidence {
        wanted_connections: args.connections,
        connections: seen.open,
        window: Some((args.duration, seen.window.wall)),
        messages: outcome.heard.messages,
        counts_messages: false,
        rate: None,
        client: seen.window.client_load,
        lag: None,
        server: seen.window.server_load(),
        broken: outcome.broken.total(),
        faults: Faults::default(),
        // Nobody sends anything.
        compressed: None,
    });
    let parameters = Parameters {
        connections: args.connections,
        connect_rate: args.connect_rate,
        deflate: args.deflate.then_some(true),
        warmup_s: Some(args.settle.as_secs_f64()),
        duration_s: Some(args.duration.as_secs_f64()),
        ..setup.parameters()
    };
    let target = args.common.target.to_string();
    // Nothing is sent: how busy the machine is does not matter.
    let by = JudgedBy::Cost;
    let mut summary = Summary::new("idle", target, judgement, by, parameters, seen.window.wall);
    summary.connections = Some(Connections {
        count: seen.open,
        per_second: seen.open as f64 / seen.opening.as_secs_f64(),
        tcp_us: outcome.times.tcp.distribution(),
        upgrade_us: outcome.times.upgrade.distribution(),
        heard: Some(outcome.heard),
        lost: Some(outcome.lost),
        ..Connections::default()
    });
    summary.memory = seen
        .before
        .memory()
        .zip(seen.after.memory())
        .map(|(before, after)| MemoryPerConnection::new(before, after, seen.open));
    summary.connect_us = Some(ConnectPhases::new(&outcome.times));
    summary.server = seen.window.server(0);
    summary.client = seen.window.client(0);
    summary.agents = setup.crew.parts();
    summary.errors = Errors::new(&outcome.refused, &outcome.broken, None);
    summary
}
