//! What both floors do on io_uring, with the techniques of the engine: multishot accept and receive into provided buffers,
//! silent sends, one system call per turn.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;

use crate::error::BenchError;
use crate::ring::{Completion, Lent, Ring, Wait};

/// What a floor does with what comes.
pub(super) trait Floor {
    /// What it keeps of each connection.
    type Own: Default;

    /// Its connections.
    fn connections(&mut self) -> &mut Connections<Self::Own>;

    /// Bytes came, to be given back to the ring.
    ///
    /// # Errors
    /// The ring's.
    fn received(&mut self, slot: u32, lent: Lent) -> io::Result<()>;

    /// What is left of the connection's last silent send when so many bytes of it have gone.
    fn rest(&self, slot: u32, sent: usize) -> Vec<u8>;

    /// All completions of a turn have been taken: sends what there is to send.
    ///
    /// # Errors
    /// The ring's.
    fn flush(&mut self) -> io::Result<()>;
}

/// The connections, and the ring that they are on.
pub(super) struct Connections<T> {
    pub(super) ring: Ring,
    list: Vec<Option<Connection<T>>>,
    free: Vec<u32>,
    /// Connections whose receive ended because there was no buffer.
    starved: Vec<u32>,
    /// Connections that are over.
    ended: Vec<u32>,
}

/// One connection.
pub(super) struct Connection<T> {
    pub(super) stream: TcpStream,
    /// What the floor keeps of it.
    pub(super) own: T,
    /// Waits until the polled send is over.
    pub(super) backlog: Vec<u8>,
    /// A polled send is under way: no silent ones until it is over.
    pub(super) polled: bool,
    /// It is over, and stays until nothing of it is under way.
    pub(super) ended: bool,
    receiving: bool,
}

/// Serves until the process ends.
///
/// # Errors
/// When the ring fails; a failing connection is only closed.
pub(super) fn serve<F: Floor>(
    mut floor: F,
    listener: &TcpListener,
) -> Result<Infallible, BenchError> {
    floor.connections().ring.accept(listener.as_fd())?;
    loop {
        floor.connections().ring.turn(Wait::Forever)?;
        while let Some(completion) = floor.connections().ring.next() {
            handle(&mut floor, listener, completion)?;
        }
        floor.flush()?;
        floor.connections().receive_again()?;
        floor.connections().remove_ended();
    }
}

#[inline]
fn handle<F: Floor>(
    floor: &mut F,
    listener: &TcpListener,
    completion: Completion,
) -> io::Result<()> {
    match completion {
        Completion::Received { slot, bytes, armed } => {
            match floor.connections().taken(slot, bytes, armed) {
                Some(lent) => floor.received(slot, lent),
                None => Ok(()),
            }
        }
        Completion::Short {
            slot,
            sent: Ok(sent),
        } => {
            // What is left moves to memory of its own and waits for room.
            let rest = floor.rest(slot, sent);
            floor.connections().send(slot, rest)
        }
        Completion::Short { slot, sent: Err(_) } => {
            floor.connections().end(slot);
            Ok(())
        }
        Completion::Sent { slot, sent } => floor.connections().sent(slot, sent),
        Completion::Accepted { socket, armed } => {
            if let Ok(socket) = socket {
                floor.connections().accepted(TcpStream::from(socket))?;
            }
            if armed {
                Ok(())
            } else {
                floor.connections().ring.accept(listener.as_fd())
            }
        }
        Completion::Connected { .. } => unreachable!("the floor never connects"),
    }
}

impl<T: Default> Connections<T> {
    /// None yet.
    ///
    /// # Errors
    /// When the ring cannot be had.
    pub(super) fn new() -> Result<Self, BenchError> {
        Ok(Self {
            ring: Ring::new(None)?,
            list: Vec::new(),
            free: Vec::new(),
            starved: Vec::new(),
            ended: Vec::new(),
        })
    }

    fn accepted(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() as u32 - 1
        });
        self.ring.receive(stream.as_fd(), slot)?;
        self.list[slot as usize] = Some(Connection {
            stream,
            own: T::default(),
            backlog: Vec::new(),
            polled: false,
            ended: false,
            receiving: true,
        });
        Ok(())
    }
}

impl<T> Connections<T> {
    /// A connection with operations under way, and the ring.
    #[inline]
    pub(super) fn live(&mut self, slot: u32) -> (&mut Connection<T>, &mut Ring) {
        (live(&mut self.list, slot), &mut self.ring)
    }

    /// A connection with operations under way.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> &Connection<T> {
        self.list[slot as usize].as_ref().expect(LIVE)
    }

    /// Some connections have ended in this turn.
    pub(super) fn some_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Sends bytes of their own, waiting for room: no other send may be under way.
    pub(super) fn send(&mut self, slot: u32, bytes: Vec<u8>) -> io::Result<()> {
        let connection = live(&mut self.list, slot);
        connection.polled = true;
        self.ring.send_owned(connection.stream.as_fd(), slot, bytes)
    }

    /// Ends a connection; it is removed when nothing of it is under way any more.
    pub(super) fn end(&mut self, slot: u32) {
        let connection = live(&mut self.list, slot);
        if !connection.ended {
            connection.ended = true;
            // Ends the receive and a polled send, which hold the socket open. It fails only for
            // a socket whose peer is gone, where both have ended already.
            let _ = connection.stream.shutdown(Shutdown::Both);
        }
        self.ended.push(slot);
    }

    /// A receive has brought something, or is over.
    #[inline]
    fn taken(&mut self, slot: u32, bytes: io::Result<Option<Lent>>, armed: bool) -> Option<Lent> {
        live(&mut self.list, slot).receiving = armed;
        match bytes {
            Ok(Some(lent)) => {
                if !armed {
                    self.starved.push(slot);
                }
                Some(lent)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.starved.push(slot);
                None
            }
            Ok(None) | Err(_) => {
                self.end(slot);
                None
            }
        }
    }

    /// A polled send is over: the backlog follows.
    fn sent(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let connection = live(&mut self.list, slot);
        connection.polled = false;
        if sent.is_err() {
            self.end(slot);
        } else if connection.ended {
            self.ended.push(slot);
        } else if !connection.backlog.is_empty() {
            let rest = mem::take(&mut connection.backlog);
            return self.send(slot, rest);
        }
        Ok(())
    }

    fn receive_again(&mut self) -> io::Result<()> {
        for slot in mem::take(&mut self.starved) {
            let connection = live(&mut self.list, slot);
            if !connection.receiving && !connection.ended {
                connection.receiving = true;
                self.ring.receive(connection.stream.as_fd(), slot)?;
            }
        }
        Ok(())
    }

    fn remove_ended(&mut self) {
        for slot in mem::take(&mut self.ended) {
            let over = self.list[slot as usize]
                .as_ref()
                .is_some_and(|c| c.ended && !c.polled && !c.receiving);
            if over {
                self.list[slot as usize] = None;
                self.free.push(slot);
            }
        }
    }
}

/// Completions come only for connections that are not removed: removal waits for the last one.
const LIVE: &str = "a connection with operations under way exists";

#[inline]
fn live<T>(list: &mut [Option<Connection<T>>], slot: u32) -> &mut Connection<T> {
    list[slot as usize].as_mut().expect(LIVE)
}
