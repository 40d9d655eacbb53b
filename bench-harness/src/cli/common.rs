//! Flags of every command that puts load on a server.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::GateFlags;
use super::HandshakeArgs;
use crate::agents::crew::Processes;
use crate::client::sources::SourceIp;
use crate::cores::CoreList;
use crate::target::{Authority, Target};
use crate::telemetry::syscalls::SyscallMode;

/// Flags of every command that puts load on a server.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct Common {
    /// ws://HOST:PORT/PATH, or tcp://HOST:PORT for a plain byte server.
    #[arg(value_name = "URL")]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) handshake: HandshakeArgs,
    /// The server's process, or several separated by commas: measures its processor time and memory.
    #[arg(long, value_name = "PID", value_delimiter = ',', value_parser = process)]
    pub(crate) server_pid: Vec<u32>,
    /// Processor numbers for the client, one thread each, such as 1 or 2-3 (a list, not a number of
    /// cores). Without it: one thread, not pinned.
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<CoreList>,
    /// Processes that put the load on, each with its share of connections and --cores: auto (one, or as many as the
    /// descriptors take), or a number.
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "auto",
        conflicts_with = "agents"
    )]
    pub(crate) processes: Processes,
    /// Agents (`corecast-bench agent`) that put the load on instead of this process, each with a share of the
    /// connections, and with --cores of its own machine. They know this process by CORECAST_AGENT_TOKEN.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) agents: Vec<String>,
    /// The server listens here, too; may be given again. Threads connect to these and to the URL's in turn: for a server of
    /// several processes or machines.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) also: Vec<Authority>,
    /// Counts the system calls of --server-pid by the kernel's tracepoint: off, auto (where the system allows it) or
    /// require. Counting makes every system call a little slower: compare processor time of runs without.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "off",
        requires = "server_pid"
    )]
    pub(crate) syscalls: SyscallMode,
    /// Source addresses: auto (several 127.0.0.x towards a loopback server when one has too few ports), or a list.
    #[arg(long, value_name = "IPS", default_value = "auto")]
    pub(crate) source_ip: SourceIp,
    /// Print the summary as JSON instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no full-screen view, but a line. So it is without a terminal, too.
    #[arg(long)]
    pub(crate) no_tui: bool,
    /// Leave a report in this folder: report.html, summary.json, summary.md, timeseries.csv, latency.hlog and env.json.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Seed of payloads, mask key and nonces.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    // Agents do not judge.
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) gates: GateFlags,
}

/// The number of a process.
fn process(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| {
        "expected the number of a process, such as `pgrep -n my-server` prints".to_owned()
    })
}

impl Common {
    /// The processors of --cores.
    pub(crate) fn core_list(&self) -> Vec<usize> {
        self.cores
            .as_ref()
            .map_or(Vec::new(), |list| list.numbers().to_vec())
    }
}
