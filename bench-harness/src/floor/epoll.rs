//! The barest echo by epoll, `recv` and `send`.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;

use nix::sys::epoll::{Epoll, EpollFlags};

use super::epoll_server::{self, Connections, Floor, RECEIVE_BUFFER};

/// Serves until the process ends.
///
/// # Errors
/// When epoll itself fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    let echo = Echo {
        connections: Connections::new()?,
        buffer: vec![0; RECEIVE_BUFFER],
    };
    epoll_server::serve(echo, listener)
}

struct Echo {
    /// While a connection has a backlog, nothing is read from it.
    connections: Connections<()>,
    buffer: Vec<u8>,
}

type Connection = epoll_server::Connection<()>;

impl Floor for Echo {
    type Own = ();

    fn connections(&mut self) -> &mut Connections<()> {
        &mut self.connections
    }

    fn ready(&mut self, slot: usize, events: EpollFlags) {
        let Some((connection, epoll)) = self.connections.get(slot) else {
            return;
        };
        let outcome = if events.contains(EpollFlags::EPOLLOUT) {
            connection.drain(epoll, slot)
        } else {
            connection.echo(epoll, slot, &mut self.buffer)
        };
        if !matches!(outcome, Ok(true)) {
            self.connections.remove(slot);
        }
    }
}

impl Connection {
    /// Sends back what has come. False: the peer is done.
    fn echo(&mut self, epoll: &Epoll, slot: usize, buffer: &mut [u8]) -> io::Result<bool> {
        let received = match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let sent = sent_of(self.stream.write(&buffer[..received]))?;
        if sent < received {
            self.backlog.extend_from_slice(&buffer[sent..received]);
            self.watch(epoll, slot, EpollFlags::EPOLLOUT)?;
        }
        Ok(true)
    }

    fn drain(&mut self, epoll: &Epoll, slot: usize) -> io::Result<bool> {
        let sent = sent_of(self.stream.write(&self.backlog))?;
        self.backlog.drain(..sent);
        if self.backlog.is_empty() {
            self.watch(epoll, slot, EpollFlags::EPOLLIN)?;
        }
        Ok(true)
    }
}

fn sent_of(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
