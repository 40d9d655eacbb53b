//! `connect`: what opening and closing connections costs.
//!
//! Either so many connections are opened, held until all are open, and closed; or, with `--churn`, a fixed
//! number of places opens, upgrades, talks (`--messages`) and closes over and over. Closing is always the WebSocket closing handshake, after
//! which the server ends the TCP connection (RFC 6455 §7.1.1), so that ports spent in TIME_WAIT are
//! the server's, where they do no harm.

mod driver;

use std::thread;
use std::time::Duration;

use super::Setup;
use super::echo::nothing_opened;
use super::window::{Observer, Window};
use crate::cli::ConnectArgs;
use crate::client::dial::{DialPlan, Failures, open_all};
use crate::client::schedule::Schedule;
use crate::client::team::{self, Conductor, Member};
use crate::clock::{Clock, nanos};
use crate::error::{BenchError, Verdict};
use crate::report;
use crate::report::summary::{Connections, Errors, Parameters, Summary};
use crate::stats::latency::Latency;
use crate::stats::validity::{Evidence, JudgedBy, judge};
use crate::target::Wire;
use driver::ConnectDriver;

/// Connections per source address matter per TIME_WAIT interval (60 s), not at once: churn takes
/// as many addresses as this many connections need.
const CHURN_PORTS: u64 = 128_000;

/// The threads stay for this long after the window, so that the last look finds them.
const LINGER: Duration = Duration::from_millis(50);

/// What a thread brings home.
struct Outcome {
    tcp: Latency,
    upgrade: Latency,
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

/// Measures opening and closing.
///
/// # Errors
/// Bad flags, no io_uring, no connection at all, or a server that ended.
pub(crate) fn run(args: &ConnectArgs) -> Result<Verdict, BenchError> {
    if args.messages.is_some() && args.common.target.wire == Wire::Raw {
        return Err(BenchError::usage("--messages needs a ws:// server"));
    }
    let at_once = if args.churn {
        args.concurrency
    } else {
        args.connections
    };
    let mut setup = Setup::new(&args.common, at_once)?;
    if args.churn {
        setup.connections = CHURN_PORTS;
    }
    let clock = Clock::start();
    let (outcomes, seen) = if args.churn {
        let work = |member: Member<'_>| churn(args, &setup, &member);
        team::run(&setup.cores, clock, work, |team| {
            conduct_churn(args, &setup, team, clock)
        })?
    } else {
        let work = |member: Member<'_>| open_and_close(args, &setup, &member);
        team::run(&setup.cores, clock, work, |team| {
            conduct_once(&setup, team, clock)
        })?
    };
    let outcome = merge(outcomes);
    if seen.count == 0 {
        return Err(nothing_opened(&outcome.refused));
    }
    report::deliver(&summarize(args, &setup, &seen, &outcome), &args.common)
}

fn conduct_once(
    setup: &Setup<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<Seen, BenchError> {
    let observer = Observer::new(conductor, setup.watch.as_ref(), &conductor.gather()?);
    let begin = observer.look()?;
    conductor.go(clock.now());
    let count = conductor.gather()?.iter().map(|report| report.open).sum();
    let opened = observer.look()?;
    conductor.go(clock.now());
    conductor.gather()?;
    let closed = observer.look()?;
    conductor.go(clock.now());
    Ok(Seen {
        count,
        window: observer.window(&begin, &opened),
        closing: Some(observer.window(&opened, &closed)),
    })
}

fn conduct_churn(
    args: &ConnectArgs,
    setup: &Setup<'_>,
    conductor: &Conductor<'_>,
    clock: Clock,
) -> Result<Seen, BenchError> {
    let observer = Observer::new(conductor, setup.watch.as_ref(), &conductor.gather()?);
    let start = clock.now();
    conductor.go(start);
    let from = start + nanos(args.warmup);
    let window = observer.measure(clock, from, from + nanos(args.duration))?;
    Ok(Seen {
        count: window.done,
        window,
        closing: None,
    })
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
    let rate = args.connect_rate;
    let schedule = rate.map(|rate| Schedule::new(start, rate, member.index, member.count));
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
    thread::sleep(member.clock.until(end + nanos(LINGER)));
    Ok(driver.outcome())
}

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.tcp.merge(&one.tcp);
        all.upgrade.merge(&one.upgrade);
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
        connections: seen.count,
        messages: seen.count,
        counts_messages: true,
        rate: args.connect_rate.map(|wanted| (wanted as f64, rate)),
        client: seen.window.client_load,
        server: seen.window.server_load(),
        errors: outcome.broken.total() + outcome.refused.total(),
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
        tcp_us: outcome.tcp.distribution(),
        upgrade_us: outcome.upgrade.distribution(),
        close_us: outcome.close.distribution(),
        closed_per_second: closing.map(|window| seen.count as f64 / window.wall.as_secs_f64()),
        server_close_cpu_us: closing.and_then(|window| window.server_cost(seen.count)),
        ..Connections::default()
    });
    summary.server = seen.window.server(seen.count);
    summary.client = seen.window.client(seen.count);
    summary.errors = Errors::new(&outcome.refused, &outcome.broken, 0);
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
        cores: setup.cores.clone(),
        seed: args.common.seed,
        ..Parameters::default()
    }
}
