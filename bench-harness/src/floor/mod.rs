//! What to hold a server against, on one thread: the barest echo of bytes with no WebSocket, and the barest fan-out.
//!
//! What a server costs above this is its own doing; what the floor costs is the kernel's TCP.

pub(crate) mod broadcast;
pub(crate) mod epoll;
mod epoll_server;
pub(crate) mod ring;
mod ring_server;

/// Bytes a connection may have waiting to be sent. A client that reads as it writes stays far below; one
/// that does not is cut off here, before it fills the memory.
const MAX_BACKLOG: usize = 64 << 20;
