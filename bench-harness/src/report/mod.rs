//! What a run leaves behind: text for people, `summary.json` and `env.json` for programs.

pub(crate) mod env;
pub(crate) mod summary;
mod text;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::Common;
use crate::error::{BenchError, Verdict};
use crate::telemetry::monitor::History;
use summary::Summary;

/// What a run leaves.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its figures.
    pub(crate) summary: Summary,
    /// Its course.
    pub(crate) history: History,
}

/// Prints the summary and writes the files asked for.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn deliver(record: &Record, common: &Common) -> Result<Verdict, BenchError> {
    let summary = &record.summary;
    if let Some(folder) = &common.output {
        let failed = |error| BenchError::runtime(format!("--output {}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(failed)?;
        write(&folder.join("summary.json"), summary)?;
        write(&folder.join("env.json"), &env::collect())?;
    }
    let page = if common.json {
        pretty(summary)
            + "
"
    } else {
        text::Page(summary).to_string()
    };
    io::stdout().write_all(page.as_bytes())?;
    if summary.valid {
        return Ok(Verdict::Valid);
    }
    if common.json {
        for reason in &summary.reasons {
            eprintln!("corecast-bench: invalid run: {}", reason.text);
        }
    }
    Ok(Verdict::Invalid)
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), BenchError> {
    fs::write(path, pretty(value) + "\n")
        .map_err(|error| BenchError::runtime(format!("cannot write {}: {error}", path.display())))
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain structures serialize")
}
