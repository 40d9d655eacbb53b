//! The barest fan-out by epoll, `recv` and a plain loop of `send`.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::super::MAX_BACKLOG;
use super::{Dropped, Frames, Peer, Stage};

/// One receive takes at most this much: large enough for any burst.
const RECEIVE_BUFFER: usize = 512 << 10;

/// Events taken in one wait.
const EVENTS: usize = 1024;

/// The event data of the listener; connections use their slot number.
const LISTENER: u64 = u64::MAX;

/// Serves messages of `payload` bytes until the process ends.
///
/// # Errors
/// When epoll itself fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener, payload: usize) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let mut server = Server {
        epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
        frames: Frames::new(payload),
        connections: Vec::new(),
        free: Vec::new(),
        subscribers: Vec::new(),
        buffer: vec![0; RECEIVE_BUFFER],
        batch: Vec::new(),
    };
    let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
    server.epoll.add(listener, event)?;
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
    frames: Frames,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Slots of those that receive what is published.
    subscribers: Vec<usize>,
    buffer: Vec<u8>,
    /// What one read of a publisher becomes.
    batch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    /// What a short send left over.
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
            let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
            self.epoll.add(&stream, event)?;
            self.connections[slot] = Some(Connection {
                stream,
                peer: Peer::new(),
                backlog: Vec::new(),
            });
        }
    }

    fn handle(&mut self, slot: usize, events: EpollFlags) {
        let mut outcome = Ok(());
        if events.contains(EpollFlags::EPOLLOUT) {
            outcome = self.drain(slot);
        }
        if outcome.is_ok() && events.intersects(!EpollFlags::EPOLLOUT) {
            outcome = self.receive(slot);
        }
        if outcome.is_err() {
            self.remove(slot);
        }
    }

    fn receive(&mut self, slot: usize) -> Result<(), Dropped> {
        let Some(connection) = &mut self.connections[slot] else {
            return Ok(());
        };
        let received = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Err(Dropped),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Dropped),
        };
        let bytes = &self.buffer[..received];
        if connection.peer.stage == Stage::Upgrading {
            if let Some(answer) = connection.peer.upgrade(bytes)? {
                if connection.peer.stage == Stage::Subscriber {
                    self.subscribers.push(slot);
                }
                connection.send(&self.epoll, slot, &answer)?;
            }
            return Ok(());
        }
        let published = connection
            .peer
            .publish(&self.frames, bytes, &mut self.batch);
        self.fan_out();
        published
    }

    /// One send to every subscriber.
    fn fan_out(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut gone = Vec::new();
        for &slot in &self.subscribers {
            if let Some(connection) = &mut self.connections[slot]
                && connection.send(&self.epoll, slot, &self.batch).is_err()
            {
                gone.push(slot);
            }
        }
        self.batch.clear();
        gone.into_iter().for_each(|slot| self.remove(slot));
    }

    fn drain(&mut self, slot: usize) -> Result<(), Dropped> {
        let Some(connection) = &mut self.connections[slot] else {
            return Ok(());
        };
        let backlog = mem::take(&mut connection.backlog);
        connection.send(&self.epoll, slot, &backlog)?;
        if connection.backlog.is_empty() {
            connection.watch(&self.epoll, slot, EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        // Closing the descriptor takes it out of the epoll set.
        if self.connections[slot].take().is_some() {
            self.subscribers.retain(|&other| other != slot);
            self.free.push(slot);
        }
    }
}

impl Connection {
    #[inline]
    fn send(&mut self, epoll: &Epoll, slot: usize, bytes: &[u8]) -> Result<(), Dropped> {
        if !self.backlog.is_empty() {
            self.backlog.extend_from_slice(bytes);
            return if self.backlog.len() > MAX_BACKLOG {
                Err(Dropped)
            } else {
                Ok(())
            };
        }
        let sent = match self.stream.write(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Dropped),
        };
        if sent < bytes.len() {
            self.backlog.extend_from_slice(&bytes[sent..]);
            self.watch(epoll, slot, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
        }
        Ok(())
    }

    fn watch(&self, epoll: &Epoll, slot: usize, flags: EpollFlags) -> Result<(), Dropped> {
        let watched = epoll.modify(&self.stream, &mut EpollEvent::new(flags, slot as u64));
        watched.map_err(|_| Dropped)
    }
}
