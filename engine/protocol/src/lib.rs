//! The WebSocket protocol (RFC 6455) for both roles, without I/O.
//!
//! Bytes come in as slices and go out into `Vec<u8>`: nothing here opens a socket, reads a
//! clock or draws a random number. Mask keys and nonces are arguments, and so are time limits:
//! whoever owns the socket owns the deadlines.
//!
//! The way of a message, in and out:
//!
//! | step | where | RFC 6455 |
//! |---|---|---|
//! | opening handshake | [`handshake`] | §4 |
//! | permessage-deflate | [`deflate`] | §9, RFC 7692 |
//! | frame header | [`frame`] | §5.2 |
//! | masking, fragments, UTF-8, limits | [`message`] | §5.3–§5.6, §8.1 |
//! | compression | [`deflate`] | RFC 7692 |
//! | close frames and codes | [`close`] | §5.5.1, §7.4 |
//! | what can go wrong, and whose fault it is | [`error`] | §7.1.7 |
//!
//! ```
//! use corecast_protocol::{Event, Input, Limits, Opcode, Receiver, Role, Shared, encode_client};
//!
//! let mut bytes = Vec::new();
//! encode_client(&mut bytes, Opcode::Text, b"hello", [7, 1, 9, 4]);
//!
//! let mut shared = Shared::new(Role::Server, Limits::default());
//! let mut receiver = Receiver::new();
//! let mut input = Input::new(&mut bytes);
//! while let Some(event) = receiver.poll(&mut shared, &mut input)? {
//!     assert_eq!(event, Event::Text("hello".into()));
//! }
//! # Ok::<(), corecast_protocol::ProtocolError>(())
//! ```
#![forbid(unsafe_code)]

pub mod close;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod message;

pub use close::{CloseCode, decode_close, encode_close, encode_close_client, encode_close_server};
pub use error::{Fault, ProtocolError};
pub use frame::{
    FrameKind, Header, HeaderBytes, Opcode, encode_client, encode_server, server_header_len,
};
pub use message::{Event, Inflation, Input, Limits, Receiver, Role, Shared};
