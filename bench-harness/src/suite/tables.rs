//! The tables of a suite: `README.md` and `report.html` are made of the same ones.

use super::analysis::{self, Figure, Row, Versus};
use super::metrics::{COST_KEY, MetricName, RATE_KEY, is_latency};
use super::numbers::{grouped, short};
use super::results::{CaseRecord, Results};
use crate::report::page::Table;
use crate::stats::compare::Change;

/// What cannot be told.
const NOTHING: &str = "—";

/// One line for each case: the first server, its floor, and the best of the others.
pub(crate) fn headlines(results: &Results) -> Table {
    let cases = || {
        let tables = results.cases.iter().filter(|case| case.curve.is_none());
        tables.filter(|case| !is_about_the_screen(case))
    };
    // Cases that were measured at different times need not have the same one.
    let mut firsts: Vec<&str> = cases().map(|case| case.entrants[0].as_str()).collect();
    firsts.dedup();
    let rows = cases().map(|case| {
        let headline = analysis::headline(results, case);
        let metric = &case.metrics[0];
        let (best, figure) = headline.best.unzip();
        vec![
            case.title.clone(),
            named(metric),
            match firsts.as_slice() {
                [_] => median(headline.first),
                _ => format!("{} ({})", median(headline.first), case.entrants[0]),
            },
            median(headline.floor),
            best.map_or(NOTHING.to_owned(), |name| {
                format!("{} ({name})", median(figure))
            }),
            ratio(headline.versus.as_ref()),
        ]
    });
    let first = match firsts.as_slice() {
        [first] => first,
        _ => "the first",
    };
    Table {
        head: vec![
            "case".to_owned(),
            "figure".to_owned(),
            first.to_owned(),
            "floor".to_owned(),
            "best other".to_owned(),
            format!("{first} ÷ it"),
        ],
        rows: rows.collect(),
    }
}

/// All servers in a case.
pub(crate) fn of_case(case: &CaseRecord) -> Table {
    let rows = analysis::rows(case);
    let has_floor = rows.iter().any(|row| row.over_floor.is_some());
    let mut head = vec!["server".to_owned()];
    head.extend(case.metrics.iter().map(named));
    head.push(format!("{} ÷ it", case.entrants[0]));
    if has_floor {
        head.push("it ÷ floor".to_owned());
    }
    let line = |row: &Row| {
        let mut cells = vec![row.label.clone()];
        let figures = row.figures.iter().zip(&case.metrics);
        cells.extend(figures.map(|(figure, metric)| cell(row, *figure, metric)));
        cells.push(ratio(row.versus.as_ref()));
        if has_floor {
            cells.push(over_floor(row.over_floor.as_ref()));
        }
        cells
    };
    let rows = rows.iter().map(line).collect();
    Table { head, rows }
}

/// The points of a curve: what a message costs each server, and how many it had.
pub(crate) fn of_curve(points: &[&CaseRecord]) -> Table {
    let labels = labels(points);
    let axis = points[0].curve.as_ref().map_or("", |curve| &curve.axis);
    let mut head = vec![axis.to_owned()];
    for label in &labels {
        head.push(format!("{label}, µs"));
        head.push(format!("{label}, /s"));
    }
    let line = |case: &&CaseRecord| {
        let mut cells = vec![place(case)];
        for label in &labels {
            let of = |key| analysis::median_of(case, label, key).map(short);
            cells.push(of(COST_KEY).unwrap_or(NOTHING.to_owned()));
            let sign = if case.throughput_valid(label) {
                ""
            } else {
                "≥ "
            };
            let rate = of(RATE_KEY).map(|rate| format!("{sign}{rate}"));
            cells.push(rate.unwrap_or(NOTHING.to_owned()));
        }
        cells
    };
    let rows = points.iter().map(line).collect();
    Table { head, rows }
}

/// A point's place on its curve.
fn place(case: &CaseRecord) -> String {
    let x = case.curve.as_ref().map_or(0.0, |curve| curve.x);
    let it = &case.measured;
    let both = |core: &&usize| it.client_cores.contains(core);
    let note = match it.server_cores.iter().filter(both).count() {
        0 => String::new(),
        1 => " (one is the client's, too)".to_owned(),
        shared => format!(" ({shared} are the client's, too)"),
    };
    format!("{}{note}", grouped(x))
}

/// The curves, each with its points in order.
pub(crate) fn curves(results: &Results) -> Vec<Vec<&CaseRecord>> {
    let mut curves: Vec<Vec<&CaseRecord>> = Vec::new();
    let name = |case: &CaseRecord| case.curve.as_ref().map(|curve| curve.name.clone());
    for case in results.cases.iter().filter(|case| case.curve.is_some()) {
        match curves
            .iter_mut()
            .find(|points| name(points[0]) == name(case))
        {
            Some(points) => points.push(case),
            None => curves.push(vec![case]),
        }
    }
    curves
}

/// Who is on a curve.
pub(crate) fn labels(points: &[&CaseRecord]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in points.iter().flat_map(|case| &case.entrants) {
        if !labels.contains(label) {
            labels.push(label.clone());
        }
    }
    labels
}

/// It compares the harness with itself, not servers.
pub(super) fn is_about_the_screen(case: &CaseRecord) -> bool {
    case.name == "screen"
}

fn named(metric: &MetricName) -> String {
    if metric.unit.is_empty() || metric.unit == "/s" {
        return metric.title.clone();
    }
    format!("{}, {}", metric.title, metric.unit)
}

fn cell(row: &Row, figure: Option<Figure>, metric: &MetricName) -> String {
    let Some(figure) = figure else {
        return NOTHING.to_owned();
    };
    let sign = match metric.key.as_str() {
        _ if row.throughput_valid => "",
        RATE_KEY => "≥ ",
        key if is_latency(key) => "≤ ",
        _ => "",
    };
    let median = short(figure.median);
    if figure.lowest == figure.highest {
        return format!("{sign}{median}");
    }
    let (lowest, highest) = (short(figure.lowest), short(figure.highest));
    format!("{sign}{median} ({lowest}–{highest})")
}

fn median(figure: Option<Figure>) -> String {
    figure.map_or(NOTHING.to_owned(), |figure| short(figure.median))
}

/// A ratio, its interval, and whether it tells anything.
fn ratio(versus: Option<&Versus>) -> String {
    let Some(versus) = versus else {
        return NOTHING.to_owned();
    };
    let sign = match versus.change {
        Change::TooFewRuns => " ?",
        Change::Same => " =",
        Change::Higher | Change::Lower => "",
    };
    format!("{}{sign}", interval(versus))
}

/// A ratio and its interval.
pub(super) fn interval(versus: &Versus) -> String {
    let interval = versus.interval.map_or(String::new(), |(low, high)| {
        format!(" ({}–{})", short(low), short(high))
    });
    format!("{}{interval}", times(versus.ratio))
}

/// Marked where it is surely below the floor.
fn over_floor(versus: Option<&Versus>) -> String {
    let Some(versus) = versus else {
        return NOTHING.to_owned();
    };
    let mark = match versus.change {
        Change::Lower => " †",
        _ => "",
    };
    format!("{}{mark}", times(versus.ratio))
}

fn times(ratio: f64) -> String {
    format!("{}×", short(ratio))
}
