//! permessage-deflate (RFC 7692): compressed messages.
//!
//! What the two sides agree on during the opening handshake is [`Params`]. A server has its [`Acceptance`], chooses among
//! the offers of a request and answers with an [`Agreement`]; a client sends an [`Offer`] with its
//! [`ClientRequest`](crate::handshake::ClientRequest) and finds [`Params`] in the
//! [`Response`](crate::handshake::Response).

mod negotiation;

pub(crate) use negotiation::NAME;
pub use negotiation::{Acceptance, Agreement, ClientWindow, Offer, ParameterError, Params};
