//! From a command line to a verdict: runs the load as often as asked for, delivers what it leaves, and holds it against what the
//! user expects.

mod baseline;
pub(crate) mod folder;

use std::time::Duration;

use crate::agents::Post;
use crate::cli::Common;
use crate::error::{BenchError, Verdict};
use crate::gates::find_max::{self, Rates};
use crate::gates::{self, figure::Outlook};
use crate::report::{self, Record, summary::Summary};
use crate::screen::{self, Screen};
use baseline::Baseline;

/// Load that can be put on a server, as often as wanted.
pub(crate) trait Load {
    /// The flags that all loads have.
    fn common(&self) -> &Common;

    /// What a run will measure, as far as that is known before.
    fn outlook(&self) -> Option<Outlook> {
        None
    }

    /// Between which rates --find-max may search.
    ///
    /// # Errors
    /// Why the load has no rate to find.
    fn rates(&self) -> Result<Rates, BenchError> {
        Err(no_rate_to_find())
    }

    /// The same load at another rate, and for another time when one is given. `None` where [`Load::rates`] has none.
    fn at_rate(&self, _rate: u64, _length: Option<Duration>) -> Option<Box<dyn Load>> {
        None
    }

    /// Runs once.
    ///
    /// # Errors
    /// Bad flags, no io_uring, no connection at all, or a server that ended.
    fn measure(&self, stage: &mut Stage<'_>) -> Result<Record, BenchError>;
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

/// Why --find-max is not for a load.
pub(crate) fn no_rate_to_find() -> BenchError {
    let text =
        "--find-max is for echo, broadcast, and connect without --churn: only they have a rate";
    BenchError::usage(text)
}

/// Runs the load as often as asked for, or searches for its highest rate, delivers what that leaves, and compares it with the
/// baseline.
///
/// # Errors
/// Those of [`Load::measure`], expectations of what is not measured, baselines that cannot be read, or when a file cannot be
/// written.
pub(crate) fn run(load: &dyn Load) -> Result<Verdict, BenchError> {
    let common = load.common();
    check(load)?;
    folder::prepare(common)?;
    let mut baseline = Baseline::read(common)?;
    let mut made = |number: u64, summary: &Summary| match &mut baseline {
        Some(baseline) => baseline.add(summary, &format!("run {number}")),
        None => Ok(()),
    };
    let verdict = if common.gates.find_max.is_empty() {
        repeat(load, &mut made)?
    } else {
        let (summary, verdict) = find_max::run(load)?;
        // Without a rate there is nothing to compare, and the search's own verdict says so.
        let found = summary.find_max.as_ref();
        if found.is_none_or(|found| found.rate.is_none()) {
            return Ok(verdict);
        }
        made(1, &summary)?;
        verdict
    };
    let compared = baseline.map(|baseline| baseline.compare(common));
    Ok(verdict.max(compared.transpose()?.unwrap_or(Verdict::Valid)))
}

/// Runs the load as often as asked for, and delivers what each run leaves. The worst of them decides.
fn repeat(
    load: &dyn Load,
    made: &mut impl FnMut(u64, &Summary) -> Result<(), BenchError>,
) -> Result<Verdict, BenchError> {
    let common = load.common();
    let mut verdict = Verdict::Valid;
    for number in 1..=common.gates.repeat {
        let mut record = measure(load)?;
        gates::hold(&common.gates.expect, &mut record);
        let folder = folder::of_run(common, number);
        verdict = verdict.max(report::deliver(&record, folder.as_deref(), common)?);
        made(number, &record.summary)?;
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
    let searched = if flags.find_max.is_empty() {
        None
    } else {
        load.at_rate(load.rates()?.start(), None)
    };
    let Some(outlook) = searched.as_deref().unwrap_or(load).outlook() else {
        return Ok(());
    };
    for (flag, list) in [("--expect", &flags.expect), ("--find-max", &flags.find_max)] {
        for expectation in list {
            if flag == "--find-max" && expectation.figure.is_max_rate() {
                let text = format!(
                    "{flag} '{expectation}': that is what it finds; name what has to hold, and expect it with --expect"
                );
                return Err(BenchError::usage(text));
            }
            let known = expectation.figure.check(&outlook);
            known.map_err(|why| BenchError::usage(format!("{flag} '{expectation}': {why}")))?;
        }
    }
    Ok(())
}
