//! What somebody new sees, who starts a server and puts load on it without a thought for processors.

mod common;

use common::patience::{run_long_enough, run_until};
use common::{Floor, ring_available};

/// The line with this label, and those that go on with it.
fn lines<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find_map(|line| line.strip_prefix(label));
    first.into_iter().chain(lines).map(str::trim).collect()
}

/// Client and server share a processor, so one of them waits for the other, on however quiet a machine. Whatever makes a
/// run on so little invalid, the advice is of the processors that are there.
#[test]
fn the_processors_to_take_are_named() {
    let own: Vec<usize> = core_affinity::get_core_ids()
        .unwrap()
        .iter()
        .map(|core| core.id)
        .collect();
    if !ring_available() || own.len() < 2 {
        println!("skipped: takes io_uring and two processors");
        return;
    }
    let core = own[0].to_string();
    let floor = Floor::start_with("epoll", &["--cores", &core]);
    let load = ["echo", &*floor.url, "-c", "20", "-z", "500ms"];
    let flags = [
        "--warmup",
        "100ms",
        "--server-pid",
        &*floor.pid,
        "--cores",
        &*core,
    ];
    let args = [&load[..], &flags].concat();
    let crowded = |output: &std::process::Output| {
        String::from_utf8_lossy(&output.stdout).contains("INVALID RUN for throughput")
    };
    let output = run_until(&args, crowded);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(5), "{text}");
    let verdict = lines(&text, "verdict")[0];
    let start = "INVALID RUN for throughput and latency, but valid for cost: ";
    assert!(verdict.starts_with(start), "{text}");
    assert!(verdict.ends_with(" µs of the server per message"), "{text}");
    let client = own.last().unwrap();
    let advice = format!("run this again with `--cores {client}`");
    assert_eq!(lines(&text, "to do")[0], advice, "{text}");
}

#[test]
fn a_run_that_is_judged_by_cost_has_nothing_to_do() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    // By cost.
    let output = run_long_enough(&floor.echo(&["-z", "300ms", "--warmup", "50ms"]));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("verdict      valid, judged by cost alone"),
        "{text}"
    );
    assert!(lines(&text, "to do").is_empty(), "{text}");
}
