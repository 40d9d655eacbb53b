//! From what was noted down to figures and a verdict.

use std::time::Duration;

use super::account::{Closed, Notes};
use super::course::{self, Row};
use super::figures::{Figures, Interval, PhaseFigures, RoleFigures, ScenarioFigures};
use super::file::Kind;
use super::plan::{Phase, Plan, Role, Task};
use super::run::{Play, Seen, wanted};
use crate::client::dial::Failures;
use crate::report::summary::{Errors, Latencies, Messages, Parameters, Summary};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::validity::{self, Evidence, JudgedBy, Judgement, Reason, judge};
use crate::telemetry::recorder::Recorded;
use crate::telemetry::window::Window;

/// A role's rate may fall short by so much in a phase…
const TOLERANCE: f64 = 0.01;

/// …and by what falls due in so many seconds, for what is still on its way when the phase ends.
const ON_THE_WAY_S: f64 = 0.1;

/// The summary of a scenario that was played.
pub(super) fn summary(
    play: &Play<'_>,
    cores: &[usize],
    seen: &Seen,
    roles: &[Closed],
    latency: &Recorded,
) -> Summary {
    let plan = play.plan;
    let figures: Vec<RoleFigures> = plan
        .roles
        .iter()
        .zip(roles)
        .map(|(role, notes)| figures(plan, role, notes))
        .collect();
    let (mut refused, mut broken) = (Failures::default(), Failures::default());
    for role in roles {
        refused.merge(role.refused.clone());
        broken.merge(role.broken.clone());
    }
    let faults = faults(&figures);
    let lag = latency.lag.as_ref().and_then(Latency::distribution);
    let measured = plan.measured();
    let evidence = Evidence {
        wanted_connections: plan.roles.iter().map(|role| wanted(role, 0)).sum(),
        connections: seen.open,
        window: Some((
            Duration::from_nanos(measured.end - measured.start),
            seen.whole.wall,
        )),
        messages: seen.whole.done,
        counts_messages: plan.roles.iter().any(|role| role.kind() != Kind::Idle),
        rate: rates(&figures, seen.whole.wall),
        client: seen.whole.client_load,
        server: seen.whole.server_load(),
        lag: lag.zip(latency.corrected.distribution()),
        broken: refused.total() + broken.total(),
        faults,
        compressed: None,
    };
    let judgement = with_those_of_roles(judge(&evidence), &figures);
    let by = if play.args.cost {
        JudgedBy::Cost
    } else {
        JudgedBy::Throughput
    };
    let target = play.args.common.target.to_string();
    let parameters = parameters(play, cores);
    let mut summary = Summary::new(
        "scenario",
        target,
        judgement,
        by,
        parameters,
        seen.whole.wall,
    );
    summary.messages = Some(Messages {
        count: seen.whole.done,
        per_second: seen.whole.rate(),
        payload_bytes_per_second: bytes(plan, &figures) / seen.whole.wall.as_secs_f64(),
    });
    summary.latency_us = Some(Latencies {
        corrected: latency.corrected.distribution(),
        uncorrected: latency.uncorrected.as_ref().and_then(Latency::distribution),
    });
    summary.server = seen.whole.server(seen.whole.done);
    summary.client = seen.whole.client(seen.whole.done);
    summary.errors = Errors::new(&refused, &broken, Some(faults));
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

/// What was wrong with the messages of all roles.
fn faults(figures: &[RoleFigures]) -> Faults {
    let all = || figures.iter().flat_map(|role| &role.phases);
    Faults {
        lost: all().map(|part| part.lost).sum(),
        duplicated: all().map(|part| part.duplicated).sum(),
        reordered: all().map(|part| part.reordered).sum(),
    }
}

/// The judgement of the whole, with the reasons against roles that it does not have yet.
fn with_those_of_roles(mut judgement: Judgement, figures: &[RoleFigures]) -> Judgement {
    for reason in figures.iter().flat_map(|role| &role.reasons) {
        match reason.kind {
            validity::Kind::ConnectionsMissing => judgement.against_all.push(reason.clone()),
            validity::Kind::RateMissed => judgement.against_throughput.push(reason.clone()),
            // Counted with those of the whole.
            _ => {}
        }
    }
    judgement
}

fn parameters(play: &Play<'_>, cores: &[usize]) -> Parameters {
    let measured = play.plan.measured();
    let time = |nanos: u64| Some(Duration::from_nanos(nanos).as_secs_f64());
    Parameters {
        connections: play.plan.connections(),
        mode: Some("open".to_owned()),
        verify: Some(play.args.verify),
        warmup_s: time(measured.start),
        duration_s: time(measured.end - measured.start),
        cores: cores.to_vec(),
        seed: play.args.common.seed,
        ..Parameters::default()
    }
}

/// Messages and connections per second that were due in the measured phases, and that were sent; `None` when nothing was due.
fn rates(roles: &[RoleFigures], wall: Duration) -> Option<(f64, f64)> {
    let sum =
        |of: fn(&Figures) -> u64| roles.iter().map(|role| of(&role.total)).sum::<u64>() as f64;
    let (due, sent) = (sum(|part| part.due), sum(|part| part.sent));
    // What fell due in a phase before the measured ones may be sent in them.
    (due > 0.0).then(|| (due / wall.as_secs_f64(), sent.min(due) / wall.as_secs_f64()))
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
    let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    PhaseFigures {
        name: phase.name.clone(),
        from_s: seconds(phase.span.start),
        length_s: seconds(phase.span.end - phase.span.start),
        measured: phase.measured,
        messages: window.done,
        per_second: window.rate(),
        server_cpu_us_per_message: window.server_cost(window.done),
        server_running: window.server_load().map(|load| load.running),
        client_busy: window.client_load.busy,
    }
}

fn figures(plan: &Plan, role: &Role, closed: &Closed) -> RoleFigures {
    let mut reasons = Vec::new();
    let mut total: Option<Notes> = None;
    let mut parts = Vec::new();
    let mut seconds = 0.0;
    for (phase, notes) in plan.phases.iter().zip(&closed.notes) {
        let length = Duration::from_nanos(phase.span.end - phase.span.start).as_secs_f64();
        let part = part(notes, length, wanted_at_end(role, phase));
        if phase.measured {
            seconds += length;
            reasons.extend(against(role, phase, &part, length));
            match &mut total {
                Some(total) => total.merge(notes),
                None => total = Some(notes.clone()),
            }
        }
        parts.push(part);
    }
    let last = plan
        .phases
        .iter()
        .rposition(|phase| phase.measured)
        .expect("one is");
    let mut total = part(&total.expect("one is"), seconds, parts[last].wanted);
    total.open = parts[last].open;
    RoleFigures {
        name: role.name.clone(),
        kind: role.kind(),
        connections: role.connections,
        valid: reasons.is_empty(),
        reasons,
        total,
        phases: parts,
        course: course(plan, &closed.course),
    }
}

fn course(plan: &Plan, rows: &[Row]) -> Vec<Interval> {
    let step = Duration::from_nanos(course::step(plan.length())).as_secs_f64();
    let interval = |(number, row): (usize, &Row)| {
        let counts = &row.counts;
        Interval {
            at_s: (number + 1) as f64 * step,
            due: counts.due,
            done: counts.done,
            opened: counts.opened,
            open: counts.open,
            errors: counts.refused
                + counts.broken
                + counts.lost
                + counts.duplicated
                + counts.reordered,
            latency_us: row.distribution(),
        }
    };
    rows.iter().enumerate().map(interval).collect()
}

fn wanted_at_end(role: &Role, phase: &Phase) -> Option<u64> {
    match role.task {
        Task::Churn { .. } => None,
        _ => Some(role.open.before(phase.span.end).round() as u64),
    }
}

fn part(notes: &Notes, seconds: f64, wanted: Option<u64>) -> Figures {
    let counts = &notes.counts;
    Figures {
        due: counts.due,
        sent: counts.sent,
        done: counts.done,
        per_second: counts.done as f64 / seconds,
        latency_us: Latencies {
            corrected: notes.corrected.distribution(),
            uncorrected: notes.uncorrected.distribution(),
        },
        connect_us: notes.connect.distribution(),
        wanted,
        open: counts.open,
        opened: counts.opened,
        closed: counts.closed,
        refused: counts.refused,
        broken: counts.broken,
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
    }
}

/// What is against a role's figures in a measured phase.
fn against(role: &Role, phase: &Phase, part: &Figures, seconds: f64) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let place = format!("{} in {}", role.name, phase.name);
    let mut add = |kind, text| reasons.push(Reason { kind, text });
    let errors = part.refused + part.broken + part.lost + part.duplicated + part.reordered;
    if errors > 0 {
        let text = format!(
            "{place}: {errors} errors: connections refused or broken, messages lost, duplicated or reordered"
        );
        add(validity::Kind::Errors, text);
    }
    if let Some(wanted) = part.wanted {
        let least = (wanted as f64 * (1.0 - TOLERANCE)).floor() as u64;
        if part.open < least {
            let text = format!(
                "{place}: {} of {wanted} connections were open at its end",
                part.open
            );
            add(validity::Kind::ConnectionsMissing, text);
        }
    }
    let (served, what) = match role.task {
        Task::Echo(_) => (part.done, "came back"),
        Task::Broadcast { .. } => (part.sent, "were published"),
        Task::Churn { .. } => (part.opened, "connections were opened"),
        Task::Idle => return reasons,
    };
    let slack = part.due as f64 * TOLERANCE + role.rate.before(phase.span.end) * ON_THE_WAY_S + 1.0;
    if (served as f64) < part.due as f64 - slack {
        let text = format!(
            "{place}: {served} {what} of {} that were due in {seconds} s",
            part.due
        );
        add(validity::Kind::RateMissed, text);
    }
    reasons
}
