//! Flags of `echo`.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Common, PayloadArgs};
use crate::client::contents::Contents;
use crate::client::reply::Verify;
use crate::client::schedule::Course;
use crate::error::BenchError;
use crate::units::{self, Rate, Sizes, Span};

/// Payload bytes of a message, unless the user says otherwise.
const USUAL_SIZE: usize = 512;

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
    /// Payload bytes of a generated message, or several sizes that take turns, such as 64,1k,16k. Default: 512.
    #[arg(short, long, value_name = "SIZES", value_parser = units::sizes)]
    pub(crate) size: Option<Sizes>,
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
    /// Messages fall due together, once in this time, as those of a game do: at 2k and 50ms, 100 at once. Default: evenly
    /// one after the other.
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "rate")]
    pub(crate) tick: Option<Duration>,
    /// Closed loop: wait this long between a reply and the next message of a connection, as users do; a range such as
    /// 50ms..200ms draws each wait from it. It is in no latency.
    #[arg(long, value_name = "TIME", value_parser = units::span, conflicts_with = "rate")]
    pub(crate) think: Option<Span>,
    /// New connections per second, in total. Default: as fast as they open.
    #[arg(long, value_name = "RATE", value_parser = units::count)]
    pub(crate) connect_rate: Option<u64>,
    /// The first messages that a server sends on each connection are no replies: greetings, and answers to --hello.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) skip: Option<u64>,
    #[command(flatten)]
    pub(crate) payload: PayloadArgs,
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
    /// What messages contain. Files are read.
    ///
    /// # Errors
    /// Flags that do not go together, or a file that cannot be what it should.
    pub(crate) fn contents(&self) -> Result<Contents, BenchError> {
        self.payload.contents(self.size.as_ref(), USUAL_SIZE)
    }

    /// The course of a run.
    pub(crate) fn course(&self) -> Course {
        Course {
            rate: self.rate,
            ramp: self.ramp.unwrap_or_default(),
            tick: self.tick.unwrap_or_default(),
            warmup: self.warmup,
            duration: self.duration,
        }
    }
}
