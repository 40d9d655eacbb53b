//! What the tests of the running engine share: servers on loopback, a client of our own, waiting with a bound.
//!
//! The client speaks WebSocket without `corecast-protocol`, so that a mistake made on both sides cannot hide.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test binary uses a part of it"
)]

pub(crate) mod alone;
pub(crate) mod bounds;
pub(crate) mod client;
pub(crate) mod deflate;
pub(crate) mod errands;
pub(crate) mod flood;
pub(crate) mod payload;
pub(crate) mod stopwatch;
pub(crate) mod transports;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::mpsc::Receiver;
use std::time::Duration;

pub(crate) use bounds::{PATIENCE, TEST_TIME, eventually, within};

use corecast::{Conn, CoreId, Error, Handler, Io, Message, SendStatus, Server, ServerHandle};

/// Declares a test for each transport out of every function given, which takes the transport.
macro_rules! over_every_transport {
    ($($test:ident),+ $(,)?) => {
        $crate::common::transports::test_each_over!($crate::common::run: $($test),+);
    };
}
pub(crate) use over_every_transport;

/// Runs a test over a transport within [`TEST_TIME`]; skips it, and says so, where io_uring cannot be had.
pub(crate) fn run(io: Io, test: fn(Io)) {
    match unavailable(io) {
        Some(reason) => transports::skip(io, reason),
        None => within(TEST_TIME, "the test", move || test(io)),
    }
}

fn unavailable(io: Io) -> Option<&'static str> {
    static RING: OnceLock<Option<String>> = OnceLock::new();
    static MONOIO: OnceLock<Option<String>> = OnceLock::new();
    let known = match io {
        Io::Ring => &RING,
        Io::Monoio => &MONOIO,
        Io::Epoll | Io::Auto => return None,
    };
    known.get_or_init(|| reason_against(io)).as_deref()
}

fn reason_against(io: Io) -> Option<String> {
    let server = Server::bind("127.0.0.1:0").expect("loopback");
    let server = server
        .io(io)
        .cores([processors()[0]])
        .route("*", |_| Echo)
        .spawn();
    match server {
        Ok(server) => {
            server.stop();
            server.join().expect("a server that did nothing");
            None
        }
        Err(e @ Error::Io(..)) => Some(e.to_string()),
        Err(e) => panic!("{e}"),
    }
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<usize> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    assert!(!ids.is_empty(), "the processors are known");
    ids.iter().map(|core| core.id).collect()
}

/// A server that is stopped, and has to end in time, when this is dropped.
pub(crate) struct Running(Option<ServerHandle>);

/// Serves every path on one core.
pub(crate) fn serve<H: Handler>(
    io: Io,
    make: impl Fn(CoreId) -> H + Send + Sync + 'static,
) -> Running {
    serve_with(io, |server| server, make)
}

/// The same with settings.
pub(crate) fn serve_with<H: Handler>(
    io: Io,
    settings: impl FnOnce(Server) -> Server,
    make: impl Fn(CoreId) -> H + Send + Sync + 'static,
) -> Running {
    start(io, |server| settings(server).route("*", make))
}

/// A server with routes of its own; on one core unless it says otherwise. Unless it asks for them it sends no pings, and nobody
/// is idle for too long, while a test lasts: the clients here say nothing for as long as a busy machine makes them wait.
pub(crate) fn start(io: Io, build: impl FnOnce(Server) -> Server) -> Running {
    let server = Server::bind("127.0.0.1:0").expect("loopback");
    let server = server.io(io).cores([processors()[0]]);
    let server = server
        .ping_interval(2 * TEST_TIME)
        .idle_timeout(3 * TEST_TIME);
    Running(Some(build(server).spawn().expect("the server starts")))
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    /// Waits until it has ended by itself.
    pub(crate) fn join(mut self, time: Duration) -> corecast::Result<()> {
        let handle = self.0.take().expect("joined once");
        within(time, "joining the server", move || handle.join())
    }
}

impl Deref for Running {
    type Target = ServerHandle;

    fn deref(&self) -> &ServerHandle {
        self.0.as_ref().expect("not joined yet")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(handle) = self.0.take() else {
            return;
        };
        handle.stop();
        if !std::thread::panicking() {
            within(PATIENCE, "stopping the server", move || handle.join())
                .expect("every core ended well");
        }
    }
}

/// The next thing that a handler reports.
#[track_caller]
pub(crate) fn next<T>(reports: &Receiver<T>) -> T {
    match reports.recv_timeout(PATIENCE) {
        Ok(report) => report,
        Err(e) => panic!("the handler reports nothing: {e}"),
    }
}

/// Nothing more is reported for a while.
#[track_caller]
pub(crate) fn quiet<T>(reports: &Receiver<T>, time: Duration) {
    let report = reports.recv_timeout(time);
    assert!(report.is_err(), "the handler reports something");
}

/// Sends every message back, and lets TCP hold back a peer that does not read.
pub(crate) struct Echo;

impl Handler for Echo {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        if ws.send(message) == SendStatus::Queued {
            ws.pause();
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, ()>) {
        ws.resume();
    }
}
