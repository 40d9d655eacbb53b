//! The floor, driven over plain TCP.

mod common;

use common::{Floor, bench, ring_available, run};

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
        let flags = [
            "-z",
            "1s",
            "--warmup",
            "100ms",
            "--cost",
            "--server-pid",
            &floor.pid(),
        ];
        let (code, summary, errors) = bench(&[&["echo", &floor.url][..], args, &flags].concat());
        assert_eq!(code, 0, "{mode} {args:?}: {errors}\n{summary:#}");
        assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    }
    let churn = ["--churn", "-z", "1s", "--concurrency", "8"];
    let (code, summary, errors) = bench(
        &[
            &["connect", &floor.url][..],
            &churn,
            &["--cost", "--server-pid", &floor.pid()],
        ]
        .concat(),
    );
    assert_eq!(code, 0, "{mode}: {errors}\n{summary:#}");
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
        let pid = floor.pid();
        let mut all = vec![
            "broadcast",
            &url,
            "-s",
            size,
            "--cost",
            "--server-pid",
            &pid,
        ];
        all.extend(["-z", "1s", "--warmup", "100ms"]);
        if !args.contains(&"--all-publish") {
            all.extend(["--publish-url", &publish]);
        }
        all.extend(args);
        let (code, summary, errors) = bench(&all);
        assert_eq!(code, 0, "{mode} {args:?}: {errors}\n{summary:#}");
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
    let address = floor.url.trim_start_matches("tcp://");
    let output = run(&["floor", "--mode", "epoll", "-l", address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
}
