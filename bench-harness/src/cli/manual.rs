//! Flags of `man` and `completions`: the same definition, in other forms.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for every command into this folder, such as /usr/local/share/man/man1. Default: print the main page.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}
