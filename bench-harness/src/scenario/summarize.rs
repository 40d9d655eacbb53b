//! From what was noted down to the summary.

use std::time::Duration;

use super::account::Closed;
use super::figures::{PhaseFigures, RoleFigures, ScenarioFigures};
use super::judging::{faults, heed_clocks, judged};
use super::plan::{Phase, Plan, Role, Task};
use super::role_figures;
use super::run::{Play, Seen};
use crate::client::dial::Failures;
use crate::commands::Setup;
use crate::report::summary::{Connections, Errors, Latencies, Messages, Parameters, Summary};
use crate::session::Load as _;
use crate::stats::latency::Latency;
use crate::stats::validity::JudgedBy;
use crate::telemetry::recorder::Recorded;
use crate::telemetry::window::Window;

/// The summary of a scenario that was played.
pub(super) fn summary(
    play: &Play<'_>,
    setup: &Setup<'_>,
    seen: &Seen,
    roles: &[Closed],
    latency: &Recorded,
) -> Summary {
    let plan = &play.plan;
    let pairs = plan.roles.iter().zip(roles);
    let mut figures: Vec<RoleFigures> = pairs
        .map(|(role, notes)| role_figures::of(plan, role, notes))
        .collect();
    heed_clocks(&mut figures, setup.crew.clock_error());
    let (mut refused, mut broken) = (Failures::default(), Failures::default());
    for role in roles {
        refused.merge(role.refused.clone());
        broken.merge(role.broken.clone());
    }
    let failed = refused.total() + broken.total();
    let by = if play.script.args.cost {
        JudgedBy::Cost
    } else {
        JudgedBy::Throughput
    };
    let mut summary = Summary::new(
        "scenario",
        play.common().target.to_string(),
        judged(plan, seen, &figures, latency, failed),
        by,
        parameters(play, setup),
        seen.whole.wall,
    );
    let (count, per_second) = (seen.whole.done, seen.whole.rate());
    if plan.has_replies() {
        summary.messages = Some(Messages {
            count,
            per_second,
            payload_bytes_per_second: bytes(plan, &figures) / seen.whole.wall.as_secs_f64(),
        });
    } else if plan.opens_connections() {
        summary.connections = Some(Connections {
            count,
            per_second,
            ..Connections::default()
        });
    }
    summary.latency_us = Some(Latencies {
        corrected: latency.corrected.distribution(),
        uncorrected: latency.uncorrected.as_ref().and_then(Latency::distribution),
    });
    summary.server = seen.whole.server(count);
    summary.client = seen.whole.client(count);
    summary.agents = setup.crew.parts();
    summary.errors = Errors::new(&refused, &broken, Some(faults(&figures)));
    let phases = plan.phases.iter().zip(&seen.phases);
    summary.scenario = Some(ScenarioFigures {
        title: plan.title.clone(),
        scale: plan.scale,
        phases: phases
            .map(|(phase, window)| phase_figures(phase, window))
            .collect(),
        roles: figures,
    });
    summary
}

fn parameters(play: &Play<'_>, setup: &Setup<'_>) -> Parameters {
    let measured = play.plan.measured();
    let time = |nanos: u64| Some(Duration::from_nanos(nanos).as_secs_f64());
    Parameters {
        connections: play.plan.connections(),
        mode: Some("open".to_owned()),
        verify: Some(play.script.args.verify),
        warmup_s: time(measured.start),
        duration_s: time(measured.end - measured.start),
        scenario: Some(play.plan.title.clone()),
        scenario_digest: Some(play.plan.digest.clone()),
        scale: Some(play.plan.scale),
        ..setup.parameters()
    }
}

/// Payload bytes that came in the measured phases.
fn bytes(plan: &Plan, roles: &[RoleFigures]) -> f64 {
    let of = |(role, figures): (&Role, &RoleFigures)| {
        let size = match role.task {
            Task::Echo(message) | Task::Broadcast { message, .. } => message.size,
            Task::Churn { size, .. } => size,
            Task::Idle => 0,
        };
        figures.total.done as f64 * size as f64
    };
    plan.roles.iter().zip(roles).map(of).sum()
}

fn phase_figures(phase: &Phase, window: &Window) -> PhaseFigures {
    PhaseFigures {
        name: phase.name.clone(),
        from_s: Duration::from_nanos(phase.span.start).as_secs_f64(),
        length_s: phase.seconds(),
        measured: phase.measured,
        messages: window.done,
        per_second: window.rate(),
        server_cpu_us_per_message: window.server_cost(window.done),
        server_running: window.server_load().map(|load| load.running),
        client_busy: window.client_load.busy,
    }
}
