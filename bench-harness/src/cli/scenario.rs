//! Flags of `scenario`.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use crate::client::reply::Verify;
use crate::units;

/// A URL that nobody connects to, where none is asked for: without one the flags of all loads could not be read.
const NO_URL: &str = "ws://localhost/";

/// `scenario`.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("target", |url| url.required(false).default_value(NO_URL).hide_default_value(true)
    .required_unless_present_any(["check", "print_example"])))]
pub(crate) struct ScenarioArgs {
    /// The scenario: a TOML file, or the name of an example: chat, market-data, game-ticks or iot-telemetry.
    #[arg(value_name = "FILE", required_unless_present = "print_example", value_parser = scenario)]
    pub(crate) file: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
    /// Read the file, print who would do what when, and run nothing.
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the file of an example, to begin one's own with.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "check"])]
    pub(crate) print_example: Option<String>,
    /// So many times the connections and rates; topics become more, not larger.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) scale: u64,
    /// Another path for a role, such as --path talkers=/echo2, or for its publishers: --path rooms.publish=/pub. Repeatable.
    #[arg(long, value_name = "ROLE[.publish]=PATH")]
    pub(crate) path: Vec<String>,
    /// How much of each message's content is compared. Length, type and order always are.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Sample)]
    pub(crate) verify: Verify,
    /// Judge the run by server processor time per message only: a saturated client does not spoil it.
    #[arg(long, requires = "server_pid")]
    pub(crate) cost: bool,
}

impl ScenarioArgs {
    /// What the scenario is called: its file, or an example.
    pub(crate) fn name(&self) -> &str {
        let name = self.file.as_deref();
        name.expect("the command line requires a file")
    }
}

/// A file or an example. Whoever leaves it out has given the URL in its place.
fn scenario(text: &str) -> Result<String, String> {
    if text.contains("://") {
        let hint = "this is a URL, and the scenario comes before it: a TOML file, or an example such as chat";
        return Err(hint.to_owned());
    }
    Ok(text.to_owned())
}
