//! Flags that say what a run has to hold.

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
    /// Run so many times, each into a folder of --output of its own: 1, 2, and so on.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) repeat: u64,
}
