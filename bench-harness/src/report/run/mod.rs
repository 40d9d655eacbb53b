//! `report.html`: a run on a page.

mod charts;
mod figures;

use serde_json::Value;

use super::Record;
use super::env::{BUILD, Env};
use super::page::{Banner, Page, Table};
use super::summary::{FindMax, Step, Summary};
use super::text;
use crate::gates::unit::Unit;
use crate::gates::{self, find_max};
use crate::scenario;

/// Files beside the report.
const FILES: [(&str, &str); 5] = [
    ("summary.json", "all figures, for programs"),
    ("summary.md", "the same as a table, for issues"),
    (
        "timeseries.csv",
        "the course of the run, a row for each interval",
    ),
    (
        "latency.hlog",
        "all latencies by interval, for the tools of HdrHistogram",
    ),
    ("env.json", "machine and command line"),
];

/// The page of a run.
pub(super) fn page(record: &Record, env: &Env) -> Page {
    let summary = &record.summary;
    let sheet = text::sheet(summary);
    let mut page = Page::new(sheet.title());
    page.banner(banner(summary));
    page.text(text::load(summary));
    page.figures(figures::figures(summary));
    page.heading("Course");
    for chart in charts::course(record) {
        page.chart(chart);
    }
    if let Some(scenario) = &summary.scenario {
        page.heading("Roles");
        for chart in scenario::charts::charts(scenario) {
            page.chart(chart);
        }
    }
    page.heading("Latency");
    page.chart(charts::latency_curve(&record.history.stretches));
    page.table(figures::distributions(summary));
    if let Some(search) = &summary.find_max {
        page.heading("Search for the highest rate");
        page.text(&search.text);
        page.table(steps(search));
    }
    page.heading("All figures");
    page.table(Table {
        head: Vec::new(),
        rows: sheet
            .lines()
            .iter()
            .map(|(label, text)| vec![label.clone(), text.clone()])
            .collect(),
    });
    page.heading("Errors");
    page.table(errors(summary));
    page.heading("Parameters");
    page.table(listed(&summary.parameters));
    page.heading("Machine");
    page.table(listed(env));
    page.heading("Files");
    page.links(&FILES);
    page
}

fn banner(summary: &Summary) -> Banner {
    let (verdict, about) = text::verdict_words(summary);
    let mut lines = vec![about];
    let expected = summary.expectations.iter();
    lines.extend(expected.filter(|it| !it.held).map(gates::line));
    lines.extend(summary.reasons.iter().map(|reason| reason.text.clone()));
    if BUILD == "debug" {
        lines.push("debug build: figures of the client say nothing".to_owned());
    }
    let missed = summary.expectations.iter().filter(|it| !it.held).count();
    let head = match (summary.valid, missed) {
        (false, _) => verdict.to_owned(),
        (true, 0) => "Valid run".to_owned(),
        (true, _) => format!(
            "Valid run, but {missed} of {} expectations not met",
            summary.expectations.len()
        ),
    };
    Banner {
        good: summary.valid && missed == 0,
        head,
        lines,
    }
}

/// The runs of a search.
fn steps(search: &FindMax) -> Table {
    let row = |step: &Step| {
        let expected: Vec<String> = step.expectations.iter().map(gates::line).collect();
        let mut notes = vec![find_max::word(step.outcome).to_owned()];
        notes.extend(step.confirms.then(|| "confirming".to_owned()));
        notes.extend(step.reasons.iter().cloned());
        vec![
            Unit::Rate.show(step.rate as f64),
            Unit::Rate.show(step.reached),
            expected.join("; "),
            notes.join("; "),
        ]
    };
    Table {
        head: ["Rate", "Reached", "Expected", "Result"]
            .map(str::to_owned)
            .into(),
        rows: search.steps.iter().map(row).collect(),
    }
}

fn errors(summary: &Summary) -> Table {
    let errors = &summary.errors;
    let counts = [
        ("Connections that could not be opened", Some(errors.refused)),
        (
            "Connections that broke, or whose replies were wrong",
            Some(errors.broken),
        ),
        ("Messages that did not come", Some(errors.lost)),
        ("Messages that came more than once", errors.duplicated),
        ("Messages that came after a later one", errors.reordered),
    ];
    let counted = |(what, count): (&str, Option<u64>)| Some(vec![what.into(), count?.to_string()]);
    let mut rows: Vec<Vec<String>> = counts.into_iter().filter_map(counted).collect();
    let reasons = errors.reasons.iter();
    rows.extend(reasons.map(|it| vec![it.reason.clone(), it.count.to_string()]));
    Table {
        head: vec!["What".to_owned(), "Times".to_owned()],
        rows,
    }
}

/// A row for every field, named as in the file.
fn listed(part: &impl serde::Serialize) -> Table {
    let value = serde_json::to_value(part).expect("plain structures serialize");
    let mut rows = Vec::new();
    fill(&mut rows, "", &value);
    Table {
        head: Vec::new(),
        rows,
    }
}

fn fill(rows: &mut Vec<Vec<String>>, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() {
                    field.clone()
                } else {
                    format!("{name}.{field}")
                };
                fill(rows, &name, value);
            }
        }
        Value::Array(pairs) if pairs.iter().any(Value::is_array) => {
            for pair in pairs {
                fill(rows, &plain(&pair[0]), &pair[1]);
            }
        }
        Value::Array(list) => {
            let words: Vec<_> = list.iter().map(plain).collect();
            rows.push(vec![name.to_owned(), words.join(" ")]);
        }
        Value::Null => {}
        other => rows.push(vec![name.to_owned(), plain(other)]),
    }
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
