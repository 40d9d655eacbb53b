//! What both floors do by epoll: accept, and hear which connections are ready.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, TcpStream};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// One receive takes at most this much: the size uWebSockets uses, large enough for any burst.
pub(super) const RECEIVE_BUFFER: usize = 512 << 10;

/// Events taken in one wait.
const EVENTS: usize = 1024;

/// The event data of the listener; connections use their slot number.
const LISTENER: u64 = u64::MAX;

/// What a floor does with what comes.
pub(super) trait Floor {
    /// What it keeps of each connection.
    type Own: Default;

    /// Its connections.
    fn connections(&mut self) -> &mut Connections<Self::Own>;

    /// A connection can be read from, or written to.
    fn ready(&mut self, slot: usize, events: EpollFlags);
}

/// The connections, and what waits for them.
pub(super) struct Connections<T> {
    pub(super) epoll: Epoll,
    list: Vec<Option<Connection<T>>>,
    free: Vec<usize>,
}

/// One connection.
pub(super) struct Connection<T> {
    pub(super) stream: TcpStream,
    /// What the floor keeps of it.
    pub(super) own: T,
    /// What a short send left over.
    pub(super) backlog: Vec<u8>,
}

/// Serves until the process ends.
///
/// # Errors
/// When epoll itself fails; a failing connection is only closed.
pub(super) fn serve<F: Floor>(mut floor: F, listener: &TcpListener) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
    floor.connections().epoll.add(listener, event)?;
    let mut events = vec![EpollEvent::empty(); EVENTS];
    loop {
        let waited = floor
            .connections()
            .epoll
            .wait(&mut events, EpollTimeout::NONE);
        let ready = match waited {
            Ok(n) => n,
            Err(nix::Error::EINTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..ready] {
            match event.data() {
                LISTENER => floor.connections().accept(listener)?,
                slot => floor.ready(slot as usize, event.events()),
            }
        }
    }
}

impl<T: Default> Connections<T> {
    /// None yet.
    ///
    /// # Errors
    /// When epoll cannot be had.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            list: Vec::new(),
            free: Vec::new(),
        })
    }

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
                self.list.push(None);
                self.list.len() - 1
            });
            let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
            self.epoll.add(&stream, event)?;
            self.list[slot] = Some(Connection {
                stream,
                own: T::default(),
                backlog: Vec::new(),
            });
        }
    }
}

impl<T> Connections<T> {
    /// The connection of a slot, and epoll; an event may be of one that is gone.
    #[inline]
    pub(super) fn get(&mut self, slot: usize) -> Option<(&mut Connection<T>, &Epoll)> {
        Some((self.list[slot].as_mut()?, &self.epoll))
    }

    /// Ends a connection. Returns whether it was there.
    pub(super) fn remove(&mut self, slot: usize) -> bool {
        // Closing the descriptor takes it out of the epoll set.
        let was_there = self.list[slot].take().is_some();
        if was_there {
            self.free.push(slot);
        }
        was_there
    }
}

impl<T> Connection<T> {
    /// From now on epoll tells when it is ready for this.
    pub(super) fn watch(&self, epoll: &Epoll, slot: usize, flags: EpollFlags) -> io::Result<()> {
        Ok(epoll.modify(&self.stream, &mut EpollEvent::new(flags, slot as u64))?)
    }
}
