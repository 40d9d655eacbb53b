//! Flags of `echo`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use crate::client::payload::PayloadKind;
use crate::client::reply::Verify;
use crate::client::schedule::Course;
use crate::units::{self, Rate};

/// `echo`.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct EchoArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections.
    #[arg(short, long, value_name = "COUNT", default_value = "100", value_parser = units::count)]
    pub(crate) connections: u64,
    /// Only so many of the connections send, spread evenly; the others are idle. Default: all.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) active: Option<u64>,
    /// Time to measure, after the warm-up.
    #[arg(short = 'z', visible_short_alias = 'd', long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,
    /// Time under load before the measurement; not in the figures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Payload bytes of a message.
    #[arg(short, long, value_name = "SIZE", default_value = "512", value_parser = units::size)]
    pub(crate) size: u64,
    /// Messages on the way per connection: 1 without -r (closed loop); with -r the most
    /// allowed, 64.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) in_flight: Option<u64>,
    /// Messages per second, in total over all connections: an open loop, whose latencies count from
    /// the time a message was due. FROM..TO, such as 0..50k, climbs evenly over the measurement. Without it the loop is
    /// closed.
    #[arg(short, long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<Rate>,
    /// Before the warm-up, climb evenly from no messages to the rate of -r for this time.
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "rate")]
    pub(crate) ramp: Option<Duration>,
    /// Send text messages instead of binary. JSON always is text.
    #[arg(long)]
    pub(crate) text: bool,
    /// What messages carry.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = PayloadKind::Random)]
    pub(crate) payload: PayloadKind,
    /// Offer permessage-deflate without context takeover, send compressed, and take compressed messages. A server that
    /// does not agree makes the run fail.
    #[arg(long)]
    pub(crate) deflate: bool,
    /// How much of each reply's content is compared. Length, type and order always are.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Sample)]
    pub(crate) verify: Verify,
    /// Judge the run by server processor time per message only: a saturated client does not spoil it.
    #[arg(long, requires = "server_pid")]
    pub(crate) cost: bool,
    /// Poll instead of sleeping, so that the client's own wake-ups are not in the latencies: for round
    /// trips with few connections. The client is then always saturated, hence --cost.
    #[arg(long, requires = "cost")]
    pub(crate) busy_poll: bool,
}

impl EchoArgs {
    /// The course of a run.
    pub(crate) fn course(&self) -> Course {
        Course {
            rate: self.rate,
            ramp: self.ramp.unwrap_or_default(),
            warmup: self.warmup,
            duration: self.duration,
        }
    }
}
