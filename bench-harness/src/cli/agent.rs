//! Flags of `agent`.

use std::net::SocketAddr;

use clap::Args;

/// `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:9200")]
    pub(crate) listen: SocketAddr,
    /// Secret that coordinators have to know; needed to listen on other addresses than loopback. It never goes over the
    /// wire. Default: the environment's CORECAST_AGENT_TOKEN, where coordinators have it, too.
    #[arg(long, value_name = "SECRET")]
    pub(crate) token: Option<String>,
    /// End after one run.
    #[arg(long)]
    pub(crate) once: bool,
    /// End when standard input does: with the process that holds its other end.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}
