//! Playing a scenario: threads, phases, measurements.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Script;
use super::account::Closed;
use super::ensemble::{self, Ensemble, Material};
use super::fleet::Share;
use super::plan::{Plan, Role, Task};
use super::roles::audience::SETTLE;
use super::summarize;
use crate::agents::{Census, Order, Post};
use crate::cli::Common;
use crate::client::dial::Failures;
use crate::client::team::{Conductor, Member, Places};
use crate::clock::{Clock, Nanos, nanos};
use crate::commands::Setup;
use crate::commands::opening::nothing_opened;
use crate::error::BenchError;
use crate::gates::figure::Outlook;
use crate::report::Record;
use crate::session::{Load, Shared, Stage};
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
pub(crate) struct Play<'a> {
    pub(super) script: &'a Script,
    pub(super) plan: Plan,
}

/// What the threads of a process have in common.
struct Props {
    /// By role.
    materials: Vec<Material>,
    census: Census,
}

/// What a thread brings home.
#[derive(Serialize, Deserialize)]
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
        &self.script.args.common
    }

    fn outlook(&self) -> Option<Outlook> {
        let kind = match (self.plan.has_replies(), self.plan.opens_connections()) {
            (true, _) => "scenario",
            (false, true) => "scenario without replies",
            (false, false) => "scenario of idle connections",
        };
        Some(Outlook::new(kind, self.common(), true))
    }

    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError> {
        if self.common().target.wire == Wire::Raw {
            return Err(BenchError::usage("scenarios speak WebSocket: use ws://"));
        }
        check_senders(&self.plan)?;
        let setup = Setup::new(self.common(), self.plan.connections())?;
        let setup = self.with_ports(setup);
        let props = self.props(&setup);
        let clock = Clock::start();
        let work = |member: Member<'_>| self.drive(&setup, &props, &member);
        let conduct = |conductor: &Conductor<'_>| self.conduct(&setup, stage, conductor, clock);
        let order = Order::Scenario(Box::new(self.script.clone()));
        let (outcomes, (seen, history)) = setup.crew.run(order, clock, work, conduct)?;
        let outcome = merge(outcomes)?;
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

impl Shared for Play<'_> {
    fn serve(&self, post: &Post) -> Result<(), BenchError> {
        let setup = Setup::at(post, self.common(), self.plan.connections())?;
        let setup = self.with_ports(setup);
        let props = self.props(&setup);
        post.run_with(&props.census, |member| self.drive(&setup, &props, &member))
    }
}

impl Play<'_> {
    /// With source addresses for all connections whose ports are not free again.
    fn with_ports<'s>(&self, mut setup: Setup<'s>) -> Setup<'s> {
        setup.connections += churned(&self.plan);
        setup
    }

    fn props(&self, setup: &Setup<'_>) -> Props {
        let (roles, seed) = (&self.plan.roles, self.common().seed);
        let material = |(number, role)| Material::new(role, number, seed, setup.run);
        let broadcasts = roles.iter().filter(|role| role.publishers() > 0).count();
        let publishers: u64 = roles.iter().map(Role::publishers).sum();
        let threads = setup.crew.here().map_or(0, |places| places.pins.len());
        let alone = setup.crew.here().is_none_or(Places::is_all);
        Props {
            materials: roles.iter().enumerate().map(material).collect(),
            census: Census::new(publishers as usize, threads * broadcasts, alone),
        }
    }

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
        props: &Props,
        member: &Member<'_>,
    ) -> Result<Outcome, BenchError> {
        let share = Share {
            index: member.index,
            count: member.count,
        };
        let mut links = setup.links(member, ensemble::slots(&self.plan, share))?;
        links.set_manners(ensemble::manners(
            &self.plan,
            share,
            &self.common().target.path,
        ));
        let mut ensemble = Ensemble::new(
            &self.script.args,
            &self.plan,
            (&props.materials, &props.census),
            share,
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

/// A role that has messages to send needs a connection for them.
fn check_senders(plan: &Plan) -> Result<(), BenchError> {
    for role in &plan.roles {
        let mut needed = plan.phases.iter().filter(|phase| role.is_active(phase));
        if let Some(phase) = needed.find(|phase| role.senders_in(phase) == 0) {
            return Err(BenchError::usage(format!(
                "role `{}` has messages to send in phase `{}`, and no connection at its end",
                role.name, phase.name
            )));
        }
    }
    Ok(())
}

/// What all threads have seen together.
fn merge(outcomes: Vec<Outcome>) -> Result<Outcome, BenchError> {
    let mut outcomes = outcomes.into_iter();
    let mut all = outcomes.next().expect("a team has at least one thread");
    for one in outcomes {
        if one.shape().ne(all.shape()) {
            let error = "the processes of the run have not played the same scenario";
            return Err(BenchError::runtime(error));
        }
        all.latency.merge(&one.latency);
        for (all, one) in all.roles.iter_mut().zip(one.roles) {
            all.merge(one);
        }
    }
    Ok(all)
}

impl Outcome {
    /// Roles, with their phases and intervals.
    fn shape(&self) -> impl Iterator<Item = (usize, usize)> {
        let roles = self.roles.iter();
        roles.map(|role| (role.notes.len(), role.course.len()))
    }
}
