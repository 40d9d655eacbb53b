//! `connect`: what opening and closing connections costs.
//!
//! Either so many connections are opened, held until all are open, and closed; or, with `--churn`, a fixed
//! number of places opens, upgrades, is greeted (`--skip`), talks (`--messages`) and closes over and over. Closing is always the WebSocket closing handshake, after
//! which the server ends the TCP connection (RFC 6455 §7.1.1), so that ports spent in TIME_WAIT are
//! the server's, where they do no harm.

mod driver;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Setup;
use super::crew_load::{self, CrewLoad, Podium};
use super::findings::{Findings, judged_by};
use super::opening::{Opening, nothing_opened};
use crate::agents::Order;
use crate::cli::{Common, ConnectArgs};
use crate::client::fates::Fates;
use crate::client::team::Member;
use crate::clock::nanos;
use crate::error::BenchError;
use crate::gates::find_max::Rates;
use crate::report::summary::{Connections, Parameters, Summary};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::validity::{Evidence, judge};
use crate::target::Wire;
use crate::telemetry::sample::Phase;
use crate::telemetry::window::Window;
use driver::{ConnectDriver, Talk};

/// Connections per source address matter per TIME_WAIT interval (60 s), not at once: churn takes
/// as many addresses as this many connections need.
const CHURN_PORTS: u64 = 128_000;

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
pub(crate) struct Outcome {
    fates: Fates,
    close: Latency,
    /// Connections that were open, and those of them that were closed as they should: in the whole run.
    opened: u64,
    closed: u64,
}

/// What the conductor brings home.
pub(crate) struct Seen {
    /// Connections opened, or whole cycles with `--churn`.
    count: u64,
    /// While they were opened, or the window of `--churn`.
    window: Window,
    /// While they were closed.
    closing: Option<Window>,
}

impl CrewLoad for ConnectArgs {
    const NAME: &'static str = "connect";
    type Material = ();
    type Outcome = Outcome;
    type Seen = Seen;

    fn flags(&self) -> &Common {
        &self.common
    }

    fn connections(&self) -> u64 {
        if self.churn {
            self.concurrency
        } else {
            self.connections
        }
    }

    fn ports(&self) -> u64 {
        if self.churn {
            CHURN_PORTS
        } else {
            self.connections
        }
    }

    fn rate(&self) -> Option<u64> {
        self.connect_rate
    }

    fn rates_to_search(&self) -> Result<Rates, BenchError> {
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

    fn with_rate(&self, rate: u64, _length: Option<Duration>) -> Option<Self> {
        let mut load = self.clone();
        load.connect_rate = Some(rate);
        Some(load)
    }

    fn order(&self) -> Order {
        Order::Connect(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BenchError> {
        let talks = self.messages.is_some() || self.skip.is_some();
        if talks && self.common.target.wire == Wire::Raw {
            let problem = "--messages and --skip are for WebSockets: use ws://";
            return Err(BenchError::usage(problem));
        }
        Ok(())
    }

    fn material(&self, _setup: &Setup<'_>) -> Result<(), BenchError> {
        Ok(())
    }

    fn drive(
        &self,
        setup: &Setup<'_>,
        (): &(),
        member: &Member<'_>,
    ) -> Result<Outcome, BenchError> {
        if self.churn {
            churn(self, setup, member)
        } else {
            open_and_close(self, setup, member)
        }
    }

    fn conduct(&self, _setup: &Setup<'_>, podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
        if self.churn {
            conduct_churn(self, podium)
        } else {
            conduct_once(podium)
        }
    }

    /// A window in which nothing was finished tells of a slow server, unless all that ended broke.
    fn any_open(seen: &Seen, outcome: &Outcome) -> bool {
        let broke = outcome.closed == 0 && outcome.fates.broken.total() > 0;
        seen.count > 0 || (outcome.opened > 0 && !broke)
    }

    fn futile(outcome: &Outcome) -> BenchError {
        let reasons = outcome.fates.broken.by_count();
        let Some((reason, _)) = reasons.first().filter(|_| outcome.opened > 0) else {
            return nothing_opened(&outcome.fates.refused);
        };
        BenchError::runtime(format!(
            "{} connections were opened, and none was closed as it should be: {reason}",
            outcome.opened
        ))
    }

    fn summarize(&self, setup: &Setup<'_>, (): &(), seen: &Seen, outcome: &Outcome) -> Summary {
        summarize(self, setup, seen, outcome)
    }
}

impl crew_load::Outcome for Outcome {
    fn merge(&mut self, other: Self) {
        self.fates.merge(other.fates);
        self.close.merge(&other.close);
        self.opened += other.opened;
        self.closed += other.closed;
    }

    fn fates(&self) -> &Fates {
        &self.fates
    }
}

fn conduct_once(podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
    let begin = podium.monitor.latest();
    let count = podium.open()?;
    let opened = podium.monitor.latest();
    podium.go(podium.clock.now());
    podium.monitor.gather(Phase::Draining)?;
    let closed = podium.monitor.latest();
    podium.go(podium.clock.now());
    Ok(Seen {
        count,
        window: podium.monitor.window(&begin, &opened),
        closing: Some(podium.monitor.window(&opened, &closed)),
    })
}

fn conduct_churn(args: &ConnectArgs, podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
    let start = podium.clock.now();
    podium.go(start);
    let from = start + nanos(args.warmup);
    let window = podium.monitor.measure(from..from + nanos(args.duration))?;
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
    let opening = Opening {
        connections: member.share(args.connections) as u32,
        concurrency: args.concurrency,
        rate: args.connect_rate,
        counts: true,
    };
    let mut links = setup.links(member, opening.connections as usize)?;
    let mut driver = ConnectDriver::new(&args.common, opening.connections, None);
    opening.perform(&mut links, &mut driver, member)?;
    driver.close_all(&mut links, opening.concurrency_of(member))?;
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
    let talk = Talk {
        greeting: args.skip.unwrap_or(0),
        messages: args.messages.unwrap_or(0),
    };
    let mut driver = ConnectDriver::new(&args.common, places, Some(talk));
    let start = member.rendezvous(0)?;
    let from = start + nanos(args.warmup);
    let end = from + nanos(args.duration);
    driver.churn(&mut links, member.progress, from..end)?;
    member.rendezvous(links.open_now())?;
    Ok(driver.outcome())
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
        busy_poll: false,
        lag: None,
        server: seen.window.server_load(),
        broken: outcome.fates.errors(),
        faults: Faults::default(),
        compressed: None,
    });
    let mut summary = setup.summarize(
        ConnectArgs::NAME,
        judgement,
        judged_by(args.cost),
        parameters(args, setup),
        &Findings {
            window: &seen.window,
            count: seen.count,
            fates: &outcome.fates,
            faults: None,
        },
    );
    let times = &outcome.fates.times;
    let closing = seen.closing.as_ref();
    summary.connections = Some(Connections {
        count: seen.count,
        per_second: rate,
        tcp_us: times.tcp.distribution(),
        upgrade_us: times.upgrade.distribution(),
        close_us: outcome.close.distribution(),
        closed_per_second: closing.map(|window| seen.count as f64 / window.wall.as_secs_f64()),
        server_close_cpu_us: closing.and_then(|window| window.server_cost(seen.count)),
        ..Connections::default()
    });
    summary
}

fn parameters(args: &ConnectArgs, setup: &Setup<'_>) -> Parameters {
    let timed = |time: Duration| args.churn.then_some(time.as_secs_f64());
    Parameters {
        connections: args.connections(),
        connect_rate: args.connect_rate,
        concurrency: Some(args.concurrency),
        churn: Some(args.churn),
        messages: args.messages,
        skip: args.skip,
        warmup_s: timed(args.warmup),
        duration_s: timed(args.duration),
        ..setup.parameters()
    }
}
