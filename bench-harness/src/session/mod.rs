//! From a command line to a verdict: runs the load as often as asked for, delivers what it leaves, and holds it against what the
//! user expects.

use std::path::PathBuf;

use crate::agents::{Order, Post};
use crate::cli::Common;
use crate::error::{BenchError, Verdict};
use crate::gates::{self, figure::Outlook};
use crate::report::{self, Record};
use crate::screen::{self, Screen};

/// Load that can be put on a server, as often as wanted.
pub(crate) trait Load {
    /// The flags that all loads have.
    fn common(&self) -> &Common;

    /// What a run will measure, as far as that is known before.
    fn outlook(&self) -> Option<Outlook> {
        None
    }

    /// Runs once.
    ///
    /// # Errors
    /// Bad flags, no io_uring, no connection at all, or a server that ended.
    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError>;

    /// What agents have to be told to do their part of it; `None` when it is put on from one process only.
    fn order(&self) -> Option<Order> {
        None
    }
}

/// Load of which agents can do a part.
pub(crate) trait Shared: Load {
    /// Does the part of this process, and tells the coordinator.
    ///
    /// # Errors
    /// Those of [`Load::measure`], or when the coordinator is gone.
    fn serve(&self, post: &Post) -> Result<(), BenchError>;
}

/// What a run is given beside its flags.
pub(crate) struct Stage<'a> {
    /// Where people watch.
    pub(crate) screen: &'a mut dyn Screen,
}

/// Runs the load as often as asked for, and delivers what it leaves.
///
/// # Errors
/// Those of [`Load::measure`], expectations of what is not measured, or when a file cannot be written.
pub(crate) fn run(load: &dyn Load) -> Result<Verdict, BenchError> {
    let flags = &load.common().gates;
    check(load)?;
    let mut verdict = Verdict::Valid;
    for number in 1..=flags.repeat {
        let mut record = measure(load)?;
        gates::hold(&flags.expect, &mut record);
        let folder = folder(load.common(), number);
        verdict = verdict.max(report::deliver(&record, folder.as_deref(), load.common())?);
    }
    Ok(verdict)
}

/// Runs the load once, with people watching.
///
/// # Errors
/// Those of [`Load::measure`].
pub(crate) fn measure(load: &dyn Load) -> Result<Record, BenchError> {
    let mut screen = screen::choose(load.common())?;
    let outcome = load.measure(&mut Stage {
        screen: screen.as_mut(),
    });
    screen.end();
    outcome
}

/// Nobody waits for a run whose figures then are not there.
fn check(load: &dyn Load) -> Result<(), BenchError> {
    let flags = &load.common().gates;
    let Some(outlook) = load.outlook() else {
        return Ok(());
    };
    for expectation in &flags.expect {
        let known = expectation.figure.check(&outlook);
        known.map_err(|why| BenchError::usage(format!("--expect '{expectation}': {why}")))?;
    }
    Ok(())
}

/// Where a run leaves its files: with `--repeat` each in a folder of its own.
fn folder(common: &Common, number: u64) -> Option<PathBuf> {
    let folder = common.output.clone()?;
    Some(if common.gates.repeat > 1 {
        folder.join(number.to_string())
    } else {
        folder
    })
}
