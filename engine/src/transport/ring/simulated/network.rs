//! Connections as the kernel sees them: a receive queue, a send buffer, and the ways in which both end.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::{Dice, Fault, Log};

/// The kernel sends what waits for a FIN after this time.
const CORK_TIME: Duration = Duration::from_millis(200);

/// Number of a connection, in the order in which peers have begun them.
pub(crate) type LinkId = u32;

/// Everything outside of the engine but for the ring: time, chance, sockets.
pub(crate) struct World {
    /// Since the start.
    pub(crate) time: Duration,
    /// When the clock has last gone on by more than was slept.
    pub(crate) jumped_at: Duration,
    pub(crate) dice: Dice,
    pub(crate) log: Log,
    pub(crate) links: Vec<Link>,
    /// Connections that wait to be accepted.
    pub(crate) waiting: VecDeque<LinkId>,
    pub(crate) listening: bool,
    /// Another thread has rung the core's bell.
    pub(crate) bell: bool,
    /// Nothing will ever happen again by itself.
    pub(crate) asleep: bool,
    numbers: HashMap<RawFd, LinkId>,
    /// Every descriptor is a copy of it: a number that is this simulation's, and nobody reads or writes.
    null: OwnedFd,
}

/// One connection.
pub(crate) struct Link {
    /// The peer's.
    pub(crate) address: IpAddr,
    /// Bytes that the kernel has taken and the peer has not read.
    pub(crate) outgoing: BytesMut,
    /// The most it takes.
    pub(crate) send_buffer: usize,
    /// The same bytes, until the checker takes them.
    pub(crate) tape: BytesMut,
    /// When the kernel has handed it to the server.
    pub(crate) accepted_at: Option<Duration>,
    /// All bytes that the kernel has taken.
    pub(crate) taken: u64,
    /// When it took the last of them.
    pub(crate) taken_at: Duration,
    /// The last bytes wait for the FIN until then.
    corked_until: Option<Duration>,
    /// The server has shut down writing, or closed.
    pub(crate) fin_out: bool,
    /// By a shutdown for writing: all output was to go out before it.
    pub(crate) finished_writing: bool,
    /// A system call of the server's has failed on it.
    pub(crate) failed: bool,
    /// The server has shut down reading.
    shut: bool,
    /// The server has closed its descriptor.
    pub(crate) closed: bool,
    /// Bytes that have arrived and the server has not read.
    pub(crate) incoming: BytesMut,
    /// All bytes that the server has received.
    pub(crate) received: u64,
    pub(crate) receive_buffer: usize,
    /// The peer's FIN has arrived.
    pub(crate) fin_in: bool,
    /// To be told to the next system call.
    error: Option<i32>,
    /// Reset, by either side.
    pub(crate) reset: bool,
    /// Bytes that the peer will never read although it may want to.
    pub(crate) lost: usize,
}

/// What a peer finds when it reads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    Bytes(BytesMut),
    Nothing,
    Fin,
    Reset,
}

impl World {
    pub(crate) fn new(dice: Dice, log: Log) -> io::Result<Self> {
        Ok(Self {
            time: Duration::ZERO,
            jumped_at: Duration::ZERO,
            dice,
            log,
            links: Vec::new(),
            waiting: VecDeque::new(),
            listening: true,
            bell: false,
            asleep: false,
            numbers: HashMap::new(),
            null: OwnedFd::from(File::open("/dev/null")?),
        })
    }

    pub(crate) fn note(&mut self, what: &'static str, a: impl Into<i64>, b: impl Into<i64>) {
        self.log.note(self.time, what, a.into(), b.into());
    }

    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.null.try_clone()
    }

    pub(super) fn assign(&mut self, descriptor: RawFd, id: LinkId) {
        self.numbers.insert(descriptor, id);
    }

    /// The connection behind a descriptor that is open.
    pub(super) fn by_number(&self, descriptor: RawFd) -> Option<LinkId> {
        self.numbers.get(&descriptor).copied()
    }
}

/// What peers do.
impl World {
    /// Begins a connection. `None` when nobody listens.
    pub(crate) fn connect(
        &mut self,
        address: IpAddr,
        send_buffer: usize,
        receive_buffer: usize,
    ) -> Option<LinkId> {
        if !self.listening {
            return None;
        }
        let id = self.links.len() as LinkId;
        self.links.push(Link {
            address,
            outgoing: BytesMut::new(),
            send_buffer,
            tape: BytesMut::new(),
            accepted_at: None,
            taken: 0,
            taken_at: Duration::ZERO,
            corked_until: None,
            fin_out: false,
            finished_writing: false,
            failed: false,
            shut: false,
            closed: false,
            incoming: BytesMut::new(),
            received: 0,
            receive_buffer,
            fin_in: false,
            error: None,
            reset: false,
            lost: 0,
        });
        self.waiting.push_back(id);
        self.note("connect", id, 0);
        Some(id)
    }

    /// Bytes of a peer arrive, as many as there is room for.
    pub(crate) fn arrive(&mut self, id: LinkId, bytes: &[u8]) -> usize {
        let link = &mut self.links[id as usize];
        if link.reset {
            return 0;
        }
        if link.closed {
            self.refuse_input(id);
            return 0;
        }
        let room = link.receive_buffer.saturating_sub(link.incoming.len());
        let arriving = room.min(bytes.len());
        link.incoming.extend_from_slice(&bytes[..arriving]);
        self.note("arrive", id, arriving as i64);
        arriving
    }

    /// A peer's FIN arrives.
    pub(crate) fn arrive_fin(&mut self, id: LinkId) {
        self.links[id as usize].fin_in = true;
        self.note("peer's FIN", id, 0);
    }

    /// A peer resets its connection, or the network gives it up.
    pub(crate) fn arrive_reset(&mut self, id: LinkId, error: i32) {
        let forgets = self.dice.one_in(2);
        let link = &mut self.links[id as usize];
        if link.reset {
            return;
        }
        link.reset = true;
        link.error = Some(error);
        link.outgoing.clear();
        if forgets {
            link.incoming.clear();
        }
        self.note("peer's RST", id, error);
    }

    /// A peer reads at most so much.
    pub(crate) fn read(&mut self, id: LinkId, most: usize) -> Arrived {
        let now = self.time;
        let link = &mut self.links[id as usize];
        if link.reset {
            return Arrived::Reset;
        }
        let corked = link.corked_until.is_some_and(|until| now < until) && !link.fin_out;
        if corked && !link.outgoing.is_empty() {
            self.dice.saw(Fault::Corked);
            return Arrived::Nothing;
        }
        if link.outgoing.is_empty() {
            return match link.fin_out {
                true => Arrived::Fin,
                false => Arrived::Nothing,
            };
        }
        let len = most.min(link.outgoing.len());
        let bytes = link.outgoing.split_to(len);
        self.note("peer reads", id, len as i64);
        Arrived::Bytes(bytes)
    }

    /// Whether a peer that reads would find something.
    pub(crate) fn has_news(&self, id: LinkId) -> bool {
        let link = &self.links[id as usize];
        !link.outgoing.is_empty() || link.fin_out || link.reset
    }

    /// Input that nobody will read: the answer is RST, and what is on its way to the peer is lost.
    fn refuse_input(&mut self, id: LinkId) {
        let link = &mut self.links[id as usize];
        link.reset = true;
        link.lost += link.outgoing.len();
        link.outgoing.clear();
        let lost = link.lost as i64;
        self.dice.saw(Fault::ClosedOnInput);
        self.note("server's RST", id, lost);
    }
}

/// What the server's system calls do.
impl World {
    pub(super) fn shutdown(&mut self, id: LinkId, how: Shutdown) -> io::Result<()> {
        let link = &mut self.links[id as usize];
        if link.reset {
            return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
        }
        link.fin_out |= matches!(how, Shutdown::Write | Shutdown::Both);
        link.finished_writing |= how == Shutdown::Write;
        link.shut |= matches!(how, Shutdown::Read | Shutdown::Both);
        self.note("server's FIN", id, i64::from(how == Shutdown::Both));
        Ok(())
    }

    fn close(&mut self, id: LinkId, descriptor: RawFd) {
        self.numbers.remove(&descriptor);
        let link = &mut self.links[id as usize];
        link.closed = true;
        link.fin_out = true;
        let unread = !link.incoming.is_empty() && !link.reset;
        self.note("close", id, i64::from(unread));
        if unread {
            self.refuse_input(id);
        }
    }

    /// What a send finds before it looks for room.
    pub(super) fn send_error(&mut self, id: LinkId) -> Option<i32> {
        let link = &mut self.links[id as usize];
        link.failed |= link.error.is_some() || link.reset || link.fin_out;
        if let Some(error) = link.error.take() {
            self.dice.saw(Fault::SendReset);
            return Some(error);
        }
        if link.reset || link.fin_out {
            self.dice.saw(Fault::SendPipe);
            return Some(libc::EPIPE);
        }
        None
    }

    pub(super) fn room(&self, id: LinkId) -> usize {
        let link = &self.links[id as usize];
        link.send_buffer.saturating_sub(link.outgoing.len())
    }

    /// The kernel takes bytes to send.
    pub(super) fn take(&mut self, id: LinkId, bytes: &[u8], cork: bool) {
        let now = self.time;
        let link = &mut self.links[id as usize];
        link.outgoing.extend_from_slice(bytes);
        link.tape.extend_from_slice(bytes);
        link.taken += bytes.len() as u64;
        link.taken_at = now;
        link.corked_until = cork.then_some(now + CORK_TIME);
    }

    /// Whether the peer has not acknowledged all bytes that were taken up to this position. Those of a socket that is closed are
    /// given up at some time: when the faults are over.
    pub(super) fn keeps(&mut self, id: LinkId, end: u64) -> bool {
        let link = &self.links[id as usize];
        let acknowledged = link.taken - link.outgoing.len() as u64;
        let keeps = acknowledged < end && !link.reset;
        if keeps {
            self.dice.saw(Fault::BytesKept);
        }
        if keeps && link.closed {
            self.dice.saw(Fault::BytesKeptAfterClose);
        }
        keeps && !(link.closed && self.dice.is_calm())
    }

    /// Whether a receive would have something to say.
    pub(super) fn readable(&self, id: LinkId) -> bool {
        let link = &self.links[id as usize];
        !link.incoming.is_empty() || self.end_of_input(id).is_some()
    }

    /// What a receive says once nothing is left to read: 0, or the errno.
    pub(super) fn end_of_input(&self, id: LinkId) -> Option<i32> {
        let link = &self.links[id as usize];
        if let Some(error) = link.error {
            return Some(error);
        }
        (link.fin_in || link.reset || link.shut).then_some(0)
    }

    /// The error has been told.
    pub(super) fn error_told(&mut self, id: LinkId) {
        if self.links[id as usize].error.take().is_some() {
            self.dice.saw(Fault::ReceiveReset);
        }
    }

    /// Moves received bytes into a buffer.
    pub(super) fn receive(&mut self, id: LinkId, into: &mut [u8]) {
        let link = &mut self.links[id as usize];
        link.incoming.copy_to_slice(into);
        link.received += into.len() as u64;
    }
}

/// The server's end of a connection, or its listener.
pub(crate) struct Handle {
    descriptor: OwnedFd,
    /// `None` for the listener.
    link: Option<LinkId>,
    world: Rc<RefCell<World>>,
}

impl Handle {
    pub(super) fn new(
        world: &Rc<RefCell<World>>,
        descriptor: OwnedFd,
        link: Option<LinkId>,
    ) -> Self {
        Self {
            descriptor,
            link,
            world: Rc::clone(world),
        }
    }

    pub(crate) fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// The peer's address, as `getpeername` has it: a connection that was reset has none.
    pub(crate) fn peer_ip(&self) -> Option<IpAddr> {
        let world = self.world.borrow();
        let link = &world.links[self.link? as usize];
        (!link.reset).then_some(link.address)
    }

    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        match self.link {
            Some(id) => world.shutdown(id, how),
            None => {
                world.listening = false;
                Ok(())
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut world = self.world.borrow_mut();
        match self.link {
            Some(id) => world.close(id, self.descriptor.as_raw_fd()),
            None => world.listening = false,
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({:?})", self.link)
    }
}
