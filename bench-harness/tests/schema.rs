//! `summary.json` is what `summary.schema.json` says.

mod common;

use common::schema::{faults, schema, undescribed};
use common::{Floor, bench_long_enough, echo_url, load, own_pid, ring_available};
use serde_json::{Value, json};

/// Runs the harness for a moment, and checks the summary, valid or not.
fn described(args: &[&str]) -> Value {
    let (code, summary, errors) = bench_long_enough(args);
    assert!(matches!(code, 0 | 5), "{args:?}: {code}: {errors}");
    assert_eq!(
        faults(&summary),
        Vec::<String>::new(),
        "{args:?}: {summary:#}"
    );
    summary
}

#[test]
fn every_field_has_a_description() {
    let mut found = Vec::new();
    undescribed(&schema(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn what_is_wrong_is_found() {
    let mut summary = json!({
        "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": true, "judged_by": "cost", "throughput_valid": true,
        "cost_valid": true, "reasons": [], "limited_by": "rate", "parameters": {}, "window_s": 1.0, "client": {}, "errors": {},
    });
    assert_eq!(faults(&summary), Vec::<String>::new());
    summary["command"] = "gallop".into();
    summary["client"]["hooves"] = 4.into();
    summary["errors"]["reasons"] = json!([{"reason": 1}]);
    summary.as_object_mut().unwrap().remove("target");
    assert_eq!(faults(&summary).len(), 4, "{:?}", faults(&summary));
}

#[test]
fn echo_is_described() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let closed = described(&floor.echo(&[]));
    assert!(closed["server"].is_object() && closed["latency_us"]["corrected"].is_object());
    let open = described(&floor.echo(&["-r", "500"]));
    assert!(open["latency_us"]["uncorrected"].is_object());
    // With reasons against it, and without what only a server of known process has.
    let bad = [
        "echo",
        &floor.url,
        "-c",
        "2",
        "-z",
        "200ms",
        "-r",
        "50m",
        "--in-flight",
        "1",
    ];
    let invalid = described(&bad);
    assert_eq!(invalid["valid"], false);
    let (url, pid) = (echo_url(), own_pid());
    let churn = ["connect", &url, "--churn", "-z", "200ms"];
    let flags = ["--concurrency", "3", "--messages", "1"];
    described(&load(&[&churn[..], &flags].concat(), &pid));
}

#[test]
fn broadcast_is_described() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start_with("epoll", &["--broadcast", "64"]);
    let url = format!("ws://{}/?sub=a", floor.address());
    let publish = format!("ws://{}/?pub=a", floor.address());
    let args = ["broadcast", &url, "--publish-url", &publish, "-c", "4"];
    let flags = ["-s", "64", "-r", "200", "--slow", "1"];
    let summary = described(&load(&[&args[..], &flags].concat(), &floor.pid));
    assert!(
        summary["broadcast"]["stalled"].is_object() && summary["broadcast"]["memory"].is_object()
    );
}

#[test]
fn connect_and_idle_are_described() {
    if !ring_available() {
        return;
    }
    let (url, pid) = (echo_url(), own_pid());
    let connect = described(&["connect", &url, "-c", "5", "--server-pid", &pid]);
    assert!(connect["connections"]["tcp_us"].is_object());
    let times = ["-z", "200ms", "--settle", "50ms"];
    let idle = ["idle", &url, "-c", "5", "--server-pid", &pid];
    let idle = described(&[&idle[..], &times].concat());
    assert!(idle["memory"].is_object() && idle["connections"]["heard"].is_object());
}
