//! When connections open and messages are sent: ramps, rates and thought.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::SHORT;
use crate::common::patience::lengthen;
use crate::common::{
    answering, assert_clean, assert_unharmed, bench, due, echo, echo_url, hub, load, measure,
    own_pid, ring_available, serve, url,
};

#[test]
fn users_think_before_they_go_on() {
    if !ring_available() {
        return;
    }
    for think in ["100ms", "50ms..150ms"] {
        let url = echo_url();
        let args = [
            "echo", &url, "-c", "60", "--think", think, "-z", "500ms", "--warmup", "0ms",
        ];
        let summary = assert_clean(measure(&args));
        // Without thought, thousands; with it, at most the first and one per thought (at least 50 ms) and connection.
        let count = summary["messages"]["count"].as_u64().unwrap();
        let shortest = if think == "100ms" { 0.1 } else { 0.05 };
        let thoughts = summary["parameters"]["duration_s"].as_f64().unwrap() / shortest;
        let most = 60 * (1 + thoughts as u64);
        assert!((1..=most).contains(&count), "{think}: {count}");
        let fastest = summary["latency_us"]["corrected"]["min"].as_f64().unwrap();
        assert!(
            fastest < 50_000.0,
            "{think}: {fastest} us, a thought is in it"
        );
        assert_eq!(
            summary["parameters"]["think_s"].as_array().unwrap().len(),
            2
        );
    }
}

#[test]
fn connections_are_opened_at_a_rate() {
    if !ring_available() {
        return;
    }
    for load in &SHORT[..2] {
        // 22 connections are begun within 210 ms, or as many times as long; the first may have been slow.
        let shortest = Duration::from_millis(100);
        let in_step = |(apart, times): &(Duration, u32)| *apart > shortest * *times;
        let seen = lengthen(
            |times| (opened_at_a_rate(load[0], 100 / times), times),
            in_step,
        );
        assert!(in_step(&seen), "{seen:?}");
    }
}

/// How far apart the first and the last of 22 connections came.
fn opened_at_a_rate(load: &str, rate: u32) -> Duration {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&begun);
    let url = url(serve(move |_, peer| {
        times.lock().unwrap().push(Instant::now());
        echo(peer);
    }));
    let connections: &[&str] = match load {
        "broadcast" => &["-c", "21", "--publishers", "1"],
        _ => &["-c", "22"],
    };
    let rate_flag = rate.to_string();
    let flags = [
        "--connect-rate",
        &rate_flag,
        "--warmup",
        "0ms",
        "-z",
        "100ms",
    ];
    // What an echo does to a broadcast does not matter here.
    let (code, summary, errors) = bench(&[&[load, &url], connections, &flags].concat());
    assert!(matches!(code, 0 | 5), "{errors}");
    assert_eq!(summary["parameters"]["connect_rate"], rate);
    let begun = begun.lock().unwrap();
    assert_eq!(begun.len(), 22);
    *begun.iter().max().unwrap() - *begun.iter().min().unwrap()
}

#[test]
fn a_rate_can_climb_over_the_measurement() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let args = ["echo", &url, "-c", "3", "-r", "0..800", "-z", "500ms"];
    let summary = assert_clean(measure(&args));
    // Half of what the end rate would have sent: the mean rate.
    assert_eq!(summary["latency_us"]["corrected"]["count"], due(&summary));
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
    let counts = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counts);
    let url = answering(move |_, _, message| {
        count.fetch_add(1, Ordering::Relaxed);
        vec![message]
    });
    let args = ["echo", &url, "-c", "3", "-r", "500"];
    let times = ["--ramp", "400ms", "--warmup", "100ms", "-z", "300ms"];
    // Once: what is counted is that of one run.
    let args = [&args[..], &times].concat();
    let summary = assert_unharmed(bench(&load(&args, &own_pid())));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 150);
    assert_eq!(summary["parameters"]["ramp_s"], 0.4);
    // 100 on the ramp, 50 in the warm-up.
    assert_eq!(counts.load(Ordering::Relaxed), 300);
}

#[test]
fn a_broadcast_climbs_too() {
    if !ring_available() {
        return;
    }
    let url = url(hub::serve(hub::Subscribers::send_to_all));
    let args = ["broadcast", &url, "-c", "3", "-r", "0..400"];
    let times = ["--ramp", "100ms", "-z", "500ms"];
    let summary = assert_clean(measure(&[&args[..], &times].concat()));
    let count = &summary["latency_us"]["corrected"]["count"];
    assert_eq!(*count, 3.0 * due(&summary));
    assert_eq!(summary["parameters"]["rate"], 200);
}
