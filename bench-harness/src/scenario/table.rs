//! A scenario's figures for people: a line for each phase, and for each role in each of them.

use super::figures::{Figures, PhaseFigures, RoleFigures, ScenarioFigures};
use super::file::Kind;
use crate::report::format::{rounded, time};

/// Labels and texts.
pub(crate) fn lines(scenario: &ScenarioFigures) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for phase in &scenario.phases {
        lines.push((phase.name.clone(), course(phase)));
    }
    let measured = scenario.phases.iter().filter(|phase| phase.measured);
    let seconds: f64 = measured.map(|phase| phase.length_s).sum();
    for role in &scenario.roles {
        lines.push((role.name.clone(), headline(role)));
        for (phase, part) in scenario.phases.iter().zip(&role.phases) {
            let note = if phase.measured {
                ""
            } else {
                " (not measured)"
            };
            let text = figures(role.kind, part, phase.length_s) + note;
            lines.push((format!("· {}", phase.name), text));
        }
        let text = figures(role.kind, &role.total, seconds);
        lines.push(("· measured".to_owned(), text));
    }
    lines
}

fn course(phase: &PhaseFigures) -> String {
    let server = phase.server_cpu_us_per_message;
    let server = server.map_or(String::new(), |cost| format!(", server {cost:.3} µs each"));
    let ran = phase.server_running;
    let ran = ran.map_or(String::new(), |ran| {
        format!(", server ran {:.1} %", ran * 100.0)
    });
    let note = if phase.measured {
        ""
    } else {
        " (not measured)"
    };
    format!(
        "{:.2} s, {} messages = {}/s{server}{ran}, client busy {:.1} %{note}",
        phase.length_s,
        phase.messages,
        rounded(phase.per_second),
        phase.client_busy * 100.0
    )
}

fn headline(role: &RoleFigures) -> String {
    let kind = match role.kind {
        Kind::Echo => "echo",
        Kind::Broadcast => "broadcast",
        Kind::Idle => "idle",
        Kind::Churn => "churn",
    };
    let verdict = if role.valid { "valid" } else { "INVALID" };
    format!("{kind}, {} connections: {verdict}", role.connections)
}

/// Rates, latencies, connections, and what went wrong.
fn figures(kind: Kind, part: &Figures, seconds: f64) -> String {
    let mut parts = Vec::new();
    let per_second = |count: u64| rounded(count as f64 / seconds);
    match kind {
        Kind::Idle => {}
        Kind::Churn => parts.push(format!(
            "{} due/s, {} opened/s",
            per_second(part.due),
            per_second(part.opened)
        )),
        _ => parts.push(format!(
            "{} due/s, {} came/s",
            per_second(part.due),
            rounded(part.per_second)
        )),
    }
    if let Some(times) = part.latency_us.corrected {
        let [p50, p99, p99_9] = [times.p50, times.p99, times.p99_9].map(time);
        parts.push(format!("p50 {p50} p99 {p99} p99.9 {p99_9}"));
    }
    let of = part
        .wanted
        .map_or(String::new(), |wanted| format!(" of {wanted}"));
    parts.push(format!(
        "{}{of} open at the end, {} opened, {} closed",
        part.open, part.opened, part.closed
    ));
    let errors = [
        (part.refused, "refused"),
        (part.broken, "broken"),
        (part.lost, "lost"),
        (part.duplicated, "duplicated"),
        (part.reordered, "out of order"),
    ];
    let errors = errors.into_iter().filter(|(count, _)| *count > 0);
    parts.extend(errors.map(|(count, what)| format!("{count} {what}")));
    if part.attempts > part.refused {
        parts.push(format!("{} attempts to connect failed", part.attempts));
    }
    parts.join("; ")
}
