//! What a run prints and leaves behind.

mod common;

use common::{Floor, ring_available, run};
use serde_json::Value;

#[test]
fn text_and_files() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let folder = std::env::temp_dir().join(format!("corecast-bench-test-{}", std::process::id()));
    let folder_name = folder.to_str().unwrap();
    let output = run(&[
        "echo",
        &floor.url,
        "-c",
        "5",
        "-z",
        "200ms",
        "--warmup",
        "50ms",
        "--server-pid",
        &floor.pid(),
        "--cost",
        "--output",
        folder_name,
    ]);
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
    assert_eq!(read("summary.json")["command"], "echo");
    let env = read("env.json");
    assert!(
        env["kernel"].is_string() && env["command"][1] == "echo",
        "{env:#}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
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
        &floor.pid(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    assert!(
        text.contains("INVALID RUN") && text.contains("asked for"),
        "{text}"
    );
}
