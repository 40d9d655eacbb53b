use serde_json::{Value, json};

use super::*;

/// The line of the verdict of a run of `echo`.
fn verdict(change: impl FnOnce(&mut Value)) -> String {
    let memory = json!({"resident": 0, "anonymous": 0, "file": 0, "shared": 0});
    let mut value = json!({
        "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": true, "judged_by": "throughput",
        "throughput_valid": true, "cost_valid": true, "reasons": [], "limited_by": "rate",
        "parameters": {"connections": 5, "cores": [], "seed": 1}, "window_s": 2.0,
        "server": {"pids": [1], "cpu_us": 640.0, "cpu_us_per_message": 3.2, "user_share": 0.5, "running": 0.1, "busy": 0.2,
            "threads": 1, "voluntary_switches": 1, "involuntary_switches": 2, "memory": memory, "descriptors": 9},
        "client": {"threads": 1, "running": 0.25, "busy": 0.5},
        "errors": {"refused": 0, "broken": 0, "lost": 0, "reasons": []},
    });
    change(&mut value);
    let summary = serde_json::from_value(value).unwrap();
    let sheet = sheet(&summary);
    let mut lines = sheet.lines().iter();
    let (_, text) = lines.find(|(label, _)| label == "verdict").unwrap();
    text.clone()
}

#[test]
fn what_is_valid_of_an_invalid_run_is_said_at_once() {
    assert_eq!(
        verdict(|_| ()),
        "valid, judged by throughput and latency; throughput valid, cost valid"
    );
    let invalid = |value: &mut Value| {
        value["valid"] = false.into();
        value["throughput_valid"] = false.into();
    };
    assert_eq!(
        verdict(invalid),
        "INVALID RUN for throughput and latency, but valid for cost: 3.200 µs of the server per message"
    );
    let delivered = |value: &mut Value| {
        invalid(value);
        value["command"] = "broadcast".into();
    };
    assert!(verdict(delivered).ends_with("3.200 µs of the server per delivery"));
    let uncosted = |value: &mut Value| {
        value["valid"] = false.into();
        value["cost_valid"] = false.into();
        value["judged_by"] = "cost".into();
    };
    assert_eq!(
        verdict(uncosted),
        "INVALID RUN for cost, but valid for throughput and latency"
    );
    let broken = |value: &mut Value| {
        invalid(value);
        value["cost_valid"] = false.into();
    };
    assert_eq!(
        verdict(broken),
        "INVALID RUN: its figures must not be used, judged by throughput and latency"
    );
}

#[test]
fn a_run_that_is_judged_by_cost_says_what_else_it_is_not() {
    let saturated = |value: &mut Value| {
        value["judged_by"] = "cost".into();
        value["throughput_valid"] = false.into();
    };
    assert_eq!(
        verdict(saturated),
        "valid, judged by cost alone; throughput INVALID, cost valid"
    );
}
