//! What a run has to hold, and the exit codes that tell whether it did.

mod common;

use common::{Floor, bench, ring_available, run};
use serde_json::Value;

/// A short run against a floor that is judged by cost: it is valid however busy the machine is.
fn echo<'a>(floor: &'a Floor, pid: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let flags = [
        "echo",
        &floor.url,
        "-c",
        "5",
        "-z",
        "200ms",
        "--warmup",
        "50ms",
        "--server-pid",
        pid,
        "--cost",
    ];
    [&flags[..], more].concat()
}

#[test]
fn what_is_expected_decides_the_exit_code() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let pid = floor.pid();
    let expect = [
        "--expect",
        "errors==0",
        "--expect",
        "p99.99 < 1m",
        "--expect",
        "cpu>0us",
    ];
    let (code, summary, _) = bench(&echo(&floor, &pid, &expect));
    assert_eq!(code, 0, "{summary:#}");
    let expectations = summary["expectations"].as_array().unwrap();
    assert_eq!(expectations.len(), 3);
    assert!(expectations.iter().all(|expected| expected["held"] == true));
    assert_eq!(expectations[1]["expectation"], "p99.99 < 60 s");
    // Any percentile comes from the histogram: it lies between those of the summary.
    let [tail, shorter, longest] = [
        expectations[1]["value"].as_f64().unwrap(),
        summary["latency_us"]["corrected"]["p99_9"]
            .as_f64()
            .unwrap(),
        summary["latency_us"]["corrected"]["max"].as_f64().unwrap(),
    ];
    assert!(
        shorter <= tail && tail <= longest,
        "{shorter} {tail} {longest}"
    );

    let expect = ["--expect", "errors==0", "--expect", "p99<1ns"];
    let output = run(&echo(&floor, &pid, &expect));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("errors == 0: 0 ok"), "{text}");
    let failed = text.lines().find(|line| line.contains("p99 < 0.001 µs: "));
    assert!(
        failed.is_some_and(|line| line.ends_with("FAILED")),
        "{text}"
    );
}

#[test]
fn an_invalid_run_is_no_failed_expectation() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let flags = ["-c", "2", "-z", "300ms", "--warmup", "50ms"];
    let out_of_reach = ["-r", "50m", "--in-flight", "1", "--expect", "p99<1ns"];
    let (code, summary, _) = bench(&[&["echo", &floor.url], &flags[..], &out_of_reach].concat());
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["expectations"][0]["held"], false);
}

#[test]
fn nonsense_is_refused_before_the_run() {
    // Nobody listens there: a run would say so, with exit code 1.
    let unreachable = "ws://127.0.0.1:1/";
    for (command, expect, why) in [
        ("echo", "p9x<5ms", "the nearest first: p90"),
        ("echo", "p99<5", "expected a time"),
        ("echo", "duplicated==0", "echo does not measure duplicated"),
        ("echo", "cpu<5us", "--server-pid"),
        (
            "connect",
            "rss/conn<2k",
            "connect does not measure rss/conn",
        ),
    ] {
        let output = run(&[command, unreachable, "--expect", expect]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{expect}: {error}");
        assert!(error.contains(why), "{expect}: {error}");
    }
}

#[test]
fn repeated_runs_have_folders_of_their_own() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let pid = floor.pid();
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let output = run(&echo(&floor, &pid, &["--repeat", "2", "--output", name]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for number in ["1", "2"] {
        let summary = std::fs::read(folder.path().join(number).join("summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!(summary["command"], "echo");
    }
}
