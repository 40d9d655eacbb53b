//! `floor`: serves the barest echo or fan-out until it is told to stop.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socket2::{Domain, Protocol, Socket, Type};

use crate::cli::{FloorArgs, FloorMode};
use crate::cores;
use crate::error::{BenchError, Verdict};
use crate::floor;
use crate::limits;

/// Connections that may wait to be accepted; the system's `net.core.somaxconn` caps it.
const LISTEN_BACKLOG: i32 = 4096;

/// Runs until SIGTERM or SIGINT, which end it with exit code 0.
///
/// # Errors
/// When it cannot listen, or the event loop fails.
pub(crate) fn run(args: &FloorArgs) -> Result<Verdict, BenchError> {
    if let Some(list) = &args.cores {
        match list.checked()? {
            [core] => cores::pin(*core)?,
            _ => {
                return Err(BenchError::usage(
                    "--cores: the floor has one thread, name one processor",
                ));
            }
        }
    }
    limits::raise_descriptors()?;
    let listener = listen(args).map_err(|error| {
        BenchError::runtime(format!("cannot listen on {}: {error}", args.listen))
    })?;
    end_on_signal()?;
    let how = match args.mode {
        FloorMode::Epoll => "epoll",
        FloorMode::Ring => "io_uring",
    };
    let address = listener.local_addr()?;
    let own = process::id();
    // One write: whoever waits for the first line may stop reading after it.
    let load = match args.broadcast {
        None => format!("echo tcp://{address}"),
        Some(size) => {
            format!("broadcast ws://{address}/ --publish-url 'ws://{address}/?pub=a' -s {size}")
        }
    };
    let lines = format!(
        "floor ({how}) listening on {address}, process {own}\n\
         try: corecast-bench {load} --server-pid {own}\n"
    );
    io::stdout().write_all(lines.as_bytes())?;
    match (args.mode, args.broadcast.map(|size| size as usize)) {
        (FloorMode::Epoll, None) => match floor::epoll::serve(&listener)? {},
        (FloorMode::Ring, None) => match floor::ring::serve(&listener)? {},
        (FloorMode::Epoll, Some(size)) => match floor::broadcast::epoll::serve(&listener, size)? {},
        (FloorMode::Ring, Some(size)) => match floor::broadcast::ring::serve(&listener, size)? {},
    }
}

fn listen(args: &FloorArgs) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(args.listen),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&args.listen.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// The serving thread sleeps in the kernel for good, so another one waits for the signal.
fn end_on_signal() -> Result<(), BenchError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            process::exit(0);
        }
    });
    Ok(())
}
