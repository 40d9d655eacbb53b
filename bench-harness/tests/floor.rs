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
            "400ms",
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
    let churn = ["--churn", "-z", "300ms", "--concurrency", "8"];
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

#[test]
fn an_address_in_use_is_an_error() {
    let floor = Floor::start("epoll");
    let address = floor.url.trim_start_matches("tcp://");
    let output = run(&["floor", "--mode", "epoll", "-l", address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
}
