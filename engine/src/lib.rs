//! A WebSocket server engine for Linux: one event loop per core, io_uring underneath, nothing shared
//! between cores on the hot path.
//!
//! ```
//! use corecast::{Conn, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Data = ();
//!     fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
//!         ws.send(message);
//!     }
//! }
//!
//! # fn main() -> corecast::Result<()> {
//! let server = Server::bind("127.0.0.1:0")?.route("/echo", |_core| Echo).spawn()?;
//! println!("listening on {}", server.local_addrs()[0]);
//! server.stop();
//! server.join()
//! # }
//! ```
//!
//! Callbacks run on their connection's core and must not block: whoever has to wait spawns a future with
//! [`spawn`] and keeps a [`ConnHandle`]. Everything a callback sends to one connection leaves in one system call at the
//! end of the turn. `ARCHITECTURE.md` follows a message through the engine.

mod conn;
mod core;
mod error;
mod handler;
mod limits;
mod origin;
mod publish;
mod publisher;
mod request;
mod routes;
mod running;
mod server;
mod thread;
mod transport;

pub use conn::{Conn, ConnHandle};
pub use core::defaults;
pub use core::tasks::spawn;
pub use core::{
    Activity, CoreId, Deflate, Message, Published, SendStatus, SlowPolicy, TopicOptions,
};
pub use corecast_protocol::CloseCode;
pub use error::{Error, Result};
pub use handler::{Accept, Closed, Handler, Reject};
pub use limits::raise_descriptor_limit;
pub use origin::{InvalidOrigin, Origin};
pub use publish::{Publish, Subscribe};
pub use publisher::Publisher;
pub use request::Request;
pub use running::{Control, ServerHandle, Stats};
pub use server::Server;
pub use thread::usable_processors;
pub use transport::choice::{Io, IoChoice, UnknownIo};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
