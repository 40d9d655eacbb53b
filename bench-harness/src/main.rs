//! Load harness for WebSocket servers: measures what a message costs the server, and says when a
//! figure is not to be believed. See `bench-harness/README.md`.

mod agents;
mod cli;
mod client;
mod clock;
mod commands;
mod compare;
mod cores;
mod error;
mod floor;
mod gates;
mod limits;
mod procfs;
mod report;
mod ring;
mod rng;
mod scenario;
mod screen;
mod session;
mod stats;
mod suite;
mod target;
mod telemetry;
mod units;

use std::env;
use std::process::ExitCode;

use cli::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Bad flags end here with exit code 2, and the nearest known flag.
    let cli = Cli::read(env::args_os()).unwrap_or_else(|error| error.exit());
    let outcome = match &cli.command {
        Command::Echo(args) => session::run(args),
        Command::Broadcast(args) => session::run(args),
        Command::Connect(args) => session::run(args),
        Command::Idle(args) => session::run(args),
        Command::Scenario(args) => scenario::run(args),
        Command::Floor(args) => commands::floor::run(args),
        Command::Suite(args) => suite::run(args),
        Command::Launch(args) => suite::launch::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Agent(args) => agents::listen::run(args),
        Command::Man(args) => commands::manual::man(args),
        Command::Completions(args) => commands::manual::completions(args),
    };
    match outcome {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            // What a server or a file says may be in it.
            eprint!(
                "{}",
                screen::words::harmless(&format!("corecast-bench: {error}"))
            );
            error.exit_code()
        }
    }
}
