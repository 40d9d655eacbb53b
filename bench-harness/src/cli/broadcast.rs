//! Flags of `broadcast`.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Common, PaceArgs, PayloadArgs};
use crate::client::contents::Contents;
use crate::client::publication::Publication;
use crate::client::reply::Verify;
use crate::error::BenchError;
use crate::target::Target;
use crate::units::{self, Share, Sizes};

/// Payload bytes of a message, unless the user says otherwise or its stamp takes more.
const USUAL_SIZE: usize = 64;

/// `broadcast`.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[command(mut_arg("target", |url| url.help("Where subscribers connect: ws://HOST:PORT/PATH")))]
pub(crate) struct BroadcastArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Subscribers: each has to receive every message.
    #[arg(short, long, value_name = "COUNT", default_value = "1k", value_parser = units::count)]
    pub(crate) connections: u64,
    /// Connections that publish, beside the subscribers.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count)]
    pub(crate) publishers: u64,
    /// Where publishers connect, on the same host and port; such as ws://HOST/topics?pub=a when URL is
    /// ws://HOST/topics?sub=a. Default: URL.
    #[arg(long, value_name = "URL")]
    pub(crate) publish_url: Option<Target>,
    /// Every subscriber publishes, too, and receives its own messages; there are no other publishers.
    #[arg(long, conflicts_with_all = ["publishers", "publish_url", "slow"])]
    pub(crate) all_publish: bool,
    /// Payload bytes of a generated message, or several sizes that take turns, such as 64,1k,16k. At least 28 (text: 57, JSON: 91):
    /// each message begins with who sent it, its number, and when it was due. Default: 64, or the least there can be.
    #[arg(short, long, value_name = "SIZES", value_parser = units::sizes)]
    pub(crate) size: Option<Sizes>,
    /// New connections per second, in total. Default: as fast as they open.
    #[arg(long, value_name = "RATE", value_parser = units::count)]
    pub(crate) connect_rate: Option<u64>,
    /// The first messages that a server sends on each connection are no deliveries: greetings, and answers to --hello.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) skip: Option<u64>,
    #[command(flatten)]
    pub(crate) payload: PayloadArgs,
    /// Offer permessage-deflate without context takeover, send compressed, and take compressed messages. A server that
    /// does not agree makes the run fail.
    #[arg(long, conflicts_with_all = ["answer", "ignore"])]
    pub(crate) deflate: bool,
    /// Messages on the way per publisher in the closed loop: the next is sent when all subscribers have one.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count, conflicts_with = "rate")]
    pub(crate) in_flight: u64,
    /// Closed loop in bursts: every publisher sends so many at once, and again when all subscribers have
    /// received all of them.
    #[arg(long, value_name = "COUNT", value_parser = units::count, conflicts_with_all = ["rate", "in_flight"])]
    pub(crate) burst: Option<u64>,
    #[command(flatten)]
    pub(crate) pace: PaceArgs,
    /// So many of the subscribers, such as 1% or 20, stop reading when they have joined. What became of them is
    /// told; loss and latency are the others'.
    #[arg(long, value_name = "SHARE", value_parser = units::share)]
    pub(crate) slow: Option<Share>,
    /// How much of each message's content is compared. Length, type, number and order always are.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Sample)]
    pub(crate) verify: Verify,
}

impl BroadcastArgs {
    /// What messages contain. Files are read.
    ///
    /// # Errors
    /// Flags that do not go together, or a file that cannot be what it should.
    pub(crate) fn contents(&self) -> Result<Contents, BenchError> {
        let contents = self.payload.contents(self.size.as_ref(), USUAL_SIZE)?;
        let smallest = Publication::smallest(&contents);
        if self.size.is_none() && contents.is_generated() && smallest > USUAL_SIZE {
            let (kind, opcode) = (contents.kind, contents.opcode);
            return Ok(Contents::generated(kind, opcode, &[smallest]));
        }
        Ok(contents)
    }

    /// Subscribers that stop reading.
    pub(crate) fn stalled(&self) -> u64 {
        self.slow.map_or(0, |share| share.of(self.connections))
    }

    /// Connections that publish and do not subscribe.
    pub(crate) fn only_publish(&self) -> u64 {
        if self.all_publish { 0 } else { self.publishers }
    }

    /// Connections that publish.
    pub(crate) fn all_publishers(&self) -> u64 {
        if self.all_publish {
            self.connections
        } else {
            self.publishers
        }
    }
}
