//! Time for busy machines: what tests wait for is an event, and what a run had too little time for is done again with more.

use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Outcome, bench, run, strs};

/// Whatever takes longer hangs: nothing in these tests does, on however busy a machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// Between two looks.
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// By what factor an attempt has more time than the first one.
const TIMES: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// Flags of a run that say how long something lasts that a busy machine may leave too little of.
const STRETCHED: [&str; 4] = ["-z", "--settle", "--step-duration", "--start-timeout"];

/// Reasons against a run that its server has to answer for, or the test. All others say how busy the machine was.
const NOT_THE_MACHINES: [&str; 4] = [
    "connections-missing",
    "errors",
    "nothing-compressed",
    "no-server-pid",
];

/// Those of the others that a longer run may do away with.
const TOO_SHORT: [&str; 2] = ["too-few-messages", "window-cut"];

/// Waits until `look` finds something.
///
/// # Panics
/// When nothing is found in [`LIMIT`].
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(POLL);
    }
}

/// Makes attempts, each with twice the time of the one before, until one is `enough`. The last one made: what is wrong with
/// a program, and not with the time it had, is wrong with all of them.
pub(crate) fn lengthen<T>(mut attempt: impl FnMut(u32) -> T, enough: impl Fn(&T) -> bool) -> T {
    let mut times = TIMES.into_iter();
    loop {
        let outcome = attempt(times.next().expect("the last attempt is returned"));
        if times.len() == 0 || enough(&outcome) {
            return outcome;
        }
    }
}

/// Runs the harness; when the machine left too little of the time that was to be measured, again for longer.
pub(crate) fn bench_long_enough(args: &[&str]) -> Outcome {
    bench_until(args, |outcome| !is_cut_short(outcome))
}

/// Runs the harness, for longer each time, until a run is `enough`.
pub(crate) fn bench_until(args: &[&str], enough: impl Fn(&Outcome) -> bool) -> Outcome {
    if args.iter().any(|arg| STRETCHED.contains(arg)) {
        lengthen(|times| bench_stretched(args, times), enough)
    } else {
        bench(args)
    }
}

/// Runs the harness, with so many times the time that the arguments give it.
pub(crate) fn bench_stretched(args: &[&str], times: u32) -> Outcome {
    bench(&strs(&stretched(args, times)))
}

/// Runs the harness as it is; when the run is invalid, again for longer.
pub(crate) fn run_long_enough(args: &[&str]) -> Output {
    run_until(args, |output| output.status.code() != Some(5))
}

/// Runs the harness as it is, for longer each time, until a run is `enough`.
pub(crate) fn run_until(args: &[&str], enough: impl Fn(&Output) -> bool) -> Output {
    lengthen(|times| run(&strs(&stretched(args, times))), enough)
}

/// Whether a run is invalid because the machine left too little of the time, and for nothing that the server did.
pub(crate) fn is_cut_short(outcome: &Outcome) -> bool {
    is_the_machines(outcome) && kinds(outcome).any(|kind| TOO_SHORT.contains(&kind))
}

/// Whether a run is invalid because of the machine alone.
pub(crate) fn is_the_machines(outcome: &Outcome) -> bool {
    outcome.0 == 5 && !kinds(outcome).any(|kind| NOT_THE_MACHINES.contains(&kind))
}

/// The kinds of reasons against a run.
fn kinds((_, summary, _): &Outcome) -> impl Iterator<Item = &str> {
    let reasons = summary["reasons"].as_array().into_iter().flatten();
    reasons.map(|reason| reason["kind"].as_str().unwrap())
}

fn stretched(args: &[&str], times: u32) -> Vec<String> {
    let mut args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    for at in 1..args.len() {
        if STRETCHED.contains(&&*args[at - 1]) {
            let time = humantime::parse_duration(&args[at]).unwrap();
            args[at] = format!("{}ms", (time * times).as_millis());
        }
    }
    args
}
