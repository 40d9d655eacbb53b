//! The harness's binary, and what its runs come to.

use std::io::{BufRead as _, BufReader, Read};
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use super::patience::{bench_long_enough, is_the_machines, until};

/// What a run came to: the exit code, the summary (null when there is none), and what was written to standard error.
pub(crate) type Outcome = (i32, Value, String);

/// A process that is ended with the value.
pub(crate) struct Process(pub(crate) Child);

/// The harness with these arguments, not yet started.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corecast-bench"));
    command.args(args);
    command
}

/// Runs the harness as it is, for a bounded time.
pub(crate) fn run(args: &[&str]) -> Output {
    run_bounded(&mut command(args))
}

/// Runs a command for a bounded time.
pub(crate) fn run_bounded(command: &mut Command) -> Output {
    let mut child = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    // Read aside, so that the child never waits for room in a pipe.
    let stdout = reader(child.stdout.take().unwrap());
    let stderr = reader(child.stderr.take().unwrap());
    let what = format!("the end of {command:?}");
    Output {
        status: until(&what, || child.try_wait().unwrap()),
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Runs the harness with JSON output.
pub(crate) fn bench(args: &[&str]) -> Outcome {
    outcome(run(&[args, &["--json"]].concat()))
}

/// What a run with JSON output came to.
pub(crate) fn outcome(output: Output) -> Outcome {
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().expect("ended by itself");
    (code, summary, errors)
}

/// Runs a load against a server in this process, as [`load`] has it; for longer than that where a busy machine leaves too
/// little of it.
pub(crate) fn measure(args: &[&str]) -> Outcome {
    bench_long_enough(&load(args, &own_pid()))
}

/// The arguments of a load that takes a moment, unless they say otherwise. It is judged by cost: how much of a busy machine
/// the client gets must not decide.
pub(crate) fn load<'a>(args: &[&'a str], pid: &'a str) -> Vec<&'a str> {
    let mut all = args.to_vec();
    all.extend(["--server-pid", pid]);
    // `idle` always is.
    if args[0] != "idle" {
        all.push("--cost");
    }
    if matches!(args[0], "echo" | "broadcast") {
        for (flag, time) in [("-z", "400ms"), ("--warmup", "100ms")] {
            if !args.contains(&flag) {
                all.extend([flag, time]);
            }
        }
    }
    all
}

/// Arguments that were made, as those that were written are.
pub(crate) fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// This process, for `--server-pid`.
pub(crate) fn own_pid() -> String {
    std::process::id().to_string()
}

/// Nothing went wrong, and enough was measured. Returns the summary.
#[track_caller]
pub(crate) fn assert_clean(outcome: Outcome) -> Value {
    assert_eq!(outcome.0, 0, "{}\n{:#}", outcome.2, outcome.1);
    assert_eq!(outcome.1["valid"], true);
    assert_unharmed(outcome)
}

/// Nothing went wrong, though a busy machine may have left too little time. For what does not depend on how much was
/// measured.
#[track_caller]
pub(crate) fn assert_unharmed(outcome: Outcome) -> Value {
    let excused = is_the_machines(&outcome);
    let (code, summary, errors) = outcome;
    assert!(code == 0 || excused, "{errors}\n{summary:#}");
    for kind in ["refused", "broken", "lost", "duplicated", "reordered"] {
        let count = summary["errors"][kind].as_u64().unwrap_or(0);
        assert_eq!(count, 0, "{kind}: {errors}\n{summary:#}");
    }
    summary
}

/// The flags are refused, for this reason.
#[track_caller]
pub(crate) fn assert_usage(args: &[&str], why: &str) {
    let (code, _, errors) = bench(args);
    assert_eq!(code, 2, "{args:?}: {errors}");
    assert!(errors.contains(why), "{args:?}: {errors}");
}

/// Messages that fell due in the window of an open loop: as many have a latency, whatever the machine did.
pub(crate) fn due(summary: &Value) -> f64 {
    let parameter = |name: &str| summary["parameters"][name].as_f64().unwrap();
    parameter("rate") * parameter("duration_s")
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// The first line on its standard output, which has to be piped, with this text in it. What it says later is read, too,
    /// so that it never waits for room in the pipe.
    pub(crate) fn line_with(&mut self, text: &str) -> String {
        let mut lines = BufReader::new(self.stdout.take().unwrap()).lines();
        let mut line = lines.by_ref().map_while(Result::ok);
        let line = line.find(|line| line.contains(text));
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        line.unwrap_or_else(|| panic!("it has ended without {text:?}"))
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
