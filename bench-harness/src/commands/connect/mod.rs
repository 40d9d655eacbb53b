//! `connect`: what opening and closing connections costs.
//!
//! Either so many connections are opened, held until all are open, and closed; or, with `--churn`, a fixed
//! number of places opens, upgrades, talks (`--messages`) and closes over and over. Closing is always the WebSocket closing handshake, after
//! which the server ends the TCP connection (RFC 6455 §7.1.1), so that ports spent in TIME_WAIT are
//! the server's, where they do no harm.

mod driver;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::echo::nothing_opened;
use super::{Setup, dial_schedule};
use crate::agents::{Order, Post};
use crate::cli::{Common, ConnectArgs};
use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::team::{Conductor, Member};
use crate::clock::{Clock, nanos};
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::gates::find_max::Rates;
use crate::report::Record;
use crate::report::summary::{ConnectPhases, Connections, Errors, Parameters, Summary};
use crate::session::{Load, Shared, Stage};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::phases::ConnectTimes;
use crate::stats::validity::{Evidence, JudgedBy, judge};
use crate::target::Wire;
use crate::telemetry::monitor::{History, Monitor};
use crate::telemetry::sample::Phase;
use crate::telemetry::window::Window;
use driver::ConnectDriver;

/// Connections per source address matter per TIME_WAIT interval (60 s), not at once: churn takes
/// as many addresses as this many connections need.
const CHURN_PORTS: u64 = 128_000;

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
struct Outcome {
    times: ConnectTimes,
    close: Latency,
    refused: Failures,
    broken: Failures,
}

/// What the conductor brings home.
struct Seen {
    /// Connections opened, or whole cycles with `--churn`.
    count: u64,
    /// While they were opened, or the window of `--churn`.
    window: Window,
    /// While they were closed.
    closing: Option<Window>,
}

impl Load for ConnectArgs {
    fn common(&self) -> &Common {
        &self.common
    }

    fn outlook(&self) -> Option<Outlook> {
        Some(Outlook::new(
            "connect",
            &self.common,
            self.connect_rate.is_some(),
        ))
    }

    fn rates(&self) -> Result<Rates, BenchError> {
        if self.churn {
            return Err(BenchError::usage(
                "--find-max and --churn do not go together",
            ));
        }
        if self.common.gates.step_duration.is_some() {
            let text = "a step of connect ends when all of -c are open: leave --step-duration out";
            return Err(BenchError::usage(text));
        }
        Ok(Rates::counted(self.connect_rate, self.connections))
    }

    fn at_rate(&self, rate: u64, _length: Option<Duration>) -> Option<Box<dyn Load>> {
        let mut load = self.clone();
        load.connect_rate = Some(rate);
        Some(Box::new(load))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        measure(self, stage)
    }

    fn order(&self) -> Option<Order> {
        Some(Order::Connect(Box::new(self.clone())))
    }
}

impl Shared for ConnectArgs {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let setup = Setup::at(post, &self.common, at_once(self))?;
        let setup = with_ports(self, setup);
        post.run(|member| drive(self, &setup, &member))
    }
}

fn measure(args: &ConnectArgs, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
    if args.messages.is_some() && args.common.target.wire == Wire::Raw {
        return Err(BenchError::usage("--messages needs a ws:// server"));
    }
    let setup = with_ports(args, Setup::new(&args.common, at_once(args))?);
    let clock = Clock::start();
    let plan = setup.plan("connect", at_once(args), args.connect_rate);
    let work = |member: Member<'_>| drive(args, &setup, &member);
    let conduct = |conductor: &Conductor<'_>| {
        let watch = setup.watch.as_ref();
        let monitor = Monitor::begin(conductor, watch, clock, plan, stage.screen)?;
        if args.churn {
            conduct_churn(args, monitor, conductor, clock)
        } else {
            conduct_once(monitor, conductor, clock)
        }
    };
    let (outcomes, (seen, history)) = setup.crew.run(args.order(), clock, work, conduct)?;
    let outcome = merge(outcomes);
    if seen.count == 0 {
        return Err(nothing_opened(&outcome.refused));
    }
    Ok(Record {
        summary: summarize(args, &setup, &seen, &outcome),
        history,
    })
}

/// Connections at once.
fn at_once(args: &ConnectArgs) -> u64 {
    if args.churn {
        args.concurrency
    } else {
        args.connections
    }
}

/// With source addresses for all connections whose ports are not free again.
fn with_ports<'a>(args: &ConnectArgs, setup: Setup<'a>) -> Setup<'a> {
    Setup {
        connections: if args.churn {
            CHURN_PORTS
        } else {
            setup.connections
        },
        ..setup
    }
}

fn conduct_once(
    mut monitor: Monitor<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<(Seen, History), BenchError> {
    let begin = monitor.latest();
    conductor.go(clock.now());
    let reports = monitor.gather(Phase::Opening)?;
    let opened = monitor.latest();
    conductor.go(clock.now());
    monitor.gather(Phase::Draining)?;
    let closed = monitor.latest();
    conductor.go(clock.now());
    let seen = Seen {
        count: reports.iter().map(|report| report.open).sum(),
        window: monitor.window(&begin, &opened),
        closing: Some(monitor.window(&opened, &closed)),
    };
    Ok((seen, monitor.finish()?))
}

fn conduct_churn(
    args: &ConnectArgs,
    mut monitor: Monitor<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<(Seen, History), BenchError> {
    let start = clock.now();
    conductor.go(start);
    let from = start + nanos(args.warmup);
    let window = monitor.measure(from..from + nanos(args.duration))?;
    let seen = Seen {
        count: window.done,
        window,
        closing: None,
    };
    Ok((seen, monitor.finish()?))
}

/// The life of one thread.
fn drive(
    args: &ConnectArgs,
    setup: &Setup<'_>,
    member: &Member<'_>,
) -> Result<Outcome, BenchError> {
    if args.churn {
        churn(args, setup, member)
    } else {
        open_and_close(args, setup, member)
    }
}

fn open_and_close(
    args: &ConnectArgs,
    setup: &Setup<'_>,
    member: &Member<'_>,
) -> Result<Outcome, BenchError> {
    let connections = member.share(args.connections) as u32;
    let concurrency = (args.concurrency as usize).div_ceil(member.count);
    let mut links = setup.links(member, connections as usize)?;
    let mut driver = ConnectDriver::new(&args.common, connections, false, 0);
    let start = member.rendezvous(0)?;
    let schedule = dial_schedule(args.connect_rate, start, member);
    open_all(
        &mut links,
        &mut driver,
        &DialPlan {
            connections,
            concurrency,
            schedule,
        },
    )?;
    member.rendezvous(links.open_now())?;
    driver.close_all(&mut links, concurrency)?;
    member.rendezvous(0)?;
    member.rendezvous(0)?;
    Ok(driver.outcome())
}

fn churn(
    args: &ConnectArgs,
    setup: &Setup<'_>,
    member: &Member<'_>,
) -> Result<Outcome, BenchError> {
    let places = member.share(args.concurrency) as u32;
    let mut links = setup.links(member, places as usize)?;
    let mut driver = ConnectDriver::new(&args.common, places, true, args.messages.unwrap_or(0));
    let start = member.rendezvous(0)?;
    let from = start + nanos(args.warmup);
    let end = from + nanos(args.duration);
    driver.churn(&mut links, member.progress, from..end)?;
    member.rendezvous(links.open_now())?;
    Ok(driver.outcome())
}

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.times.merge(&one.times);
        all.close.merge(&one.close);
        all.refused.merge(one.refused);
        all.broken.merge(one.broken);
        all
    });
    merged.expect("a team has at least one thread")
}

fn summarize(args: &ConnectArgs, setup: &Setup<'_>, seen: &Seen, outcome: &Outcome) -> Summary {
    let rate = seen.count as f64 / seen.window.wall.as_secs_f64();
    let judgement = judge(&Evidence {
        wanted_connections: if args.churn { 0 } else { args.connections },
        window: args.churn.then_some((args.duration, seen.window.wall)),
        connections: seen.count,
        messages: seen.count,
        counts_messages: true,
        rate: args.connect_rate.map(|wanted| (wanted as f64, rate)),
        client: seen.window.client_load,
        lag: None,
        server: seen.window.server_load(),
        broken: outcome.broken.total() + outcome.refused.total(),
        faults: Faults::default(),
        compressed: None,
    });
    let by = if args.cost {
        JudgedBy::Cost
    } else {
        JudgedBy::Throughput
    };
    let target = args.common.target.to_string();
    let parameters = parameters(args, setup);
    let mut summary = Summary::new(
        "connect",
        target,
        judgement,
        by,
        parameters,
        seen.window.wall,
    );
    let closing = seen.closing.as_ref();
    summary.connections = Some(Connections {
        count: seen.count,
        per_second: rate,
        tcp_us: outcome.times.tcp.distribution(),
        upgrade_us: outcome.times.upgrade.distribution(),
        close_us: outcome.close.distribution(),
        closed_per_second: closing.map(|window| seen.count as f64 / window.wall.as_secs_f64()),
        server_close_cpu_us: closing.and_then(|window| window.server_cost(seen.count)),
        ..Connections::default()
    });
    summary.connect_us = Some(ConnectPhases::new(&outcome.times));
    summary.server = seen.window.server(seen.count);
    summary.client = seen.window.client(seen.count);
    summary.agents = setup.crew.parts();
    summary.errors = Errors::new(&outcome.refused, &outcome.broken, None);
    summary
}

fn parameters(args: &ConnectArgs, setup: &Setup<'_>) -> Parameters {
    let timed = |time: Duration| args.churn.then_some(time.as_secs_f64());
    Parameters {
        connections: if args.churn {
            args.concurrency
        } else {
            args.connections
        },
        connect_rate: args.connect_rate,
        concurrency: Some(args.concurrency),
        churn: Some(args.churn),
        messages: args.messages,
        warmup_s: timed(args.warmup),
        duration_s: timed(args.duration),
        ..setup.parameters()
    }
}
