use serde_json::json;

use super::*;
use crate::stats::latency::Latency;
use crate::telemetry::monitor::History;
use crate::telemetry::sample::{ClientSample, Phase, Sample, ServerSample, Stretch};

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

fn summary(change: impl FnOnce(&mut Value)) -> Summary {
    let distribution = json!({"count": 4, "min": 1.0, "mean": 2.0, "p50": 55.25, "p90": 3.0, "p99": 1400.0, "p99_9": 5.0, "max": 6.0});
    let memory = json!({"resident": 3 << 20, "anonymous": 2 << 20, "file": 1 << 20, "shared": 0});
    let mut value = json!({
        "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": true, "judged_by": "throughput",
        "throughput_valid": true, "cost_valid": true, "reasons": [], "limited_by": "rate",
        "parameters": {"connections": 5, "rate": 100, "loop": "open", "cores": [1, 2], "seed": 1},
        "window_s": 2.0,
        "messages": {"count": 200, "per_second": 100.0, "payload_bytes_per_second": 1000.0},
        "latency_us": {"corrected": distribution, "uncorrected": distribution},
        "server": {"pids": [1], "cpu_us": 640.0, "cpu_us_per_message": 3.2, "user_share": 0.5, "running": 0.1, "busy": 0.2,
            "threads": 1, "voluntary_switches": 1, "involuntary_switches": 2, "memory": memory, "descriptors": 9},
        "client": {"threads": 1, "running": 0.25, "busy": 0.5, "steal_s": null},
        "errors": {"refused": 0, "broken": 0, "lost": 0, "reasons": []},
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

#[test]
fn a_search_has_a_table_of_its_steps() {
    let summary = summary(|value| {
        value["find_max"] = json!({
            "objective": ["p99 < 5 ms"], "precision": 0.05, "rate": 2500, "ended": "found", "text": "2500/s is the highest",
            "steps": [{"rate": 5000, "reached": 4321.0, "outcome": "others-limit", "confirms": true, "reasons": ["others ran"],
                "expectations": [{"expectation": "p99 < 5 ms", "figure": "p99", "shown": "7 ms", "held": false}]}],
        });
    });
    let record = Record {
        summary,
        history: history(),
    };
    let page = page(&record, &crate::report::env::collect()).render();
    for text in [
        "2500/s is the highest",
        "4321/s",
        "7 ms FAILED",
        "confirming; others ran",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

fn history() -> History {
    let mut latency = Latency::new();
    (1..=1000).for_each(|n| latency.record(n * 1_000));
    let row = |at_s, phase| Sample {
        at_s,
        length_s: 1.0,
        phase,
        done: 100,
        sent: 100,
        errors: 0,
        opening: 0,
        open: 5,
        latency_us: latency.distribution(),
        uncorrected_us: None,
        client: ClientSample::default(),
        server: Some(ServerSample {
            cpu_us: 320.0,
            ..ServerSample::default()
        }),
    };
    History {
        samples: vec![
            row(1.0, Phase::WarmUp),
            row(2.0, Phase::Measuring),
            row(3.0, Phase::Measuring),
        ],
        stretches: vec![Stretch {
            from_s: 1.0,
            length_s: 2.0,
            corrected: latency.pack(),
            uncorrected: None,
        }],
        ended: None,
    }
}

fn html(change: impl FnOnce(&mut Value)) -> String {
    let record = Record {
        summary: summary(change),
        history: history(),
    };
    page(&record, &crate::report::env::collect()).render()
}

#[test]
fn what_a_message_costs_comes_first_and_an_invalid_run_is_unmistakable() {
    let valid = html(|_| ());
    assert!(valid.contains("data-good=\"true\"") && valid.contains("Valid run"));
    let (_, figures) = valid.split_once("class=\"figure\"").unwrap();
    assert!(
        figures.starts_with("><span class=\"label\">Server CPU per message</span>"),
        "{}",
        &figures[..200]
    );
    assert!(
        figures.contains("3.200 µs") && figures.contains("55.2 µs") && figures.contains("1.40 ms")
    );
    let invalid = html(|summary| {
        summary["valid"] = false.into();
        summary["reasons"] = json!([{"kind": "rate-missed", "text": "99 per second were reached"}]);
    });
    assert!(invalid.contains("data-good=\"false\"") && invalid.contains("INVALID RUN"));
    assert!(invalid.contains("99 per second were reached"));
}

#[test]
fn a_figure_that_is_not_the_servers_looks_like_it() {
    let summary = summary(|summary| summary["throughput_valid"] = false.into());
    let spoilt: Vec<_> = figures::figures(&summary)
        .into_iter()
        .filter(|figure| figure.spoilt)
        .map(|figure| figure.source)
        .collect();
    let latency = ["p50", "p99", "p99_9", "max"].map(|name| format!("latency_us.corrected.{name}"));
    assert_eq!(spoilt[0], "messages.per_second");
    assert_eq!(spoilt[1..], latency);
}

#[test]
fn an_expectation_that_was_not_met_stands_at_the_top() {
    let page = html(|summary| {
        summary["expectations"] = json!([
            {"expectation": "p99 < 1 ms", "figure": "p99", "value": 1400.0, "shown": "1.40 ms", "held": false},
            {"expectation": "p50 < 1 ms", "figure": "p50", "value": 55.2, "shown": "55.2 µs", "held": true},
        ]);
    });
    assert!(page.contains("Valid run, but 1 of 2 expectations not met"));
    let banner = page.split("</section>").next().unwrap();
    assert!(banner.contains("p99 &lt; 1 ms") && !banner.contains("p50 &lt; 1 ms"));
}

#[test]
fn large_figures_name_their_place_in_the_summary() {
    let summary = summary(|_| ());
    let value = serde_json::to_value(&summary).unwrap();
    for figure in figures::figures(&summary) {
        let path = format!("/{}", figure.source.replace('.', "/"));
        assert!(value.pointer(&path).is_some_and(Value::is_number), "{path}");
    }
}

#[test]
fn what_servers_say_stays_text() {
    let page = html(|summary| {
        summary["target"] = format!("ws://h:1/{HOSTILE}").into();
        summary["errors"]["reasons"] = json!([{"reason": HOSTILE, "count": 3}]);
        summary["reasons"] = json!([{"kind": "errors", "text": HOSTILE}]);
    });
    assert!(!page.contains("<img") && page.contains("&lt;img src=x"));
    assert_eq!(
        page.matches("</script").count(),
        html(|_| ()).matches("</script").count()
    );
}

#[test]
fn the_course_has_its_phases_and_a_rate_what_was_asked_for() {
    let record = Record {
        summary: summary(|_| ()),
        history: history(),
    };
    let charts = charts::course(&record);
    let rate = serde_json::to_value(&charts[0]).unwrap();
    let bands: Vec<_> = charts[0]
        .bands
        .iter()
        .map(|it| (it.from, it.to, it.shaded))
        .collect();
    assert_eq!(bands, [(0.0, 1.0, true), (1.0, 3.0, false)]);
    let names: Vec<_> = charts[0].series.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["asked for", "sent", "answered"]);
    // Of the measurement only, and as far as it climbs.
    assert_eq!(rate["series"][0]["x"], json!([1.0, 3.0]));
    assert_eq!(rate["series"][0]["y"], json!([100.0, 100.0]));
    assert_eq!(rate["series"][2]["y"], json!([100.0, 100.0, 100.0]));
    assert_eq!(rate["series"][2]["x"], json!([0.5, 1.5, 2.5]));
    let cpu = serde_json::to_value(&charts[2]).unwrap();
    assert_eq!(cpu["series"][1]["y"][0], 3.2);
}

#[test]
fn connections_that_are_held_count_as_they_open() {
    let mut history = history();
    for (row, open) in history.samples.iter_mut().zip([300, 500, 0]) {
        (row.done, row.sent, row.open) = (0, 0, open);
    }
    let record = Record {
        summary: summary(|summary| summary["command"] = "connect".into()),
        history,
    };
    let chart = serde_json::to_value(&charts::course(&record)[0]).unwrap();
    assert_eq!(chart["series"][0]["name"], "opened");
    assert_eq!(chart["series"][0]["y"], json!([300.0, 200.0, 0.0]));
}

#[test]
fn the_latency_curve_rises_to_the_longest() {
    let chart = serde_json::to_value(charts::latency_curve(&history().stretches)).unwrap();
    let list = |name: &str| -> Vec<f64> {
        serde_json::from_value(chart["series"][0][name].clone()).unwrap()
    };
    let (x, y) = (list("x"), list("y"));
    assert!(x.is_sorted_by(|one, next| one < next) && y.is_sorted());
    assert_eq!(x.last(), Some(&1000.0));
    assert!((y.last().unwrap() / 1000.0 - 1.0).abs() < 0.002, "{y:?}");
    // Nine of ten took at most 900 µs.
    let at = x.iter().position(|&x| x >= 10.0).unwrap();
    assert!((850.0..960.0).contains(&y[at]), "{} at {}", y[at], x[at]);
}
