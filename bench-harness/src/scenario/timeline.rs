//! What a scenario will do, for people: `--check`.

use std::fmt::Write as _;

use super::plan::{Plan, Role, Task, Who};
use crate::clock::Nanos;

/// Who does what when.
pub(super) fn of(plan: &Plan) -> String {
    let mut page = format!("{}\n", plan.title);
    let (length, most) = (seconds(plan.length()), plan.connections());
    // Writing to a string does not fail.
    let _ = writeln!(
        page,
        "  {length} s, at most {most} connections at once, scale {}",
        plan.scale
    );
    for role in &plan.roles {
        let _ = writeln!(page, "\n{}", headline(role));
        let _ = writeln!(
            page,
            "  {:<16} {:>9} {:>19} {:>23}",
            "phase",
            "time",
            "connections",
            unit(role)
        );
        for phase in &plan.phases {
            let (start, end) = (phase.span.start, phase.span.end);
            let both = |curve: &super::curve::Curve| (curve.at(start), curve.before(end));
            let note = if phase.measured { "" } else { "  not measured" };
            let open = match role.task {
                Task::Churn { .. } => "-".to_owned(),
                _ => course(both(&role.open), 0),
            };
            let rate = match role.task {
                Task::Idle => "-".to_owned(),
                _ => {
                    let sum = role.rate.sum(phase.span.clone());
                    format!("{} ({sum:.0})", course(both(&role.rate), 1))
                }
            };
            let time = format!("{}-{} s", seconds(start), seconds(end));
            let _ = writeln!(
                page,
                "  {:<16} {time:>9} {open:>19} {rate:>23}{note}",
                phase.name
            );
        }
    }
    page
}

fn unit(role: &Role) -> &'static str {
    match role.task {
        Task::Churn { .. } => "opened/s (in all)",
        Task::Idle => "",
        _ => "messages/s (in all)",
    }
}

fn headline(role: &Role) -> String {
    let path = role.path.as_deref().unwrap_or("the URL's path");
    let (name, connections) = (&role.name, role.connections);
    match &role.task {
        Task::Echo(message) => {
            format!("{name}: echo at {path}, {} B", message.size)
        }
        Task::Broadcast {
            message,
            publishers,
            publish_path,
            topics,
        } => {
            let publish = publish_path.as_deref().unwrap_or(path);
            let who = match publishers {
                Who::Own(count) => format!("{count} publishers at {publish}"),
                Who::Subscribers => "all publish".to_owned(),
            };
            let topics = match topics {
                1 => String::new(),
                _ => format!(", {topics} topics"),
            };
            format!(
                "{name}: broadcast to subscribers at {path}{topics}, {who}, {} B",
                message.size
            )
        }
        Task::Idle => format!("{name}: idle at {path}"),
        Task::Churn {
            messages,
            size,
            hold,
        } => format!(
            "{name}: churn at {path}, at most {connections} at a time, {messages} messages of {size} B each, then {} s",
            hold.as_secs_f64()
        ),
    }
}

/// A value, or where it goes.
fn course((from, to): (f64, f64), digits: usize) -> String {
    if from == to {
        return format!("{from:.digits$}");
    }
    format!("{from:.digits$} to {to:.digits$}")
}

fn seconds(time: Nanos) -> f64 {
    time as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::examples;

    #[test]
    fn every_role_and_phase_is_told() {
        let plan = Plan::parse(examples::find("chat").unwrap(), 1).unwrap();
        let page = of(&plan);
        for expected in [
            "18 s, at most 1700 connections at once",
            "members: broadcast to subscribers at /topics?sub=room-{topic}&pub=room-{topic}, 20 topics, all publish, 250 B",
            "400 to 1000",
            "12.0 to 60.0 (144)",
            "visitors: churn at /echo, at most 100 at a time, 2 messages of 64 B each, then 2 s",
            "50.0 (200)",
        ] {
            assert!(page.contains(expected), "{expected:?} is missing:\n{page}");
        }
    }
}
