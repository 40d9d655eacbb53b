//! From a command line to a verdict: runs the load, and delivers what it leaves.

use crate::cli::Common;
use crate::error::{BenchError, Verdict};
use crate::report::{self, Record};
use crate::screen::{self, Screen};

/// Load that can be put on a server, as often as wanted.
pub(crate) trait Load {
    /// The flags that all loads have.
    fn common(&self) -> &Common;

    /// Runs once.
    ///
    /// # Errors
    /// Bad flags, no io_uring, no connection at all, or a server that ended.
    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError>;
}

/// What a run is given beside its flags.
pub(crate) struct Stage<'a> {
    /// Where people watch.
    pub(crate) screen: &'a mut dyn Screen,
}

/// Runs the load once, and delivers what it leaves.
///
/// # Errors
/// Those of [`Load::measure`], or when a file cannot be written.
pub(crate) fn run(load: &impl Load) -> Result<Verdict, BenchError> {
    let mut screen = screen::choose(load.common())?;
    let outcome = load.measure(&mut Stage {
        screen: screen.as_mut(),
    });
    screen.end();
    report::deliver(&outcome?, load.common())
}
