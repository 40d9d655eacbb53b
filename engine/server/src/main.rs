//! The corecast server: the engine with built-in applications, flags and a configuration file.
//!
//! Exit codes: 0 clean, 1 runtime failure, 2 bad flags or configuration.

#[cfg(feature = "mimalloc")]
mod allocator;
mod apps;
mod cores;
mod file;
mod logging;
mod options;
mod pages;
mod serve;
mod units;

use std::process::ExitCode;

use crate::options::Options;

fn main() -> ExitCode {
    let outcome = Options::from_args(std::env::args_os())
        .map_err(serve::Failure::Usage)
        .and_then(|options| {
            logging::start()?;
            serve::serve(options)
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Also how `--help` and `--version` end, with 0.
        Err(serve::Failure::Usage(error)) => error.exit(),
        Err(serve::Failure::Runtime(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
