//! `suite.json`: every run of a suite with its figures, from which the table and the report are made. `suite.schema.json` describes
//! it; a test keeps the two together.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use super::metrics::MetricName;
use crate::error::BenchError;

/// Version of the format; raised when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// Its name in the folder.
pub(crate) const FILE: &str = "suite.json";

/// The folder of all runs in it, by case and server.
pub(crate) const RUNS: &str = "runs";

/// All that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// Made by `--quick`.
    pub(crate) quick: bool,
    /// In the order of the tables.
    pub(crate) contestants: Vec<ContestantRecord>,
    /// What could not be started.
    pub(crate) missing: Vec<MissingRecord>,
    /// Tables, and the points of curves.
    pub(crate) cases: Vec<CaseRecord>,
    /// What was left out of what had been asked for, and why.
    pub(crate) skipped: Vec<String>,
}

/// A server that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContestantRecord {
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
}

/// What a server is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Corecast as it comes.
    Corecast,
    /// The same in another way.
    Variant,
    /// The least that is possible.
    Floor,
    /// Another server.
    Other,
}

/// A server that could not be started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MissingRecord {
    pub(crate) name: String,
    pub(crate) install: String,
}

/// A case, as it was measured last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CaseRecord {
    pub(crate) name: String,
    pub(crate) title: String,
    /// When, where and how.
    pub(crate) measured: Measured,
    /// The first is what servers are compared by, the less the better.
    pub(crate) metrics: Vec<MetricName>,
    /// Of the curve that it is a point of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) curve: Option<CurvePoint>,
    /// Labels, in the order of the table. All others are compared with the first.
    pub(crate) entrants: Vec<String>,
    pub(crate) runs: Vec<Run>,
}

/// When, where and how a case was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// RFC 3339, UTC.
    pub(crate) started: String,
    /// The harness's own command, with its flags.
    pub(crate) load: String,
    pub(crate) rounds: u64,
    /// Seconds of each run, without warm-up.
    pub(crate) duration_s: f64,
    pub(crate) server_cores: Vec<usize>,
    pub(crate) client_cores: Vec<usize>,
    /// `release` or `debug`.
    pub(crate) build: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<String>,
    /// Share of the machine that others used before the suite began, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) busy_before: Option<f64>,
}

/// A place on a curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CurvePoint {
    pub(crate) name: String,
    pub(crate) title: String,
    /// What the x axis shows.
    pub(crate) axis: String,
    pub(crate) x: f64,
}

/// One run of one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) entrant: String,
    /// From 1.
    pub(crate) round: u64,
    /// 1, and 2 when the first was invalid.
    pub(crate) attempt: u64,
    /// Its figures can be used; those of the others are left out of everything.
    pub(crate) valid: bool,
    /// Its throughput and latency are the server's, not the client's.
    pub(crate) throughput_valid: bool,
    /// What is against it.
    pub(crate) reasons: Vec<String>,
    /// By key of the metric.
    pub(crate) figures: BTreeMap<String, f64>,
    /// The run's folder, inside the suite's.
    pub(crate) folder: String,
}

impl Results {
    /// Nothing yet.
    pub(crate) fn new(quick: bool) -> Self {
        Self {
            schema: SCHEMA,
            quick,
            contestants: Vec::new(),
            missing: Vec::new(),
            cases: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// What a folder holds.
    ///
    /// # Errors
    /// When its file cannot be read, or is of another version.
    pub(crate) fn load(folder: &Path) -> Result<Self, BenchError> {
        let path = folder.join(FILE);
        let failed = |why: &dyn std::fmt::Display| {
            BenchError::runtime(format!("cannot read {}: {why}", path.display()))
        };
        let bytes = fs::read(&path).map_err(|error| failed(&error))?;
        // The version first: a file of another one need not have the same fields.
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
        if value["schema"] != SCHEMA {
            let found = &value["schema"];
            return Err(failed(&format!(
                "its schema is {found}, this program knows {SCHEMA}"
            )));
        }
        let found: Self = serde_json::from_value(value).map_err(|error| failed(&error))?;
        let empty = |case: &&CaseRecord| case.entrants.is_empty() || case.metrics.is_empty();
        match found.cases.iter().find(empty) {
            None => Ok(found),
            Some(case) => Err(failed(&format!(
                "the case {:?} has no servers or no figures",
                case.name
            ))),
        }
    }

    /// What a folder holds, or nothing yet when there is no such file.
    ///
    /// # Errors
    /// Those of [`Results::load`]; and when a quick suite would be mixed with a full one.
    pub(crate) fn load_or_new(folder: &Path, quick: bool) -> Result<Self, BenchError> {
        if let Err(error) = fs::metadata(folder.join(FILE))
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(Self::new(quick));
        }
        let found = Self::load(folder)?;
        // A quick suite's figures are worth little: they are not kept.
        match (quick, found.quick) {
            (false, false) => Ok(found),
            (true, false) => Err(BenchError::usage(format!(
                "{} holds a full suite, which --quick does not replace: choose another --output",
                folder.display()
            ))),
            (_, true) => {
                found.remove_runs(folder)?;
                Ok(Self::new(quick))
            }
        }
    }

    /// Removes the runs of all cases: without their figures, they would be taken for runs of the next suite.
    fn remove_runs(&self, folder: &Path) -> Result<(), BenchError> {
        for case in &self.cases {
            // A file that somebody else has written leads nowhere else.
            let mut parts = Path::new(&case.name).components();
            let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
                continue;
            };
            let runs = folder.join(RUNS).join(name);
            match fs::remove_dir_all(&runs) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let text = format!("cannot remove {}: {error}", runs.display());
                    return Err(BenchError::runtime(text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, folder: &Path) -> Result<(), BenchError> {
        let text = serde_json::to_string_pretty(self).expect("plain structures serialize");
        write(&folder.join(FILE), &(text + "\n"))
    }

    /// What a server of this name is measured for.
    pub(crate) fn role(&self, name: &str) -> Option<Role> {
        let found = self.contestants.iter().find(|it| it.name == name);
        found.map(|it| it.role)
    }

    /// Notes a server that was measured, or in another version than before.
    pub(crate) fn note(&mut self, contestant: ContestantRecord) {
        let same = |it: &&mut ContestantRecord| it.name == contestant.name;
        match self.contestants.iter_mut().find(same) {
            Some(old) => *old = contestant,
            None => self.contestants.push(contestant),
        }
    }

    /// Notes which servers could not be started. What an earlier part of the suite could not start still cannot be, unless it is
    /// `present` now.
    pub(crate) fn note_missing(&mut self, present: &[&str], missing: Vec<MissingRecord>) {
        let again = |old: &MissingRecord| missing.iter().any(|it| it.name == old.name);
        let stays = |old: &MissingRecord| !present.contains(&old.name.as_str()) && !again(old);
        self.missing.retain(stays);
        self.missing.extend(missing);
    }

    /// Notes what is left out, by lines that begin with the name of a case. What an earlier part left out stays, unless it is
    /// `measured` now.
    pub(crate) fn note_skipped(&mut self, measured: &[&str], skipped: &[String]) {
        let case = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
        let again: Vec<String> = skipped.iter().map(|line| case(line)).collect();
        let stays = |line: &String| {
            !measured.contains(&case(line).as_str()) && !again.contains(&case(line))
        };
        self.skipped.retain(stays);
        self.skipped.extend(skipped.iter().cloned());
    }

    /// Puts a case in the place of what there was of it, or at the end.
    pub(crate) fn put(&mut self, case: CaseRecord) {
        match self.cases.iter_mut().find(|it| it.name == case.name) {
            Some(old) => *old = case,
            None => self.cases.push(case),
        }
    }
}

impl CaseRecord {
    /// The valid figures of an entrant by round, one for each round that has one.
    pub(crate) fn values(&self, entrant: &str, key: &str) -> BTreeMap<u64, f64> {
        let of_entrant = self
            .runs
            .iter()
            .filter(|run| run.valid && run.entrant == entrant);
        of_entrant
            .filter_map(|run| Some((run.round, *run.figures.get(key)?)))
            .collect()
    }

    /// Rounds of which an entrant has no valid run, with what was against its last one.
    pub(crate) fn invalid(&self) -> Vec<&Run> {
        let last = |run: &&Run| {
            let later = |other: &Run| {
                other.entrant == run.entrant
                    && other.round == run.round
                    && other.attempt > run.attempt
            };
            !self.runs.iter().any(later)
        };
        self.runs
            .iter()
            .filter(last)
            .filter(|run| !run.valid)
            .collect()
    }

    /// The throughput of each of an entrant's valid runs is the server's.
    pub(crate) fn throughput_valid(&self, entrant: &str) -> bool {
        let of_entrant = |run: &&Run| run.valid && run.entrant == entrant;
        self.runs
            .iter()
            .filter(of_entrant)
            .all(|run| run.throughput_valid)
    }
}

/// Writes a file.
///
/// # Errors
/// When it cannot be written; the message names it.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    fs::write(path, text)
        .map_err(|error| BenchError::runtime(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_suite_leaves_no_runs_of_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("suite");
        let mut results = Results::new(true);
        for name in ["echo-512", "../../aside"] {
            results.put(super::super::samples::case(name, &[("corecast", &[1.0])]));
        }
        let runs = ["suite/runs/echo-512/corecast/1", "suite/runs/mine", "aside"];
        for run in runs {
            fs::create_dir_all(root.path().join(run)).unwrap();
        }
        results.save(&folder).unwrap();
        let again = Results::load_or_new(&folder, true).unwrap();
        assert!(again.cases.is_empty());
        let left = runs.map(|run| root.path().join(run).exists());
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn what_an_earlier_part_left_out_stays_until_it_is_measured() {
        let missing = |name: &str, install: &str| MissingRecord {
            name: name.to_owned(),
            install: install.to_owned(),
        };
        let mut results = Results::new(false);
        let first = vec![missing("bun", "old"), missing("ws", "npm")];
        results.note_missing(&["corecast"], first);
        results.note_missing(&["corecast", "ws"], vec![missing("bun", "new")]);
        assert_eq!(results.missing, [missing("bun", "new")]);
        results.note_missing(&["corecast"], Vec::new());
        assert_eq!(results.missing.len(), 1, "a part that does not ask for it");

        let lines = |lines: &[&str]| {
            lines
                .iter()
                .map(|&line| line.to_owned())
                .collect::<Vec<_>>()
        };
        results.note_skipped(
            &["idle"],
            &lines(&["echo-5000: few descriptors", "cores-4: no"]),
        );
        results.note_skipped(&["echo-5000"], &lines(&["cores-4: still no"]));
        assert_eq!(results.skipped, ["cores-4: still no"]);
    }
}
