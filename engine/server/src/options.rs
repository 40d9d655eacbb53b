//! What can be set, by flag or by configuration file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Args, Command, FromArgMatches, ValueEnum};
use corecast::{Deflate, InvalidOrigin, Io, Origin, Server, SlowPolicy, defaults};

use crate::cores::Cores;
use crate::{file, units};

/// Only this machine can reach it: whoever serves others says so.
pub(crate) const DEFAULT_LISTEN: &str = "127.0.0.1:9001";

/// Long enough for a close handshake over any network, short enough for service managers, which
/// kill after 30 to 90 seconds.
pub(crate) const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// The settings of `corecast serve`. What is absent keeps the engine's default.
///
/// One declaration for both sources: the keys of the configuration file are the long names below. The help
/// says a default here only where [`default_of`] knows none.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Read settings from a TOML file whose keys are these flags' long names; flags win over it
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Listen here; may be given again
    #[arg(short, long, value_name = "ADDR", value_parser = listen_addr)]
    pub(crate) listen: Vec<String>,

    /// Processors to run on, 0-3 or 0,2, or how many of those the process may use [default: all]
    #[arg(long, value_name = "LIST|N")]
    pub(crate) cores: Option<Cores>,

    /// Serve only this app, at every path [default: all, at /echo, /topics and /chat]
    #[arg(long)]
    pub(crate) app: Option<App>,

    /// How bytes reach the sockets [default: auto, the ring where it can be had]
    #[arg(long, value_name = "IO", value_parser = io_parser())]
    pub(crate) io: Option<Io>,

    /// Refuse connections past so many, on all cores together, with 503
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(crate) max_connections: Option<usize>,

    /// Refuse connections past so many from one address, with 429; not behind a proxy [default: no limit]
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(crate) max_per_address: Option<usize>,

    /// Refuse an address that connects more often than so many times a second, with 429; not behind a
    /// proxy [default: no limit]
    #[arg(long, value_name = "N[/s]", value_parser = units::rate)]
    pub(crate) handshake_rate: Option<u32>,

    /// Refuse requests whose head is larger, with 431
    #[arg(long, value_name = "SIZE", value_parser = head_size)]
    pub(crate) max_head: Option<usize>,

    /// Refuse requests with more header fields, with 431
    #[arg(long, value_name = "N", value_parser = header_count)]
    pub(crate) max_headers: Option<usize>,

    /// Refuse requests whose head takes longer to arrive, with 408
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    pub(crate) handshake_timeout: Option<Duration>,

    /// Refuse larger messages, with 1009
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_message: Option<usize>,

    /// Bytes that may wait for a connection that reads slowly
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) backlog: Option<usize>,

    /// What happens when they are exceeded: close it with 1013, drop the new message or the oldest that wait, or let
    /// only the latest of each topic wait
    #[arg(long, value_name = "POLICY")]
    slow: Option<Slow>,

    /// Hold what is published back for so long, so that more of it leaves in one system call; 1s at most [default: 0]
    #[arg(long, value_name = "DUR", value_parser = flush_delay)]
    pub(crate) flush_delay: Option<Duration>,

    /// Bytes of messages that each core keeps for later subscribers, who ask for them
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) max_retained: Option<usize>,

    /// Compress messages for clients that can: shared compresses each by itself and what is published once for all;
    /// dedicated:BITS keeps a window of 2^BITS bytes (9 to 15) for each connection and direction [default: off]
    #[arg(long, value_name = "MODE", value_parser = deflate)]
    pub(crate) deflate: Option<Deflate>,

    /// Close a connection that has been silent for so long; 0 for never
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// Ping a connection that has been silent for so long; 0 for never
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) ping_interval: Option<Duration>,

    /// Look for work for so long before sleeping: quicker answers for more CPU [default: 0]
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) busy_poll: Option<Duration>,

    /// Hand a new connection to the core whose processor received it, where the kernel can [default:
    /// false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) steer: Option<bool>,

    /// Refuse browsers whose page comes from elsewhere, with 403; may be given again [default: any]
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origin: Vec<String>,

    /// Refuse clients that send no origin, which browsers always do, with 403 [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) require_origin: Option<bool>,

    /// On SIGTERM or SIGINT, wait so long for connections to close
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) shutdown_deadline: Option<Duration>,
}

/// The built-in applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// Every message comes back
    Echo,
    /// Publish and subscribe by query string
    Topics,
    /// Chat rooms with JSON commands
    Chat,
}

impl App {
    /// As it is typed.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("a name for every app");
        value.get_name().to_owned()
    }
}

/// The policies that the engine has, as they are typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Slow {
    Close,
    DropNewest,
    DropOldest,
    Conflate,
}

impl Options {
    /// Parses the command line, and the configuration file that it names.
    ///
    /// # Errors
    /// clap's, which say what is wrong, exit with 2, and also stand for `--help` and `--version`.
    pub(crate) fn from_args<I>(args: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(args)?;
        let matches = matches.subcommand_matches("serve").unwrap_or(&matches);
        let flags = Self::from_arg_matches(matches)?;
        let Some(path) = &flags.config else {
            return Ok(flags);
        };
        let mut options =
            file::read(path).map_err(|wrong| command.error(ErrorKind::InvalidValue, wrong))?;
        options.update_from_arg_matches(matches)?;
        Ok(options)
    }

    /// What happens to a connection whose backlog is full.
    pub(crate) fn slow(&self) -> Option<SlowPolicy> {
        self.slow.map(Slow::policy)
    }
}

impl Slow {
    fn policy(self) -> SlowPolicy {
        match self {
            Self::Close => SlowPolicy::Close,
            Self::DropNewest => SlowPolicy::DropNewest,
            Self::DropOldest => SlowPolicy::DropOldest,
            Self::Conflate => SlowPolicy::Conflate,
        }
    }

    /// The engine's default, as it is typed.
    fn default_name() -> String {
        let mut all = Self::value_variants().iter();
        let default = all.find(|slow| slow.policy() == defaults::SLOW);
        let value = default.and_then(Self::to_possible_value);
        value
            .expect("a name for every policy")
            .get_name()
            .to_owned()
    }
}

/// `corecast` and `corecast serve`, which are the same.
fn command() -> Command {
    let serve = with_options(Command::new("serve"));
    with_options(Command::new("corecast"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A WebSocket server: one event loop per core, on io_uring")
        .long_about(None)
        .after_help("Sizes take k/m/g (1024), counts k/m (1000), durations us/ms/s/m.")
        .args_conflicts_with_subcommands(true)
        .subcommand(
            serve
                .about("Serve; also what happens without a command")
                .long_about(None),
        )
}

/// The settings, with the defaults in their help.
fn with_options(command: Command) -> Command {
    Options::augment_args(command).mut_args(|arg| {
        let Some(default) = default_of(arg.get_id().as_str()) else {
            return arg;
        };
        let help = arg.get_help().expect("help for every flag").to_string();
        arg.help(format!("{help} [default: {default}]"))
    })
}

/// What holds without the setting, as it would be typed.
fn default_of(setting: &str) -> Option<String> {
    Some(match setting {
        "listen" => DEFAULT_LISTEN.to_owned(),
        "max_connections" => units::show_count(defaults::MAX_CONNECTIONS),
        "max_head" => units::show_size(defaults::MAX_HEAD),
        "max_headers" => units::show_count(defaults::MAX_HEADERS),
        "handshake_timeout" => units::show_duration(defaults::HANDSHAKE_TIMEOUT),
        "max_message" => units::show_size(defaults::MAX_MESSAGE),
        "backlog" => units::show_size(defaults::BACKLOG),
        "slow" => Slow::default_name(),
        "max_retained" => units::show_size(defaults::MAX_RETAINED),
        "idle_timeout" => units::show_duration(defaults::IDLE_TIMEOUT),
        "ping_interval" => units::show_duration(defaults::PING_INTERVAL),
        "shutdown_deadline" => units::show_duration(DEFAULT_DEADLINE),
        _ => return None,
    })
}

/// Only the shape: names are looked up when the server binds, where failing is not a usage error.
fn listen_addr(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("an address is HOST:PORT, like 0.0.0.0:9001 or [::1]:9001".to_owned()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    let origin: Origin = text
        .parse()
        .map_err(|error: InvalidOrigin| error.to_string())?;
    Ok(origin.to_string())
}

/// Not more than the engine can be set to.
fn head_size(text: &str) -> Result<usize, String> {
    match units::size(text)? {
        bytes @ 1..=Server::MAX_HEAD => Ok(bytes),
        _ => Err("a request head is between 1 byte and 1m".to_owned()),
    }
}

fn header_count(text: &str) -> Result<usize, String> {
    match units::count(text)? {
        count @ 1..=Server::MAX_HEADERS => Ok(count),
        _ => Err(format!(
            "a request has {} header fields at most",
            Server::MAX_HEADERS
        )),
    }
}

/// The engine's modes of compression.
fn deflate(text: &str) -> Result<Deflate, String> {
    let bits = |bits: &str| bits.parse().ok().filter(|bits| (9..=15).contains(bits));
    match text.split_once(':') {
        None if text == "off" => Ok(Deflate::off()),
        None if text == "shared" => Ok(Deflate::shared()),
        None if text == "dedicated" => Ok(Deflate::dedicated(15)),
        Some(("dedicated", window)) => match bits(window) {
            Some(bits) => Ok(Deflate::dedicated(bits)),
            None => Err("a window has 9 to 15 bits, like dedicated:12".to_owned()),
        },
        _ => Err("this is off, shared, dedicated or dedicated:BITS".to_owned()),
    }
}

/// Not longer than the engine would hold anything back.
fn flush_delay(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        time if time <= Duration::from_secs(1) => Ok(time),
        _ => Err("a message is held back for 1s at most".to_owned()),
    }
}

/// A time that passes.
fn some_time(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        Duration::ZERO => Err("there has to be some time, like 10s".to_owned()),
        time => Ok(time),
    }
}

fn io_parser() -> impl TypedValueParser<Value = Io> {
    let names = PossibleValuesParser::new(["auto", "ring", "monoio", "epoll"]);
    names.try_map(|name| name.parse::<Io>())
}

#[cfg(test)]
mod tests;
