//! A server whose application misbehaves on demand: what the built-in applications cannot show.
//!
//! | path | what it does |
//! |---|---|
//! | `/echo` | every message comes back |
//! | `/panic?at=WHEN` | panics in `upgrade`, `open`, `message` or `close`; echoes otherwise |
//! | `/stall?ms=N` | each message blocks its core so long, or without `ms` until a message comes to `/release`, and comes back then |
//! | `/release` | every message comes back, and ends what blocks a core for ever |
//! | `/topics?sub=T&pub=T` | subscribes; a message is published, and answered with what publishing said, as text |
//! | `/pause?ms=N` | reads nothing for so long after it opened, or for ever without `ms`; echoes otherwise |
//! | `/orders` | text: `close CODE`, `send COUNT BYTES`, `pause`, `pause MS`, `resume` (all that paused for ever); anything else comes back |
//! | `/stats` | every message is answered with the server's counters, as text |
//!
//! Every 101 says in `X-Core` which core the connection lives on (0, 1, …). How connections end is logged, at `info`, on
//! standard error. `victim --help` lists the limits that can be set.

#[cfg(feature = "mimalloc")]
#[path = "../../src/allocator.rs"]
mod allocator;
#[path = "../../src/logging.rs"]
mod logging;
mod peer;
#[path = "../../src/units.rs"]
#[allow(dead_code, reason = "the server reads more units than this")]
mod units;

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use corecast::{Control, Io, Server, SlowPolicy};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

/// A server whose application misbehaves on demand, for tests
#[derive(Debug, Parser)]
struct Settings {
    /// Listen here
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,

    /// How bytes reach the sockets
    #[arg(long, default_value = "auto", value_parser = PossibleValuesParser::new(["auto", "ring", "monoio", "epoll"])
        .try_map(|name| name.parse::<Io>()))]
    io: Io,

    /// How many cores; they share processors where there are fewer
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    cores: usize,

    /// Connections at most
    #[arg(long, value_name = "N", value_parser = units::count)]
    max_connections: Option<usize>,

    /// Bytes of a message at most
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_message: Option<usize>,

    /// Bytes that may wait for a connection
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    backlog: Option<usize>,

    /// What happens when they are exceeded
    #[arg(long, default_value = "close")]
    slow: Slow,

    /// Time for a request head
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::duration)]
    handshake_timeout: Duration,

    /// Time that a connection may be silent; 0 for ever
    #[arg(long, value_name = "DUR", default_value = "90s", value_parser = units::duration)]
    idle_timeout: Duration,

    /// Time after which a silent connection is pinged; 0 for never
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = units::duration)]
    ping_interval: Duration,

    /// Time for a peer to close, and to end its side
    #[arg(long, value_name = "DUR", default_value = "5s", value_parser = units::duration)]
    close_timeout: Duration,

    /// After SIGTERM, time for connections to close
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = units::duration)]
    shutdown_deadline: Duration,
}

/// The policies that the engine has, as they are typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Slow {
    Close,
    DropNewest,
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = Settings::parse();
    logging::start()?;
    // First, so that no signal finds the default handler, which closes nothing.
    let mut signals = Signals::new([SIGTERM])?;
    corecast::raise_descriptor_limit();
    let shared = Arc::new(OnceLock::<Control>::new());
    let deadline = settings.shutdown_deadline;
    let server = configure(Server::bind(settings.listen.as_str())?, &settings);
    #[cfg(feature = "mimalloc")]
    let server = allocator::give_back_regularly(server);
    let counters = Arc::clone(&shared);
    let server = server
        .route("*", move |_| peer::Victim::new(Arc::clone(&counters)))
        .spawn()?;
    let control = shared.get_or_init(|| server.control()).clone();
    writeln!(io::stdout(), "listening on {}", server.local_addrs()[0])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            control.drain(deadline);
        }
    });
    Ok(server.join()?)
}

fn configure(server: Server, settings: &Settings) -> Server {
    fn unless_zero(time: Duration) -> Option<Duration> {
        Some(time).filter(|time| !time.is_zero())
    }
    let processors = corecast::usable_processors();
    let mut server = server
        .io(settings.io)
        .cores(processors.into_iter().cycle().take(settings.cores))
        .slow(match settings.slow {
            Slow::Close => SlowPolicy::Close,
            Slow::DropNewest => SlowPolicy::DropNewest,
        })
        .handshake_timeout(settings.handshake_timeout)
        .idle_timeout(unless_zero(settings.idle_timeout))
        .ping_interval(unless_zero(settings.ping_interval))
        .close_timeout(settings.close_timeout);
    if let Some(connections) = settings.max_connections {
        server = server.max_connections(connections);
    }
    if let Some(bytes) = settings.max_message {
        server = server.max_message(bytes);
    }
    if let Some(bytes) = settings.backlog {
        server = server.backlog(bytes);
    }
    server
}
