//! The barest echo by io_uring: silent sends straight from the receive buffers.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::TcpListener;
use std::os::fd::AsFd;

use super::MAX_BACKLOG;
use super::ring_server::{self, Connections, Floor};
use crate::error::BenchError;
use crate::ring::{Lent, Ring};

/// Serves until the process ends.
///
/// # Errors
/// When the ring cannot be had or fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener) -> Result<Infallible, BenchError> {
    let echo = Echo {
        connections: Connections::new()?,
        dirty: Vec::new(),
        sending: Vec::new(),
    };
    ring_server::serve(echo, listener)
}

struct Echo {
    connections: Connections<Pieces>,
    /// Connections that received in this turn.
    dirty: Vec<u32>,
    /// Connections whose pieces were given to the last submission.
    sending: Vec<u32>,
}

/// What a connection has received.
#[derive(Default)]
struct Pieces {
    /// In this turn, not yet sent.
    received: Vec<Lent>,
    /// Given to the last submission.
    sending: Vec<Lent>,
}

impl Floor for Echo {
    type Own = Pieces;

    fn connections(&mut self) -> &mut Connections<Pieces> {
        &mut self.connections
    }

    #[inline]
    fn received(&mut self, slot: u32, lent: Lent) -> io::Result<()> {
        let (connection, _) = self.connections.live(slot);
        if connection.own.received.is_empty() {
            self.dirty.push(slot);
        }
        connection.own.received.push(lent);
        Ok(())
    }

    fn rest(&self, slot: u32, mut sent: usize) -> Vec<u8> {
        let mut rest = Vec::new();
        for piece in &self.connections.get(slot).own.sending {
            let skipped = sent.min(piece.len());
            rest.extend_from_slice(&self.connections.ring.bytes(piece)[skipped..]);
            sent -= skipped;
        }
        rest
    }

    fn flush(&mut self) -> io::Result<()> {
        self.release();
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush_one(slot)?;
        }
        // What did not fit into one send is due in the next turn; else this keeps the capacity.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        Ok(())
    }
}

impl Echo {
    /// The last submission is over and its short sends are dealt with: its buffers are free.
    fn release(&mut self) {
        for slot in self.sending.drain(..) {
            let (connection, ring) = self.connections.live(slot);
            for piece in connection.own.sending.drain(..) {
                ring.give_back(piece);
            }
        }
    }

    fn flush_one(&mut self, slot: u32) -> io::Result<()> {
        let (connection, ring) = self.connections.live(slot);
        let pieces = &mut connection.own;
        if connection.polled || connection.ended || pieces.received.len() > Ring::max_pieces() {
            return self.queue(slot);
        }
        mem::swap(&mut pieces.received, &mut pieces.sending);
        self.sending.push(slot);
        ring.send_lent(connection.stream.as_fd(), slot, &pieces.sending)
    }

    /// Copies what has come behind the backlog, so that the buffers are free at once.
    fn queue(&mut self, slot: u32) -> io::Result<()> {
        let (connection, ring) = self.connections.live(slot);
        for piece in connection.own.received.drain(..) {
            connection.backlog.extend_from_slice(ring.bytes(&piece));
            ring.give_back(piece);
        }
        if connection.ended {
            return Ok(());
        }
        if connection.backlog.len() > MAX_BACKLOG {
            self.connections.end(slot);
        } else if !connection.polled {
            let bytes = mem::take(&mut connection.backlog);
            return self.connections.send(slot, bytes);
        }
        Ok(())
    }
}
