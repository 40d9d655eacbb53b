//! A comparison as text, Markdown and JSON.

use std::fmt::Write as _;

use super::rows::{Row, Word};
use super::{Compared, Report};
use crate::screen::words::harmless;
use crate::stats::compare::runs_needed;

/// For whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Text,
    Markdown,
    Json,
}

const HEAD: [&str; 7] = [
    "figure",
    "before",
    "after",
    "change",
    "95 % interval",
    "p (adjusted)",
    "verdict",
];

impl Report {
    /// The comparison, with a line feed at the end.
    pub(crate) fn render(&self, style: Style) -> String {
        if style == Style::Json {
            let text = serde_json::to_string_pretty(self);
            return text.expect("plain structures serialize") + "\n";
        }
        let mut out = String::new();
        for pair in &self.pairs {
            out += &section(pair, style);
        }
        let mut notes = Vec::new();
        for (list, which) in [(&self.only_before, "before"), (&self.only_after, "after")] {
            notes.extend(list.iter().map(|title| format!("only {which}: {title}")));
        }
        let skipped = self.skipped.iter();
        notes.extend(
            skipped.map(|run| format!("invalid, not compared: {}: {}", run.folder, run.reason)),
        );
        notes.push(self.rule());
        for note in notes {
            let _ = match style {
                Style::Markdown => writeln!(out, "- {note}"),
                _ => writeln!(out, "{note}"),
            };
        }
        // Folders and summaries may come from anybody.
        harmless(&out)
    }

    /// How verdicts came about, and what to do where there are none.
    fn rule(&self) -> String {
        let rows = || self.pairs.iter().flat_map(|pair| &pair.figures);
        let mut rule = format!(
            "A change counts beyond {} % of noise, and when it is significant at 5 % (Mann–Whitney)",
            self.noise * 100.0
        );
        if self.tested > 0 {
            rule += &format!(
                ", adjusted for {} compared together (Holm); intervals are of each figure alone",
                counted(self.tested, "figure")
            );
        }
        rule.push('.');
        if rows().any(|row| row.verdict == Word::TooFewRuns) {
            rule += "\n";
            // Those that are too few to be tested now will be, with more runs.
            rule += &too_few(rows().count());
        }
        rule
    }
}

/// What to do about too few runs to tell of so many figures.
fn too_few(figures: usize) -> String {
    let needed = runs_needed(figures);
    let mut text = format!(
        "Too few runs to tell: {} to compare {} at least {needed} runs before and {needed} after (--repeat {needed})",
        counted(figures, "figure"),
        if figures == 1 { "takes" } else { "take" }
    );
    let alone = runs_needed(1);
    if needed > alone {
        text += &format!(", one alone (such as --figures cpu of `compare`) {alone}");
    }
    text + ". Nothing is called better or worse on less."
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn section(pair: &Compared, style: Style) -> String {
    let mut out = String::new();
    let (before, after) = pair.runs;
    let title = format!(
        "{} ({} before, {after} after)",
        pair.title,
        counted(before, "run")
    );
    let _ = match style {
        Style::Markdown => writeln!(out, "### {title}\n"),
        _ => writeln!(out, "{title}"),
    };
    for difference in &pair.differences {
        let _ = match style {
            Style::Markdown => writeln!(out, "**Not the same:** {difference}\n"),
            _ => writeln!(out, "  not the same: {difference}"),
        };
    }
    let cells: Vec<[String; 7]> = pair.figures.iter().map(cells).collect();
    out + &table(&cells, style) + "\n"
}

fn table(rows: &[[String; 7]], style: Style) -> String {
    let mut out = String::new();
    if style == Style::Markdown {
        let _ = writeln!(out, "| {} |", HEAD.join(" | "));
        let _ = writeln!(out, "|---|---:|---:|---:|---:|---:|---|");
        for row in rows {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        return out;
    }
    let head = HEAD.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max();
    for row in all() {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).unwrap_or(0);
            // Words to the left, figures to the right.
            let _ = match column {
                0 => write!(line, " {cell:<width$}"),
                6 => write!(line, "  {cell}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn cells(row: &Row) -> [String; 7] {
    let found = &row.comparison;
    let unit = row.figure.unit();
    let word = match row.verdict {
        Word::Better => "better",
        Word::Worse => "WORSE",
        Word::Same => "same",
        Word::TooFewRuns => "too few runs to tell",
    };
    [
        row.figure.to_string(),
        unit.show(found.medians.0),
        unit.show(found.medians.1),
        found.ratio.map_or("from 0".to_owned(), percent),
        found.interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} … {}", percent(low), percent(high))
        }),
        found
            .p_adjusted
            .map_or("–".to_owned(), |p| format!("{p:.4}")),
        word.to_owned(),
    ]
}

/// A ratio as a change.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}
