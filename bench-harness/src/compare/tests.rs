//! Comparisons over runs that were made up.

use serde_json::{Value, json};
use std::path::Path;

use super::*;
use crate::rng::Rng;

/// An echo run of this cost and rate.
fn echo(cpu: f64, rate: f64) -> Value {
    json!({
        "schema": 1,
        "command": "echo",
        "valid": true,
        "throughput_valid": true,
        "cost_valid": true,
        "reasons": [],
        "parameters": {"connections": 100, "payload_bytes": 512, "loop": "closed"},
        "messages": {"count": 1000, "per_second": rate},
        "latency_us": {"corrected": {"p50": 1e8 / rate, "p99": 2e8 / rate, "p99_9": 3e8 / rate}},
        "server": {"cpu_us_per_message": cpu},
    })
}

fn set(runs: impl IntoIterator<Item = Value>) -> Set {
    let mut set = Set::default();
    for run in runs {
        set.add(Path::new("here"), String::new(), run, None)
            .unwrap();
    }
    set
}

/// Eight runs of about this cost, 2 % of noise.
fn eight(rng: &mut Rng, cpu: f64) -> Set {
    let mut noisy = |mean: f64| {
        let uniform = |rng: &mut Rng| rng.next_u64() as f64 / u64::MAX as f64;
        let normal = (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0;
        mean * (1.0 + 0.02 * normal)
    };
    set((0..8)
        .map(|_| echo(noisy(cpu), noisy(1e6 / cpu)))
        .collect::<Vec<_>>())
}

fn verdict(before: &Set, after: &Set, figures: &[Figure]) -> Verdict {
    compare(before, after, 0.03, figures).unwrap().verdict()
}

#[test]
fn no_change_is_seldom_a_regression() {
    let wrong = (0..60).filter(|&seed| {
        let mut rng = Rng::new(seed, 0);
        let (before, after) = (eight(&mut rng, 12.0), eight(&mut rng, 12.0));
        verdict(&before, &after, &[]) == Verdict::Regression
    });
    let wrong = wrong.count();
    assert!(wrong <= 3, "{wrong} of 60");
}

/// What two suites of the same build leave: several kinds of runs, every figure with a noise of its own.
fn suites(rng: &mut Rng, kinds: u64) -> (Set, Set) {
    let mut noisy = |mean: f64| {
        let uniform = (0..12).map(|_| rng.next_u64() as f64 / u64::MAX as f64);
        mean * (1.0 + 0.06 * (uniform.sum::<f64>() - 6.0))
    };
    let mut suite = || {
        let mut runs = Vec::new();
        for kind in 0..kinds {
            for _ in 0..8 {
                let mut run = echo(noisy(12.0), noisy(1e5));
                run["parameters"]["connections"] = kind.into();
                run["latency_us"]["corrected"] =
                    json!({"p50": noisy(900.0), "p99": noisy(2e3), "p99_9": noisy(3e3)});
                runs.push(run);
            }
        }
        set(runs)
    };
    (suite(), suite())
}

#[test]
fn many_figures_of_one_build_are_seldom_a_regression() {
    let mut rng = Rng::new(7, 3);
    let (mut wrong, mut alone) = (0, 0);
    for _ in 0..60 {
        let (before, after) = suites(&mut rng, 5);
        let report = compare(&before, &after, 0.03, &[]).unwrap();
        assert_eq!((report.pairs.len(), report.tested), (5, 25));
        wrong += usize::from(report.verdict() == Verdict::Regression);
        let mut rows = report.pairs.iter().flat_map(|pair| &pair.figures);
        alone += usize::from(rows.any(|row| row.comparison.p.is_some_and(|p| p < 0.05)));
    }
    assert!(wrong <= 3, "{wrong} of 60");
    // One by one, most of these comparisons would have found something.
    assert!(alone >= 30, "{alone} of 60");
}

#[test]
fn ten_percent_are_a_regression_one_way_only() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed, 1);
        let (before, after) = (eight(&mut rng, 12.0), eight(&mut rng, 13.2));
        assert_eq!(verdict(&before, &after, &[]), Verdict::Regression);
        assert_eq!(verdict(&after, &before, &[]), Verdict::Valid);
    }
}

/// So many runs that are all alike.
fn alike(run: &Value, count: usize) -> Set {
    set(vec![run.clone(); count])
}

#[test]
fn only_the_figures_asked_for_decide() {
    let (before, after) = (alike(&echo(10.0, 1e5), 8), alike(&echo(10.0, 0.5e5), 8));
    assert_eq!(verdict(&before, &after, &[]), Verdict::Regression);
    let cpu = "cpu".parse().unwrap();
    assert_eq!(verdict(&before, &after, &[cpu]), Verdict::Valid);
    let memory = "rss/conn".parse().unwrap();
    let error = compare(&before, &after, 0.03, &[memory]).unwrap_err();
    assert!(error.to_string().contains("no such figure"), "{error}");
}

#[test]
fn too_few_runs_are_no_regression_and_say_how_many_it_takes() {
    for (count, text) in [
        (
            1,
            "5 figures to compare take at least 5 runs before and 5 after (--repeat 5)",
        ),
        (3, "one alone (such as --figures cpu of `compare`) 4."),
        (4, "too few runs to tell"),
    ] {
        let (before, after) = (
            alike(&echo(10.0, 1e5), count),
            alike(&echo(99.0, 1e4), count),
        );
        let report = compare(&before, &after, 0.03, &[]).unwrap();
        assert_eq!(report.verdict(), Verdict::Valid);
        let told = report.render(Style::Text);
        assert!(told.contains(text) && !told.contains("WORSE"), "{told}");
    }
    let (before, after) = (alike(&echo(10.0, 1e5), 4), alike(&echo(99.0, 1e4), 4));
    let cpu = "cpu".parse().unwrap();
    assert_eq!(verdict(&before, &after, &[cpu]), Verdict::Regression);
}

#[test]
fn a_page_more_or_less_is_no_memory() {
    let idle = |bytes: f64| {
        let mut run = echo(10.0, 1e5);
        run["command"] = "idle".into();
        run["memory"] = json!({"resident_per_connection": bytes});
        run
    };
    let rss: Figure = "rss/conn".parse().unwrap();
    let told = |before: f64, after: f64| {
        let (before, after) = (alike(&idle(before), 4), alike(&idle(after), 4));
        verdict(&before, &after, std::slice::from_ref(&rss))
    };
    // 100 connections: a page is 41 bytes for each.
    assert_eq!(told(-40.0, 40.0), Verdict::Valid);
    assert_eq!(told(0.0, 42.0), Verdict::Regression);
    assert_eq!(told(1000.0, 1060.0), Verdict::Regression);
}

#[test]
fn nothing_that_a_terminal_acts_upon_is_printed() {
    let mut run = echo(10.0, 1e5);
    run["parameters"]["payload"] = "json".into();
    run["target"] = "ws://h/\u{1b}]0;title\u{7}\u{1b}[2J".into();
    let mut invalid = run.clone();
    invalid["valid"] = false.into();
    invalid["reasons"] = json!([{"kind": "starved", "text": "\u{1b}[31mred"}]);
    let sets = (set([run.clone()]), set([run, invalid]));
    let report = compare(&sets.0, &sets.1, 0.03, &[]).unwrap();
    for style in [Style::Text, Style::Markdown] {
        let text = report.render(style);
        assert!(text.contains("red"), "{text:?}");
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}

#[test]
fn only_what_is_valid_is_compared() {
    let mut invalid = echo(99.0, 1.0);
    invalid["valid"] = false.into();
    invalid["reasons"] = json!([{"kind": "starved", "text": "others ran"}]);
    let (before, after) = (
        set([echo(10.0, 1e5)]),
        set([echo(10.0, 1e5), invalid.clone()]),
    );
    let report = compare(&before, &after, 0.03, &[]).unwrap();
    assert_eq!(
        (report.verdict(), report.pairs[0].runs),
        (Verdict::Valid, (1, 1))
    );
    assert!(
        report
            .render(Style::Text)
            .contains("not compared: here: others ran")
    );
    let error = compare(&before, &set([invalid]), 0.03, &[]).unwrap_err();
    assert!(
        error.to_string().contains("every run after is invalid"),
        "{error}"
    );

    // Judged by cost, in a run that the client held up.
    let mut held_up = echo(10.0, 1.0);
    held_up["throughput_valid"] = false.into();
    let report = compare(&before, &set([held_up]), 0.03, &[]).unwrap();
    let names: Vec<String> = report.pairs[0]
        .figures
        .iter()
        .map(|row| row.figure.to_string())
        .collect();
    assert_eq!(names, ["cpu"]);
}

#[test]
fn a_rate_that_was_asked_for_is_no_figure() {
    let mut run = echo(10.0, 1e5);
    run["parameters"]["rate"] = 100_000.into();
    let report = compare(&set([run.clone()]), &set([run.clone()]), 0.03, &[]).unwrap();
    let has = |report: &Report, name: &str| {
        report.pairs[0]
            .figures
            .iter()
            .any(|row| row.figure.to_string() == name)
    };
    assert!(has(&report, "p99") && !has(&report, "rate"));
    // One that was found is the only one.
    run["find_max"] = json!({"rate": 100_000});
    let mut slower = run.clone();
    slower["find_max"] = json!({"rate": 80_000});
    slower["parameters"]["rate"] = 80_000.into();
    let report = compare(&alike(&run, 4), &alike(&slower, 4), 0.03, &[]).unwrap();
    assert!(has(&report, "max-rate") && !has(&report, "p99"));
    assert_eq!(report.verdict(), Verdict::Regression);
}

#[test]
fn a_comparison_can_be_read() {
    let runs = |cpu: f64| (0..8).map(move |n| echo(cpu + f64::from(n) / 100.0, 1e5));
    let report = compare(&set(runs(10.0)), &set(runs(12.0)), 0.03, &[]).unwrap();
    let text = report.render(Style::Text);
    let cpu = text
        .lines()
        .find(|line| line.trim_start().starts_with("cpu"))
        .unwrap();
    assert!(
        cpu.contains("10.04 µs") && cpu.contains("+19.9 %") && cpu.contains("0.0008"),
        "{text}"
    );
    assert!(cpu.ends_with("WORSE"), "{text}");
    assert!(
        text.contains(
            "echo connections=100 loop=closed payload_bytes=512 (8 runs before, 8 after)"
        ),
        "{text}"
    );
    let markdown = report.render(Style::Markdown);
    assert!(
        markdown.contains("|---|---:|") && markdown.contains("| cpu | 10.04 µs |"),
        "{markdown}"
    );
    let json: Value = serde_json::from_str(&report.render(Style::Json)).unwrap();
    let row = &json["pairs"][0]["figures"][0];
    assert_eq!(
        (&row["figure"], &row["verdict"]),
        (&"cpu".into(), &"worse".into())
    );
}
