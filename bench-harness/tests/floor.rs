//! The floor, driven over plain TCP.

mod common;

use common::{Floor, assert_clean, bench_long_enough, load, ring_available, run};

fn drive(mode: &str) {
    if !ring_available() {
        return;
    }
    let floor = Floor::start(mode);
    let cases: [&[&str]; 5] = [
        &["-c", "50", "-s", "512"],
        &["-c", "8", "-s", "128", "--in-flight", "16"],
        &["-c", "10", "-s", "60000", "--verify", "full"],
        &["-c", "4", "-s", "1m", "--verify", "full"],
        &["-c", "20", "-r", "2k"],
    ];
    for args in cases {
        let load = load(
            &[&["echo", &floor.url, "-z", "1s"], args].concat(),
            &floor.pid,
        );
        let summary = assert_clean(bench_long_enough(&load));
        assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    }
    let churn = ["--churn", "-z", "1s", "--concurrency", "8"];
    let load = load(&[&["connect", &floor.url], &churn[..]].concat(), &floor.pid);
    assert_clean(bench_long_enough(&load));
    assert_eq!(floor.terminate(), Some(0), "SIGTERM ends the floor cleanly");
}

#[test]
fn epoll_echoes() {
    drive("epoll");
}

#[test]
fn the_ring_echoes() {
    drive("ring");
}

fn drive_broadcast(mode: &str) {
    if !ring_available() {
        return;
    }
    let cases: [(&str, &[&str]); 5] = [
        ("64", &["-c", "50"]),
        ("64", &["-c", "30", "--publishers", "8", "--burst", "4"]),
        ("200", &["-c", "20", "--all-publish"]),
        ("64k", &["-c", "10", "--verify", "full"]),
        ("300k", &["-c", "20", "--publishers", "2"]),
    ];
    for (size, args) in cases {
        let floor = Floor::start_with(mode, &["--broadcast", size]);
        let url = format!("ws://{}/", floor.address());
        let publish = format!("{url}?pub=a");
        let mut all = vec!["broadcast", &url, "-s", size, "-z", "1s"];
        if !args.contains(&"--all-publish") {
            all.extend(["--publish-url", &publish]);
        }
        all.extend(args);
        let summary = assert_clean(bench_long_enough(&load(&all, &floor.pid)));
        assert_eq!(summary["broadcast"]["lost"], 0);
        assert_eq!(summary["broadcast"]["to_publishers"], 0);
        assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn epoll_fans_out() {
    drive_broadcast("epoll");
}

#[test]
fn the_ring_fans_out() {
    drive_broadcast("ring");
}

#[test]
fn an_address_in_use_is_an_error() {
    let floor = Floor::start("epoll");
    let output = run(&["floor", "--mode", "epoll", "-l", floor.address()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
}
