//! The barest fan-out by epoll, `recv` and a plain loop of `send`.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::mem;
use std::net::TcpListener;

use nix::sys::epoll::{Epoll, EpollFlags};

use super::super::MAX_BACKLOG;
use super::super::epoll_server::{self, Connections, Floor, RECEIVE_BUFFER};
use super::{Dropped, Frames, Peer, Stage};

/// Serves messages of `payload` bytes until the process ends.
///
/// # Errors
/// When epoll itself fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener, payload: usize) -> io::Result<Infallible> {
    let fan_out = FanOut {
        connections: Connections::new()?,
        frames: Frames::new(payload),
        subscribers: Vec::new(),
        buffer: vec![0; RECEIVE_BUFFER],
        batch: Vec::new(),
    };
    epoll_server::serve(fan_out, listener)
}

struct FanOut {
    connections: Connections<Peer>,
    frames: Frames,
    /// Slots of those that receive what is published.
    subscribers: Vec<usize>,
    buffer: Vec<u8>,
    /// What one read of a publisher becomes.
    batch: Vec<u8>,
}

type Connection = epoll_server::Connection<Peer>;

impl Floor for FanOut {
    type Own = Peer;

    fn connections(&mut self) -> &mut Connections<Peer> {
        &mut self.connections
    }

    fn ready(&mut self, slot: usize, events: EpollFlags) {
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
}

impl FanOut {
    fn receive(&mut self, slot: usize) -> Result<(), Dropped> {
        let Some((connection, epoll)) = self.connections.get(slot) else {
            return Ok(());
        };
        let received = match connection.stream.read(&mut self.buffer) {
            Ok(0) => return Err(Dropped),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return Err(Dropped),
        };
        let bytes = &self.buffer[..received];
        if connection.own.stage == Stage::Upgrading {
            if let Some(answer) = connection.own.upgrade(bytes)? {
                if connection.own.stage == Stage::Subscriber {
                    self.subscribers.push(slot);
                }
                connection.send(epoll, slot, &answer)?;
            }
            return Ok(());
        }
        let published = connection.own.publish(&self.frames, bytes, &mut self.batch);
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
            if let Some((connection, epoll)) = self.connections.get(slot)
                && connection.send(epoll, slot, &self.batch).is_err()
            {
                gone.push(slot);
            }
        }
        self.batch.clear();
        gone.into_iter().for_each(|slot| self.remove(slot));
    }

    fn drain(&mut self, slot: usize) -> Result<(), Dropped> {
        let Some((connection, epoll)) = self.connections.get(slot) else {
            return Ok(());
        };
        let backlog = mem::take(&mut connection.backlog);
        connection.send(epoll, slot, &backlog)?;
        if connection.backlog.is_empty() {
            connection.watch(epoll, slot, EpollFlags::EPOLLIN)?;
        }
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        if self.connections.remove(slot) {
            self.subscribers.retain(|&other| other != slot);
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
}
