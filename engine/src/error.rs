//! What can go wrong with a server as a whole. Connections fail by themselves, with a close code.

use std::io;
use std::net::SocketAddr;

use crate::{InvalidOrigin, Io};

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address could not be read or resolved.
    #[error("`{0}` is not an address to listen on: it should be like 127.0.0.1:9001")]
    Address(String, #[source] Option<io::Error>),
    /// The address could not be bound.
    #[error("cannot listen on {0}: {1}{hint}", hint = bind_hint(.1))]
    Bind(SocketAddr, #[source] io::Error),
    /// The I/O that was asked for by name cannot be had.
    #[error("--io {0} cannot be had: {1}")]
    Io(Io, String),
    /// A processor that the process may not use.
    #[error("processor {0} cannot be used: this process may use {1:?}")]
    Processor(usize, Vec<usize>),
    /// More processors than one server can use.
    #[error(
        "{0} processors are more than the {1} that one server can use: choose fewer (`Server::cores`, `--cores`)"
    )]
    TooManyCores(usize, usize),
    /// No routes: nothing would ever be answered.
    #[error("the server has no route: call `Server::route`")]
    NoRoute,
    /// An origin that no browser would send.
    #[error("a page's origin to allow: {0}")]
    Origin(#[from] InvalidOrigin),
    /// A core could not be set up, or its loop failed.
    #[error("core {0}: {1}")]
    Core(usize, #[source] io::Error),
    /// A core's thread panicked.
    #[error("the thread of core {0} panicked")]
    Panicked(usize),
    /// Something that every server needs could not be made.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn bind_hint(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::AddrInUse => {
            " (another process listens there: stop it, or choose another port)"
        }
        io::ErrorKind::PermissionDenied => {
            " (ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher one)"
        }
        io::ErrorKind::AddrNotAvailable => " (no interface of this machine has that address)",
        _ => "",
    }
}
