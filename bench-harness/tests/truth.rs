//! Against servers of which everything is known: what the harness says is so.

mod common;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::toy::{Account, Behaviour, Fault, Toy};
use common::{bench, hub, ring_available};
use serde_json::Value;

/// A busy machine makes both sides late, which the harness rightly sees, and the server cannot know of. So the closest of
/// so many runs counts: never is a latency less than it was.
const ATTEMPTS: u32 = 30;

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

fn echo(toy: &Toy, args: &str) -> (i32, Value, String) {
    let url = format!("ws://{}/", toy.address);
    run(&["echo", &url], args)
}

/// The server is this process. `--cost`: how much of a busy machine the client gets must not decide.
fn run(command: &[&str], args: &str) -> (i32, Value, String) {
    let pid = std::process::id().to_string();
    let mut all = command.to_vec();
    all.extend(["--warmup", "0s", "--cost", "--server-pid", &pid]);
    all.extend(args.split(' '));
    bench(&all)
}

fn micros(summary: &Value, which: &str, percentile: &str) -> f64 {
    summary["latency_us"][which][percentile].as_f64().unwrap()
}

/// The known delays, and what the harness made of them.
fn delayed(args: &str, core: Option<usize>) -> (Account, Value) {
    let toy = Toy::start(Behaviour {
        delay: heavy_tailed,
        core,
        ..Behaviour::default()
    });
    let (_, summary, errors) = echo(&toy, args);
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
    let mut closest = [f64::MAX; PERCENTILES.len()];
    for _ in 0..ATTEMPTS {
        let (account, summary) = delayed("-c 150 -r 1k --in-flight 1 -z 1s", None);
        for (closest, percentile) in closest.iter_mut().zip(PERCENTILES) {
            *closest = closest.min(excess(&summary, &account, percentile));
        }
        if closest.iter().all(|&excess| excess < TOLERANCE) {
            return;
        }
    }
    panic!("off by more than {TOLERANCE}: {closest:?}");
}

#[test]
fn a_stall_shows_at_p99_of_the_open_loop_only() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let stalling = || Behaviour {
        stall: Some((500, Duration::from_millis(200))),
        ..Behaviour::default()
    };
    let toy = Toy::start(stalling());
    let (_, summary, errors) = echo(&toy, "-c 5 -r 1k --in-flight 1 -z 2s");
    // 200 of 2000 messages fell due during the stall, the last hundredth in its first 20 ms; 5 of them had been sent.
    let (p99, max) = (micros(&summary, "corrected", "p99"), 200_000.0);
    assert!(p99 >= 0.85 * max, "{errors}{summary:#}");
    assert!(
        micros(&summary, "uncorrected", "p99") < 0.5 * max,
        "{summary:#}"
    );
    assert!(micros(&summary, "uncorrected", "max") >= max, "{summary:#}");
    toy.finish();
    // A closed loop waits politely, and hardly notices.
    let toy = Toy::start(stalling());
    let (_, summary, _) = echo(&toy, "-c 5 -z 1s");
    assert!(
        micros(&summary, "corrected", "p99") < 0.5 * max,
        "{summary:#}"
    );
    assert!(micros(&summary, "corrected", "max") >= max, "{summary:#}");
    toy.finish();
}

#[test]
fn replies_that_come_after_the_end_of_a_closed_loop_count() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let toy = Toy::start(Behaviour {
        delay: |number| Duration::from_millis(if number % 200 == 199 { 1_500 } else { 0 }),
        ..Behaviour::default()
    });
    let (_, summary, errors) = echo(&toy, "-c 20 -z 500ms");
    let account = toy.finish();
    assert_eq!(summary["errors"]["lost"], 0, "{errors}{summary:#}");
    let count = summary["latency_us"]["corrected"]["count"].as_u64();
    assert_eq!(count, Some(account.residence.len() as u64), "{summary:#}");
    assert!(micros(&summary, "corrected", "max") >= 1_500_000.0);
}

#[test]
fn a_stall_is_no_loss_where_replies_cannot_be_told_apart() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let name = format!("corecast-bench-one-payload-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, "the only one").unwrap();
    let toy = Toy::start(Behaviour {
        stall: Some((100, Duration::from_millis(1_300))),
        ..Behaviour::default()
    });
    let args = format!("-c 5 -z 2s --binary --payload file:{}", file.display());
    let (_, summary, errors) = echo(&toy, &args);
    toy.finish();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(faults(&summary["errors"]), [Some(0); 3], "{errors}");
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
    assert!(micros(&summary, "corrected", "max") >= 1_300_000.0);
}

#[test]
fn what_a_slow_server_is_never_sent_is_not_lost() {
    if !ring_available() {
        return;
    }
    let _alone = alone();
    let toy = Toy::start(Behaviour {
        delay: |_| Duration::from_millis(20),
        ..Behaviour::default()
    });
    // It answers a thousand a second at the most.
    let (_, summary, errors) = echo(&toy, "-c 5 -r 50k --in-flight 4 -z 500ms");
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

fn assert_echo_faults(fault: Fault, every: u64, args: &str) {
    let toy = Toy::start(Behaviour {
        fault: Some((fault, every)),
        ..Behaviour::default()
    });
    let (code, summary, errors) = echo(&toy, args);
    let account = toy.finish();
    let done = [account.dropped, account.duplicated, account.swapped];
    assert!(
        done.iter().sum::<u64>() > 0,
        "{args}: too few messages for a fault"
    );
    assert_eq!(
        faults(&summary["errors"]),
        done.map(Some),
        "{args}: {errors}"
    );
    assert_eq!(summary["errors"]["broken"], 0, "{errors}");
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
        assert_echo_faults(fault, 500, "-c 10 -r 4k -z 500ms -s 2000");
    }
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
    let counts = Arc::new(Mutex::new((0, None)));
    let shared = Arc::clone(&counts);
    let address = hub::serve(move |subscribers, payload| {
        let (deliveries, held): &mut (u64, Option<(usize, Vec<u8>)>) = &mut shared.lock().unwrap();
        for subscriber in 0..subscribers.streams.len() {
            *deliveries += 1;
            match (fault, *deliveries % every == 0) {
                (Fault::Drop, true) => continue,
                (Fault::Swap, true) => {
                    *held = Some((subscriber, payload.to_vec()));
                    continue;
                }
                (Fault::Duplicate, true) => subscribers.send_to(subscriber, payload),
                _ => {}
            }
            subscribers.send_to(subscriber, payload);
            if let Some((_, held)) = held.take_if(|(to, _)| *to == subscriber) {
                subscribers.send_to(subscriber, &held);
            }
        }
    });
    let url = format!("ws://{address}/");
    let publish = format!("ws://{address}/?pub");
    let (code, summary, errors) = run(&["broadcast", &url, "--publish-url", &publish], args);
    let (deliveries, held) = &*counts.lock().unwrap();
    let made = deliveries / every;
    assert!(made > 0, "{args}: too few deliveries for a fault");
    // A message that is still held at the end is lost.
    let left = u64::from(held.is_some());
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
    assert_eq!(code, 5, "{fault:?} with {args} spoils the run: {errors}");
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
    let toy = Toy::start(Behaviour::default());
    let url = format!("ws://{}/", toy.address);
    let (cores, bench) = (core.id.to_string(), env!("CARGO_BIN_EXE_corecast-bench"));
    // Nicer than the other by far: whoever shares with it hardly runs at all.
    let mut command = Command::new("timeout");
    command.args(["60", "nice", "-n", "19", bench, "echo", &url]);
    command.args(["-c", "10", "-r", "1k", "-z", "1s", "--warmup", "100ms"]);
    let output = command.args(["--cores", &cores, "--json"]).output();
    over.store(true, Ordering::Relaxed);
    spinner.join().unwrap();
    toy.finish();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reasons = summary["reasons"].as_array().unwrap();
    let of_kind = |kind| reasons.iter().any(|reason| reason["kind"] == kind);
    assert!(of_kind("client-late"), "{summary:#}");
    assert_eq!(summary["throughput_valid"], false);
    assert!(summary["client"]["timer_lag_us"]["p99"].as_f64().unwrap() > 1_000.0);
    assert!(summary["client"]["scheduling_delay_us"].as_f64().unwrap() > 0.0);
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
    let (account, summary) = delayed(&args, Some(cores[0].id));
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
