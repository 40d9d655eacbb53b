//! Results as a suite might leave them, for tests.

use std::collections::BTreeMap;

use super::metrics::MetricName;
use super::results::{
    CaseRecord, ContestantRecord, CurvePoint, Measured, MissingRecord, Results, Role, Run,
};

/// A case with the cost of each run by entrant, one for each round, and a rate that goes with it.
pub(crate) fn case(name: &str, entrants: &[(&str, &[f64])]) -> CaseRecord {
    let runs = entrants.iter().flat_map(|&(entrant, costs)| {
        (1..)
            .zip(costs)
            .map(move |(round, &cost)| run(entrant, round, cost))
    });
    CaseRecord {
        name: name.to_owned(),
        title: format!("the case {name}"),
        measured: Measured {
            started: "2026-01-02T03:04:05Z".to_owned(),
            load: "corecast-bench echo URL -c 100".to_owned(),
            rounds: 5,
            duration_s: 3.0,
            server_cores: vec![0],
            client_cores: vec![1],
            build: "release".to_owned(),
            commit: Some("0123456789abcdef".to_owned()),
            cpu: Some("a processor".to_owned()),
            kernel: Some("6.18.0".to_owned()),
            busy_before: Some(0.01),
        },
        metrics: [
            ("cost", "server CPU per message", "µs"),
            ("rate", "messages per second", "/s"),
        ]
        .map(|(key, title, unit)| MetricName {
            key: key.to_owned(),
            title: title.to_owned(),
            unit: unit.to_owned(),
        })
        .into(),
        curve: None,
        entrants: entrants
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect(),
        runs: runs.collect(),
    }
}

/// Makes the run of a round invalid, as if it had been measured twice in vain.
pub(crate) fn spoil(case: &mut CaseRecord, entrant: &str, round: u64) {
    let run = case
        .runs
        .iter_mut()
        .find(|run| run.entrant == entrant && run.round == round);
    let run = run.expect("it is there");
    run.valid = false;
    run.figures.clear();
    run.reasons = vec!["the server vanished".to_owned()];
    let again = Run {
        attempt: 2,
        ..run.clone()
    };
    case.runs.push(again);
}

/// A table and a curve of two points, of Corecast, its floor, a variant and two others.
pub(crate) fn results() -> Results {
    let rounds = |cost: f64| [0.99, 1.0, 1.01, 1.0, 1.0].map(|factor| factor * cost);
    let table = case(
        "echo-512",
        &[
            ("corecast", &rounds(1.2)),
            ("corecast-epoll", &rounds(1.1)),
            ("floor-ring", &rounds(1.0)),
            ("bun", &rounds(2.4)),
            ("slow|peer", &rounds(4.8)),
        ],
    );
    let point = |x: f64, cost: f64| CaseRecord {
        curve: Some(CurvePoint {
            name: "payload".to_owned(),
            title: "payload: echo".to_owned(),
            axis: "payload, bytes".to_owned(),
            x,
        }),
        ..case(
            &format!("payload-{x}"),
            &[("corecast", &rounds(cost)), ("bun", &rounds(2.0 * cost))],
        )
    };
    let contestant = |name: &str, role| ContestantRecord {
        name: name.to_owned(),
        role,
        version: Some("1.2.3".to_owned()),
    };
    Results {
        contestants: vec![
            contestant("corecast", Role::Corecast),
            contestant("corecast-epoll", Role::Variant),
            contestant("floor-ring", Role::Floor),
            contestant("bun", Role::Other),
            contestant("slow|peer", Role::Other),
        ],
        missing: vec![MissingRecord {
            name: "ws".to_owned(),
            install: "scripts/peers build ws-deflate".to_owned(),
        }],
        cases: vec![table, point(16.0, 1.0), point(1_024.0, 1.5)],
        skipped: vec!["idle: too few descriptors".to_owned()],
        ..Results::new(false)
    }
}

fn run(entrant: &str, round: u64, cost: f64) -> Run {
    Run {
        entrant: entrant.to_owned(),
        round,
        attempt: 1,
        valid: true,
        throughput_valid: entrant == "bun",
        reasons: Vec::new(),
        figures: BTreeMap::from([
            ("cost".to_owned(), cost),
            ("rate".to_owned(), 1_000_000.0 / cost),
        ]),
        folder: format!("runs/case/{entrant}/{round}"),
    }
}
