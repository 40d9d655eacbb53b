//! The barest fan-out by io_uring: multishot receives, and one silent send to every subscriber per turn, all in one system
//! call.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;

use super::super::MAX_BACKLOG;
use super::{Dropped, Frames, Peer, Stage};
use crate::error::BenchError;
use crate::ring::{Completion, Lent, Ring, Scratch, Wait};

/// Serves messages of `payload` bytes until the process ends.
///
/// # Errors
/// When the ring cannot be had or fails; a failing connection is only closed.
pub(crate) fn serve(listener: &TcpListener, payload: usize) -> Result<Infallible, BenchError> {
    let mut ring = Ring::new(None)?;
    let mut server = Server {
        batch: ring.scratch(),
        ring,
        frames: Frames::new(payload),
        connections: Vec::new(),
        free: Vec::new(),
        subscribers: Vec::new(),
        next: Vec::new(),
        starved: Vec::new(),
        ended: Vec::new(),
    };
    server.ring.accept(listener.as_fd())?;
    loop {
        server.ring.turn(Wait::Forever)?;
        while let Some(completion) = server.ring.next() {
            server.handle(listener, completion)?;
        }
        server.fan_out()?;
        server.receive_again()?;
        server.remove_ended();
    }
}

struct Server {
    ring: Ring,
    frames: Frames,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Slots of those that receive what is published.
    subscribers: Vec<u32>,
    /// What this turn's reads become.
    next: Vec<u8>,
    /// What the last turn's became: the kernel has it now.
    batch: Scratch,
    /// Connections whose receive ended because there was no buffer.
    starved: Vec<u32>,
    /// Connections that are over.
    ended: Vec<u32>,
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
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
            Completion::Short { slot, sent } => self.short(slot, sent),
            Completion::Sent { slot, sent } => self.sent(slot, sent),
            Completion::Accepted { socket, armed } => {
                if let Ok(socket) = socket {
                    self.accepted(TcpStream::from(socket))?;
                }
                if armed {
                    Ok(())
                } else {
                    self.ring.accept(listener.as_fd())
                }
            }
            Completion::Connected { .. } => unreachable!("the floor never connects"),
        }
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
            peer: Peer::new(),
            backlog: Vec::new(),
            polled: false,
            receiving: true,
            ended: false,
        });
        Ok(())
    }

    fn received(
        &mut self,
        slot: u32,
        bytes: io::Result<Option<Lent>>,
        armed: bool,
    ) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        connection.receiving = armed;
        let lent = match bytes {
            Ok(Some(lent)) => lent,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.starved.push(slot);
                return Ok(());
            }
            Ok(None) | Err(_) => {
                self.end(slot);
                return Ok(());
            }
        };
        if !armed {
            self.starved.push(slot);
        }
        let bytes = self.ring.bytes(&lent);
        let taken = match connection.peer.stage {
            Stage::Upgrading => connection.peer.upgrade(bytes),
            Stage::Publisher | Stage::Subscriber => connection
                .peer
                .publish(&self.frames, bytes, &mut self.next)
                .map(|()| None),
        };
        self.ring.give_back(lent);
        match taken {
            Ok(Some(answer)) => self.answer(slot, answer),
            Ok(None) => Ok(()),
            Err(Dropped) => {
                self.end(slot);
                Ok(())
            }
        }
    }

    /// The upgrade is done: what is published from now on is for this connection, too.
    fn answer(&mut self, slot: u32, answer: Vec<u8>) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        if connection.peer.stage == Stage::Subscriber {
            self.subscribers.push(slot);
        }
        connection.polled = true;
        self.ring
            .send_owned(connection.stream.as_fd(), slot, answer)
    }

    /// A silent send fell short: what is left moves to memory of its own and waits for room.
    fn short(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        let Ok(sent) = sent else {
            self.end(slot);
            return Ok(());
        };
        let rest = self.ring.scratch_bytes(&self.batch)[sent..].to_vec();
        connection.polled = true;
        self.ring.send_owned(connection.stream.as_fd(), slot, rest)
    }

    fn sent(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let connection = live(&mut self.connections, slot);
        connection.polled = false;
        if sent.is_err() {
            self.end(slot);
        } else if connection.ended {
            self.ended.push(slot);
        } else if !connection.backlog.is_empty() {
            connection.polled = true;
            let rest = mem::take(&mut connection.backlog);
            return self.ring.send_owned(connection.stream.as_fd(), slot, rest);
        }
        Ok(())
    }

    /// One send to every subscriber, of all that this turn's publishers have sent. The completions of the last
    /// turn's sends have been taken.
    fn fan_out(&mut self) -> io::Result<()> {
        if self.next.is_empty() {
            return Ok(());
        }
        let bytes = mem::take(&mut self.next);
        self.next = self.ring.rewrite(&self.batch, bytes)?;
        self.next.clear();
        for at in 0..self.subscribers.len() {
            let slot = self.subscribers[at];
            let connection = live(&mut self.connections, slot);
            if connection.ended {
                continue;
            }
            if !connection.polled {
                self.ring
                    .send_scratch(connection.stream.as_fd(), slot, &self.batch)?;
                continue;
            }
            connection
                .backlog
                .extend_from_slice(self.ring.scratch_bytes(&self.batch));
            if connection.backlog.len() > MAX_BACKLOG {
                self.end(slot);
            }
        }
        Ok(())
    }

    fn receive_again(&mut self) -> io::Result<()> {
        for slot in mem::take(&mut self.starved) {
            let connection = live(&mut self.connections, slot);
            if !connection.receiving && !connection.ended {
                connection.receiving = true;
                self.ring.receive(connection.stream.as_fd(), slot)?;
            }
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
        if self.ended.is_empty() {
            return;
        }
        for slot in mem::take(&mut self.ended) {
            let over = self.connections[slot as usize]
                .as_ref()
                .is_some_and(|c| c.ended && !c.polled && !c.receiving);
            if over {
                self.connections[slot as usize] = None;
                self.free.push(slot);
            }
        }
        let connections = &self.connections;
        self.subscribers.retain(|&slot| {
            let connection = connections[slot as usize].as_ref();
            connection.is_some_and(|connection| !connection.ended)
        });
    }
}

/// Completions come only for connections that are not removed: removal waits for the last one.
fn live(connections: &mut [Option<Connection>], slot: u32) -> &mut Connection {
    connections[slot as usize]
        .as_mut()
        .expect("a connection with operations under way exists")
}
