//! `--baseline`: the runs just made, held against those of a folder.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::folder::COMPARISON;
use crate::cli::Common;
use crate::compare::set::Set;
use crate::compare::{self, Style};
use crate::error::{BenchError, Verdict};
use crate::gates;
use crate::report::{env, summary::Summary};

/// Runs to compare with, and those made since.
pub(super) struct Baseline {
    before: Set,
    after: Set,
}

impl Baseline {
    /// Reads the baseline that the flags name; `None` when they name none. It is read before the first run: nobody waits for a
    /// comparison that then cannot be made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn read(common: &Common) -> Result<Option<Self>, BenchError> {
        let Some(folder) = &common.gates.baseline else {
            return Ok(None);
        };
        let failed = |error| BenchError::runtime(format!("--baseline {error}"));
        Ok(Some(Self {
            before: Set::read(folder).map_err(failed)?,
            after: Set::default(),
        }))
    }

    /// Takes in a run.
    ///
    /// # Errors
    /// None for a summary of this version.
    pub(super) fn add(&mut self, summary: &Summary, place: &str) -> Result<(), BenchError> {
        let env = serde_json::to_value(env::collect()).expect("plain structures serialize");
        let summary = gates::value(summary);
        self.after
            .add(Path::new(place), String::new(), summary, Some(env))
    }

    /// Compares, and leaves `comparison.json` and `comparison.md` beside the runs. Without a valid run there is nothing to compare,
    /// which the runs' own verdict says.
    ///
    /// # Errors
    /// When nothing can be compared, or a file cannot be written.
    pub(super) fn compare(self, common: &Common) -> Result<Verdict, BenchError> {
        if self.after.runs.is_empty() {
            return Ok(Verdict::Valid);
        }
        let report = compare::compare(&self.before, &self.after, common.gates.noise, &[])?;
        if let Some(folder) = &common.output {
            let write = |ending: &str, style| {
                let path = folder.join(COMPARISON).with_extension(ending);
                let failed = |error| {
                    BenchError::runtime(format!("cannot write {}: {error}", path.display()))
                };
                fs::write(&path, report.render(style)).map_err(failed)
            };
            write("json", Style::Json)?;
            write("md", Style::Markdown)?;
        }
        let text = format!("\n{}", report.render(Style::Text));
        if common.json {
            io::stderr().write_all(text.as_bytes())?;
        } else {
            io::stdout().write_all(text.as_bytes())?;
        }
        Ok(report.verdict())
    }
}
