//! What a run prints and leaves behind.

mod common;

use common::patience::run_long_enough;
use common::{Floor, ring_available, run};
use serde_json::Value;

#[test]
fn text_and_files() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let output = run_long_enough(&floor.echo(&["--output", folder.to_str().unwrap()]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    for expected in [
        "closed loop",
        "µs per message",
        "p99.9",
        "errors       none",
        "verdict      valid",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let page = folder.join("report.html");
    assert!(text.contains(page.to_str().unwrap()), "{text}");
    let summary = read("summary.json");
    assert_eq!(summary["command"], "echo");
    let env = read("env.json");
    assert!(
        env["kernel"].is_string() && env["command"][1] == "echo",
        "{env:#}"
    );
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert!(text("summary.md").contains("| **verdict** | valid"));
    let page = text("report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Valid run"));
    let log = text("latency.hlog");
    assert!(log.lines().any(|line| line.starts_with("Tag=corrected,")));
    let csv = text("timeseries.csv");
    let measured = csv
        .lines()
        .filter(|line| line.contains(",measuring,"))
        .count();
    assert!(csv.starts_with("at_s,") && measured > 0, "{csv}");
}

#[test]
fn a_rate_out_of_reach_is_an_invalid_run() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let output = run(&[
        "echo",
        &floor.url,
        "-c",
        "2",
        "-z",
        "300ms",
        "--warmup",
        "50ms",
        "-r",
        "50m",
        "--in-flight",
        "1",
        "--server-pid",
        &floor.pid,
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(
        text.contains("INVALID RUN") && text.contains("asked for"),
        "{text}"
    );
}

#[test]
fn a_manual_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&["man", "--output", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    for (page, flag) in [
        ("", "help"),
        ("-echo", "rate"),
        ("-broadcast", "publishers"),
    ] {
        let page = folder.path().join(format!("corecast-bench{page}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
        assert!(text.starts_with(".ie") && text.contains(flag), "{text}");
    }
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(script.contains("in-flight"), "{shell}: {script}");
    }
}
