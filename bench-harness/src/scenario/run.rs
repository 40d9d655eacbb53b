//! Playing a scenario: threads, phases, measurements.

use std::time::Duration;

use super::account::Closed;
use super::ensemble::{self, Ensemble, Material};
use super::fleet::Share;
use super::plan::{Plan, Role, Task};
use super::roles::broadcast::SETTLE;
use super::summarize;
use crate::agents::crew::Processes;
use crate::cli::{Common, ScenarioArgs};
use crate::client::dial::Failures;
use crate::client::team::{self, Conductor, Member, Sum};
use crate::clock::{Clock, Nanos, nanos};
use crate::commands::Setup;
use crate::commands::opening::nothing_opened;
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::report::Record;
use crate::session::{Load, Stage};
use crate::target::Wire;
use crate::telemetry::monitor::{History, Monitor};
use crate::telemetry::recorder::Recorded;
use crate::telemetry::sample::Phase;
use crate::telemetry::window::Window;

/// From the last upgrade until the load begins: subscribers have settled, and every thread is awake.
const LEAD: Duration = SETTLE.saturating_add(Duration::from_millis(50));

/// Connections per source address matter per TIME_WAIT interval, not at once.
const TIME_WAIT: Nanos = 60_000_000_000;

/// A scenario and how to play it.
pub(super) struct Play<'a> {
    pub(super) args: &'a ScenarioArgs,
    pub(super) plan: &'a Plan,
}

/// What a thread brings home.
struct Outcome {
    /// By role.
    roles: Vec<Closed>,
    latency: Recorded,
}

/// What the conductor brings home.
pub(super) struct Seen {
    /// Connections open when the load began.
    pub(super) open: u64,
    /// The measured phases as one.
    pub(super) whole: Window,
    /// Phase by phase.
    pub(super) phases: Vec<Window>,
}

impl Load for Play<'_> {
    fn common(&self) -> &Common {
        &self.args.common
    }

    fn outlook(&self) -> Option<Outlook> {
        let kind = match (self.plan.has_replies(), self.plan.opens_connections()) {
            (true, _) => "scenario",
            (false, true) => "scenario without replies",
            (false, false) => "scenario of idle connections",
        };
        Some(Outlook::new(kind, &self.args.common, true))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        if self.args.common.target.wire == Wire::Raw {
            return Err(BenchError::usage("scenarios speak WebSocket: use ws://"));
        }
        let mut common = self.args.common.clone();
        if common.processes == Processes::Auto {
            // Threads of one process know of each other how much was published.
            common.processes = Processes::Count(1);
        }
        let mut setup = Setup::new(&common, self.plan.connections())?;
        setup.connections += churned(self.plan);
        let places = setup.crew.here()?;
        let threads = places.count;
        check_threads(self.plan, threads as u64)?;
        let seed = self.args.common.seed;
        let material = |(number, role)| Material::new(role, number, seed, threads);
        let materials: Vec<Material> = self.plan.roles.iter().enumerate().map(material).collect();
        let clock = Clock::start();
        let work = |member: Member<'_>| self.drive(&setup, &materials, &member);
        let conduct =
            |conductor: &Conductor<'_>, _: &Sum| self.conduct(&setup, stage, conductor, clock);
        let (outcomes, (seen, history)) = team::run(places, clock, work, conduct)?;
        let outcome = merge(outcomes);
        if seen.open == 0 && self.plan.roles.iter().any(|role| wanted(role, 0) > 0) {
            let mut refused = Failures::default();
            outcome
                .roles
                .into_iter()
                .for_each(|role| refused.merge(role.refused));
            return Err(nothing_opened(&refused));
        }
        Ok(Record {
            summary: summarize::summary(self, &setup, &seen, &outcome.roles, &outcome.latency),
            history,
        })
    }
}

impl Play<'_> {
    fn conduct(
        &self,
        setup: &Setup<'_>,
        stage: &mut Stage<'_>,
        conductor: &Conductor<'_>,
        clock: Clock,
    ) -> Result<(Seen, History), BenchError> {
        let command = format!("scenario \"{}\"", self.plan.title);
        let plan = setup.plan(&command, self.plan.connections(), None);
        let mut monitor =
            Monitor::begin(conductor, setup.watch.as_ref(), clock, plan, stage.screen)?;
        conductor.go(clock.now());
        let reports = monitor.gather(Phase::Opening)?;
        let start = clock.now() + nanos(conductor.lead(LEAD));
        conductor.go(start);
        let measured = self.plan.measured();
        let ends = self.plan.phases.iter().map(|phase| start + phase.span.end);
        let looks: Vec<Nanos> = std::iter::once(start).chain(ends).collect();
        let moments = monitor.measure_with(start + measured.start..start + measured.end, &looks)?;
        let phases = moments
            .windows(2)
            .map(|pair| monitor.window(&pair[0], &pair[1]));
        let phases: Vec<Window> = phases.collect();
        let is_measured = |number: &usize| self.plan.phases[*number].measured;
        let first = (0..phases.len())
            .find(is_measured)
            .expect("at least one is");
        let last = (0..phases.len())
            .rfind(is_measured)
            .expect("at least one is");
        let seen = Seen {
            open: reports.iter().map(|report| report.open).sum(),
            whole: monitor.window(&moments[first], &moments[last + 1]),
            phases,
        };
        Ok((seen, monitor.finish()?))
    }

    /// The life of one thread.
    fn drive(
        &self,
        setup: &Setup<'_>,
        materials: &[Material],
        member: &Member<'_>,
    ) -> Result<Outcome, BenchError> {
        let share = Share {
            index: member.index,
            count: member.count,
        };
        let mut links = setup.links(member, ensemble::slots(self.plan, share))?;
        links.set_manners(ensemble::manners(
            self.plan,
            share,
            &self.args.common.target.path,
        ));
        let seed = self.args.common.seed;
        let mut ensemble = Ensemble::new(
            self.args,
            self.plan,
            materials,
            share,
            seed,
            &mut links,
            member.progress,
        );
        member.rendezvous(0)?;
        ensemble.open(&mut links)?;
        let start = member.rendezvous(links.open_now())?;
        ensemble.run(&mut links, start)?;
        ensemble.drain(&mut links)?;
        member.rendezvous(links.open_now())?;
        ensemble.close(&mut links)?;
        let (roles, latency) = ensemble.finish();
        Ok(Outcome { roles, latency })
    }
}

/// Connections that a role should have open at a time, from the begin of the load on.
pub(super) fn wanted(role: &Role, time: Nanos) -> u64 {
    match role.task {
        Task::Churn { .. } => 0,
        _ => role.open.at(time).round() as u64 + role.own_publishers(),
    }
}

/// Connections that churn opens within a minute.
fn churned(plan: &Plan) -> u64 {
    let churns = plan
        .roles
        .iter()
        .filter(|role| matches!(role.task, Task::Churn { .. }));
    churns
        .map(|role| role.rate.sum(0..plan.length().min(TIME_WAIT)) as u64)
        .sum()
}

/// A thread that has messages to send needs a connection for them.
fn check_threads(plan: &Plan, threads: u64) -> Result<(), BenchError> {
    for role in &plan.roles {
        let senders_stay =
            role.own_publishers() > 0 || matches!(role.task, Task::Churn { .. } | Task::Idle);
        let senders = threads.min(role.connections);
        for phase in plan.phases.iter().filter(|_| !senders_stay) {
            let open = role.open.before(phase.span.end).round() as u64;
            if open < senders && role.rate.sum(phase.span.clone()) > 0.0 {
                return Err(BenchError::usage(format!(
                    "role `{}` has messages to send in phase `{}`, and {open} connections at its end: each of the {threads} \
                     client threads (--cores) needs one",
                    role.name, phase.name
                )));
            }
        }
    }
    Ok(())
}

fn merge(outcomes: Vec<Outcome>) -> Outcome {
    let merged = outcomes.into_iter().reduce(|mut all, one| {
        all.latency.merge(&one.latency);
        for (all, one) in all.roles.iter_mut().zip(one.roles) {
            all.merge(one);
        }
        all
    });
    merged.expect("a team has at least one thread")
}
