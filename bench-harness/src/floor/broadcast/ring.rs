//! The barest fan-out by io_uring: one silent send to every subscriber per turn, of all that the turn's publishers have sent.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::AsFd;

use super::super::MAX_BACKLOG;
use super::super::ring_server::{self, Connections, Floor};
use super::{Dropped, Frames, Peer, Stage};
use crate::error::BenchError;
use crate::ring::{Lent, Scratch};

/// Serves messages of `payload` bytes until the process ends.
///
/// # Errors
/// When the ring cannot be had or fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener, payload: usize) -> Result<Infallible, BenchError> {
    let mut connections = Connections::new()?;
    let fan_out = FanOut {
        batch: connections.ring.scratch(),
        connections,
        frames: Frames::new(payload),
        subscribers: Vec::new(),
        next: Vec::new(),
    };
    ring_server::serve(fan_out, listener)
}

struct FanOut {
    connections: Connections<Peer>,
    frames: Frames,
    /// Slots of those that receive what is published.
    subscribers: Vec<u32>,
    /// What this turn's reads become.
    next: Vec<u8>,
    /// What the last turn's became: the kernel has it now.
    batch: Scratch,
}

impl Floor for FanOut {
    type Own = Peer;

    fn connections(&mut self) -> &mut Connections<Peer> {
        &mut self.connections
    }

    fn received(&mut self, slot: u32, lent: Lent) -> io::Result<()> {
        let (connection, ring) = self.connections.live(slot);
        let (peer, bytes) = (&mut connection.own, ring.bytes(&lent));
        let taken = match peer.stage {
            Stage::Upgrading => peer.upgrade(bytes),
            Stage::Publisher | Stage::Subscriber => peer
                .publish(&self.frames, bytes, &mut self.next)
                .map(|()| None),
        };
        ring.give_back(lent);
        match taken {
            Ok(Some(answer)) => self.answer(slot, answer),
            Ok(None) => Ok(()),
            Err(Dropped) => {
                self.connections.end(slot);
                Ok(())
            }
        }
    }

    fn rest(&self, _slot: u32, sent: usize) -> Vec<u8> {
        self.connections.ring.scratch_bytes(&self.batch)[sent..].to_vec()
    }

    /// One send to every subscriber. The completions of the last turn's sends have been taken.
    fn flush(&mut self) -> io::Result<()> {
        if self.connections.some_ended() {
            let connections = &self.connections;
            self.subscribers
                .retain(|&slot| !connections.get(slot).ended);
        }
        if self.next.is_empty() {
            return Ok(());
        }
        let bytes = mem::take(&mut self.next);
        self.next = self.connections.ring.rewrite(&self.batch, bytes)?;
        self.next.clear();
        for at in 0..self.subscribers.len() {
            self.send_batch(self.subscribers[at])?;
        }
        Ok(())
    }
}

impl FanOut {
    /// The upgrade is done: what is published from now on is for this connection, too.
    fn answer(&mut self, slot: u32, answer: Vec<u8>) -> io::Result<()> {
        if self.connections.get(slot).own.stage == Stage::Subscriber {
            self.subscribers.push(slot);
        }
        self.connections.send(slot, answer)
    }

    #[inline]
    fn send_batch(&mut self, slot: u32) -> io::Result<()> {
        let (connection, ring) = self.connections.live(slot);
        if connection.ended {
            return Ok(());
        }
        if !connection.polled {
            return ring.send_scratch(connection.stream.as_fd(), slot, &self.batch);
        }
        let backlog = &mut connection.backlog;
        backlog.extend_from_slice(ring.scratch_bytes(&self.batch));
        if backlog.len() > MAX_BACKLOG {
            self.connections.end(slot);
        }
        Ok(())
    }
}
