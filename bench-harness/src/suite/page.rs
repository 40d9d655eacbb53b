//! `report.html` of a suite's folder: the same tables, and the curves as plots.

use super::analysis::median_of;
use super::cases::Curve;
use super::metrics::{COST_KEY, LATENCY_KEYS, RATE_KEY};
use super::notes;
use super::results::{CaseRecord, Results};
use super::tables;
use crate::report::page::{Axis, Banner, Chart, Page, Series, Unit};

/// The document.
pub(crate) fn page(results: &Results) -> String {
    let mut page = Page::new("Suite: what a message costs which server");
    page.banner(banner(results));
    for line in notes::circumstances(results) {
        page.text(line);
    }
    page.text(notes::contestants(results));
    let headlines = tables::headlines(results);
    if !headlines.rows.is_empty() {
        page.heading(notes::AT_A_GLANCE);
    }
    page.table(headlines);
    page.text(notes::LEGEND);
    for points in tables::curves(results) {
        let title = points[0].curve.as_ref().map_or("", |curve| &curve.title);
        page.heading(format!("By {title}"));
        for chart in [costs(&points), latencies(&points)] {
            page.chart(chart);
        }
        page.table(tables::of_curve(&points));
        page.text(notes::CURVES);
        page.text(notes::taken(points[0]));
    }
    for case in results.cases.iter().filter(|case| case.curve.is_none()) {
        page.heading(case.title.as_str());
        page.table(tables::of_case(case));
        notes::about_the_screen(case)
            .into_iter()
            .for_each(|text| page.text(text));
        page.text(format!("{}: {}", notes::taken(case), case.measured.load));
    }
    let left_out = notes::left_out(results);
    if !left_out.is_empty() {
        page.heading("Not measured");
    }
    left_out.into_iter().for_each(|text| page.text(text));
    page.heading("Files");
    page.links(&[
        ("suite.json", "every run with its figures, for programs"),
        ("README.md", "the tables, to be quoted"),
        ("env.json", "the machine"),
    ]);
    page.render()
}

/// What the figures are not good for.
fn banner(results: &Results) -> Banner {
    let quick = results.quick.then(|| notes::QUICK.to_owned());
    let invalid = results.cases.iter().flat_map(notes::against);
    let lines: Vec<String> = quick.into_iter().chain(invalid).collect();
    let good = lines.is_empty();
    let head = if good {
        "Every round of every server has a valid run"
    } else {
        "Not everything can be told"
    };
    Banner {
        good,
        head: head.to_owned(),
        lines,
    }
}

/// A curve: what a message costs on the left axis, how many there were on the right.
fn costs(points: &[&CaseRecord]) -> Chart {
    let cost = axis(points, COST_KEY, Unit::Micros);
    let rate = axis(points, RATE_KEY, Unit::PerSecond);
    let title = format!("{} (left) and {} (right)", cost.label, rate.label);
    let mut chart = Chart::new(title, across(points), vec![cost, rate]);
    chart.note = Some(
        "Solid: what it costs; broken: how many. Where the client set the rate, the table marks it with ≥.".to_owned(),
    );
    for (colour, label) in tables::labels(points).iter().enumerate() {
        let series =
            |key, what| Series::new(format!("{label}, {what}"), line(points, label, key), colour);
        chart.push(series(COST_KEY, "cost"));
        chart.push(series(RATE_KEY, "rate").on_the_right().dashed());
    }
    chart
}

/// The same of how long it took.
fn latencies(points: &[&CaseRecord]) -> Chart {
    let known = |key: &&&str| points[0].metrics.iter().any(|metric| metric.key == **key);
    let key = LATENCY_KEYS.iter().find(known).unwrap_or(&LATENCY_KEYS[0]);
    let axis = axis(points, key, Unit::Micros);
    let mut chart = Chart::new(axis.label.clone(), across(points), vec![axis]);
    for (colour, label) in tables::labels(points).iter().enumerate() {
        chart.push(Series::new(label, line(points, label, key), colour));
    }
    chart
}

fn across(points: &[&CaseRecord]) -> Axis {
    let curve = points[0].curve.as_ref();
    let bytes = curve.is_some_and(|curve| curve.name == Curve::Payload.name());
    let unit = if bytes { Unit::Bytes } else { Unit::Count };
    Axis::log(curve.map_or("", |curve| &curve.axis), unit)
}

/// The axis of a metric, logarithmic, because curves span powers of ten.
fn axis(points: &[&CaseRecord], key: &str, unit: Unit) -> Axis {
    let found = points[0].metrics.iter().find(|metric| metric.key == key);
    Axis::log(found.map_or("", |metric| &metric.title), unit)
}

fn line(points: &[&CaseRecord], label: &str, key: &str) -> Vec<(f64, f64)> {
    let point = |case: &&CaseRecord| {
        let x = case.curve.as_ref()?.x;
        Some((x, median_of(case, label, key)?))
    };
    points.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_curve_is_a_plot_of_cost_and_rate() {
        let results = samples::results();
        let curves = tables::curves(&results);
        let chart = serde_json::to_value(costs(&curves[0])).unwrap();
        assert_eq!(
            (&chart["x"]["log"], &chart["x"]["label"]),
            (&true.into(), &"payload, bytes".into())
        );
        let series = chart["series"].as_array().unwrap();
        let of = |name: &str| series.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(of("corecast, cost")["x"], serde_json::json!([16.0, 1024.0]));
        assert_eq!(of("corecast, cost")["y"], serde_json::json!([1.0, 1.5]));
        assert_eq!(of("bun, rate")["axis"], 1);
        assert_eq!(of("bun, rate")["y"][0], 500_000.0);
        assert!(
            latencies(&curves[0]).series.is_empty(),
            "the samples have none"
        );
    }

    #[test]
    fn the_document_has_every_table_and_no_markup_of_names() {
        let mut results = samples::results();
        results.cases[0].entrants.push("<b>x</b>".to_owned());
        let page = page(&results);
        for text in [
            "the case echo-512",
            "By payload: echo",
            "0.500×",
            "Every round of every server",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(
            !page.contains("<b>x</b>") && page.contains("&lt;b&gt;x"),
            "names are escaped"
        );
    }

    #[test]
    fn all_good_is_said_only_when_it_is() {
        let mut results = samples::results();
        assert!(banner(&results).good);
        results.quick = true;
        assert!(!banner(&results).good);
        results.quick = false;
        samples::spoil(&mut results.cases[0], "bun", 1);
        assert!(banner(&results).lines[0].contains("the server vanished"));
    }
}
