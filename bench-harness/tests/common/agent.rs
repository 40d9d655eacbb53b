//! Agents for a test's runs.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{command, run_bounded};

/// What has to happen soon happens by then, on however busy a machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The variable with the secret of agent and coordinator.
pub(crate) const TOKEN: &str = "CORECAST_AGENT_TOKEN";

/// An agent for the user's own runs; ends with the value.
pub(crate) struct Agent {
    pub(crate) child: Child,
    /// `HOST:PORT`.
    pub(crate) address: String,
    errors: Option<thread::JoinHandle<String>>,
}

impl Agent {
    pub(crate) fn start(token: &str) -> Self {
        Self::start_by(command(&["agent", "-l", "127.0.0.1:0"]).env(TOKEN, token))
    }

    pub(crate) fn start_by(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // What it says later is read, so that it never waits for room in the pipe.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
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
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the harness as a coordinator that knows this token. Returns what [`super::bench`] does.
pub(crate) fn with_token(args: &[&str], token: &str) -> (i32, Value, String) {
    let output = run_bounded(command(args).env(TOKEN, token));
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code().expect("ended by itself"),
        summary,
        errors,
    )
}

/// Waits until something has happened.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < SOON, "{what} takes longer than {SOON:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
