//! Whether a scenario's figures may be believed: role by role in each measured phase, and as a whole.

use std::time::Duration;

use super::figures::{Figures, RoleFigures};
use super::file::Kind;
use super::plan::{Phase, Plan, Role, Task};
use super::run::{Seen, wanted};
use crate::stats::faults::Faults;
use crate::stats::latency::Latency;
use crate::stats::validity::{self, Evidence, Judgement, Reason, judge};
use crate::telemetry::recorder::Recorded;

/// A role's rate, and its connections, may fall short by so much in a phase…
const TOLERANCE: f64 = 0.01;

/// …and the rate by what falls due in so many seconds and in the shortest round trip, which is still on its way when the phase
/// ends. What a server has fallen behind by is no part of that: its first messages are the fastest.
const ON_THE_WAY_S: f64 = 0.1;

/// What is against a role's figures in a measured phase.
pub(super) fn against(role: &Role, phase: &Phase, part: &Figures) -> Vec<Reason> {
    let reasons = [
        errors(part),
        connections_missing(part),
        rate_missed(role, phase, part),
    ];
    let place = |mut reason: Reason| {
        reason.text = format!("{} in {}: {}", role.name, phase.name, reason.text);
        reason
    };
    reasons.into_iter().flatten().map(place).collect()
}

/// What is against the latencies of broadcasts when clocks of several machines took them, which may be apart by `error`.
pub(super) fn heed_clocks(roles: &mut [RoleFigures], error: Duration) {
    for role in roles.iter_mut().filter(|role| role.kind == Kind::Broadcast) {
        let latency = role.total.latency_us.corrected.as_ref();
        if let Some(mut reason) = validity::clocks_apart(error, latency) {
            reason.text = format!("{}: {}", role.name, reason.text);
            role.reasons.push(reason);
            role.valid = false;
        }
    }
}

/// The judgement of the whole. Whether the rates were reached is judged role by role, and only there: a role that does more than
/// was due must not make up for another that does less.
pub(super) fn judged(
    plan: &Plan,
    seen: &Seen,
    roles: &[RoleFigures],
    latency: &Recorded,
    broken: u64,
) -> Judgement {
    let measured = plan.measured();
    let lag = latency.lag.as_ref().and_then(Latency::distribution);
    let due: u64 = roles.iter().map(|role| role.total.due).sum();
    let rate = due as f64 / seen.whole.wall.as_secs_f64();
    let evidence = Evidence {
        wanted_connections: plan.roles.iter().map(|role| wanted(role, 0)).sum(),
        connections: seen.open,
        window: Some((
            Duration::from_nanos(measured.end - measured.start),
            seen.whole.wall,
        )),
        messages: seen.whole.done,
        counts_messages: plan.roles.iter().any(|role| role.kind() != Kind::Idle),
        rate: (due > 0).then_some((rate, rate)),
        client: seen.whole.client_load,
        busy_poll: false,
        server: seen.whole.server_load(),
        lag: lag.zip(latency.corrected.distribution()),
        broken,
        faults: faults(roles),
        compressed: None,
    };
    let mut judgement = judge(&evidence);
    for reason in &mut judgement.against_all {
        if reason.kind == validity::Kind::TooFewMessages {
            reason.text = too_few(plan, seen);
        }
    }
    with_those_of_roles(judgement, roles)
}

/// What was wrong with the messages of all roles.
pub(super) fn faults(roles: &[RoleFigures]) -> Faults {
    let all = || roles.iter().flat_map(|role| &role.phases);
    Faults {
        lost: all().map(|part| part.lost).sum(),
        duplicated: all().map(|part| part.duplicated).sum(),
        reordered: all().map(|part| part.reordered).sum(),
    }
}

/// The judgement of the whole, with the reasons against roles that it does not have yet.
fn with_those_of_roles(mut judgement: Judgement, roles: &[RoleFigures]) -> Judgement {
    for reason in roles.iter().flat_map(|role| &role.reasons) {
        match reason.kind {
            validity::Kind::ConnectionsMissing => judgement.against_all.push(reason.clone()),
            validity::Kind::RateMissed | validity::Kind::ClocksApart => {
                judgement.against_throughput.push(reason.clone());
            }
            // Counted with those of the whole.
            _ => {}
        }
    }
    judgement
}

fn too_few(plan: &Plan, seen: &Seen) -> String {
    let (what, rates) = if plan.has_replies() {
        ("replies and deliveries came", "rates")
    } else {
        ("connections were opened", "the rate")
    };
    format!(
        "only {} {what} in the measured phases, at least {} are needed: make the phases longer, or {rates} higher",
        seen.whole.done,
        validity::ENOUGH_MESSAGES
    )
}

fn errors(part: &Figures) -> Option<Reason> {
    let errors = part.refused + part.broken + part.lost + part.duplicated + part.reordered;
    (errors > 0).then(|| Reason {
        kind: validity::Kind::Errors,
        text: format!(
            "{errors} errors: connections refused or broken, messages lost, duplicated or reordered"
        ),
    })
}

fn connections_missing(part: &Figures) -> Option<Reason> {
    let wanted = part.wanted?;
    let least = (wanted as f64 * (1.0 - TOLERANCE)).floor() as u64;
    (part.open < least).then(|| Reason {
        kind: validity::Kind::ConnectionsMissing,
        text: format!("{} of {wanted} connections were open at its end", part.open),
    })
}

/// What was done in time is less than what was due, by more than can be on its way.
fn rate_missed(role: &Role, phase: &Phase, part: &Figures) -> Option<Reason> {
    let seconds = phase.seconds();
    let came = part.latency_us.corrected.map_or(0, |it| it.count);
    let in_time = came - part.late;
    let text = match role.task {
        Task::Echo(_) => shortfall(role, phase, part, in_time).then(|| {
            format!(
                "{in_time} came back in time of {} that were due in {seconds} s",
                part.due
            )
        }),
        Task::Churn { messages, .. } => {
            let replies = part.opened * messages;
            // Messages follow one another: each takes a round trip.
            let slack = slack(
                replies,
                rate_at_end(role, phase) * messages as f64,
                part,
                messages + 1,
            );
            if shortfall(role, phase, part, in_time) {
                Some(format!(
                    "{in_time} connections were opened in time of {} that were due in {seconds} s",
                    part.due
                ))
            } else if (part.done as f64) < replies as f64 - slack {
                Some(format!(
                    "{} replies came of the {replies} that {} connections asked for",
                    part.done, part.opened
                ))
            } else {
                None
            }
        }
        Task::Broadcast { .. } => {
            let slack = slack(came, came as f64 / seconds, part, 1);
            if shortfall(role, phase, part, part.sent) {
                Some(format!(
                    "{} were published of {} that were due in {seconds} s",
                    part.sent, part.due
                ))
            } else if part.late as f64 > slack {
                Some(format!(
                    "{} of {came} deliveries came when it was over: the server fell behind",
                    part.late
                ))
            } else {
                None
            }
        }
        Task::Idle => None,
    };
    text.map(|text| Reason {
        kind: validity::Kind::RateMissed,
        text,
    })
}

fn shortfall(role: &Role, phase: &Phase, part: &Figures, served: u64) -> bool {
    let slack = slack(part.due, rate_at_end(role, phase), part, 1);
    (served as f64) < part.due as f64 - slack
}

fn rate_at_end(role: &Role, phase: &Phase) -> f64 {
    role.rate.before(phase.span.end)
}

/// So many of `total` things, at `rate` per second, may be missing when a phase ends; each takes so many round trips.
fn slack(total: u64, rate: f64, part: &Figures, trips: u64) -> f64 {
    let shortest = part.latency_us.uncorrected.map_or(0.0, |it| it.min / 1e6);
    let on_the_way = ON_THE_WAY_S + shortest * trips as f64;
    total as f64 * TOLERANCE + rate * on_the_way + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::summary::Latencies;
    use crate::stats::latency::Distribution;

    /// A role of 1,000 per second for one phase of five seconds.
    fn role(kind: &str) -> (Role, Phase) {
        let text = format!(
            "title = 'x'\n[[role]]\nname = 'a'\nconnections = 5\nrate = 1000\n{kind}\n\
             [[phase]]\nname = 'p'\nduration = '5s'\n"
        );
        let mut plan = Plan::parse(&text, 1).unwrap();
        (plan.roles.remove(0), plan.phases.remove(0))
    }

    fn part(due: u64, came: u64, late: u64, min_us: f64) -> Figures {
        let times = Distribution {
            count: came,
            min: min_us,
            ..Distribution::default()
        };
        Figures {
            due,
            sent: due,
            late,
            latency_us: Latencies {
                corrected: Some(times),
                uncorrected: Some(times),
            },
            ..Figures::default()
        }
    }

    fn missed(kind: &str, part: &Figures) -> bool {
        let (role, phase) = role(kind);
        let reasons = against(&role, &phase, part);
        assert!(reasons.len() < 2, "{reasons:?}");
        reasons
            .iter()
            .any(|reason| reason.kind == validity::Kind::RateMissed)
    }

    #[test]
    fn what_comes_when_the_phase_is_over_is_missing_in_it() {
        let echo = "kind = 'echo'";
        assert!(!missed(echo, &part(5_000, 5_000, 0, 100.0)));
        assert!(!missed(echo, &part(5_000, 5_000, 150, 100.0)), "on the way");
        assert!(missed(echo, &part(5_000, 5_000, 200, 100.0)));
        assert!(
            !missed(echo, &part(5_000, 5_000, 340, 200_000.0)),
            "a round trip takes 0.2 s"
        );
        assert!(missed(echo, &part(5_000, 0, 0, 0.0)));
    }

    #[test]
    fn a_broadcast_is_behind_when_publishers_or_deliveries_are() {
        let broadcast = "kind = 'broadcast'";
        assert!(!missed(broadcast, &part(5_000, 25_000, 700, 100.0)));
        assert!(missed(broadcast, &part(5_000, 25_000, 800, 100.0)));
        let unsent = Figures {
            sent: 4_000,
            ..part(5_000, 25_000, 0, 100.0)
        };
        assert!(missed(broadcast, &unsent));
    }

    #[test]
    fn connections_of_a_churn_want_their_replies() {
        let churn = "kind = 'churn'\nmessages = 2";
        let with = |done| Figures {
            opened: 5_000,
            done,
            ..part(5_000, 5_000, 0, 100.0)
        };
        assert!(!missed(churn, &with(9_750)));
        assert!(missed(churn, &with(9_600)));
        let late = Figures {
            opened: 5_000,
            done: 10_000,
            ..part(5_000, 5_000, 200, 100.0)
        };
        assert!(missed(churn, &late));
    }
}
