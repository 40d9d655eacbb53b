//! From settings to a running server, and to its end.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::{process, thread};

use clap::error::ErrorKind;
use corecast::{Control, Server, ServerHandle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cores::Cores;
use crate::options::{App, DEFAULT_DEADLINE, DEFAULT_LISTEN, Options};
use crate::{apps, pages};

/// Why the server did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be; exit code 2.
    Usage(clap::Error),
    /// What was asked for did not work out; exit code 1.
    Runtime(Box<dyn std::error::Error>),
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

impl From<corecast::Error> for Failure {
    fn from(error: corecast::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Runtime(error.into())
    }
}

/// Serves until a signal: the first closes every connection with 1001 and ends by the deadline, a
/// second ends the process at once.
///
/// # Errors
/// See [`Failure`].
pub(crate) fn serve(options: Options) -> Result<(), Failure> {
    // Before anything else, so that no signal finds the default handler, which would not close
    // connections.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    use_small_pages();
    let app = options.app;
    let deadline = options.shutdown_deadline.unwrap_or(DEFAULT_DEADLINE);
    provide_descriptors(options.max_connections);
    let server = server(options)?.spawn()?;
    announce(&server, app);
    let control = server.control();
    thread::spawn(move || end_on_signals(&mut signals, &control, deadline));
    Ok(server.join()?)
}

fn end_on_signals(signals: &mut Signals, control: &Control, deadline: Duration) {
    let mut signals = signals.forever();
    if signals.next().is_some() {
        tracing::info!(
            ?deadline,
            "closing every connection; a second signal ends at once"
        );
        control.drain(deadline);
    }
    if signals.next().is_some() {
        process::exit(0);
    }
}

/// Memory is to follow the connections. With huge pages, which the allocator asks for, it would go in steps of
/// 2 MiB, and start at 12 MiB instead of 6.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay in use");
    }
}

/// Each connection takes a descriptor, and the usual soft limit is 1024.
fn provide_descriptors(max_connections: Option<usize>) {
    let limit = corecast::raise_descriptor_limit();
    if let Some(wanted) = max_connections.filter(|&wanted| wanted as u64 >= limit) {
        tracing::warn!(
            "--max-connections {wanted} cannot be reached with {limit} descriptors: raise the hard \
             limit (`ulimit -Hn`, or LimitNOFILE= in a systemd unit)"
        );
    }
}

/// The server that the settings describe, bound but not yet running.
fn server(options: Options) -> Result<Server, Failure> {
    // What cannot be asked for is told before what does not work out.
    let cores = options.cores.as_ref().map(processors).transpose()?;
    let server = configure(bind(&options.listen)?, &options, cores);
    let server = server.allow_origins(options.origin);
    #[cfg(feature = "mimalloc")]
    let server = crate::allocator::give_back_regularly(server);
    let server = pages::serve(server, options.app);
    Ok(apps::serve(server, options.app))
}

fn processors(choice: &Cores) -> Result<Vec<usize>, Failure> {
    let wrong = |wrong| clap::Error::raw(ErrorKind::InvalidValue, format!("--cores: {wrong}\n"));
    Ok(choice
        .among(&corecast::usable_processors())
        .map_err(wrong)?)
}

fn bind(listen: &[String]) -> Result<Server, Failure> {
    let [first, others @ ..] = listen else {
        return Ok(Server::bind(DEFAULT_LISTEN)?);
    };
    let mut server = Server::bind(first.as_str())?;
    for other in others {
        server = server.also_bind(other.as_str())?;
    }
    Ok(server)
}

/// Passes on what was set; the engine has the defaults.
fn configure(server: Server, options: &Options, cores: Option<Vec<usize>>) -> Server {
    /// Zero is how a flag says "never".
    fn unless_zero(time: Duration) -> Option<Duration> {
        Some(time).filter(|time| !time.is_zero())
    }
    let set = Setting(server)
        .with(cores, Server::cores)
        .with(options.io, Server::io)
        .with(options.max_connections, Server::max_connections)
        .with(options.max_per_address, Server::max_connections_per_address)
        // A second's worth may come at once: pages open several connections.
        .with(options.handshake_rate, |server, rate| {
            server.handshake_rate_per_address(rate, rate)
        })
        .with(options.max_head, Server::max_head)
        .with(options.max_headers, Server::max_headers)
        .with(options.handshake_timeout, Server::handshake_timeout)
        .with(options.max_message, Server::max_message)
        .with(options.backlog, Server::backlog)
        .with(options.slow(), Server::slow)
        .with(options.flush_delay, Server::flush_delay)
        .with(options.max_retained, Server::max_retained)
        .with(options.deflate, Server::deflate)
        .with(options.idle_timeout.map(unless_zero), Server::idle_timeout)
        .with(
            options.ping_interval.map(unless_zero),
            Server::ping_interval,
        )
        .with(options.busy_poll.map(unless_zero), Server::busy_poll)
        .with(options.steer, Server::steer)
        .with(options.require_origin, Server::require_origin);
    set.0
}

/// Applies optional settings in a chain.
struct Setting(Server);

impl Setting {
    fn with<T>(self, value: Option<T>, set: impl FnOnce(Server, T) -> Server) -> Self {
        match value {
            Some(value) => Self(set(self.0, value)),
            None => self,
        }
    }
}

fn announce(server: &ServerHandle, app: Option<App>) {
    let addrs = server.local_addrs();
    let text = announcement(addrs, server.cores(), &server.io().to_string(), app);
    // A server whose standard output is closed still serves; its log says where.
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        tracing::warn!(%error, ?addrs, "standard output is closed");
    }
}

fn announcement(addrs: &[SocketAddr], cores: usize, io: &str, app: Option<App>) -> String {
    let plural = if cores == 1 { "" } else { "s" };
    let mut text = format!("corecast {}\n", env!("CARGO_PKG_VERSION"));
    for addr in addrs {
        text += &format!("listening  {addr}\n");
    }
    text += &format!("running    on {cores} core{plural}, I/O: {io}\n");
    if let Some(first) = addrs.first() {
        let here = reachable(*first);
        let bench = "cargo run --release -p corecast-bench --";
        let next = match app {
            None | Some(App::Echo) => format!("{bench} echo ws://{here}/echo -c 100 -z 5s"),
            Some(App::Topics | App::Chat) => format!("{bench} idle ws://{here}/ -c 1k -z 5s"),
        };
        text += &format!("open       http://{here}/\ntry next   {next}\n");
    }
    text
}

/// Where a client on this machine finds the address: a wildcard is none to connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_says_where_how_and_what_next() {
        let addrs = ["0.0.0.0:9001".parse().unwrap(), "[::1]:7".parse().unwrap()];
        let text = announcement(&addrs, 2, "ring", None);
        assert!(
            text.contains("listening  0.0.0.0:9001\nlistening  [::1]:7\n"),
            "{text}"
        );
        assert!(text.contains("on 2 cores, I/O: ring\n"), "{text}");
        assert!(text.contains("http://127.0.0.1:9001/\n"), "{text}");
        assert!(
            text.contains("echo ws://127.0.0.1:9001/echo -c 100 -z 5s\n"),
            "{text}"
        );
        let text = announcement(&addrs[1..], 1, "ring", Some(App::Chat));
        assert!(
            text.contains("on 1 core,") && text.contains("idle ws://[::1]:7/"),
            "{text}"
        );
    }
}
