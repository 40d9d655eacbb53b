//! What all peer servers share: command line, runtime, accept loop, broadcast hub.
//!
//! Everything between the socket and the message is the peer library's own; nothing
//! here runs once per message in echo mode.

mod hub;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};

pub use hub::{BATCH, Hub, Seat};

/// Connections that may wait to be accepted: the kernel's usual `net.core.somaxconn`,
/// so that thousands of connections opened at once are not refused.
const LISTEN_BACKLOG: u32 = 4096;

/// Pause after a failed accept (out of descriptors, usually), so that the loop does
/// not spin until one is free.
const ACCEPT_RETRY: Duration = Duration::from_millis(10);

/// What a server does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Send it back to its sender.
    Echo,
    /// Send it to every open connection, its sender included.
    Broadcast,
}

/// The command line of every peer server.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9002")]
    listen: SocketAddr,
    /// What to do with a message.
    #[arg(long, value_enum, default_value = "echo")]
    mode: Mode,
    /// Event loop threads. One runs tokio's current-thread runtime, which is how the
    /// libraries' own benchmark servers run.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Parses the command line and serves until the process is killed.
///
/// `serve` gets every accepted connection, before its opening handshake, with
/// `TCP_NODELAY` set: sockudo-ws's examples and audit set it, Bun always does, and
/// without it Nagle's algorithm and delayed ACKs would be measured instead of a server.
pub fn run<S, F>(name: &str, serve: S) -> ExitCode
where
    S: Fn(TcpStream, Mode) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let options = Options::parse();
    match listen_and_serve(name, &options, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peer-{name}: {}: {error}", options.listen);
            ExitCode::FAILURE
        }
    }
}

fn listen_and_serve<S, F>(name: &str, options: &Options, serve: S) -> io::Result<()>
where
    S: Fn(TcpStream, Mode) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    runtime(options.threads)?.block_on(async {
        let listener = listen(options.listen)?;
        println!("peer-{name} listening on {}", listener.local_addr()?);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if stream.set_nodelay(true).is_ok() {
                        tokio::spawn(serve(stream, options.mode));
                    }
                }
                Err(error) => {
                    eprintln!("peer-{name}: accept: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1)).enable_all().build()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}
