//! The floor by epoll, `recv` and `send`.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// One receive takes at most this much: the size uWebSockets uses, large enough for any burst.
const RECEIVE_BUFFER: usize = 512 << 10;

/// Events taken in one wait.
const EVENTS: usize = 1024;

/// The event data of the listener; connections use their slot number.
const LISTENER: u64 = u64::MAX;

/// Serves until the process ends.
///
/// # Errors
/// When epoll itself fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let mut server = Server {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        connections: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; RECEIVE_BUFFER],
    };
    server
        .epoll
        .add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let ready = match server.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(n) => n,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            match event.data() {
                LISTENER => server.accept(listener)?,
                slot => server.handle(slot as usize, event.events()),
            }
        }
    }
}

struct Server {
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// What a short send left over. While there is some, nothing is read.
    backlog: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer was gone before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            self.epoll
                .add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, slot as u64))?;
            self.connections[slot] = Some(Connection {
                stream,
                backlog: Vec::new(),
            });
        }
    }

    fn handle(&mut self, slot: usize, events: EpollFlags) {
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        let outcome = if events.contains(EpollFlags::EPOLLOUT) {
            connection.drain(&self.epoll, slot)
        } else {
            connection.echo(&self.epoll, slot, &mut self.buffer)
        };
        if !matches!(outcome, Ok(true)) {
            // Closing the descriptor takes it out of the epoll set.
            self.connections[slot] = None;
            self.free.push(slot);
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

    fn watch(&self, epoll: &Epoll, slot: usize, flags: EpollFlags) -> io::Result<()> {
        Ok(epoll.modify(&self.stream, &mut EpollEvent::new(flags, slot as u64))?)
    }
}

fn sent_of(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
