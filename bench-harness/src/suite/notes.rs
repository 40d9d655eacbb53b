//! What is said around the tables of a suite: how the figures were taken, and what is against them.

use super::analysis;
use super::metrics::is_latency;
use super::neighbours::NOISY;
use super::results::{CaseRecord, Results};
use super::tables::{interval, is_about_the_screen};
use crate::stats::rounds::Agreement;

/// Said of a quick suite.
pub(crate) const QUICK: &str =
    "A quick suite: it shows where things stand. Its rounds are too few to compare servers by.";

/// The heading of the first table.
pub(crate) const AT_A_GLANCE: &str = "At a glance";

/// What the columns of a curve's table are.
pub(crate) const CURVES: &str = "µs: processor time of the server for one message; /s: messages, or for subscribers deliveries, in a second.";

/// What the signs in tables mean.
pub(crate) const LEGEND: &str = "\
A figure is the median over the rounds, with the lowest and the highest. A ratio is the median of the ratios taken within each round, \
with its interval of 95 % confidence, each for itself (Student's t of their logarithms); of costs, times and memory, below 1 is better for \
the first. “=” stands where the difference is within 3 % or the interval has 1 in it, “?” where the rounds are too few to tell. “≥” marks a rate that the client \
or others on the machine set, not the server, and “≤” a time that they have a part in. “†” marks what costs less than the floor, which is no limit: it \
is the plainest way to do the same, and a server that gathers what it sends in one turn makes fewer calls.";

/// How a measurement of these cases was done: one line for each way.
pub(crate) fn circumstances(results: &Results) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for case in &results.cases {
        let it = &case.measured;
        let commit = it.commit.as_deref().map_or("unknown", |commit| {
            // The first twelve digits, and whether files differed.
            let digits = commit.get(..12).unwrap_or(commit);
            if commit.ends_with("-dirty") {
                "uncommitted changes"
            } else {
                digits
            }
        });
        let cores = |list: &[usize]| {
            let list: Vec<_> = list.iter().map(usize::to_string).collect();
            list.join(",")
        };
        let line = format!(
            "{}, Linux {}; servers on processors {}, client on {}; {} build, commit {commit}",
            it.cpu.as_deref().unwrap_or("unknown processor"),
            it.kernel.as_deref().unwrap_or("unknown"),
            cores(&it.server_cores),
            cores(&it.client_cores),
            it.build,
        );
        let noisy = it.busy_before.filter(|busy| *busy > NOISY);
        let line = noisy.map_or(line.clone(), |busy| {
            format!(
                "{line}; others kept {:.0} % of the machine busy",
                busy * 100.0
            )
        });
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

/// The servers, with their versions.
pub(crate) fn contestants(results: &Results) -> String {
    let named = results.contestants.iter().map(|it| match &it.version {
        Some(version) => format!("{} {version}", it.name),
        None => it.name.clone(),
    });
    named.collect::<Vec<_>>().join(", ")
}

/// When a case was measured, and how often.
pub(crate) fn taken(case: &CaseRecord) -> String {
    let it = &case.measured;
    let rounds = if it.rounds == 1 { "round" } else { "rounds" };
    format!(
        "{}, {} {rounds} of {} s",
        it.started, it.rounds, it.duration_s
    )
}

/// The rounds of a case that have no valid run, with what was against the last one.
pub(crate) fn against(case: &CaseRecord) -> Vec<String> {
    let line = |run: &super::results::Run| {
        let reasons = run.reasons.join("; ").replace('\n', " ");
        format!(
            "invalid: {}, {}, round {}: {reasons}",
            case.name, run.entrant, run.round
        )
    };
    case.invalid().into_iter().map(line).collect()
}

/// What was not measured at all, and why.
pub(crate) fn left_out(results: &Results) -> Vec<String> {
    let missing = results.missing.iter();
    let missing = missing.map(|it| format!("{}: {}", it.name, it.install));
    let skipped = results.skipped.iter();
    let skipped = skipped.cloned();
    missing.chain(skipped).collect()
}

/// The difference with the screen that nobody minds. Percentiles of runs of the same kind lie further apart by themselves, those of
/// the tail furthest.
fn margin(key: &str) -> f64 {
    match key {
        "p50" => 0.10,
        key if is_latency(key) => 0.25,
        _ => 0.05,
    }
}

/// What the case about the harness's own screen shows, in a sentence; `None` of other cases, and when it has no valid runs.
pub(crate) fn about_the_screen(case: &CaseRecord) -> Option<String> {
    if !is_about_the_screen(case) {
        return None;
    }
    let [without, with] = case.entrants.as_slice() else {
        return None;
    };
    let told = case.metrics.iter().filter_map(|metric| {
        let versus = analysis::ratio_of(case, with, without, &metric.key)?;
        let margin = margin(&metric.key);
        let word = match versus.agreement(margin) {
            Agreement::Agrees => "agrees within",
            Agreement::Differs => "DIFFERS by more than",
            Agreement::NotTold => "not told whether within",
        };
        let percent = margin * 100.0;
        Some(format!(
            "{} {}, {word} {percent:.0} %",
            metric.title,
            interval(&versus)
        ))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "With the live screen, against without: {}.",
            told.join("; ")
        )
    })
}
