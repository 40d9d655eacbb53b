//! Flags that say what a run has to hold.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::gates::expectation::Expectation;
use crate::units;

/// Flags that say what a run has to hold.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Gates")]
pub(crate) struct GateFlags {
    /// What the run has to hold, such as 'p99<5ms', 'rate>10k' or 'errors==0'; may be given again. Exit code 3 when it
    /// does not.
    #[arg(long, value_name = "EXPECTATION")]
    pub(crate) expect: Vec<Expectation>,
    /// Find the highest rate that holds this, such as 'p99<10ms'; may be given again: all have to hold. -r (for connect
    /// --connect-rate) is then where to begin.
    #[arg(long, value_name = "EXPECTATION", conflicts_with = "repeat")]
    pub(crate) find_max: Vec<Expectation>,
    /// How near the highest rate --find-max comes.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = units::percent, requires = "find_max")]
    pub(crate) find_max_precision: f64,
    /// Runs at the rate found, most of which have to hold it.
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = units::count, requires = "find_max")]
    pub(crate) find_max_confirm: u64,
    /// Time to measure in each step of --find-max. Default: a fifth of -z, but not less than 1s. Runs that confirm take
    /// all of it.
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "find_max")]
    pub(crate) step_duration: Option<Duration>,
    /// Run so many times, each into a folder of --output of its own: 1, 2, and so on. What `compare` and --baseline
    /// need to tell a change from chance: 4 for one figure, 6 for a dozen, better 8.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) repeat: u64,
    /// Compare with the runs in this folder. Exit code 4 when those made now are worse; a single run never is (--repeat).
    #[arg(long, value_name = "DIR")]
    pub(crate) baseline: Option<PathBuf>,
    /// Change that does not count in the comparison with --baseline.
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = units::percent, requires = "baseline")]
    pub(crate) noise: f64,
}
