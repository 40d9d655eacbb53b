//! `man` and `completions`: made from the definition of the command line, so that they cannot differ from it.

use std::fs;
use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{BenchError, Verdict};

/// Prints the main page, or writes one for every command.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn man(args: &ManArgs) -> Result<Verdict, BenchError> {
    let command = Cli::command();
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        io::stdout().write_all(&page)?;
        return Ok(Verdict::Valid);
    };
    let failed = |error| BenchError::runtime(format!("--output {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(command, folder).map_err(failed)?;
    Ok(Verdict::Valid)
}

/// Prints what a shell needs to complete commands and flags.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Verdict, BenchError> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(args.shell, &mut command, "corecast-bench", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Verdict::Valid)
}
