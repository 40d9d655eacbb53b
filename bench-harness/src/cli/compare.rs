//! Flags of `compare`.

use std::path::PathBuf;

use clap::Args;

use crate::gates::figure::Figure;
use crate::units;

/// `compare`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompareArgs {
    /// Runs before: a folder that a run left, or one with such folders in it, however deep.
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// Runs after.
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,
    /// Change that does not count, however sure it is.
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = units::percent)]
    pub(crate) noise: f64,
    /// Compare these figures, such as cpu,p99, and no others.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) figures: Vec<Figure>,
    /// Print JSON instead of text.
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print Markdown instead of text.
    #[arg(long)]
    pub(crate) markdown: bool,
}
