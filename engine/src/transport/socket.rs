//! A connection's or listener's socket, whichever transport it belongs to.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

use monoio::io::{OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::TcpStream;
use socket2::SockRef;

/// A socket that a core uses; closed when it and what was made from it are dropped.
pub(crate) enum Socket {
    /// A plain descriptor, for the ring.
    Ring(OwnedFd),
    /// The half of a monoio stream that its reader does not need.
    Portable(Writer),
    #[cfg(test)]
    Simulated(super::ring::simulated::Handle),
}

/// The writing half of a monoio stream. Clones are the same socket.
#[derive(Clone)]
pub(crate) struct Writer {
    fd: RawFd,
    half: Rc<RefCell<OwnedWriteHalf<TcpStream>>>,
}

impl Writer {
    /// Takes a stream apart: the reading half goes to the task that reads.
    pub(crate) fn split(stream: TcpStream) -> (OwnedReadHalf<TcpStream>, Self) {
        let fd = stream.as_raw_fd();
        let (reader, writer) = stream.into_split();
        (
            reader,
            Self {
                fd,
                half: Rc::new(RefCell::new(writer)),
            },
        )
    }

    /// For awaited writes, one at a time.
    pub(crate) fn half(&self) -> &RefCell<OwnedWriteHalf<TcpStream>> {
        &self.half
    }
}

impl Socket {
    /// Shuts the connection down; a listener stops to listen.
    ///
    /// # Errors
    /// It is not connected any more.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            #[cfg(test)]
            Self::Simulated(handle) => handle.shutdown(how),
            _ => SockRef::from(&self.as_fd()).shutdown(how),
        }
    }

    /// The peer's address; `None` when it is gone already. Costs a system call.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        #[cfg(test)]
        if let Self::Simulated(handle) = self {
            return handle.peer_ip();
        }
        let peer = SockRef::from(&self.as_fd()).peer_addr().ok()?;
        Some(peer.as_socket()?.ip())
    }
}

impl AsFd for Socket {
    #[allow(unsafe_code)]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ring(fd) => fd.as_fd(),
            // SAFETY: `fd` is the stream's descriptor, and the stream is open while `half`, which shares its
            // ownership, lives: at least as long as the borrow of `self`.
            Self::Portable(writer) => unsafe { BorrowedFd::borrow_raw(writer.fd) },
            #[cfg(test)]
            Self::Simulated(handle) => handle.as_fd(),
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.as_fd().as_raw_fd())
    }
}
