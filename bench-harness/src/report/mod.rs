//! What a run leaves behind: text and a page for people, files for programs.

mod advice;
pub(crate) mod env;
pub(crate) mod format;
mod latency_log;
pub(crate) mod page;
mod run;
pub(crate) mod secrets;
mod sheet;
pub(crate) mod summary;
mod text;
mod timeseries;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::cli::Common;
use crate::error::{BenchError, Verdict};
use crate::telemetry::monitor::History;
use summary::Summary;

/// The figures of a run.
pub(crate) const SUMMARY: &str = "summary.json";

/// The page of a run.
const REPORT: &str = "report.html";

/// What a run leaves.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its figures.
    pub(crate) summary: Summary,
    /// Its course.
    pub(crate) history: History,
}

/// Prints the summary and writes the files that a run leaves into `folder`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn deliver(
    record: &Record,
    folder: Option<&Path>,
    common: &Common,
) -> Result<Verdict, BenchError> {
    let summary = &record.summary;
    if let Some(folder) = folder {
        leave(record, folder)?;
    }
    let text = if common.json {
        pretty(summary)
    } else {
        let mut sheet = text::sheet(summary);
        if let Some(advice) = advice::advice(summary, common) {
            sheet.line("to do", advice);
        }
        if let Some(folder) = folder {
            sheet.line("report", folder.join(REPORT).display());
        }
        sheet.to_string()
    };
    io::stdout().write_all(text.as_bytes())?;
    if summary.valid {
        let held = summary.expectations.iter().all(|expected| expected.held);
        return Ok(if held { Verdict::Valid } else { Verdict::Unmet });
    }
    if common.json {
        for reason in &summary.reasons {
            eprintln!("corecast-bench: invalid run: {}", reason.text);
        }
    }
    Ok(Verdict::Invalid)
}

/// Writes the files of a run into a folder, which is made when it is not there.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn leave(record: &Record, folder: &Path) -> Result<(), BenchError> {
    let failed = |error| BenchError::runtime(format!("--output {}: {error}", folder.display()));
    fs::create_dir_all(folder).map_err(failed)?;
    let Record { summary, history } = record;
    let sheet = text::sheet(summary);
    let env = env::collect();
    let files: [(&str, Vec<u8>); 6] = [
        (SUMMARY, pretty(summary).into()),
        ("summary.md", sheet.markdown().into()),
        (REPORT, run::page(record, &env).render().into()),
        ("timeseries.csv", timeseries::csv(&history.samples).into()),
        (
            "latency.hlog",
            latency_log::log(&history.stretches, sheet.title(), began(history)),
        ),
        ("env.json", pretty(&env).into()),
    ];
    for (name, content) in files {
        let path = folder.join(name);
        fs::write(&path, content).map_err(|error| {
            BenchError::runtime(format!("cannot write {}: {error}", path.display()))
        })?;
    }
    Ok(())
}

/// When a run began.
fn began(history: &History) -> SystemTime {
    let length = history.samples.last().map_or(0.0, |last| last.at_s);
    let ended = history.ended.unwrap_or_else(SystemTime::now);
    ended - Duration::from_secs_f64(length)
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain structures serialize") + "\n"
}
