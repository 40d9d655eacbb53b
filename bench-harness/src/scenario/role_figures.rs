//! A role's figures, from what its threads have noted down.

use std::time::Duration;

use super::account::{Closed, Counts, Notes};
use super::course::{self, Row};
use super::figures::{AfterEnd, Figures, Interval, RoleFigures};
use super::judging;
use super::plan::{Phase, Plan, Role, Task};
use crate::report::summary::Latencies;

/// The figures of a role, phase by phase and over all that are measured, and what is against them.
pub(super) fn of(plan: &Plan, role: &Role, closed: &Closed) -> RoleFigures {
    let mut reasons = Vec::new();
    let mut total: Option<Notes> = None;
    let mut parts = Vec::new();
    let mut seconds = 0.0;
    for (phase, notes) in plan.phases.iter().zip(&closed.notes) {
        let part = part(notes, phase.seconds(), wanted_at_end(role, phase));
        if phase.measured {
            seconds += phase.seconds();
            reasons.extend(judging::against(role, phase, &part));
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
        after_end: after_end(&closed.after),
        course: course(plan, &closed.course),
    }
}

fn part(notes: &Notes, seconds: f64, wanted: Option<u64>) -> Figures {
    let counts = &notes.counts;
    Figures {
        due: counts.due,
        sent: counts.sent,
        done: counts.done,
        per_second: counts.done as f64 / seconds,
        late: counts.late,
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
        attempts: counts.attempts,
        broken: counts.broken,
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
    }
}

fn wanted_at_end(role: &Role, phase: &Phase) -> Option<u64> {
    match role.task {
        Task::Churn { .. } => None,
        _ => Some(role.open.before(phase.span.end).round() as u64),
    }
}

fn after_end(counts: &Counts) -> AfterEnd {
    AfterEnd {
        sent: counts.sent,
        done: counts.done,
        opened: counts.opened,
        closed: counts.closed,
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
