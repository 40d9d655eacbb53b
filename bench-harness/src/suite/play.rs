//! Plays a case: round by round, every server once in each, a fresh server for every run, and every run judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::cases::{Case, Entrant};
use super::client;
use super::contestants::{Call, Contestant, Mode, Roster};
use super::metrics;
use super::plan::{Cores, Item};
use super::process::{Interrupt, Trouble};
use super::results::{RUNS, Run};
use super::servers::{Patience, Running, free_port};
use crate::procfs::{Detail, Watch};

/// A run that the harness calls invalid is repeated once: a neighbour may have been loud.
const ATTEMPTS: u64 = 2;

/// Until a server that listens has all the memory that it starts with.
const SETTLE: Duration = Duration::from_millis(500);

/// What a server prints, in the folder of its run; kept when the run is invalid.
const SERVER_LOG: &str = "server.log";

/// What every run of a suite has in common.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) cores: &'a Cores,
    pub(crate) patience: Patience,
    /// Of the whole suite.
    pub(crate) folder: &'a Path,
    pub(crate) begun: Instant,
    pub(crate) interrupt: &'a Interrupt,
}

/// Plays all rounds of a case.
///
/// # Errors
/// [`Trouble::Interrupted`]; or when its folder cannot be written. A run that fails is an invalid one.
pub(crate) fn all_rounds(stage: &Stage<'_>, item: &Item) -> Result<Vec<Run>, Trouble> {
    let mut runs = Vec::new();
    clear(&stage.folder.join(folder_of_case(&item.case)))?;
    for round in 1..=item.rounds {
        // Another one is the first in each round.
        let turn = ((round - 1) % item.entrants.len() as u64) as usize;
        let (late, early) = item.entrants.split_at(turn);
        for entrant in early.iter().chain(late) {
            for attempt in 1..=ATTEMPTS {
                let run = one(stage, item, entrant, round, attempt)?;
                say(stage, item, &run);
                let valid = run.valid;
                runs.push(run);
                if valid {
                    break;
                }
            }
        }
    }
    Ok(runs)
}

/// What is there is of an earlier suite, whose figures of this case are replaced: runs of two must not lie side by side.
fn clear(folder: &Path) -> Result<(), Trouble> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .map_err(|error| Trouble::Failed(format!("{}: {error}", folder.display())))?;
    }
    Ok(())
}

/// Where an entrant's runs of a case are, inside the suite's folder.
fn folder_of(case: &Case, entrant: &Entrant) -> PathBuf {
    let label = entrant.label.replace(", ", "-").replace(' ', "-");
    folder_of_case(case).join(label)
}

fn folder_of_case(case: &Case) -> PathBuf {
    Path::new(RUNS).join(&case.name)
}

fn one(
    stage: &Stage<'_>,
    item: &Item,
    entrant: &Entrant,
    round: u64,
    attempt: u64,
) -> Result<Run, Trouble> {
    let again = if attempt > 1 {
        format!(".{attempt}")
    } else {
        String::new()
    };
    // A number, with which `compare` tells no kinds of runs apart.
    let folder = folder_of(&item.case, entrant).join(format!("{round}{again}"));
    let path = stage.folder.join(&folder);
    fs::create_dir_all(&path)
        .map_err(|error| Trouble::Failed(format!("{}: {error}", path.display())))?;
    let mut run = Run {
        entrant: entrant.label.clone(),
        round,
        attempt,
        valid: false,
        throughput_valid: false,
        reasons: Vec::new(),
        figures: BTreeMap::new(),
        folder: folder.to_string_lossy().into_owned(),
    };
    match measure(stage, item, entrant, &path, &mut run) {
        Err(Trouble::Failed(reason)) => run.reasons.push(reason),
        Err(interrupted) => return Err(interrupted),
        Ok(()) => {}
    }
    if run.valid {
        // Nothing is in it that anybody wants to know.
        let _ = fs::remove_file(path.join(SERVER_LOG));
    } else {
        run.figures.clear();
    }
    Ok(run)
}

/// Starts the server, puts the load on it, and fills in the run.
fn measure(
    stage: &Stage<'_>,
    item: &Item,
    entrant: &Entrant,
    path: &Path,
    run: &mut Run,
) -> Result<(), Trouble> {
    let contestant = stage
        .roster
        .get(&entrant.contestant)
        .expect("entrants are made from the roster");
    let call = Call {
        mode: item.case.mode(),
        port: free_port()?,
        cores: item.case.cores,
    };
    let empty = empty_memory(stage, contestant, entrant, path)?;
    let log = path.join(SERVER_LOG);
    let mut server = start(stage, contestant, call, entrant.server, &log)?;
    let load = client::Load {
        item,
        entrant,
        urls: contestant.urls(call, item.case.publishes_apart()),
        server: server.pids(),
        cores: &stage.cores.client,
        folder: path,
    };
    let finished = client::run(&load, stage.interrupt);
    let finished = match (finished, server.complaint()) {
        (Err(Trouble::Failed(reason)), Some(complaint)) => {
            return Err(Trouble::Failed(format!("{reason}; {complaint}")));
        }
        (finished, _) => finished?,
    };
    run.valid = finished.valid;
    run.throughput_valid = finished.summary.throughput_valid;
    run.reasons = finished.reasons;
    run.figures = metrics::of(item.case.load, &finished.summary, empty);
    // The figures are taken by now; that it had to be killed is told all the same.
    run.reasons.extend(server.stop());
    Ok(())
}

fn start(
    stage: &Stage<'_>,
    contestant: &Contestant,
    call: Call,
    more: &[&str],
    log: &Path,
) -> Result<Running, Trouble> {
    let mut argv = contestant.argv(call);
    argv.extend(more.iter().map(|&flag| flag.to_owned()));
    let processors = stage.cores.all();
    let cores = &processors[..call.cores.min(processors.len())];
    Running::start(
        &argv,
        cores,
        call.port,
        log,
        stage.patience,
        stage.interrupt,
    )
}

/// The anonymous memory of a server with room for hardly any connection.
fn empty_memory(
    stage: &Stage<'_>,
    contestant: &Contestant,
    entrant: &Entrant,
    path: &Path,
) -> Result<Option<u64>, Trouble> {
    if entrant.empty.is_empty() {
        return Ok(None);
    }
    let call = Call {
        mode: Mode::Echo,
        port: free_port()?,
        cores: 1,
    };
    let log = path.join(SERVER_LOG);
    let server = start(stage, contestant, call, entrant.empty, &log)?;
    thread::sleep(SETTLE);
    let memory = Watch::new(&server.pids())?.snapshot(Detail::Full)?.memory;
    server.stop();
    Ok(Some(memory.anonymous))
}

/// One line for a run.
fn say(stage: &Stage<'_>, item: &Item, run: &Run) {
    let outcome = if run.valid {
        let shown = item.case.metrics.iter().filter_map(|metric| {
            let value = run.figures.get(metric.key)?;
            let short = super::numbers::short(*value);
            Some(format!("{} {short} {}", metric.title, metric.unit))
        });
        shown.collect::<Vec<_>>().join(", ")
    } else {
        format!("INVALID: {}", run.reasons.join("; "))
    };
    println!(
        "{:5.0} s  {:18} round {}/{}  {:22} {outcome}",
        stage.begun.elapsed().as_secs_f64(),
        item.case.name,
        run.round,
        item.rounds,
        run.entrant,
    );
}
