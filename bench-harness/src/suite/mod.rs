//! `suite`: starts the servers itself, measures them in turns, and writes one folder that compares them.

mod analysis;
mod cases;
mod client;
mod contestants;
pub(crate) mod launch;
mod markdown;
mod metrics;
mod neighbours;
mod notes;
mod numbers;
mod page;
mod peers;
mod plan;
mod play;
mod process;
mod results;
#[cfg(test)]
mod samples;
mod servers;
mod tables;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use serde_json::Value;

use crate::cli::SuiteArgs;
use crate::error::{BenchError, Verdict};
use crate::report::env;
use contestants::{Contestant, Roster};
use metrics::MetricName;
use plan::{Item, Plan};
use play::Stage;
use process::{Interrupt, Trouble};
use results::{
    CaseRecord, ContestantRecord, CurvePoint, Measured, MissingRecord, Results, Role, Run,
};

/// Measures what the flags ask for, or lists it, or renders what was measured before.
///
/// # Errors
/// Flags that make no sense, an interrupt, or files that cannot be written.
pub(crate) fn run(args: &SuiteArgs) -> Result<Verdict, BenchError> {
    if let Some(folder) = &args.render {
        render(&Results::load(folder)?, folder)?;
        return Ok(Verdict::Valid);
    }
    let roster = Roster::find(args)?;
    let plan = Plan::new(args, &roster)?;
    if args.list {
        list(&roster, &plan)?;
        return Ok(Verdict::Valid);
    }
    let folder = folder(args);
    let failed = |error| BenchError::runtime(format!("--output {}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    announce(&roster, &plan);
    measure(args, &roster, &plan, &folder)
}

fn folder(args: &SuiteArgs) -> PathBuf {
    let default = if args.quick {
        "results/suite-quick"
    } else {
        "results/suite"
    };
    args.output
        .clone()
        .unwrap_or_else(|| PathBuf::from(default))
}

/// Measures case by case; what has been measured is not lost when a later one is not.
fn measure(
    args: &SuiteArgs,
    roster: &Roster,
    plan: &Plan,
    folder: &Path,
) -> Result<Verdict, BenchError> {
    let interrupt = Interrupt::on_signals()?;
    // Before this process is put on some processors only.
    let environment = serde_json::to_value(env::collect()).expect("plain structures serialize");
    // What waits here wakes up now and then, and must not do so where a server runs.
    launch::pin(&plan.cores.client)?;
    let begun = Instant::now();
    let stage = Stage {
        roster,
        cores: &plan.cores,
        patience: plan.patience,
        folder,
        begun,
        interrupt: &interrupt,
    };
    let mut results = Results::load_or_new(folder, args.quick)?;
    let busy = neighbours::busy();
    if let Some(busy) = busy.filter(|busy| *busy > neighbours::NOISY) {
        println!(
            "warning: others keep this machine {:.0} % busy; the figures will be rough",
            busy * 100.0
        );
    }
    note(&mut results, roster, plan);
    let text = serde_json::to_string_pretty(&environment).expect("a value serializes");
    results::write(&folder.join("env.json"), &(text + "\n"))?;
    let mut verdict = Verdict::Valid;
    for item in &plan.items {
        let started = SystemTime::now();
        let runs = play::all_rounds(&stage, item).map_err(|trouble| ended(trouble, folder))?;
        let mut case = record(item, plan, runs, started, &environment);
        case.measured.busy_before = busy;
        if !case.invalid().is_empty() {
            verdict = Verdict::Invalid;
        }
        results.put(case);
        results.save(folder)?;
        render(&results, folder)?;
    }
    println!("{}", markdown::page(&results));
    println!(
        "{:.0} s; written to {}",
        begun.elapsed().as_secs_f64(),
        folder.display()
    );
    Ok(verdict)
}

fn ended(trouble: Trouble, folder: &Path) -> BenchError {
    match trouble {
        Trouble::Interrupted => BenchError::runtime(format!(
            "interrupted; the servers are ended, and the cases that were complete are in {}",
            folder.display()
        )),
        Trouble::Failed(reason) => BenchError::runtime(reason),
    }
}

/// Writes what is made of the figures.
fn render(results: &Results, folder: &Path) -> Result<(), BenchError> {
    results::write(&folder.join("README.md"), &markdown::page(results))?;
    results::write(&folder.join("report.html"), &page::page(results))
}

/// Says what is coming, before it begins.
fn announce(roster: &Roster, plan: &Plan) {
    for missing in &roster.missing {
        println!("{}: {}", missing.name, missing.install);
    }
    for line in &plan.skipped {
        println!("left out: {line}");
    }
    for line in &plan.warnings {
        println!("warning: {line}");
    }
    let names: Vec<_> = participants(roster, plan)
        .map(|it| it.name.as_str())
        .collect();
    println!("servers: {}", names.join(", "));
    println!(
        "{} cases, {} runs, about {}",
        plan.items.len(),
        plan.runs(),
        minutes(plan)
    );
}

fn minutes(plan: &Plan) -> String {
    let seconds = plan.estimate().as_secs();
    if seconds < 200 {
        return format!("{seconds} seconds");
    }
    format!("{} minutes", seconds.div_ceil(60))
}

fn list(roster: &Roster, plan: &Plan) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "servers:")?;
    for it in &roster.present {
        let version = it.version.as_deref().unwrap_or("");
        writeln!(out, "  {:20} {version}", it.name)?;
    }
    for missing in &roster.missing {
        writeln!(out, "  {:20} {}", missing.name, missing.install)?;
    }
    writeln!(out, "cases, with how many servers take part:")?;
    for Item { case, entrants, .. } in &plan.items {
        let count = entrants.len();
        writeln!(out, "  {:20} {count:3}  {}", case.name, case.title)?;
    }
    writeln!(out, "in all {} runs, about {}", plan.runs(), minutes(plan))
}

/// Notes who takes part, who does not, and what is left out.
fn note(results: &mut Results, roster: &Roster, plan: &Plan) {
    for it in participants(roster, plan) {
        results.note(ContestantRecord {
            name: it.name.clone(),
            role: role(it),
            version: it.version.clone(),
        });
    }
    let missing = roster.missing.iter().map(|it| MissingRecord {
        name: it.name.clone(),
        install: it.install.clone(),
    });
    let present = roster.present.iter().map(|it| it.name.as_str());
    results.note_missing(&present.collect::<Vec<_>>(), missing.collect());
    let measured = plan.items.iter().map(|item| item.case.name.as_str());
    results.note_skipped(&measured.collect::<Vec<_>>(), &plan.skipped);
}

/// Those who take part in any case.
fn participants<'a>(roster: &'a Roster, plan: &'a Plan) -> impl Iterator<Item = &'a Contestant> {
    let takes_part = |it: &&Contestant| {
        let mut entrants = plan.items.iter().flat_map(|item| &item.entrants);
        entrants.any(|entrant| entrant.contestant == it.name)
    };
    roster.present.iter().filter(takes_part)
}

fn role(contestant: &Contestant) -> Role {
    if contestant.is_corecast() {
        Role::Corecast
    } else if contestant.is_variant() {
        Role::Variant
    } else if contestant.is_floor() {
        Role::Floor
    } else {
        Role::Other
    }
}

fn record(
    item: &Item,
    plan: &Plan,
    runs: Vec<Run>,
    started: SystemTime,
    environment: &Value,
) -> CaseRecord {
    let case = &item.case;
    let of = |name: &str| environment[name].as_str().map(str::to_owned);
    let server_cores = plan.cores.all()[..case.cores.min(plan.cores.all().len())].to_vec();
    CaseRecord {
        name: case.name.clone(),
        title: case.title.clone(),
        measured: Measured {
            started: humantime::format_rfc3339_seconds(started).to_string(),
            load: client::command_line(item),
            rounds: item.rounds,
            duration_s: item.duration.as_secs_f64(),
            server_cores,
            client_cores: plan.cores.client.clone(),
            build: env::BUILD.to_owned(),
            commit: of("commit"),
            cpu: of("cpu"),
            kernel: of("kernel"),
            busy_before: None,
        },
        metrics: case.metrics.iter().map(MetricName::from).collect(),
        curve: case.curve.map(|(curve, x)| CurvePoint {
            name: curve.name().to_owned(),
            title: curve.title().to_owned(),
            axis: curve.axis().to_owned(),
            x,
        }),
        entrants: item.entrants.iter().map(|it| it.label.clone()).collect(),
        runs,
    }
}
