//! Flags of `floor`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::cores::CoreList;
use crate::units;

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
