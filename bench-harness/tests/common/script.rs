//! Scenarios for the harness to play, and what its summaries say of them.

use std::io::Write as _;

use serde_json::Value;
use tempfile::NamedTempFile;

use super::bench;
use super::town::Town;

/// A file with a scenario; it goes with the value.
pub(crate) struct Script(NamedTempFile);

impl Script {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let mut builder = tempfile::Builder::new();
        let mut file = builder.prefix(name).suffix(".toml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Self(file)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Plays it. `--cost`: how much of a busy test machine the client gets must not decide.
    pub(crate) fn play(&self, town: &Town) -> (i32, Value, String) {
        self.play_with(&town.url(), &[])
    }

    /// The same at any server, with further flags.
    pub(crate) fn play_with(&self, url: &str, flags: &[&str]) -> (i32, Value, String) {
        let own = std::process::id().to_string();
        let args = ["scenario", self.path(), url, "--server-pid", &own, "--cost"];
        bench(&[&args[..], flags].concat())
    }
}

pub(crate) fn role<'a>(summary: &'a Value, name: &str) -> &'a Value {
    let roles = summary["scenario"]["roles"].as_array().unwrap();
    roles.iter().find(|role| role["name"] == name).unwrap()
}

pub(crate) fn number(of: &Value, name: &str) -> u64 {
    of[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is missing: {of:#}"))
}
