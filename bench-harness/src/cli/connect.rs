//! Flags of `connect`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use crate::units;

/// `connect`.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections to open and hold until all are open, and then to close.
    #[arg(short, long, value_name = "COUNT", default_value = "1k", value_parser = units::count)]
    pub(crate) connections: u64,
    /// New connections per second, in total; the time until each is open counts from when it was due. Default: as fast as they open.
    #[arg(long, value_name = "RATE", value_parser = units::count)]
    pub(crate) connect_rate: Option<u64>,
    /// Most connections on the way at once.
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = units::count)]
    pub(crate) concurrency: u64,
    /// Open, upgrade and close over and over, --concurrency at a time, for the time of -z.
    #[arg(long, conflicts_with_all = ["connections", "connect_rate"])]
    pub(crate) churn: bool,
    /// With --churn, messages that every connection has echoed, one after the other, before it closes.
    /// Default: none.
    #[arg(long, value_name = "COUNT", value_parser = units::count, requires = "churn")]
    pub(crate) messages: Option<u64>,
    /// With --churn, a connection goes on when the server has sent it so many messages: greetings, and answers to --hello. They are
    /// no echoes.
    #[arg(long, value_name = "COUNT", value_parser = units::count, requires = "churn")]
    pub(crate) skip: Option<u64>,
    /// Time to measure with --churn, after the warm-up.
    #[arg(short = 'z', visible_short_alias = 'd', long, value_name = "TIME", default_value = "5s", value_parser = units::duration, requires = "churn")]
    pub(crate) duration: Duration,
    /// Time under load before the measurement with --churn.
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = units::duration, requires = "churn")]
    pub(crate) warmup: Duration,
    /// Judge the run by server processor time per connection only.
    #[arg(long, requires = "server_pid")]
    pub(crate) cost: bool,
}
