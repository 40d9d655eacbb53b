//! The floor, as a server in a process of its own.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::harness::{Process, command, load};

/// A running floor; ends with the value.
pub(crate) struct Floor {
    process: Process,
    /// `tcp://` address.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: String,
}

impl Floor {
    /// Starts `floor --mode MODE` on a free port and waits until it listens.
    pub(crate) fn start(mode: &str) -> Self {
        Self::start_with(mode, &[])
    }

    /// The same with further flags.
    pub(crate) fn start_with(mode: &str, flags: &[&str]) -> Self {
        let mut command = command(&["floor", "--mode", mode, "-l", "127.0.0.1:0"]);
        let mut process = Process::start(command.args(flags).stdout(Stdio::piped()));
        let line = process.line_with("listening on ");
        let address = line.split("listening on ").nth(1).unwrap();
        Self {
            url: format!("tcp://{}", address.split(',').next().unwrap()),
            pid: process.id().to_string(),
            process,
        }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("tcp://")
    }

    /// The arguments of an echo of a moment with five connections, and more.
    pub(crate) fn echo<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let flags = ["echo", &self.url, "-c", "5"];
        load(&[&flags[..], more].concat(), &self.pid)
    }

    /// Processor time that it has used.
    pub(crate) fn worked(&self) -> Duration {
        let clock = ClockId::pid_cpu_clock_id(self.nix_pid()).unwrap();
        clock_gettime(clock).unwrap().into()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        kill(self.nix_pid(), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap().code()
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(self.process.id() as i32)
    }
}
