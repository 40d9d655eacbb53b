//! `summary.json` is what `summary.schema.json` says.

mod common;

use common::schema::{faults, schema, undescribed};
use common::{Floor, bench, echo, ring_available, serve};
use serde_json::{Value, json};

/// Runs the harness for a moment, and checks the summary, valid or not.
fn described(args: &[&str]) -> Value {
    let (code, summary, errors) = bench(args);
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
    let pid = floor.pid();
    let common = [
        "-c",
        "3",
        "-z",
        "200ms",
        "--warmup",
        "50ms",
        "--server-pid",
        &pid,
    ];
    let closed = described(&[&["echo", &floor.url, "--cost"], &common[..]].concat());
    assert!(closed["server"].is_object() && closed["latency_us"]["corrected"].is_object());
    let open = described(&[&["echo", &floor.url, "-r", "500"], &common[..]].concat());
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
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    described(&[
        "connect",
        &url,
        "--concurrency",
        "3",
        "--churn",
        "-z",
        "200ms",
        "--messages",
        "1",
    ]);
}

#[test]
fn broadcast_is_described() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start_with("epoll", &["--broadcast", "64"]);
    let url = format!("ws://{}/?sub=a", floor.address());
    let publish = format!("ws://{}/?pub=a", floor.address());
    let summary = described(&[
        "broadcast",
        &url,
        "--publish-url",
        &publish,
        "-c",
        "4",
        "-z",
        "200ms",
        "--warmup",
        "50ms",
        "-s",
        "64",
        "-r",
        "200",
        "--slow",
        "1",
        "--server-pid",
        &floor.pid(),
    ]);
    assert!(
        summary["broadcast"]["stalled"].is_object() && summary["broadcast"]["memory"].is_object()
    );
}

#[test]
fn connect_and_idle_are_described() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let pid = std::process::id().to_string();
    let connect = described(&["connect", &url, "-c", "5", "--server-pid", &pid]);
    assert!(connect["connections"]["tcp_us"].is_object());
    let idle = described(&[
        "idle",
        &url,
        "-c",
        "5",
        "-z",
        "200ms",
        "--settle",
        "50ms",
        "--server-pid",
        &pid,
    ]);
    assert!(idle["memory"].is_object() && idle["connections"]["heard"].is_object());
}
