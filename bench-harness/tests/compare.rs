//! Runs and sets of runs compared, by the command and with a baseline.

mod common;

use std::fs;
use std::path::Path;

use common::patience::run_long_enough;
use common::{Floor, ring_available, run};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Leaves a run of this cost in a folder.
fn leave(folder: &Path, cpu: f64) {
    fs::create_dir_all(folder).unwrap();
    let summary = json!({
        "schema": 1, "command": "echo", "valid": true, "throughput_valid": true, "cost_valid": true, "reasons": [],
        "parameters": {"connections": 100, "loop": "closed"},
        "server": {"cpu_us_per_message": cpu},
        "of_a_later_version": [1, 2, 3],
    });
    fs::write(folder.join("summary.json"), summary.to_string()).unwrap();
}

/// Four runs of about this cost each.
fn sets(before: f64, after: f64) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (set, cpu) in [("before", before), ("after", after)] {
        for number in 0..4 {
            let folder = root.path().join(set).join(number.to_string());
            leave(&folder, cpu + f64::from(number) / 100.0);
        }
    }
    root
}

/// Compares, and returns the exit code and what was printed on both outputs.
fn compare(root: &Path, flags: &[&str]) -> (i32, String, String) {
    let path = |set: &str| root.join(set).to_str().unwrap().to_owned();
    let output = run(&[&["compare", &path("before"), &path("after")], flags].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn a_regression_has_an_exit_code_of_its_own() {
    let (worse, better) = (sets(10.0, 12.0), sets(12.0, 10.0));
    let (code, text, _) = compare(worse.path(), &[]);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("WORSE") && text.contains("+20"), "{text}");
    let (code, text, _) = compare(better.path(), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("better"), "{text}");
    assert_eq!(compare(worse.path(), &["--noise", "25%"]).0, 0);
    assert_eq!(compare(sets(10.0, 10.0).path(), &[]).0, 0);
    let (code, json, _) = compare(worse.path(), &["--json", "--figures", "cpu"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (code, &json["pairs"][0]["figures"][0]["verdict"]),
        (4, &"worse".into())
    );
    let (_, markdown, _) = compare(worse.path(), &["--markdown"]);
    assert!(markdown.contains("| cpu |"), "{markdown}");
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let root = sets(10.0, 10.0);
    let broken = root.path().join("after/2/summary.json");
    let whole = fs::read(&broken).unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let (code, _, error) = compare(root.path(), &[]);
    assert_eq!(code, 1);
    assert!(error.contains("2/summary.json: not JSON"), "{error}");
    fs::remove_dir_all(root.path().join("after")).unwrap();
    let (code, _, error) = compare(root.path(), &[]);
    assert_eq!(code, 1);
    assert!(error.contains("after"), "{error}");
    for bad in [
        &["--noise", "3"][..],
        &["--figures", "cpus"],
        &["--json", "--markdown"],
    ] {
        assert_eq!(compare(root.path(), bad).0, 2, "{bad:?}");
    }
}

/// Makes every figure of a run so many times as good.
fn improve(folder: &Path, times: f64) {
    let path = folder.join("summary.json");
    let mut summary: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let scale = |value: &mut Value, factor: f64| {
        if let Some(number) = value.as_f64() {
            *value = (number * factor).into();
        }
    };
    for times_of in ["latency_us", "connect_us"] {
        for kind in summary[times_of].as_object_mut().unwrap().values_mut() {
            let figures = kind.as_object_mut().unwrap().values_mut();
            figures.for_each(|value| scale(value, 1.0 / times));
        }
    }
    scale(&mut summary["server"]["cpu_us_per_message"], 1.0 / times);
    scale(&mut summary["messages"]["per_second"], times);
    fs::write(path, summary.to_string()).unwrap();
}

/// With so many on each side, each of a dozen figures can be told from chance.
const RUNS: usize = 6;

/// Makes a set of so many runs of the one in a folder.
fn set_of(folder: &Path, runs: usize) {
    let summary = fs::read(folder.join("summary.json")).unwrap();
    fs::remove_dir_all(folder).unwrap();
    for number in 1..=runs {
        let run = folder.join(number.to_string());
        fs::create_dir_all(&run).unwrap();
        fs::write(run.join("summary.json"), &summary).unwrap();
    }
}

#[test]
fn a_baseline_decides() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let root = tempfile::tempdir().unwrap();
    let (baseline, made) = (root.path().join("baseline"), root.path().join("made"));
    let echo = |more: &[&str]| run_long_enough(&floor.echo(more));
    let baseline_name = baseline.to_str().unwrap();
    assert_eq!(echo(&["--output", baseline_name]).status.code(), Some(0));
    let against = [
        "--baseline",
        baseline_name,
        "--output",
        made.to_str().unwrap(),
    ];

    // However much worse one run is: it is one run, and chance is not ruled out.
    improve(&baseline, 1e3);
    let output = echo(&against);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("too few runs to tell") && text.contains("(--repeat "),
        "{text}"
    );
    assert!(!text.contains("WORSE"), "{text}");

    set_of(&baseline, RUNS);
    fs::remove_dir_all(&made).unwrap();
    let runs = RUNS.to_string();
    let several = [&against[..], &["--repeat", &runs]].concat();
    let output = echo(&several);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let comparison = fs::read(made.join("comparison.json")).unwrap();
    let comparison: Value = serde_json::from_slice(&comparison).unwrap();
    assert_eq!(comparison["pairs"][0]["figures"][0]["verdict"], "worse");
    // What is not as expected comes before what is worse than it was.
    let expect = [&several[..], &["--expect", "p99<1ns"]].concat();
    fs::remove_dir_all(&made).unwrap();
    assert_eq!(echo(&expect).status.code(), Some(3));

    let output = echo(&["--baseline", root.path().join("missing").to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("--baseline") && output.stdout.is_empty(),
        "{error}"
    );
}
