//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client::payload::PayloadKind;
use crate::client::reply::Verify;
use crate::client::sources::SourceIp;
use crate::cores::CoreList;
use crate::target::Target;
use crate::units::{self, Share};

const EXIT_CODES: &str = "Counts take k and m (1000), sizes k, m and g (1024), times us, ms, s and m.\n\n\
Exit codes: 0 ok, 1 error, 2 bad flags, 5 invalid run (client saturated, rate missed, connections \
or replies missing): its figures must not be used.";

/// Measures WebSocket servers.
#[derive(Debug, Parser)]
#[command(name = "corecast-bench", version, about, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send messages and check that each comes back.
    Echo(EchoArgs),
    /// Publish, and check that every subscriber receives everything once and in order.
    Broadcast(BroadcastArgs),
    /// Open and close connections.
    Connect(ConnectArgs),
    /// Hold connections that do nothing, and see what they cost.
    Idle(IdleArgs),
    /// Serve the barest echo of bytes, or the barest fan-out: the physical limit, driven with `echo tcp://HOST:PORT` or
    /// `broadcast ws://HOST:PORT`.
    Floor(FloorArgs),
}

/// Flags of every command that puts load on a server.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// ws://HOST:PORT/PATH, or tcp://HOST:PORT for a plain byte server.
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    /// The server's process, or several separated by commas: measures its processor time and memory.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub(crate) server_pid: Vec<u32>,
    /// Processor numbers for the client, one thread each, such as 1 or 2-3 (a list, not a number of
    /// cores). Without it: one thread, not pinned.
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<CoreList>,
    /// Source addresses: auto (several 127.0.0.x towards a loopback server when one has too few ports), or a list.
    #[arg(long, value_name = "IPS", default_value = "auto")]
    pub(crate) source_ip: SourceIp,
    /// Print the summary as JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave summary.json and env.json in this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Seed of payloads, mask key and nonces.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// `echo`.
#[derive(Debug, Args)]
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
    /// the time a message was due. Without it the loop is closed.
    #[arg(short, long, value_name = "RATE", value_parser = units::count)]
    pub(crate) rate: Option<u64>,
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

/// `broadcast`.
#[derive(Debug, Args)]
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
    /// Time to measure, after the warm-up.
    #[arg(short = 'z', visible_short_alias = 'd', long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,
    /// Time under load before the measurement; not in the figures, but checked.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Payload bytes of a message, at least 28 (JSON: 91): each carries who sent it, its number, and when it was due.
    #[arg(short, long, value_name = "SIZE", default_value = "64", value_parser = units::size)]
    pub(crate) size: u64,
    /// What messages carry.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = PayloadKind::Random)]
    pub(crate) payload: PayloadKind,
    /// Offer permessage-deflate without context takeover, send compressed, and take compressed messages. A server that
    /// does not agree makes the run fail.
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Messages on the way per publisher in the closed loop: the next is sent when all subscribers have one.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = units::count, conflicts_with = "rate")]
    pub(crate) in_flight: u64,
    /// Closed loop in bursts: every publisher sends so many at once, and again when all subscribers have
    /// received all of them.
    #[arg(long, value_name = "COUNT", value_parser = units::count, conflicts_with_all = ["rate", "in_flight"])]
    pub(crate) burst: Option<u64>,
    /// Messages published per second, in total over all publishers: an open loop, whose latencies count from
    /// the time a message was due. Without it the loop is closed.
    #[arg(short, long, value_name = "RATE", value_parser = units::count)]
    pub(crate) rate: Option<u64>,
    /// So many of the subscribers, such as 1% or 20, stop reading when they have joined. What became of them is
    /// told; loss and latency are the others'.
    #[arg(long, value_name = "SHARE", value_parser = units::share)]
    pub(crate) slow: Option<Share>,
    /// How much of each message's content is compared. Length, type, number and order always are.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Verify::Sample)]
    pub(crate) verify: Verify,
    /// Judge the run by server processor time per delivery only: a saturated client does not spoil it.
    #[arg(long, requires = "server_pid")]
    pub(crate) cost: bool,
    /// Poll instead of sleeping, so that the server does not have to wake the client. The client is then always
    /// saturated, hence --cost.
    #[arg(long, requires = "cost")]
    pub(crate) busy_poll: bool,
}

impl BroadcastArgs {
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

/// `connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections to open and hold until all are open, and then to close.
    #[arg(short, long, value_name = "COUNT", default_value = "1k", value_parser = units::count)]
    pub(crate) connections: u64,
    /// New connections per second, in total. Default: as fast as they open.
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

/// `idle`.
#[derive(Debug, Args)]
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
    #[arg(long)]
    pub(crate) deflate: bool,
    /// Time to settle between opening and measuring.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) settle: Duration,
    /// New connections per second, in total. Default: as fast as they open.
    #[arg(long, value_name = "RATE", value_parser = units::count)]
    pub(crate) connect_rate: Option<u64>,
}

/// `floor`.
#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    /// How bytes are moved.
    #[arg(long, value_enum)]
    pub(crate) mode: FloorMode,
    /// Fan out instead of echoing: what a client sends to any path goes to all that connected to a path without `pub=`. Messages
    /// have this many payload bytes, as `-s` of broadcast.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) broadcast: Option<u64>,
    /// Where to listen; port 0 takes a free one.
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:9100")]
    pub(crate) listen: SocketAddr,
    /// Processor to run on. Default: not pinned.
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<CoreList>,
}

/// How the floor moves bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FloorMode {
    /// epoll, recv and send.
    Epoll,
    /// io_uring: multishot receives into provided buffers, silent sends, one system call per turn.
    Ring,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_three_names() {
        for flag in ["-z", "-d", "--duration"] {
            let cli = Cli::try_parse_from(["corecast-bench", "echo", "ws://h:1/", flag, "3s"]);
            let Command::Echo(echo) = cli.unwrap().command else {
                panic!("echo was asked for")
            };
            assert_eq!(echo.duration, Duration::from_secs(3));
        }
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let cli = Cli::try_parse_from(["corecast-bench", "echo", "ws://h:1/", "--conections", "3"]);
        let error = cli.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--connections"), "{error}");
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        for args in [
            &["connect", "ws://h:1/", "-z", "3s"][..],
            &["connect", "ws://h:1/", "--churn", "-c", "5"],
            &["echo", "ws://h:1/", "--cost"],
        ] {
            let all = ["corecast-bench"].iter().chain(args);
            assert!(Cli::try_parse_from(all).is_err(), "{args:?}");
        }
    }
}
