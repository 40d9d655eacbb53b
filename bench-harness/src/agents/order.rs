//! What an agent is to do: a command with its flags, as the coordinator has them.

use serde::{Deserialize, Serialize};

use super::Post;
use crate::cli::{BroadcastArgs, ConnectArgs, EchoArgs, IdleArgs};
use crate::error::BenchError;
use crate::scenario::Script;
use crate::session::Shared as _;

/// A load that agents can do a part of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    /// `echo`.
    Echo(Box<EchoArgs>),
    /// `broadcast`.
    Broadcast(Box<BroadcastArgs>),
    /// `connect`.
    Connect(Box<ConnectArgs>),
    /// `idle`.
    Idle(Box<IdleArgs>),
    /// `scenario`.
    Scenario(Box<Script>),
}

impl Order {
    /// Does the part of this process, and tells the coordinator.
    ///
    /// # Errors
    /// When it cannot be done, or the coordinator is gone.
    pub(super) fn serve(&self, post: &Post) -> Result<(), BenchError> {
        match self {
            Self::Echo(args) => args.serve(post),
            Self::Broadcast(args) => args.serve(post),
            Self::Connect(args) => args.serve(post),
            Self::Idle(args) => args.serve(post),
            Self::Scenario(script) => script.play()?.serve(post),
        }
    }
}
