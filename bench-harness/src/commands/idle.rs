//! `idle`: what connections cost that do nothing.

use std::time::Duration;

use corecast_protocol::{Inflation, Receiver};
use serde::{Deserialize, Serialize};

use super::Setup;
use super::crew_load::{self, CrewLoad, Podium};
use super::findings::Findings;
use super::opening::{self, Opening};
use crate::agents::Order;
use crate::cli::{Common, IdleArgs};
use crate::client::dial::Failures;
use crate::client::fates::Fates;
use crate::client::links::{Driver, End, Links, OpenTimes, Outbox};
use crate::client::listen::Listener;
use crate::client::team::Member;
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::report::summary::{Connections, HeardCounts, MemoryPerConnection, Parameters, Summary};
use crate::ring::Wait;
use crate::rng::Rng;
use crate::stats::faults::Faults;
use crate::stats::validity::{Evidence, JudgedBy, judge};
use crate::target::Wire;
use crate::telemetry::window::{Moment, Window};

/// What a thread brings home.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    fates: Fates,
    heard: HeardCounts,
    lost: u64,
}

/// What the conductor brings home.
pub(crate) struct Seen {
    open: u64,
    opening: Duration,
    before: Moment,
    after: Moment,
    window: Window,
}

impl CrewLoad for IdleArgs {
    const NAME: &'static str = "idle";
    type Material = ();
    type Outcome = Outcome;
    type Seen = Seen;

    fn flags(&self) -> &Common {
        &self.common
    }

    fn connections(&self) -> u64 {
        self.connections
    }

    fn rate(&self) -> Option<u64> {
        self.connect_rate
    }

    fn order(&self) -> Order {
        Order::Idle(Box::new(self.clone()))
    }

    fn check(&self) -> Result<(), BenchError> {
        if self.deflate && self.common.target.wire == Wire::Raw {
            return Err(BenchError::usage("--deflate is for WebSockets: use ws://"));
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
        drive(self, setup, member)
    }

    fn conduct(&self, _setup: &Setup<'_>, podium: &mut Podium<'_>) -> Result<Seen, BenchError> {
        let clock = podium.clock;
        let (before, start) = (podium.monitor.latest(), clock.now());
        let open = podium.open()?;
        let opening = Duration::from_nanos(clock.now() - start);
        let from = clock.now() + nanos(self.settle);
        podium.go(from);
        let window = podium.monitor.measure(from..from + nanos(self.duration))?;
        Ok(Seen {
            open,
            opening,
            before,
            after: podium.monitor.latest(),
            window,
        })
    }

    fn any_open(seen: &Seen, _outcome: &Outcome) -> bool {
        seen.open > 0
    }

    fn summarize(&self, setup: &Setup<'_>, (): &(), seen: &Seen, outcome: &Outcome) -> Summary {
        summarize(self, setup, seen, outcome)
    }
}

impl crew_load::Outcome for Outcome {
    fn merge(&mut self, other: Self) {
        self.fates.merge(other.fates);
        self.heard.messages += other.heard.messages;
        self.heard.pings += other.heard.pings;
        self.lost += other.lost;
    }

    fn fates(&self) -> &Fates {
        &self.fates
    }
}

/// The life of one thread.
fn drive(args: &IdleArgs, setup: &Setup<'_>, member: &Member<'_>) -> Result<Outcome, BenchError> {
    let connections = member.share(args.connections) as u32;
    let mut links = setup.links(member, connections as usize)?;
    if args.deflate {
        links.insist_on_deflate();
    }
    let mut driver = IdleDriver::new(args, connections);
    let opening = Opening {
        connections,
        concurrency: opening::CONCURRENCY,
        rate: args.connect_rate,
        counts: true,
    };
    let from = opening.perform(&mut links, &mut driver, member)?;
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
        // What a server says may come compressed.
        let inflation = match args.deflate {
            true => Inflation::Whole,
            false => Inflation::Off,
        };
        let receiver = || Receiver::with_inflation(inflation);
        receivers.resize_with(connections as usize, receiver);
        Self {
            wire: args.common.target.wire,
            listener: Listener::new(Rng::new(args.common.seed, 0).bytes()),
            receivers,
            counting: false,
            closing: false,
            outcome: Outcome::default(),
        }
    }
}

impl Driver for IdleDriver {
    fn opened(&mut self, _slot: u32, times: OpenTimes, _now: Nanos, _out: &mut Outbox) {
        self.outcome.fates.opened(times);
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
        self.outcome.fates.ended(opened, end.reason());
        self.outcome.lost += u64::from(opened && self.counting);
    }

    fn failures(&self) -> [&Failures; 2] {
        self.outcome.fates.failures()
    }
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
        busy_poll: false,
        lag: None,
        server: seen.window.server_load(),
        broken: outcome.fates.broken.total(),
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
    let findings = Findings {
        window: &seen.window,
        count: 0,
        fates: &outcome.fates,
        faults: None,
    };
    // Nothing is sent: how busy the machine is does not matter.
    let by = JudgedBy::Cost;
    let mut summary = setup.summarize(IdleArgs::NAME, judgement, by, parameters, &findings);
    let times = &outcome.fates.times;
    summary.connections = Some(Connections {
        count: seen.open,
        per_second: seen.open as f64 / seen.opening.as_secs_f64(),
        tcp_us: times.tcp.distribution(),
        upgrade_us: times.upgrade.distribution(),
        heard: Some(outcome.heard),
        lost: Some(outcome.lost),
        ..Connections::default()
    });
    summary.memory = seen
        .before
        .memory()
        .zip(seen.after.memory())
        .map(|(before, after)| MemoryPerConnection::new(before, after, seen.open));
    summary
}
