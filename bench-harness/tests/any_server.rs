//! Servers that are not Corecast, and loads of many shapes.

mod common;

use common::{bench, echo, ring_available, serve};
use serde_json::Value;

/// Runs a command for a short time, judged by cost: how much of a busy test machine the client gets must not decide.
fn measure(command: &str, url: &str, args: &[&str]) -> (i32, Value, String) {
    let pid = std::process::id().to_string();
    let flags = ["--cost", "--server-pid", &pid];
    bench(&[&[command, url], &flags[..], args].concat())
}

#[track_caller]
fn assert_valid(outcome: (i32, Value, String)) -> Value {
    let (code, summary, errors) = outcome;
    assert_eq!(code, 0, "{errors}\n{summary:#}");
    summary
}

#[test]
fn a_rate_can_climb_over_the_measurement() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let args = ["-c", "3", "-r", "0..800", "-z", "500ms", "--warmup", "10ms"];
    let summary = assert_valid(measure("echo", &url, &args));
    // Half of what the end rate would have sent.
    assert_eq!(summary["latency_us"]["corrected"]["count"], 200);
    let parameters = &summary["parameters"];
    assert_eq!(
        (&parameters["rate"], &parameters["rate_to"]),
        (&400.into(), &800.into())
    );
    assert_eq!(parameters["loop"], "open");
}

#[test]
fn a_ramp_comes_before_the_warm_up() {
    if !ring_available() {
        return;
    }
    let counts = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = std::sync::Arc::clone(&counts);
    let address = serve(move |_, mut peer| {
        while let Ok(message) = peer.read() {
            if message.is_binary() {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if peer.send(message).is_err() {
                    return;
                }
            }
        }
    });
    let url = format!("ws://{address}/");
    let args = [
        "-c", "3", "-r", "500", "--ramp", "400ms", "--warmup", "100ms", "-z", "300ms",
    ];
    let summary = assert_valid(measure("echo", &url, &args));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 150);
    assert_eq!(summary["parameters"]["ramp_s"], 0.4);
    // 100 on the ramp, 50 in the warm-up.
    assert_eq!(counts.load(std::sync::atomic::Ordering::Relaxed), 300);
}

#[test]
fn a_broadcast_climbs_too() {
    if !ring_available() {
        return;
    }
    let url = format!(
        "ws://{}/",
        common::hub::serve(|hub, payload| hub.send_to_all(payload))
    );
    let args = [
        "-c", "3", "-r", "0..400", "--ramp", "100ms", "--warmup", "100ms", "-z", "500ms",
    ];
    let summary = assert_valid(measure("broadcast", &url, &args));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 300);
    assert_eq!(summary["parameters"]["rate"], 200);
}
