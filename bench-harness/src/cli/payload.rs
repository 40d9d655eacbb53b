//! What messages carry.

use clap::Args;
use corecast_protocol::Opcode;
use serde::{Deserialize, Serialize};

use crate::client::contents::{Contents, PayloadChoice};
use crate::error::BenchError;
use crate::units::Sizes;

/// Flags of every command that sends messages.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct PayloadArgs {
    /// What messages carry: random (does not compress), json, text (English words), zero, file:PATH (the file is the message), or
    /// lines:PATH (each line is a message, in turn).
    #[arg(long, value_name = "WHAT", default_value = "random")]
    pub(crate) payload: PayloadChoice,
    /// Send text messages: the default for json, text, file and lines.
    #[arg(long, conflicts_with = "binary")]
    pub(crate) text: bool,
    /// Send binary messages: the default for random and zero.
    #[arg(long)]
    pub(crate) binary: bool,
}

impl PayloadArgs {
    /// What messages contain; generated ones have `sizes`, or the usual size. Files are read.
    ///
    /// # Errors
    /// Flags that do not go together, or a file that cannot be what it should.
    pub(super) fn contents(
        &self,
        sizes: Option<&Sizes>,
        usual_size: usize,
    ) -> Result<Contents, BenchError> {
        let opcode = match (self.text, self.binary) {
            (true, _) => Some(Opcode::Text),
            (_, true) => Some(Opcode::Binary),
            _ => None,
        };
        Contents::new(&self.payload, sizes, usual_size, opcode)
    }
}
