//! Flags of `echo`.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Common, PaceArgs, PayloadArgs};
use crate::client::contents::Contents;
use crate::client::reply::Verify;
use crate::error::BenchError;
use crate::units::{self, Sizes, Span};

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
    /// Payload bytes of a generated message, or several sizes that take turns, such as 64,1k,16k. Default: 512.
    #[arg(short, long, value_name = "SIZES", value_parser = units::sizes)]
    pub(crate) size: Option<Sizes>,
    /// Messages on the way per connection: 1 without -r (closed loop); with -r the most
    /// allowed, 64.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) in_flight: Option<u64>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
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
    #[arg(long, conflicts_with_all = ["answer", "ignore"])]
    pub(crate) deflate: bool,
    /// How much of each reply's content is compared. Length, type and order always are.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Sample)]
    pub(crate) verify: Verify,
}

impl EchoArgs {
    /// What messages contain. Files are read.
    ///
    /// # Errors
    /// Flags that do not go together, or a file that cannot be what it should.
    pub(crate) fn contents(&self) -> Result<Contents, BenchError> {
        self.payload.contents(self.size.as_ref(), USUAL_SIZE)
    }
}
