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
    conclude(status, load.folder)
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
    if !item.case.flags.contains(&"--all-publish") {
        let publish = publish.iter().flat_map(|url| ["--publish-url", url]);
        flags.extend(publish.map(str::to_owned));
    }
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

fn conclude(status: ExitStatus, folder: &Path) -> Result<Finished, Trouble> {
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
    Ok(Finished {
        valid: code == VALID,
        reasons: reasons(&summary),
        summary,
    })
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
