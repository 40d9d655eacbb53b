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

/// Minutes are looked at that begin so far apart.
const STEP: Nanos = 5_000_000_000;

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
        if outcome.roles.iter().all(|role| role.opened() == 0) {
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
        let at_begin = self.plan.roles.iter().map(|role| wanted(role, 0)).sum();
        let plan = setup.plan(&command, at_begin, None);
        let mut monitor =
            Monitor::begin(conductor, setup.watch.as_ref(), clock, plan, stage.screen)?;
        conductor.go(clock.now());
        let reports = monitor.gather(Phase::Opening)?;
        let open = reports.iter().map(|report| report.open).sum();
        if open == 0 && at_begin > 0 {
            return Err(nothing_opened(&monitor.failures()));
        }
        monitor.ask_for(self.plan.connections());
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
            open,
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

/// Connections that churn opens within its busiest minute, or a few more.
fn churned(plan: &Plan) -> u64 {
    let churns = || {
        let churns = |role: &&Role| matches!(role.task, Task::Churn { .. });
        plan.roles.iter().filter(churns)
    };
    // Whenever that minute begins, it lies in one of these.
    let starts = (0..plan.length()).step_by(STEP as usize);
    let within = |start: Nanos| -> f64 {
        let span = start..start + STEP + TIME_WAIT;
        churns().map(|role| role.rate.sum(span.clone())).sum()
    };
    starts.map(within).fold(0.0, f64::max).ceil() as u64
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_ports_are_for_the_busiest_minute() {
        let text = |begin: f64| {
            format!(
                "title = 'x'\n[[role]]\nname = 'a'\nkind = 'churn'\nconnections = 5\nrate = 100\n\
                 [[phase]]\nname = 'p'\nduration = '10m'\nrate = {begin}\n\
                 [[phase]]\nname = 'q'\nduration = '10m'\nrate = 1\n"
            )
        };
        let churned = |begin| churned(&Plan::parse(&text(begin), 1).unwrap());
        assert_eq!((churned(0.0), churned(2.0)), (6_500, 13_000));
        let short = "title = 'x'\n[[role]]\nname = 'a'\nkind = 'churn'\nconnections = 5\nrate = 100\n\
             [[phase]]\nname = 'p'\nduration = '1s'\n";
        assert_eq!(super::churned(&Plan::parse(short, 1).unwrap()), 100);
    }
}
