//! Flags of every command that puts load on a server.

use std::path::PathBuf;

use clap::Args;

use super::GateFlags;
use super::HandshakeArgs;
use crate::client::sources::SourceIp;
use crate::cores::CoreList;
use crate::target::Target;

/// Flags of every command that puts load on a server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// ws://HOST:PORT/PATH, or tcp://HOST:PORT for a plain byte server.
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) handshake: HandshakeArgs,
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
    /// Show no full-screen view, but a line. So it is without a terminal, too.
    #[arg(long)]
    pub(crate) no_tui: bool,
    /// Leave summary.json and env.json in this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Seed of payloads, mask key and nonces.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) gates: GateFlags,
}
