//! What people see while a run goes on.

use crate::error::BenchError;
use crate::telemetry::sample::{Phase, Sample};

/// Shows a run. All calls come from the conductor, about four times a second; no thread that puts load on the server
/// waits for any of them.
pub(crate) trait Screen {
    /// The run as it stands.
    ///
    /// # Errors
    /// When the user has asked to stop.
    fn show(&mut self, view: &View<'_>) -> Result<(), BenchError>;

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
    /// Connections asked for.
    pub(crate) connections: u64,
    /// Messages (or connections) per second asked for.
    pub(crate) rate: Option<u64>,
    /// The rows so far. Latencies of the last one or two may not be there yet.
    pub(crate) samples: &'a [Sample],
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Quiet;

impl Screen for Quiet {
    fn show(&mut self, _view: &View<'_>) -> Result<(), BenchError> {
        Ok(())
    }

    fn end(&mut self) {}
}
