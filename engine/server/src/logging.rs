//! Logs, on standard error: standard output is for what the user asked to see.

use std::env;
use std::io::{self, IsTerminal};

use clap::error::ErrorKind;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Which logs are wanted: a level, or levels by module as in `info,corecast=debug`.
const VARIABLE: &str = "CORECAST_LOG";

/// Starts logging at `info`, or as the environment variable says.
///
/// # Errors
/// A usage error when the variable is not such a list.
pub(crate) fn start() -> Result<(), clap::Error> {
    let wanted = match env::var(VARIABLE) {
        Ok(text) => text.parse().map_err(|error| unusable(&text, &error))?,
        Err(env::VarError::NotPresent) => Targets::new().with_default(Level::INFO),
        Err(error @ env::VarError::NotUnicode(_)) => return Err(unusable("", &error)),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(lines)
        .with(wanted)
        .init();
    Ok(())
}

fn unusable(text: &str, error: &dyn std::error::Error) -> clap::Error {
    let example = "it takes a level (error, warn, info, debug, trace) or info,corecast=debug";
    let message = format!("{VARIABLE}={text}: {error}; {example}\n");
    clap::Error::raw(ErrorKind::InvalidValue, message)
}
