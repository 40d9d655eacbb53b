//! One run of the harness itself, as a process of its own: no run can disturb the next, and each is bounded in time.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::pty::{Winsize, openpty};

use super::cases::{self, Entrant};
use super::launch;
use super::metrics::is_latency;
use super::plan::Item;
use super::process::{Interrupt, Process, Trouble};
use crate::report::summary::Summary;

/// For everything around the measured window: opening 15,000 connections, closing them, writing the report.
const AROUND: Duration = Duration::from_secs(120);

/// The harness ends at once when it is told to.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it prints, in the folder of the run; kept when it fails.
const LOG: &str = "client.log";

/// The harness's exit codes for a run that counts and for one that it calls invalid.
const VALID: i32 = 0;
const INVALID: i32 = 5;

/// What a run is given.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) item: &'a Item,
    pub(crate) entrant: &'a Entrant,
    /// For clients, and for publishers that are no subscribers.
    pub(crate) urls: (String, Option<String>),
    /// The server's processes.
    pub(crate) server: Vec<u32>,
    /// The client's processors.
    pub(crate) cores: &'a [usize],
    /// Where it leaves its files.
    pub(crate) folder: &'a Path,
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) valid: bool,
    pub(crate) reasons: Vec<String>,
    pub(crate) summary: Summary,
}

/// Puts the load on the server.
///
/// # Errors
/// [`Trouble::Failed`] when the harness fails, takes too long, or leaves no summary.
pub(crate) fn run(load: &Load<'_>, interrupt: &Interrupt) -> Result<Finished, Trouble> {
    let item = load.item;
    let mut argv = vec![text(&env::current_exe()?)];
    argv.extend(flags(load));
    let limit = item.warmup + item.duration + AROUND;
    let cores = &load.cores[..threads(load)];
    let mut command = launch::command(cores, &argv)?;
    let log = load.folder.join(LOG);
    let status = if load.entrant.screen {
        on_a_terminal(&mut command, &log, limit, interrupt)?
    } else {
        into_a_file(&mut command, &log, limit, interrupt)?
    };
    conclude(status, load)
}

/// How a case's load is put on any server: for people, who can do the same by hand.
pub(crate) fn command_line(item: &Item) -> String {
    let mut words = vec![
        "corecast-bench".to_owned(),
        command_of(item.case.load).to_owned(),
    ];
    words.push("URL".to_owned());
    words.extend(case_flags(item));
    words.join(" ")
}

fn flags(load: &Load<'_>) -> Vec<String> {
    let (item, (url, publish)) = (load.item, &load.urls);
    let mut flags = vec![command_of(item.case.load).to_owned(), url.clone()];
    flags.extend(case_flags(item));
    let publish = publish.iter().flat_map(|url| ["--publish-url", url]);
    flags.extend(publish.map(str::to_owned));
    flags.extend(load.entrant.bench.iter().map(|&flag| flag.to_owned()));
    let pids: Vec<_> = load.server.iter().map(u32::to_string).collect();
    flags.extend(["--server-pid".to_owned(), pids.join(",")]);
    let cores: Vec<_> = load.cores[..threads(load)]
        .iter()
        .map(usize::to_string)
        .collect();
    flags.extend(["--cores".to_owned(), cores.join(",")]);
    flags.extend(["--output".to_owned(), text(load.folder)]);
    if !load.entrant.screen {
        flags.push("--json".to_owned());
    }
    flags
}

/// Flags of the case alone.
fn case_flags(item: &Item) -> Vec<String> {
    let case = &item.case;
    let warmup = millis(item.warmup);
    let connections = case.connections.to_string();
    let size = case.size.to_string();
    let more = case.flags.iter().copied();
    let all: Vec<&str> = match case.load {
        cases::Load::Echo | cases::Load::Broadcast => {
            let head = [
                "-c",
                &connections,
                "-s",
                &size,
                "--cost",
                "--warmup",
                &warmup,
            ];
            head.into_iter().chain(more).collect()
        }
        cases::Load::Churn => {
            let head = ["--churn", "--concurrency", &connections];
            let tail = ["--cost", "--warmup", &warmup];
            head.into_iter().chain(more).chain(tail).collect()
        }
        cases::Load::Idle => ["-c", &connections, "--settle", &warmup]
            .into_iter()
            .chain(more)
            .collect(),
    };
    let mut flags: Vec<String> = all.into_iter().map(str::to_owned).collect();
    flags.extend(["-z".to_owned(), millis(item.duration)]);
    flags
}

fn command_of(load: cases::Load) -> &'static str {
    match load {
        cases::Load::Echo => "echo",
        cases::Load::Broadcast => "broadcast",
        cases::Load::Churn => "connect",
        cases::Load::Idle => "idle",
    }
}

fn millis(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// One for each processor, but one that has no connection would do nothing, and a closed loop of publishers takes one.
fn threads(load: &Load<'_>) -> usize {
    let case = &load.item.case;
    let most = if case.load == cases::Load::Broadcast {
        1
    } else {
        case.connections
    };
    load.cores.len().min(usize::try_from(most).unwrap_or(1))
}

fn into_a_file(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<ExitStatus, Trouble> {
    let output = File::create(log)?;
    // The summary is in the folder, too.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    Process::start(command, PATIENCE)?.wait(limit, interrupt)
}

/// Gives it a terminal, as wide as those of people, and reads what it draws so that it never waits for room.
fn on_a_terminal(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<ExitStatus, Trouble> {
    let size = Winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let terminal = openpty(&size, None).map_err(io::Error::from)?;
    let end = || terminal.slave.try_clone().map(Stdio::from);
    command
        .env("TERM", "xterm-256color")
        .stdin(end()?)
        .stdout(end()?)
        .stderr(end()?);
    let mut process = Process::start(command, PATIENCE)?;
    // The terminal is over when nobody has its other end any more.
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    drop(terminal.slave);
    let drawn = reader(terminal.master);
    let status = process.wait(limit, interrupt);
    drop(process);
    let drawn = drawn.join().expect("reading does not panic");
    fs::write(log, &drawn)?;
    if status.as_ref().is_ok_and(ExitStatus::success) && !holds(&drawn, FULL_SCREEN) {
        return Err(Trouble::failed("the harness drew no screen"));
    }
    status
}

/// What a full screen begins with (xterm's alternate buffer).
const FULL_SCREEN: &[u8] = b"\x1b[?1049h";

/// A program asks where the cursor is (ECMA-48, DSR 6), and a terminal's answer (CPR): at the top left.
const WHERE: &[u8] = b"\x1b[6n";
const HERE: &[u8] = b"\x1b[1;1R";

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Plays the terminal: keeps what is drawn, and answers.
fn reader(terminal: OwnedFd) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let (mut file, mut drawn, mut piece) = (File::from(terminal), Vec::new(), [0; 4096]);
        // EIO is how a terminal ends.
        while let Ok(count @ 1..) = file.read(&mut piece) {
            // The question may lie across two pieces.
            let from = drawn.len().saturating_sub(WHERE.len() - 1);
            drawn.extend_from_slice(&piece[..count]);
            if holds(&drawn[from..], WHERE) && file.write_all(HERE).is_err() {
                break;
            }
        }
        drawn
    })
}

fn conclude(status: ExitStatus, load: &Load<'_>) -> Result<Finished, Trouble> {
    let folder = load.folder;
    let log = folder.join(LOG);
    let Some(code @ (VALID | INVALID)) = status.code() else {
        let printed = fs::read(&log).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let last = printed
            .trim()
            .lines()
            .last()
            .unwrap_or("it printed nothing");
        return Err(Trouble::Failed(format!(
            "corecast-bench failed, {status}: {last}"
        )));
    };
    let path = folder.join("summary.json");
    let failed = |why: String| Trouble::Failed(format!("{}: {why}", path.display()));
    let bytes = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let summary: Summary =
        serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    let _ = fs::remove_file(&log);
    let mut reasons = reasons(&summary);
    let impossible = impossible(&summary, load.item).or_else(|| no_latency(&summary, load.item));
    let valid = code == VALID && impossible.is_none();
    reasons.extend(impossible);
    Ok(Finished {
        valid,
        reasons,
        summary,
    })
}

/// Share of the window asked for below which a run is none: on a machine that is far too busy, the harness may come late to both
/// of its ends.
const SHORTEST: f64 = 0.9;

/// What cannot be, whatever the harness makes of it.
fn impossible(summary: &Summary, item: &Item) -> Option<String> {
    let (window, wanted) = (summary.window_s, item.duration.as_secs_f64());
    if window < wanted * SHORTEST {
        return Some(format!("only {window:.3} s of {wanted} s were measured"));
    }
    let cost = summary.server.as_ref()?.cpu_us_per_message?;
    (cost == 0.0).then(|| "the server seems to have used no processor time at all".to_owned())
}

/// A case that is about a latency needs one that is the server's; for all others the cost has to be right.
fn no_latency(summary: &Summary, item: &Item) -> Option<String> {
    let about_latency = is_latency(item.case.metrics[0].key);
    (about_latency && !summary.throughput_valid)
        .then(|| "the latency, which this case is about, is not the server's alone".to_owned())
}

fn reasons(summary: &Summary) -> Vec<String> {
    let against = summary.reasons.iter().map(|reason| reason.text.clone());
    let errors = summary.errors.reasons.iter();
    let seen = errors.map(|it| format!("{} ({}×)", it.reason, it.count));
    against.chain(seen).collect()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::suite::cases;

    fn item(load: cases::Load) -> Item {
        let case = cases::all().into_iter().find(|case| case.load == load);
        Item {
            case: case.expect("there is one of each"),
            entrants: Vec::new(),
            rounds: 1,
            duration: Duration::from_secs(2),
            warmup: Duration::from_secs(1),
        }
    }

    fn summary(window_s: f64, cost: Value) -> Summary {
        let memory = json!({"resident": 1, "anonymous": 1, "file": 0, "shared": 0});
        let summary = json!({
            "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": true, "judged_by": "cost",
            "throughput_valid": true, "cost_valid": true, "reasons": [], "limited_by": "client",
            "parameters": {"connections": 1, "cores": [], "seed": 1}, "window_s": window_s,
            "client": {"threads": 1, "running": 0.5, "busy": 0.5, "steal_s": 0.0},
            "errors": {"refused": 0, "broken": 0, "lost": 0, "duplicated": 0, "reordered": 0, "reasons": []},
            "server": {
                "pids": [1], "cpu_us": 1.0, "cpu_us_per_message": cost, "user_share": 0.5, "running": 0.5, "busy": 0.5,
                "threads": 1, "voluntary_switches": 0, "involuntary_switches": 0, "memory": memory, "descriptors": 1,
            },
        });
        serde_json::from_value(summary).unwrap()
    }

    #[test]
    fn a_window_that_is_hardly_there_is_no_run() {
        let echo = item(cases::Load::Echo);
        assert_eq!(impossible(&summary(1.99, json!(2.5)), &echo), None);
        let told = impossible(&summary(0.021, json!(2.5)), &echo).unwrap();
        assert_eq!(told, "only 0.021 s of 2 s were measured");
    }

    #[test]
    fn a_case_about_a_latency_needs_one() {
        let mut all = cases::all().into_iter();
        let case = all.find(|case| case.name == "ping-pong").unwrap();
        let ping_pong = Item {
            case,
            ..item(cases::Load::Echo)
        };
        let mut spoilt = summary(2.0, json!(2.5));
        assert_eq!(no_latency(&spoilt, &ping_pong), None);
        spoilt.throughput_valid = false;
        assert_eq!(no_latency(&spoilt, &item(cases::Load::Echo)), None);
        assert!(
            no_latency(&spoilt, &ping_pong)
                .unwrap()
                .contains("not the server's")
        );
    }

    #[test]
    fn messages_are_not_for_free() {
        let told = impossible(&summary(2.0, json!(0.0)), &item(cases::Load::Echo)).unwrap();
        assert!(told.contains("no processor time"), "{told}");
        let idle = item(cases::Load::Idle);
        assert_eq!(impossible(&summary(2.0, Value::Null), &idle), None);
    }

    #[test]
    fn the_command_of_a_case_can_be_typed() {
        let line = command_line(&item(cases::Load::Churn));
        assert_eq!(
            line,
            "corecast-bench connect URL --churn --concurrency 64 --cost --warmup 1000ms -z 2000ms"
        );
    }
}
