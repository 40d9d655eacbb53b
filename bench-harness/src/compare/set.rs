//! Runs on disk, and runs just made.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::pairs::URL;
use crate::error::BenchError;
use crate::report::SUMMARY;
use crate::report::summary::SCHEMA;

/// Where it leaves what it was made on.
const ENV: &str = "env.json";

/// No file that a run leaves is nearly as large.
const LARGEST: u64 = 16 << 20;

/// Folders are searched so deep: a set of suites is half of it.
const DEEPEST: usize = 16;

/// Folders are searched as long as they hold no more than this: somebody may name the wrong one.
const MOST_ENTRIES: usize = 100_000;

/// Runs that were made under the same conditions, or under several that tell them apart.
#[derive(Debug, Default)]
pub(crate) struct Set {
    /// Those that can be compared.
    pub(crate) runs: Vec<Run>,
    /// Invalid ones: where, and the first reason against each.
    pub(crate) skipped: Vec<(String, String)>,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The names of the folders between the set's and the run's, without those that only number runs: runs that are told apart by
    /// such numbers only are of one kind.
    pub(crate) label: String,
    /// Its `summary.json`.
    pub(crate) summary: Value,
    /// Its `env.json`, or that of a folder around it.
    pub(crate) env: Option<Value>,
}

impl Set {
    /// Reads all runs in a folder. One that holds a run is not searched further.
    ///
    /// # Errors
    /// When there is no run, or a file that cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self, BenchError> {
        Self::search(root, MOST_ENTRIES)
    }

    fn search(root: &Path, most_entries: usize) -> Result<Self, BenchError> {
        if root.is_file() {
            return Err(failed(root, "name the folder that a run left, not a file"));
        }
        let mut search = Search {
            root,
            found: Self::default(),
            entries: 0,
            most_entries,
        };
        search.folder(root, None, 0)?;
        let set = search.found;
        if set.runs.is_empty() && set.skipped.is_empty() {
            let why = format!("no run is in it; a run leaves {SUMMARY} in the folder of --output");
            return Err(failed(root, why));
        }
        Ok(set)
    }

    /// Adds a run by its summary.
    ///
    /// # Errors
    /// When it is no summary, or of another version.
    pub(crate) fn add(
        &mut self,
        place: &Path,
        label: String,
        mut summary: Value,
        env: Option<Value>,
    ) -> Result<(), BenchError> {
        check(&summary).map_err(|why| failed(place, why))?;
        leave_out_hosts(&mut summary);
        if summary["valid"] == true {
            self.runs.push(Run {
                label,
                summary,
                env,
            });
        } else {
            let reason = summary["reasons"][0]["text"].as_str();
            let reason = reason.unwrap_or("no reason is given").to_owned();
            self.skipped.push((place.display().to_string(), reason));
        }
        Ok(())
    }
}

impl Run {
    /// The command.
    pub(crate) fn command(&self) -> &str {
        self.summary["command"].as_str().unwrap_or_default()
    }

    /// What was asked for.
    pub(crate) fn parameters(&self) -> &Map<String, Value> {
        let parameters = self.summary["parameters"].as_object();
        parameters.expect("a set takes no summary without parameters")
    }
}

/// Where a server listens says nothing of what was asked of it; its path does.
fn leave_out_hosts(summary: &mut Value) {
    if let Some(url) = summary["target"].as_str().map(without_host) {
        summary["parameters"][URL] = url.into();
    }
    let publish = &mut summary["parameters"]["publish_url"];
    if let Some(url) = publish.as_str().map(without_host) {
        *publish = url.into();
    }
}

fn without_host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let path = rest.find(['/', '?']).map_or("", |begin| &rest[begin..]);
    format!("{scheme}://…{path}")
}

struct Search<'a> {
    root: &'a Path,
    found: Set,
    entries: usize,
    most_entries: usize,
}

impl Search<'_> {
    fn folder(
        &mut self,
        folder: &Path,
        env: Option<&Value>,
        depth: usize,
    ) -> Result<(), BenchError> {
        if depth > DEEPEST {
            return Err(failed(folder, format!("more than {DEEPEST} folders deep")));
        }
        let own_env = json(&folder.join(ENV))?;
        let env = own_env.as_ref().or(env);
        if let Some(summary) = json(&folder.join(SUMMARY))? {
            let label = label(folder.strip_prefix(self.root).unwrap_or(folder));
            return self.found.add(folder, label, summary, env.cloned());
        }
        for folder in self.folders_in(folder)? {
            self.folder(&folder, env, depth + 1)?;
        }
        Ok(())
    }

    /// In order of their names. Links are not followed: they may lead round in circles.
    fn folders_in(&mut self, folder: &Path) -> Result<Vec<PathBuf>, BenchError> {
        let unreadable = |error: io::Error| failed(folder, error);
        let mut folders = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            self.entries += 1;
            if self.entries > self.most_entries {
                let most = self.most_entries;
                let why = format!("more than {most} files: is it the right folder?");
                return Err(failed(self.root, why));
            }
            if entry.file_type().map_err(unreadable)?.is_dir() {
                folders.push(entry.path());
            }
        }
        folders.sort();
        Ok(folders)
    }
}

/// `None` when there is no such file.
fn json(path: &Path) -> Result<Option<Value>, BenchError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, error)),
    };
    // Opening a pipe would wait for somebody who writes.
    if !metadata.is_file() {
        return Err(failed(path, "not a file"));
    }
    let text = read(path).map_err(|error| failed(path, error))?;
    let value = serde_json::from_str(&text);
    value
        .map(Some)
        .map_err(|error| failed(path, format!("not JSON: {error}")))
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    let too_large = || {
        let why = format!("larger than {} MiB, which no run leaves", LARGEST >> 20);
        io::Error::other(why)
    };
    if file.metadata()?.len() > LARGEST {
        return Err(too_large());
    }
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("not text"))
}

fn failed(path: &Path, why: impl std::fmt::Display) -> BenchError {
    BenchError::runtime(format!("{}: {why}", path.display()))
}

/// What every summary has.
fn check(summary: &Value) -> Result<(), String> {
    let foreign = "not a summary of corecast-bench:";
    match summary["schema"].as_u64() {
        Some(schema) if schema == u64::from(SCHEMA) => {}
        Some(schema) => {
            return Err(format!(
                "its format has the number {schema}; this version of corecast-bench reads {SCHEMA}"
            ));
        }
        None => return Err(format!("{foreign} the field schema is missing")),
    }
    let whole = summary["command"].is_string()
        && summary["parameters"].is_object()
        && summary["valid"].is_boolean();
    if whole {
        Ok(())
    } else {
        Err(format!("{foreign} command, parameters or valid is missing"))
    }
}

/// The folders' names, without those that are numbers, dates, or `run-3`.
fn label(path: &Path) -> String {
    let parts = path.components().map(Component::as_os_str);
    let told = parts.filter(|name| !numbers_runs(&name.to_string_lossy()));
    let told: Vec<_> = told.map(|name| name.to_string_lossy()).collect();
    told.join("/")
}

/// Whether a folder's name is a number, or something like it, and says nothing of what was run. `cores-2` and `v1` do.
fn numbers_runs(name: &str) -> bool {
    let number = name.strip_prefix("run").unwrap_or(name);
    number.contains(|c: char| c.is_ascii_digit())
        && number
            .chars()
            .all(|c| c.is_ascii_digit() || "-_.:T ".contains(c))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn summary(valid: bool) -> Value {
        json!({
            "schema": 1, "command": "echo", "valid": valid, "parameters": {"connections": 1},
            "reasons": [{"kind": "starved", "text": "others ran"}],
        })
    }

    fn leave(folder: PathBuf, text: &str) {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(SUMMARY), text).unwrap();
    }

    #[test]
    fn runs_are_found_however_deep() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        leave(at("echo/corecast/1"), &summary(true).to_string());
        leave(at("echo/corecast/2"), &summary(true).to_string());
        leave(at("echo/floor/run-1"), &summary(false).to_string());
        // What lies in a run's folder are no runs: its steps, say.
        leave(at("echo/corecast/2/steps/1"), &summary(true).to_string());
        fs::write(at("env.json"), r#"{"kernel": "6.18"}"#).unwrap();
        fs::write(at("echo/corecast/2/env.json"), r#"{"kernel": "6.1"}"#).unwrap();
        symlink(root.path(), at("echo/circle")).unwrap();
        let set = Set::read(root.path()).unwrap();
        let labels: Vec<&str> = set.runs.iter().map(|run| run.label.as_str()).collect();
        assert_eq!(labels, ["echo/corecast", "echo/corecast"]);
        let kernels: Vec<&Value> = set
            .runs
            .iter()
            .map(|run| &run.env.as_ref().unwrap()["kernel"])
            .collect();
        assert_eq!(kernels, ["6.18", "6.1"]);
        assert_eq!(set.skipped.len(), 1);
        assert!(set.skipped[0].0.ends_with("run-1") && set.skipped[0].1 == "others ran");
        // The folder of one run is a set of one.
        assert_eq!(Set::read(&at("echo/corecast/1")).unwrap().runs.len(), 1);
        let error = Set::read(&at("echo/corecast/1/summary.json")).unwrap_err();
        assert!(error.to_string().contains("name the folder"), "{error}");
        // env.json, echo; circle, corecast, floor; 1, 2; run-1.
        assert_eq!(Set::search(root.path(), 8).unwrap().runs.len(), 2);
        let error = Set::search(root.path(), 7).unwrap_err();
        assert!(error.to_string().contains("more than 7 files"), "{error}");
    }

    #[test]
    fn where_a_server_listens_is_not_what_was_asked_for() {
        let mut set = Set::default();
        let mut run = summary(true);
        run["target"] = "ws://127.0.0.1:20001/topics?sub=a".into();
        run["parameters"]["publish_url"] = "ws://127.0.0.1:20001/topics?pub=a".into();
        set.add(Path::new("1"), String::new(), run, None).unwrap();
        let parameters = set.runs[0].parameters();
        assert_eq!(parameters[URL], "ws://…/topics?sub=a");
        assert_eq!(parameters["publish_url"], "ws://…/topics?pub=a");
        for (url, shown) in [
            ("tcp://h:1", "tcp://…"),
            ("", "://…"),
            ("ws://h?a", "ws://…?a"),
        ] {
            assert_eq!(without_host(url), shown);
        }
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let refused = |text: &str, why: &str| {
            let root = tempfile::tempdir().unwrap();
            leave(root.path().join("1"), text);
            let error = Set::read(root.path()).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("/1"), "{error}");
        };
        let whole = summary(true).to_string();
        refused("", "not JSON");
        refused(&whole[..whole.len() - 9], "not JSON");
        refused("[]", "schema is missing");
        refused("{\"schema\": \"1\"}", "schema is missing");
        refused("{\"schema\": 2}", "reads 1");
        refused(
            "{\"schema\": 1, \"command\": \"echo\"}",
            "parameters or valid",
        );
        refused(&"[".repeat(100_000), "not JSON");
        refused("\u{0}", "not JSON");
    }

    #[test]
    fn hostile_folders_end_with_an_error() {
        let root = tempfile::tempdir().unwrap();
        let refused = |why: &str| {
            let error = Set::read(root.path()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        };
        refused("no run is in it");
        assert!(Set::read(&root.path().join("missing")).is_err());
        let folder = root.path().join("1");
        fs::create_dir(&folder).unwrap();
        let file = folder.join(SUMMARY);
        // Nothing of it is on the disk.
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        refused("larger than 16 MiB");
        fs::write(&file, b"\xff\xfe").unwrap();
        refused("not text");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        refused("not a file");
        fs::remove_dir(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        refused("not a file");
        fs::remove_file(&file).unwrap();
        symlink(SUMMARY, &file).unwrap();
        refused(SUMMARY);
        fs::remove_file(&file).unwrap();
        fs::create_dir_all(folder.join("1/".repeat(20))).unwrap();
        refused("folders deep");
    }

    #[test]
    fn numbers_do_not_tell_runs_apart() {
        for (path, expected) in [
            ("", ""),
            ("3", ""),
            ("run-3", ""),
            ("run3/run_4", ""),
            ("echo/corecast/12", "echo/corecast"),
            ("echo/corecast/2.2", "echo/corecast"),
            ("2026-11-20/echo", "echo"),
            // What is in a name tells kinds of runs apart.
            ("cores-2/corecast/1", "cores-2/corecast"),
            ("v1/echo-512/3", "v1/echo-512"),
            ("running", "running"),
            ("-", "-"),
        ] {
            assert_eq!(label(Path::new(path)), expected);
        }
    }
}
