//! Agents for a test's runs.

use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;

use super::patience::{self, LIMIT};
use super::{Outcome, Process, command, outcome, run_bounded};

/// The variable with the secret of agent and coordinator.
pub(crate) const TOKEN: &str = "CORECAST_AGENT_TOKEN";

/// An agent for the user's own runs; ends with the value.
pub(crate) struct Agent {
    pub(crate) child: Process,
    /// `HOST:PORT`.
    pub(crate) address: String,
    errors: Option<thread::JoinHandle<String>>,
}

impl Agent {
    pub(crate) fn start(token: &str) -> Self {
        Self::start_by(command(&["agent", "-l", "127.0.0.1:0"]).env(TOKEN, token))
    }

    pub(crate) fn start_by(command: &mut Command) -> Self {
        let mut child = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let line = child.line_with("listening on ");
        let address = line.split("listening on ").nth(1).unwrap();
        Self {
            child,
            address: address.split(',').next().unwrap().to_owned(),
            errors: Some(errors),
        }
    }

    /// Ends it; what it wrote to standard error.
    pub(crate) fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.errors.take().unwrap().join().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }
}

/// Runs the harness as a coordinator that knows this token. Returns what [`super::bench`] does.
pub(crate) fn with_token(args: &[&str], token: &str) -> Outcome {
    outcome(run_bounded(command(args).env(TOKEN, token)))
}

/// Waits until something has happened.
#[track_caller]
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    patience::until(what, || so().then_some(()));
}
