//! permessage-deflate (RFC 7692): compressed messages.
//!
//! What the two sides agree on during the opening handshake is [`Params`]. A server has its [`Acceptance`], chooses among
//! the offers of a request and answers with an [`Agreement`]; a client sends an [`Offer`] with its
//! [`ClientRequest`](crate::handshake::ClientRequest) and finds [`Params`] in the
//! [`Response`](crate::handshake::Response).
//!
//! [`Deflater`] compresses messages, those that stand alone and those that refer to the [`Context`] of their connection. A
//! [`Receiver`](crate::Receiver) inflates what comes in.

mod bits;
mod context;
mod deflater;
mod inflater;
mod negotiation;
mod seal;
mod zlib;

pub use context::Context;
pub use deflater::Deflater;
pub(crate) use inflater::{INFLATER_BYTES, Inflater, STEP_INPUT, STEP_OUTPUT, Step, TAIL, Window};
pub(crate) use negotiation::NAME;
pub use negotiation::{Acceptance, Agreement, ClientWindow, Offer, ParameterError, Params};
pub use seal::seal;
