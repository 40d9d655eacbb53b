//! Flags of `idle`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use crate::units;

/// `idle`.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("server_pid", |pid| pid.required(true)))]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections to hold.
    #[arg(short, long, value_name = "COUNT", default_value = "1k", value_parser = units::count)]
    pub(crate) connections: u64,
    /// Time to measure, after all are open and things have settled.
    #[arg(short = 'z', visible_short_alias = 'd', long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,
    /// Offer permessage-deflate without context takeover. A server that does not agree makes the run fail.
    #[arg(long, conflicts_with_all = ["answer", "ignore"])]
    pub(crate) deflate: bool,
    /// Time to settle between opening and measuring.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) settle: Duration,
    /// New connections per second, in total. Default: as fast as they open.
    #[arg(long, value_name = "RATE", value_parser = units::count)]
    pub(crate) connect_rate: Option<u64>,
}
