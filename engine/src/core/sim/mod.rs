//! Deterministic simulation: a core over a simulated ring, thousands of seeds at a time.
//!
//! A seed decides everything: settings, peers, the application's whims, and which faults the kernel and the network
//! make (`transport/ring/simulated`). The loop, the connections, the output, the backlogs, the timers and the ring
//! above the system call are the code that ships.
//!
//! `CORECAST_SIM_SEED=7 cargo test -p corecast --lib simulation -- --nocapture` replays a seed and writes its events;
//! `CORECAST_SIM_SEEDS=100000` runs so many in place of the usual number, from `CORECAST_SIM_FIRST` (0) on.

mod admission;
mod answer;
mod application;
mod awaited;
mod breaking;
mod compressing;
mod conversation;
mod elsewhere;
mod flushing;
mod invariants;
mod peers;
mod publishing;
mod scenario;
mod sending;
mod simulation;
mod stage;
mod streams;
mod topics;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::transport::ring::simulated::Fault;
use simulation::{Outcome, Simulation};

/// Seeds of an ordinary test run.
const SEEDS: u64 = 2_000;

/// Statuses with which the server refuses on its own what simulated peers ask for.
const REFUSALS: [u16; 6] = [400, 408, 429, 431, 500, 503];

/// What else has to come up.
const SIGHTS: [&str; 21] = [
    "closed for being slow",
    "dropped the newest",
    "dropped the oldest",
    "dropped of several at once",
    "replaced the latest",
    "flooded with control frames",
    "published to all but one",
    "waited for others",
    "sent what was retained",
    "had no room to retain",
    "forwarded to other cores",
    "refused by other cores",
    "refused by one of two cores",
    "looked for more before a flush",
    "compressed for all",
    "compressed for all with a small window",
    "compressed for one peer",
    "compressed by a peer",
    "inflated in several steps",
    "refused a bomb",
    "refused corrupt data",
];

/// Sums over many runs.
#[derive(Default)]
struct Totals {
    runs: u64,
    turns: usize,
    opened: u64,
    /// Pings that a pong to a later one answered as well.
    skipped: u64,
    /// How often other things happened.
    sights: BTreeMap<&'static str, u64>,
    /// Requests that the server has refused on its own, by status.
    refusals: BTreeMap<u16, u64>,
    faults: [u64; Fault::COUNT],
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.runs += 1;
        self.turns += outcome.turns;
        self.opened += outcome.opened;
        self.skipped += outcome.skipped;
        for &status in &outcome.refusals {
            *self.refusals.entry(status).or_default() += 1;
        }
        for (&sight, count) in &outcome.sights {
            *self.sights.entry(sight).or_default() += count;
        }
        for (sum, count) in self.faults.iter_mut().zip(outcome.faults) {
            *sum += count;
        }
    }

    /// What should happen in many runs and has not: a simulation that has stopped simulating would find nothing.
    fn never(&self) -> Vec<String> {
        let faults = Fault::ALL
            .iter()
            .filter(|&&(fault, _)| self.faults[fault as usize] == 0);
        let refusals = REFUSALS
            .iter()
            .filter(|&status| !self.refusals.contains_key(status));
        let sights = SIGHTS
            .iter()
            .filter(|&sight| !self.sights.contains_key(sight));
        faults
            .map(|&(_, name)| name.to_owned())
            .chain(refusals.map(|status| format!("refused with {status}")))
            .chain(sights.map(|&sight| sight.to_owned()))
            .chain((self.skipped == 0).then(|| "pongs that wait".to_owned()))
            .collect()
    }
}

/// Runs one seed; an error tells how to run it again.
fn run(seed: u64, aloud: bool) -> Result<Outcome, String> {
    let mut simulation = Simulation::new(seed, aloud).map_err(|e| e.to_string())?;
    let world = simulation.world().clone();
    let what = match catch_unwind(AssertUnwindSafe(|| simulation.run())) {
        Ok(Ok(outcome)) => return Ok(outcome),
        Ok(Err(what)) => what,
        Err(panic) => {
            // What a panic has left half done may panic again.
            std::mem::forget(simulation);
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied());
            format!("panic: {}", text.unwrap_or("of unknown kind"))
        }
    };
    let events = world
        .try_borrow()
        .map(|world| world.log.tail())
        .unwrap_or_default();
    Err(format!(
        "seed {seed}: {what}\nits last events:\n{events}\
         replay: CORECAST_SIM_SEED={seed} cargo test -p corecast --lib simulation -- --nocapture\n"
    ))
}

fn number(variable: &str) -> Option<u64> {
    let value = env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value} is not a number")),
    )
}

/// Runs seeds on all processors; each run is one thread's alone.
fn run_all(seeds: std::ops::Range<u64>) -> Totals {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let totals = Mutex::new(Totals::default());
    let failures = Mutex::new(Vec::new());
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run(seed, false) {
                Ok(outcome) => totals.lock().expect("no panic holds it").add(&outcome),
                Err(what) => {
                    failed.store(true, Ordering::Relaxed);
                    failures.lock().expect("no panic holds it").push(what);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().expect("no panic holds it");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    totals.into_inner().expect("no panic holds it")
}

#[test]
fn simulation_keeps_its_invariants() {
    if let Some(seed) = number("CORECAST_SIM_SEED") {
        run(seed, true).unwrap_or_else(|what| panic!("\n{what}"));
        return;
    }
    let first = number("CORECAST_SIM_FIRST").unwrap_or(0);
    let seeds = number("CORECAST_SIM_SEEDS").unwrap_or(SEEDS);
    let totals = run_all(first..first + seeds);
    println!(
        "{} seeds, {} turns, {} connections opened; refused: {:?}; {} pings skipped; faults: {:?}",
        totals.runs, totals.turns, totals.opened, totals.refusals, totals.skipped, totals.faults
    );
    println!("seen: {:?}", totals.sights);
    if seeds >= SEEDS {
        let never = totals.never();
        assert!(never.is_empty(), "these never happened: {never:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "forty seeds, twice")]
fn simulation_of_a_seed_is_always_the_same() {
    for seed in 0..40 {
        let hashes = [(); 2].map(|()| run(seed, false).map(|outcome| outcome.hash));
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}
