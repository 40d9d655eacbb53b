//! What people see while a run goes on.

#[cfg(test)]
mod example;
mod figures;
mod full;
mod interrupt;
mod line;
pub(crate) mod words;

use std::env;
use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::cli::Common;

use crate::client::dial::Failures;
use crate::error::BenchError;
use crate::stats::latency::Distribution;
use crate::telemetry::sample::{Phase, Sample};

/// Shows a run. All calls come from the conductor, about four times a second; no thread that puts load on the server
/// waits for any of them.
pub(crate) trait Screen {
    /// The run as it stands.
    ///
    /// # Errors
    /// When the user has asked to stop.
    fn show(&mut self, view: &View<'_>) -> Result<(), BenchError>;

    /// Waits, and hears the user meanwhile. Returns early, and true, when the run is to be shown again.
    ///
    /// # Errors
    /// When the user has asked to stop.
    fn rest(&mut self, time: Duration) -> Result<bool, BenchError>;

    /// The run is over, or has failed: what is printed next belongs to the terminal as it was.
    fn end(&mut self);
}

/// A run at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// What is run, in a few words: command and URL.
    pub(crate) title: &'a str,
    /// What the run is doing.
    pub(crate) phase: Phase,
    /// Seconds since it began.
    pub(crate) elapsed_s: f64,
    /// Seconds of this phase that are over, and how many it takes; `None` for one that takes as long as it takes.
    pub(crate) phase_s: Option<(f64, f64)>,
    /// What the counters count: messages, deliveries or connections.
    pub(crate) things: &'a str,
    /// Connections asked for.
    pub(crate) connections: u64,
    /// Messages (or connections) per second asked for.
    pub(crate) rate: Option<u64>,
    /// The rows so far. Latencies of the last one or two may not be there yet.
    pub(crate) samples: &'a [Sample],
    /// Latencies of the measurement so far.
    pub(crate) so_far: SoFar,
    /// Connections that failed, by reason.
    pub(crate) failures: &'a Failures,
}

/// Latencies of the measurement so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SoFar {
    /// From the time due, or sent in a closed loop.
    pub(crate) corrected: Option<Distribution>,
    /// From the time sent. Open loop only.
    pub(crate) uncorrected: Option<Distribution>,
}

/// The screen for a run with these flags, here: a full one on a terminal, a bar where only standard error is one, lines
/// where none is. From now on Ctrl-C and SIGTERM call a run off instead of killing the process.
///
/// # Errors
/// When signals cannot be listened to.
pub(crate) fn choose(common: &Common) -> Result<Box<dyn Screen>, BenchError> {
    interrupt::listen()?;
    if !common.no_tui && !common.json && can_be_filled(io::stdout()) {
        // A terminal that cannot be switched over is still good for a bar.
        if let Ok(full) = full::Full::new() {
            return Ok(Box::new(full));
        }
    }
    Ok(if io::stderr().is_terminal() && !is_dumb() {
        Box::new(line::Bar::new())
    } else {
        Box::new(line::Lines::new())
    })
}

/// A terminal that can place a cursor, and that is ours: a job in the background would be stopped for touching it.
fn can_be_filled(output: impl AsFd + io::IsTerminal) -> bool {
    output.is_terminal() && !is_dumb() && tcgetpgrp(output).is_ok_and(|group| group == getpgrp())
}

/// Whether the terminal prints what it gets, one line after the other.
fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty())
}

/// Whether something can be written without waiting. A frame is left out rather than waited for: the conductor has
/// to be punctual.
fn writable(output: impl AsFd) -> bool {
    let mut output = [PollFd::new(output.as_fd(), PollFlags::POLLOUT)];
    poll(&mut output, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// A phase, for people.
fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Draining => "draining",
    }
}
