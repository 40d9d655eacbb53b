//! The floor by io_uring, with the techniques of the engine: multishot accept and receive into
//! provided buffers, silent sends straight from the receive buffer, one system call per turn.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::MAX_BACKLOG;
use crate::error::BenchError;
use crate::ring::{Completion, Lent, Ring, Wait};

/// Serves until the process ends.
///
/// # Errors
/// When the ring cannot be had or fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener) -> Result<Infallible, BenchError> {
    let mut server = Server {
        ring: Ring::new(None)?,
        connections: Vec::new(),
        free: Vec::new(),
        dirty: Vec::new(),
        sending: Vec::new(),
        starved: Vec::new(),
        ended: Vec::new(),
    };
    server.ring.accept(listener.as_fd())?;
    loop {
        server.ring.turn(Wait::Forever)?;
        while let Some(completion) = server.ring.next() {
            server.handle(listener, completion)?;
        }
        server.release();
        server.flush()?;
        server.remove_ended();
    }
}

struct Server {
    ring: Ring,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Connections that received in this turn.
    dirty: Vec<u32>,
    /// Connections whose pieces were given to the last submission.
    sending: Vec<u32>,
    /// Connections whose receive ended because there was no buffer.
    starved: Vec<u32>,
    /// Connections that are over.
    ended: Vec<u32>,
}

struct Connection {
    stream: TcpStream,
    /// Received in this turn, not yet sent.
    received: Vec<Lent>,
    /// Given to the last submission.
    sending: Vec<Lent>,
    /// Waits until the polled send is over.
    backlog: Vec<u8>,
    /// A polled send is under way: no silent ones until it is over.
    polled: bool,
    receiving: bool,
    ended: bool,
}

impl Server {
    fn handle(&mut self, listener: &TcpListener, completion: Completion) -> io::Result<()> {
        match completion {
            Completion::Received { slot, bytes, armed } => self.received(slot, bytes, armed),
            Completion::Short { slot, sent } => self.short(slot, sent)?,
            Completion::Sent { slot, sent } => self.sent(slot, sent)?,
            Completion::Accepted { socket, armed } => {
                if let Ok(socket) = socket {
                    self.accepted(TcpStream::from(socket))?;
                }
                if !armed {
                    self.ring.accept(listener.as_fd())?;
                }
            }
            Completion::Connected { .. } => unreachable!("the floor never connects"),
        }
        Ok(())
    }

    fn accepted(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        self.ring.receive(stream.as_fd(), slot)?;
        self.connections[slot as usize] = Some(Connection {
            stream,
            received: Vec::new(),
            sending: Vec::new(),
            backlog: Vec::new(),
            polled: false,
            receiving: true,
            ended: false,
        });
        Ok(())
    }

    fn received(&mut self, slot: u32, bytes: io::Result<Option<Lent>>, armed: bool) {
        let connection = live(&mut self.connections, slot);
        connection.receiving = armed;
        match bytes {
            Ok(Some(lent)) => {
                if connection.received.is_empty() {
                    self.dirty.push(slot);
                }
                connection.received.push(lent);
                if !armed {
                    self.starved.push(slot);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.starved.push(slot),
            Ok(None) | Err(_) => self.end(slot),
        }
    }

    /// A silent send fell short: what is left moves to memory of its own and waits for room.
    fn short(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        let Ok(mut sent) = sent else {
            self.end(slot);
            return Ok(());
        };
        let mut rest = Vec::new();
        for piece in &connection.sending {
            let skipped = sent.min(piece.len());
            rest.extend_from_slice(&self.ring.bytes(piece)[skipped..]);
            sent -= skipped;
        }
        connection.polled = true;
        self.ring.send_owned(connection.stream.as_fd(), slot, rest)
    }

    fn sent(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        connection.polled = false;
        if sent.is_err() {
            self.end(slot);
        } else if !connection.backlog.is_empty() && !connection.ended {
            connection.polled = true;
            let rest = mem::take(&mut connection.backlog);
            self.ring
                .send_owned(connection.stream.as_fd(), slot, rest)?;
        } else if connection.ended {
            self.ended.push(slot);
        }
        Ok(())
    }

    /// The last submission is over and its short sends are dealt with: its buffers are free.
    fn release(&mut self) {
        for slot in self.sending.drain(..) {
            for piece in live(&mut self.connections, slot).sending.drain(..) {
                self.ring.give_back(piece);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        for slot in mem::take(&mut self.starved) {
            let connection = live(&mut self.connections, slot);
            if !connection.receiving && !connection.ended {
                connection.receiving = true;
                self.ring.receive(connection.stream.as_fd(), slot)?;
            }
        }
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush_one(slot)?;
        }
        // What did not fit into one send is due in the next turn; else this keeps the capacity.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        Ok(())
    }

    fn flush_one(&mut self, slot: u32) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        if connection.polled || connection.ended || connection.received.len() > Ring::max_pieces() {
            return self.queue(slot);
        }
        mem::swap(&mut connection.received, &mut connection.sending);
        self.sending.push(slot);
        self.ring
            .send_lent(connection.stream.as_fd(), slot, &connection.sending)
    }

    /// Copies what has come behind the backlog, so that the buffers are free at once.
    fn queue(&mut self, slot: u32) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        for piece in connection.received.drain(..) {
            connection
                .backlog
                .extend_from_slice(self.ring.bytes(&piece));
            self.ring.give_back(piece);
        }
        if connection.ended {
            return Ok(());
        }
        if connection.backlog.len() > MAX_BACKLOG {
            self.end(slot);
        } else if !connection.polled {
            connection.polled = true;
            let bytes = mem::take(&mut connection.backlog);
            self.ring
                .send_owned(connection.stream.as_fd(), slot, bytes)?;
        }
        Ok(())
    }

    /// Ends a connection; it is removed when nothing of it is under way any more.
    fn end(&mut self, slot: u32) {
        let connection = live(&mut self.connections, slot);
        if !connection.ended {
            connection.ended = true;
            // Ends the receive and a polled send, which hold the socket open. It fails only for
            // a socket whose peer is gone, where both have ended already.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        self.ended.push(slot);
    }

    fn remove_ended(&mut self) {
        for slot in mem::take(&mut self.ended) {
            let over = self.connections[slot as usize]
                .as_ref()
                .is_some_and(|c| c.ended && !c.polled && !c.receiving);
            if over {
                self.connections[slot as usize] = None;
                self.free.push(slot);
            }
        }
    }
}

/// Completions come only for connections that are not removed: removal waits for the last one.
fn live(connections: &mut [Option<Connection>], slot: u32) -> &mut Connection {
    connections[slot as usize]
        .as_mut()
        .expect("a connection with operations under way exists")
}
