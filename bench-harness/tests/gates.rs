//! What a run has to hold, and the exit codes that tell whether it did.

mod common;

use std::fs;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::patience::{run_long_enough, run_until};
use common::{Floor, answering, bench, bench_long_enough, own_pid, ring_available, run};
use serde_json::Value;

#[test]
fn what_is_expected_decides_the_exit_code() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let expect = [
        "--expect",
        "errors==0",
        "--expect",
        "p99.99 < 1m",
        "--expect",
        "cpu>0us",
    ];
    let (code, summary, _) = bench_long_enough(&floor.echo(&expect));
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
    let output = run_long_enough(&floor.echo(&expect));
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
        ("echo", "p9x<5ms", "the nearest are p90"),
        ("echo", "p99<5", "expected a time"),
        ("echo", "last.p99<1s", "echo does not measure last.p99"),
        ("echo", "cpu<5us", "--server-pid"),
        ("echo", "max-rate>1k", "is what --find-max finds"),
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
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().to_str().unwrap();
    let output = run_long_enough(&floor.echo(&["--repeat", "2", "--output", name]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for number in ["1", "2"] {
        let summary = fs::read(folder.path().join(number).join("summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!(summary["command"], "echo");
    }
    // Those of before must not be taken for some of a smaller set.
    let fewer = folder.path().join("2");
    let output = run(&floor.echo(&["--repeat", "2", "--output", fewer.to_str().unwrap()]));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("there are other runs"), "{error}");
    // A single run in their midst would hide them.
    let output = run(&["echo", "ws://127.0.0.1:1/", "--output", name]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("there are other runs"), "{error}");
}

/// What the server of the next test can do, in messages per second.
const CAPACITY: u64 = 1_000;

/// Serves so many messages per second; more have to wait.
fn limited() -> String {
    let next = Arc::new(Mutex::new(Instant::now()));
    answering(move |_, _, message| {
        let due = {
            let mut next = next.lock().unwrap();
            *next = Instant::now().max(*next) + Duration::from_secs(1) / CAPACITY as u32;
            *next
        };
        thread::sleep(due.saturating_duration_since(Instant::now()));
        vec![message]
    })
}

#[test]
fn the_highest_rate_is_found() {
    if !ring_available() {
        return;
    }
    let url = limited();
    let folder = tempfile::tempdir().unwrap();
    let pid = own_pid();
    let flags = "-c 8 -z 400ms --step-duration 400ms --warmup 100ms -r 250 --find-max p99<100ms --find-max-precision 20%";
    let mut args = vec![
        "echo",
        &url,
        "--server-pid",
        &pid,
        "--output",
        folder.path().to_str().unwrap(),
    ];
    args.extend(flags.split(' '));
    let (code, summary, errors) = bench(&args);
    let search = &summary["find_max"];
    let rate = search["rate"].as_u64().unwrap_or(0);
    // What waits grows by a tenth of a second when a quarter more comes than it can serve.
    assert!(rate <= CAPACITY * 135 / 100, "{errors}");
    let steps = search["steps"].as_array().unwrap();
    for step in steps {
        let far_above = step["rate"].as_u64().unwrap() > CAPACITY * 3 / 2;
        assert!(!far_above || step["outcome"] != "held", "{errors}");
    }
    let folders = fs::read_dir(folder.path().join("steps")).unwrap().count();
    assert_eq!(folders, steps.len(), "{errors}");
    // On a machine that has no time for this test, runs are spoilt, and the search says so.
    match search["ended"].as_str().unwrap() {
        "found" => {
            let slow = |step: &&Value| {
                step["outcome"] == "failed" && step["rate"].as_u64().unwrap() < CAPACITY
            };
            if steps.iter().find(slow).is_none() {
                assert!(rate >= CAPACITY * 3 / 4, "{errors}");
            }
            assert_eq!(summary["parameters"]["rate"], rate, "{errors}");
            assert!(matches!(code, 0 | 5), "{code}: {errors}");
            assert_eq!(code == 0, summary["valid"] == true, "{errors}");
        }
        "nothing-holds" => assert_eq!(code, 3, "{errors}"),
        _ => assert!(code == 5 && summary["valid"] == false, "{code}: {errors}"),
    }
}

#[test]
fn a_search_tells_its_steps() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    // No machine is too slow for these rates, and the objective does not depend on one.
    let search = "--find-max rate<1.5k --find-max-precision 50% --find-max-confirm 1 -r 500 --expect max-rate>=1";
    let flags = format!(
        "echo {} -c 2 -z 300ms --step-duration 200ms --warmup 50ms {search}",
        floor.url
    );
    let lines = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().filter(|line| line.contains("/s  ")).count()
    };
    // On a machine that has no time for this test, the search ends with its first step.
    let args: Vec<&str> = flags.split(' ').collect();
    let output = run_until(&args, |output| lines(output) >= 3);
    assert!(lines(&output) >= 3, "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("finding the highest rate that holds rate < 1500/s"),
        "{text}"
    );
    assert!(
        text.lines().filter(|line| line.contains("/s  ")).count() >= 3,
        "{text}"
    );
    // The rate found can be expected like any other figure.
    assert!(text.contains("max-rate >= 1/s: "), "{text}");
    assert!(matches!(output.status.code(), Some(0 | 5)), "{text}");
}

#[test]
fn what_has_no_rate_has_no_highest_one() {
    let url = "ws://127.0.0.1:1/";
    for (args, why) in [
        (
            &["idle", url, "--find-max", "errors==0", "--server-pid", "1"][..],
            "--find-max is for",
        ),
        (
            &["connect", url, "--churn", "--find-max", "errors==0"],
            "--churn do not go together",
        ),
        (
            &["broadcast", url, "--burst", "2", "--find-max", "p99<1s"],
            "--burst do not go together",
        ),
        (
            &["echo", url, "-r", "1..2", "--find-max", "p99<1s"],
            "-r may not climb",
        ),
        (
            &[
                "echo",
                url,
                "--find-max",
                "p99<1s",
                "--find-max-precision",
                "0%",
            ],
            "at least 0.1%",
        ),
        (
            &["echo", url, "--find-max", "max-rate>1"],
            "that is what it finds",
        ),
        (
            &["echo", url, "--find-max", "last.p99<1s"],
            "does not measure last.p99",
        ),
        (&["echo", url, "--step-duration", "1s"], "--find-max"),
        (
            &["echo", url, "--find-max", "p99<1s", "--repeat", "2"],
            "--repeat",
        ),
    ] {
        let output = run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(why), "{args:?}: {error}");
    }
}
