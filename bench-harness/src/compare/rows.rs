//! One row per figure: what it was, what it is, and whether that is better.

use serde::Serialize;
use serde_json::Value;

use super::set::Run;
use crate::gates::figure::{Better, Figure, Figures};
use crate::gates::unit::Unit;
use crate::stats::compare::{Change, Comparison, Tolerance, adjust, compare_sets};

/// How a figure changed.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Its name.
    #[serde(rename = "figure", serialize_with = "by_name")]
    pub(super) figure: Figure,
    #[serde(flatten)]
    pub(super) comparison: Comparison,
    pub(super) verdict: Word,
}

/// What that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Word {
    Better,
    Worse,
    Same,
    TooFewRuns,
}

/// Figures that are compared unless others are asked for, where both sets have them.
const COMPARED: [&str; 13] = [
    "cpu",
    "rate",
    "max-rate",
    "p50",
    "p99",
    "p99.9",
    "last.p99",
    "connect.p50",
    "connect.p99",
    "close.p99",
    "rss/conn",
    "anon/conn",
    "rss/subscriber",
];

/// What a figure needs to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    /// `throughput_valid`.
    Throughput,
    /// `cost_valid`.
    Cost,
    /// A valid run will do.
    Nothing,
}

/// Compares figures of runs that belong together. Those that are not valid on both sides are left out, and so are those that the
/// runs were asked for.
pub(super) fn rows(before: &[&Run], after: &[&Run], noise: f64, wanted: &[Figure]) -> Vec<Row> {
    let known = || {
        COMPARED
            .iter()
            .filter_map(|name| name.parse::<Figure>().ok())
    };
    let figures: Vec<Figure> = if wanted.is_empty() {
        known().collect()
    } else {
        wanted.to_vec()
    };
    figures
        .into_iter()
        .filter_map(|figure| {
            let (one, other) = (values(&figure, before), values(&figure, after));
            let tolerance = Tolerance {
                relative: noise,
                absolute: least(&figure, before),
            };
            let comparison = compare_sets(&one, &other, tolerance)?;
            Some(Row {
                verdict: word(figure.better(), comparison.change),
                figure,
                comparison,
            })
        })
        .collect()
}

/// Judges the rows of a whole comparison together: each is one more chance to take noise for a change.
pub(super) fn judge_together<'a>(rows: impl Iterator<Item = &'a mut Row>) {
    let mut rows: Vec<&mut Row> = rows.collect();
    let mut family: Vec<&mut Comparison> = rows.iter_mut().map(|row| &mut row.comparison).collect();
    adjust(&mut family);
    for row in rows {
        row.verdict = word(row.figure.better(), row.comparison.change);
    }
}

/// The least difference that counts, in the figure's unit: a server's memory comes in pages, one of which more or less is nothing.
fn least(figure: &Figure, runs: &[&Run]) -> f64 {
    const PAGE: f64 = 4096.0;
    let connections = runs
        .iter()
        .filter_map(|run| run.parameters().get("connections")?.as_f64())
        .fold(1.0, f64::max);
    match figure.unit() {
        Unit::Bytes if figure.better() == Better::Lower => (PAGE / connections).max(1.0),
        _ => 0.0,
    }
}

impl Row {
    pub(super) fn is_worse(&self) -> bool {
        self.verdict == Word::Worse
    }
}

fn word(better: Better, change: Change) -> Word {
    match (change, better) {
        (Change::Higher, Better::Higher) | (Change::Lower, Better::Lower) => Word::Better,
        (Change::Higher, Better::Lower) | (Change::Lower, Better::Higher) => Word::Worse,
        (Change::Same, _) => Word::Same,
        (Change::TooFewRuns, _) => Word::TooFewRuns,
    }
}

/// A figure in every run that has it and in which it is right.
fn values(figure: &Figure, runs: &[&Run]) -> Vec<f64> {
    let value = |run: &&Run| {
        let summary = &run.summary;
        let figures = Figures {
            summary,
            latencies: [None, None],
        };
        // A server that gives memory back does not cost less than nothing.
        let value = figure.value(&figures).map(|value| value.max(0.0));
        value.filter(|_| holds(figure, summary))
    };
    runs.iter().filter_map(value).collect()
}

fn holds(figure: &Figure, summary: &Value) -> bool {
    let name = figure.to_string();
    let found = !summary["find_max"].is_null();
    if found {
        // Latency and cost are those at a rate that differs from run to run.
        return figure.is_max_rate();
    }
    let asked = &summary["parameters"];
    let given = !asked["rate"].is_null() || !asked["connect_rate"].is_null();
    if given && matches!(name.as_str(), "rate" | "throughput") {
        return false;
    }
    match needs(figure, &name) {
        Needs::Throughput => summary["throughput_valid"] == true,
        Needs::Cost => summary["cost_valid"] == true,
        Needs::Nothing => true,
    }
}

fn needs(figure: &Figure, name: &str) -> Needs {
    match (figure, name) {
        (Figure::Of(..), _) | (_, "rate" | "throughput") => Needs::Throughput,
        (_, "cpu") => Needs::Cost,
        _ => Needs::Nothing,
    }
}

fn by_name<S: serde::Serializer>(figure: &Figure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(figure)
}
