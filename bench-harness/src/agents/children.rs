//! Agents that the coordinator starts itself, and that end with it.

use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};

use super::secret::{Secret, VARIABLE};
use crate::error::BenchError;

/// A process of this program that serves one run. It ends with the value, and also when this process does, whatever
/// happens to it: its standard input then ends.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    stdout: BufReader<ChildStdout>,
    _stdin: ChildStdin,
}

impl Child {
    /// Starts one, which only who has the secret can join.
    pub(super) fn start(secret: &Secret) -> io::Result<Self> {
        // The program that runs, even if another one is in its place by now.
        let mut process = Command::new("/proc/self/exe")
            .arg0(env!("CARGO_BIN_NAME"))
            .args([
                "agent",
                "--listen",
                "127.0.0.1:0",
                "--once",
                "--until-stdin-ends",
            ])
            .env(VARIABLE, secret.reveal())
            // Ctrl-C is for the coordinator, which ends them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().expect("it was asked for");
        let stdin = process.stdin.take().expect("it was asked for");
        Ok(Self {
            process,
            stdout: BufReader::new(stdout),
            _stdin: stdin,
        })
    }

    /// Where it listens; waits until it does.
    pub(super) fn address(&mut self) -> Result<String, BenchError> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        super::listen::address_in(&line)
            .map(str::to_owned)
            .ok_or_else(|| {
                BenchError::runtime(format!(
                    "process {} of this program ended before it was asked to do anything",
                    self.id()
                ))
            })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
