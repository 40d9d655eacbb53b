//! Against servers of which everything is known: what the harness says is so.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::hub::{self, Subscribers};
use common::patience::{bench_stretched, lengthen};
use common::toy::{Account, Behaviour, Fault, Toy};
use common::{Outcome, own_pid, ring_available, run_bounded, url};
use core_affinity::CoreId;
use serde_json::Value;

/// A busy machine makes both sides late, which the harness rightly sees, and the server cannot know of. So one of several runs
/// has to be close: never is a latency less than it was. All of a run takes so many times as long as of the first, so that what
/// the machine adds is a smaller part.
const SLOWER: [u32; 10] = [1, 1, 1, 4, 4, 4, 16, 16, 16, 16];

/// How far the harness may be off.
const TOLERANCE: f64 = 0.02;

const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)];

/// One test at a time: they are about time.
static ALONE: Mutex<()> = Mutex::new(());

/// Also after another one has failed.
fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Median 39.6 ms, p90 59.3 ms, p99 105 ms, p99.9 187 ms. Successive messages are spread evenly over the quantiles.
fn heavy_tailed(number: u64) -> Duration {
    // Additive recurrence with the golden ratio.
    let quantile = (number as f64 * 0.618_033_988_749_895).fract();
    Duration::from_secs_f64(33.33e-3 * (1.0 - quantile).powf(-0.25))
}

fn echo(toy: &Toy, args: &str, times: u32) -> Outcome {
    run(&["echo", &url(toy.address)], args, times)
}

/// The server is this process. `--cost`: how much of a busy machine the client gets must not decide.
fn run(command: &[&str], args: &str, times: u32) -> Outcome {
    let (pid, mut all) = (own_pid(), command.to_vec());
    all.extend(["--warmup", "0s", "--cost", "--server-pid", &pid]);
    all.extend(args.split(' '));
    bench_stretched(&all, times)
}

fn micros(summary: &Value, which: &str, percentile: &str) -> f64 {
    summary["latency_us"][which][percentile].as_f64().unwrap()
}

/// The known delays, so many times as long as [`heavy_tailed`] has them, and what the harness made of them.
fn delayed(args: &str, slower: u32, placed: Behaviour) -> (Account, Value) {
    let toy = Toy::start(Behaviour {
        delay: Box::new(move |number| heavy_tailed(number) * slower),
        ..placed
    });
    let (_, summary, errors) = echo(&toy, args, 1);
    let account = toy.finish();
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
    let count = summary["latency_us"]["uncorrected"]["count"].as_u64();
    assert_eq!(count, Some(account.residence.len() as u64), "{summary:#}");
    (account, summary)
}

/// How far a percentile is from what the server did; always more, since the way there and back takes time.
fn excess(summary: &Value, account: &Account, (name, share): (&str, f64)) -> f64 {
    let (seen, was) = (
        micros(summary, "uncorrected", name),
        account.percentile(share),
    );
    // Histograms keep three digits.
    assert!(seen >= was * 0.998, "{name}: {seen} is less than {was}");
    seen / was - 1.0
}

#[test]
fn percentiles_are_those_of_the_server() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let mut excesses = Vec::new();
    for slower in SLOWER {
        let args = format!("-c 150 -r {} --in-flight 1 -z {slower}s", 1_000 / slower);
        let (account, summary) = delayed(&args, slower, Behaviour::default());
        let excess = PERCENTILES.map(|percentile| excess(&summary, &account, percentile));
        if excess.iter().all(|&excess| excess < TOLERANCE) {
            return;
        }
        excesses.push(excess);
    }
    panic!("off by more than {TOLERANCE}: {excesses:?}");
}

#[test]
fn a_stall_shows_at_p99_of_the_open_loop_only() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let (open, closed, stall) = lengthen(stalled, |(open, closed, stall)| {
        shows_at_p99(open, *stall) && hardly_shows(closed, *stall)
    });
    assert!(shows_at_p99(&open, stall), "{open:#}");
    // A closed loop waits politely, and hardly notices.
    assert!(hardly_shows(&closed, stall), "{closed:#}");
}

/// A server that stalls once for so many times 200 ms, seen by an open and by a closed loop, and the microseconds of the
/// stall.
fn stalled(times: u32) -> (Value, Value, f64) {
    let length = Duration::from_millis(200) * times;
    let seen = |args| {
        let toy = Toy::start(Behaviour {
            stall: Some((500, length)),
            ..Behaviour::default()
        });
        let (_, summary, errors) = echo(&toy, args, times);
        assert_eq!(summary["errors"]["broken"], 0, "{errors}");
        toy.finish();
        summary
    };
    let open = seen("-c 5 -r 1k --in-flight 1 -z 2s");
    (open, seen("-c 5 -z 1s"), length.as_secs_f64() * 1e6)
}

/// A tenth of the messages fell due during the stall, the last hundredth in its first tenth; 5 of them had been sent.
fn shows_at_p99(summary: &Value, stall: f64) -> bool {
    micros(summary, "corrected", "p99") >= 0.85 * stall
        && micros(summary, "uncorrected", "p99") < 0.5 * stall
        && micros(summary, "uncorrected", "max") >= stall
}

fn hardly_shows(summary: &Value, stall: f64) -> bool {
    micros(summary, "corrected", "p99") < 0.5 * stall
        && micros(summary, "corrected", "max") >= stall
}

#[test]
fn replies_that_come_after_the_end_of_a_closed_loop_count() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let late = |number: u64| Duration::from_millis(if number % 200 == 199 { 1_500 } else { 0 });
    let attempt = |times| {
        let toy = Toy::start(Behaviour {
            delay: Box::new(late),
            ..Behaviour::default()
        });
        let outcome = echo(&toy, "-c 20 -z 500ms", times);
        (outcome, toy.finish())
    };
    let is_late = |summary: &Value| micros(summary, "corrected", "max") >= 1_500_000.0;
    let ((_, summary, errors), account) = lengthen(attempt, |(outcome, _)| is_late(&outcome.1));
    assert_eq!(summary["errors"]["lost"], 0, "{errors}{summary:#}");
    let count = summary["latency_us"]["corrected"]["count"].as_u64();
    assert_eq!(count, Some(account.residence.len() as u64), "{summary:#}");
    assert!(is_late(&summary), "{summary:#}");
}

#[test]
fn a_stall_is_no_loss_where_replies_cannot_be_told_apart() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"the only one").unwrap();
    let args = format!(
        "-c 5 -z 2s --binary --payload file:{}",
        file.path().display()
    );
    let attempt = |times| {
        let toy = Toy::start(Behaviour {
            stall: Some((100, Duration::from_millis(1_300))),
            ..Behaviour::default()
        });
        let outcome = echo(&toy, &args, times);
        toy.finish();
        outcome
    };
    let stalled = |summary: &Value| micros(summary, "corrected", "max") >= 1_300_000.0;
    let (_, summary, errors) = lengthen(attempt, |outcome| stalled(&outcome.1));
    assert_eq!(faults(&summary["errors"]), [Some(0); 3], "{errors}");
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
    assert!(stalled(&summary), "{summary:#}");
}

#[test]
fn what_a_slow_server_is_never_sent_is_not_lost() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let toy = Toy::start(Behaviour {
        delay: Box::new(|_| Duration::from_millis(20)),
        ..Behaviour::default()
    });
    // It answers a thousand a second at the most.
    let (_, summary, errors) = echo(&toy, "-c 5 -r 50k --in-flight 4 -z 500ms", 1);
    toy.finish();
    assert_eq!(faults(&summary["errors"]), [Some(0); 3], "{errors}");
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
    let reasons = summary["reasons"].to_string();
    assert!(reasons.contains("rate-missed"), "{reasons}");
}

/// Lost, duplicated and reordered messages.
fn faults(part: &Value) -> [Option<u64>; 3] {
    ["lost", "duplicated", "reordered"].map(|name| part[name].as_u64())
}

/// What a fault must not pass.
const EXPECT: &str = "--expect errors==0";

fn assert_not_as_expected(summary: &Value, faults: [u64; 3]) {
    let expected = &summary["expectations"][0];
    let total: u64 = faults.iter().sum();
    assert_eq!(expected["value"].as_f64(), Some(total as f64), "{expected}");
    assert_eq!(expected["held"], false, "{expected}");
}

fn assert_echo_faults(fault: Fault, every: u64, args: &str) {
    let args = &format!("{args} {EXPECT}");
    let attempt = |times| {
        let toy = Toy::start(Behaviour {
            fault: Some((fault, every)),
            ..Behaviour::default()
        });
        let outcome = echo(&toy, args, times);
        let account = toy.finish();
        let done = [account.dropped, account.duplicated, account.swapped];
        (outcome, done)
    };
    let ((code, summary, errors), done) = lengthen(attempt, |(_, done)| *done != [0; 3]);
    assert_ne!(done, [0; 3], "{args}: too few messages for a fault");
    assert_eq!(
        faults(&summary["errors"]),
        done.map(Some),
        "{args}: {errors}"
    );
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
    assert_not_as_expected(&summary, done);
    assert_eq!(code, 5, "{fault:?} with {args} spoils the run: {errors}");
}

#[test]
fn an_echo_that_loses_repeats_or_swaps_is_told_so() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    for fault in [Fault::Drop, Fault::Duplicate, Fault::Swap] {
        assert_echo_faults(fault, 500, "-c 10 --in-flight 8 -z 500ms -s 100");
        assert_echo_faults(fault, 500, "-c 10 -r 2k -z 500ms -s 2000");
    }
}

#[test]
fn faults_are_in_the_course_of_a_run() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let args = format!("-c 10 -z 500ms -s 100 --output {}", folder.path().display());
    let attempt = |times| {
        let toy = Toy::start(Behaviour {
            fault: Some((Fault::Duplicate, 100)),
            ..Behaviour::default()
        });
        let outcome = echo(&toy, &args, times);
        (outcome, toy.finish().duplicated)
    };
    let (_, duplicated) = lengthen(attempt, |(_, duplicated)| *duplicated > 0);
    let rows = fs::read_to_string(folder.path().join("timeseries.csv")).unwrap();
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let column = cells(rows.lines().next().unwrap());
    let column = column.iter().position(|name| name == "errors").unwrap();
    let errors = rows
        .lines()
        .skip(1)
        .map(|row| cells(row)[column].parse::<u64>().unwrap());
    let errors: u64 = errors.sum();
    // The last may come when nobody looks any more.
    assert!(
        0 < errors && errors <= duplicated,
        "{errors} of {duplicated}\n{rows}"
    );
}

/// One message at a time: a connection that lost it would be silent for the rest of the run.
#[test]
fn a_connection_that_lost_its_only_message_goes_on() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    assert_echo_faults(Fault::Drop, 1_000, "-c 10 -z 2500ms");
    assert_echo_faults(Fault::Swap, 1_000, "-c 10 -z 2500ms");
}

/// One delivery of so many is lost, repeated or swapped with the next one of its subscriber.
fn assert_broadcast_faults(fault: Fault, every: u64, args: &str) {
    let args = &format!("{args} {EXPECT}");
    let attempt = |times| {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let shared = Arc::clone(&counts);
        let address = hub::serve(move |subscribers, payload| {
            shared
                .lock()
                .unwrap()
                .deliver(fault, every, subscribers, payload);
        });
        let (subscribe, publish) = (url(address), format!("ws://{address}/?pub"));
        let command = ["broadcast", &subscribe, "--publish-url", &publish];
        let outcome = run(&command, args, times);
        let counts = counts.lock().unwrap();
        (outcome, counts.deliveries / every, counts.held.is_some())
    };
    let ((code, summary, errors), made, held) = lengthen(attempt, |(_, made, _)| *made > 0);
    assert!(made > 0, "{args}: too few deliveries for a fault");
    // A message that is still held at the end is lost.
    let left = u64::from(held);
    let expected = match fault {
        Fault::Drop => [made, 0, 0],
        Fault::Duplicate => [0, made, 0],
        Fault::Swap => [left, 0, made - left],
    };
    assert_eq!(
        faults(&summary["broadcast"]),
        expected.map(Some),
        "{args}: {errors}"
    );
    assert_eq!(faults(&summary["errors"]), expected.map(Some), "{args}");
    assert_not_as_expected(&summary, expected);
    assert_eq!(code, 5, "{fault:?} with {args} spoils the run: {errors}");
}

/// What a server of broadcasts has done.
#[derive(Default)]
struct Counts {
    deliveries: u64,
    /// A message that comes to this subscriber after the next one.
    held: Option<(usize, Vec<u8>)>,
}

impl Counts {
    fn deliver(&mut self, fault: Fault, every: u64, hub: &mut Subscribers, payload: &[u8]) {
        for subscriber in 0..hub.streams.len() {
            self.deliveries += 1;
            match (fault, self.deliveries.is_multiple_of(every)) {
                (Fault::Drop, true) => continue,
                (Fault::Swap, true) => {
                    self.held = Some((subscriber, payload.to_vec()));
                    continue;
                }
                (Fault::Duplicate, true) => hub.send_to(subscriber, payload),
                _ => {}
            }
            hub.send_to(subscriber, payload);
            if let Some((_, held)) = self.held.take_if(|(to, _)| *to == subscriber) {
                hub.send_to(subscriber, &held);
            }
        }
    }
}

#[test]
fn a_broadcast_that_loses_repeats_or_swaps_is_told_so() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    for fault in [Fault::Drop, Fault::Duplicate, Fault::Swap] {
        assert_broadcast_faults(fault, 997, "-c 10 -r 1k -z 500ms");
        assert_broadcast_faults(fault, 997, "-c 10 --in-flight 8 -z 300ms");
    }
}

/// A client whose processor others use is late by itself; its latencies are not the server's.
#[test]
fn a_client_that_is_kept_from_running_is_told_so() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let core = core_affinity::get_core_ids().unwrap()[0];
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let spinner = thread::spawn(move || {
        assert!(core_affinity::set_for_current(core));
        while !until.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    let attempt = |times| kept_from_running(core, times);
    let (code, summary) = lengthen(attempt, |(_, summary)| {
        summary["client"]["scheduling_delay_us"].is_number()
    });
    over.store(true, Ordering::Relaxed);
    spinner.join().unwrap();
    assert_eq!(code, Some(5), "{summary:#}");
    let reasons = summary["reasons"].as_array().unwrap();
    let of_kind = |kind| reasons.iter().any(|reason| reason["kind"] == kind);
    assert!(of_kind("client-late"), "{summary:#}");
    assert_eq!(summary["throughput_valid"], false);
    assert!(summary["client"]["timer_lag_us"]["p99"].as_f64().unwrap() > 1_000.0);
    assert!(summary["client"]["scheduling_delay_us"].as_f64().unwrap() > 0.0);
}

/// A client that is nicer than others on its processor, by far: whoever shares with it hardly runs at all.
fn kept_from_running(core: CoreId, times: u32) -> (Option<i32>, Value) {
    let toy = Toy::start(Behaviour::default());
    let bench = env!("CARGO_BIN_EXE_corecast-bench");
    let mut command = Command::new("nice");
    command.args(["-n", "19", bench, "echo", &url(toy.address)]);
    command.args([
        "-c",
        "10",
        "-r",
        "1k",
        "-z",
        &format!("{times}s"),
        "--warmup",
        "100ms",
    ]);
    let output = run_bounded(command.args(["--cores", &core.id.to_string(), "--json"]));
    toy.finish();
    let summary = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        summary.unwrap_or_else(|_| panic!("{output:?}")),
    )
}

/// The delays as they were meant, not as the server says they were. On a machine with two processors to spare.
#[test]
#[ignore = "takes a quiet machine: scripts/truth"]
fn quiet_percentiles_are_those_injected() {
    let cores = core_affinity::get_core_ids().unwrap();
    let args = format!(
        "-c 400 -r 2k --in-flight 1 -z 20s --cores {}",
        cores.last().unwrap().id
    );
    // Replies leave when they are due.
    let punctual = Behaviour {
        awake: Duration::from_micros(1_500),
        core: Some(cores[0].id),
        ..Behaviour::default()
    };
    let (account, summary) = delayed(&args, 1, punctual);
    let mut injected: Vec<u64> = (0..account.residence.len() as u64)
        .map(|number| heavy_tailed(number).as_nanos() as u64)
        .collect();
    injected.sort_unstable();
    let injected = Account {
        residence: injected,
        ..Account::default()
    };
    for percentile in PERCENTILES {
        let (meant, done) = (
            excess(&summary, &injected, percentile),
            excess(&summary, &account, percentile),
        );
        println!(
            "{}: {:.1} ms injected, {:.1} ms measured: {:+.2} %; against the server's own account {:+.2} %",
            percentile.0,
            injected.percentile(percentile.1) / 1e3,
            micros(&summary, "uncorrected", percentile.0) / 1e3,
            meant * 100.0,
            done * 100.0
        );
        assert!(meant < TOLERANCE && done < TOLERANCE);
    }
    let late = summary["reasons"].as_array().unwrap();
    assert!(
        late.iter().all(|reason| reason["kind"] != "client-late"),
        "a client that has a processor of its own is not late: {summary:#}"
    );
}

/// Rare faults, over many messages.
#[test]
#[ignore = "takes a minute: scripts/truth"]
fn one_fault_in_ten_thousand_is_counted() {
    for fault in [Fault::Drop, Fault::Duplicate, Fault::Swap] {
        for args in ["-c 50 --in-flight 8 -z 4s", "-c 50 -r 10k -z 4s"] {
            assert_echo_faults(fault, 10_000, args);
            println!("echo {args}: every {fault:?} counted");
        }
        for args in ["-c 50 --in-flight 8 -z 2s", "-c 50 -r 1k -z 2s"] {
            assert_broadcast_faults(fault, 10_007, args);
            println!("broadcast {args}: every {fault:?} counted");
        }
    }
}
