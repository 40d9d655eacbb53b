//! `compare`, and `--baseline`: what became better or worse between two sets of runs.

mod pairs;
mod render;
mod rows;
pub(crate) mod set;

use std::io::{self, Write as _};

use serde::Serialize;

use crate::cli::CompareArgs;
use crate::error::{BenchError, Verdict};
use crate::gates::figure::Figure;
use pairs::pair;
pub(crate) use render::Style;
use rows::{Row, judge_together, rows};
use set::Set;

/// Version of the format of `--json`.
const SCHEMA: u32 = 1;

/// How two sets of runs compare.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    /// Relative change that does not count.
    noise: f64,
    /// Kinds of runs that both sets have.
    pairs: Vec<Compared>,
    /// Figures that were tested together, for whose number p values are adjusted.
    tested: usize,
    /// Kinds of runs that only one has.
    only_before: Vec<String>,
    only_after: Vec<String>,
    /// Invalid runs, which are not compared.
    skipped: Vec<Skipped>,
}

/// Runs of one kind.
#[derive(Debug, Serialize)]
struct Compared {
    /// Command and parameters.
    title: String,
    /// Runs before and after.
    runs: (usize, usize),
    /// Parameters and properties of the machine that differ.
    differences: Vec<String>,
    figures: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Skipped {
    folder: String,
    reason: String,
}

/// Runs the command.
///
/// # Errors
/// When a set cannot be read, or nothing in one can be compared with anything in the other.
pub(crate) fn run(args: &CompareArgs) -> Result<Verdict, BenchError> {
    if let Some(figure) = args.figures.iter().find(|figure| !figure.summarized()) {
        return Err(BenchError::usage(format!(
            "--figures {figure}: of a distribution, summaries have min, mean, p50, p90, p99, p99.9 and max"
        )));
    }
    let (before, after) = (Set::read(&args.before)?, Set::read(&args.after)?);
    let report = compare(&before, &after, args.noise, &args.figures)?;
    let style = if args.json {
        Style::Json
    } else if args.markdown {
        Style::Markdown
    } else {
        Style::Text
    };
    io::stdout().write_all(report.render(style).as_bytes())?;
    Ok(report.verdict())
}

/// Compares two sets; by these figures only when there are any.
///
/// # Errors
/// When nothing in one can be compared with anything in the other.
pub(crate) fn compare(
    before: &Set,
    after: &Set,
    noise: f64,
    figures: &[Figure],
) -> Result<Report, BenchError> {
    let sorted = pair(&before.runs, &after.runs);
    let mut pairs: Vec<Compared> = sorted
        .pairs
        .iter()
        .map(|pair| Compared {
            title: pair.title.clone(),
            runs: (pair.before.runs.len(), pair.after.runs.len()),
            differences: pair.warnings.clone(),
            figures: rows(&pair.before.runs, &pair.after.runs, noise, figures),
        })
        .collect();
    judge_together(pairs.iter_mut().flat_map(|pair| &mut pair.figures));
    let skipped = before.skipped.iter().chain(&after.skipped);
    let report = Report {
        schema: SCHEMA,
        noise,
        tested: pairs
            .iter()
            .flat_map(|pair| &pair.figures)
            .filter(|row| row.comparison.p.is_some())
            .count(),
        only_before: sorted.only_before,
        only_after: sorted.only_after,
        skipped: skipped
            .map(|(folder, reason)| Skipped {
                folder: folder.clone(),
                reason: reason.clone(),
            })
            .collect(),
        pairs,
    };
    report.check(before, after)?;
    Ok(report)
}

impl Report {
    /// A regression when anything became worse.
    pub(crate) fn verdict(&self) -> Verdict {
        let mut rows = self.pairs.iter().flat_map(|pair| &pair.figures);
        if rows.any(Row::is_worse) {
            Verdict::Regression
        } else {
            Verdict::Valid
        }
    }

    /// Nothing compared is no comparison that turned out well.
    fn check(&self, before: &Set, after: &Set) -> Result<(), BenchError> {
        let all_invalid = |which: &str| {
            let reasons: Vec<String> = self
                .skipped
                .iter()
                .map(|skipped| format!("\n  {}: {}", skipped.folder, skipped.reason))
                .collect();
            let reasons = reasons.concat();
            format!("nothing can be compared: every run {which} is invalid{reasons}")
        };
        let problem = if before.runs.is_empty() {
            all_invalid("before")
        } else if after.runs.is_empty() {
            all_invalid("after")
        } else if self.pairs.is_empty() {
            format!(
                "nothing can be compared: no run after was asked for the same as one before\n  before: {}\n  after: {}",
                self.only_before.join("\n          "),
                self.only_after.join("\n         ")
            )
        } else if self.pairs.iter().all(|pair| pair.figures.is_empty()) {
            "nothing can be compared: the runs have no such figure that is valid on both sides"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(BenchError::runtime(problem))
    }
}

#[cfg(test)]
mod tests;
