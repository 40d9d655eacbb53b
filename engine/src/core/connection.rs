//! One connection, as small as it can be: most connections are idle most of the time.

use std::os::fd::{AsFd, BorrowedFd};

use corecast_protocol::Receiver;

use super::TURN_INPUT;
use super::backlog::Backlog;
use super::compression::Wire;
use super::config::SlowPolicy;
use super::output::Pending;
use super::timers::Link;
use crate::transport::socket::Socket;

/// Bytes of a connection's record; the budget per idle connection (256 bytes, see ARCHITECTURE.md) also has
/// to hold the application's slot and the allocator's rounding.
pub(crate) const RECORD_BYTES: usize = 128;
const _: () = assert!(size_of::<Connection>() <= RECORD_BYTES);

/// Where a connection is in its life. Forward only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum State {
    /// The slot is empty.
    Free,
    /// Waiting for the whole request head.
    Handshake,
    /// Messages flow.
    Open,
    /// Our Close frame is on its way; waiting for the peer's (RFC 6455 §7.1.2).
    Closing,
    /// Nothing is read any more; queued output still goes out, then our FIN.
    Finishing,
    /// Our FIN is sent; input is thrown away until the peer's FIN, so that no RST destroys what it has not read.
    Lingering,
    /// Shut down both ways; the slot waits for operations in flight.
    Dead,
}

/// What the connection is about, as bits beside [`State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    /// A receive is armed.
    pub(crate) const RECEIVING: Self = Self(1);
    /// Its cancellation has been asked for.
    pub(crate) const CANCELLING: Self = Self(1 << 1);
    /// The application paused reading.
    pub(crate) const PAUSED: Self = Self(1 << 2);
    /// Queued among those whose held input is to be processed.
    pub(crate) const READY: Self = Self(1 << 3);
    /// A backlog send is in flight.
    pub(crate) const DRAINING: Self = Self(1 << 4);
    /// A ping is unanswered.
    pub(crate) const PINGED: Self = Self(1 << 5);
    /// The application has seen `open`, so it will see `close`.
    pub(crate) const OPENED: Self = Self(1 << 6);
    /// The peer has sent its FIN.
    pub(crate) const ENDED: Self = Self(1 << 8);
    /// The application has been answered `Queued` since there is a backlog, so that it can know of it.
    pub(crate) const TOLD: Self = Self(1 << 9);
    /// The `drain` callback is due once nothing is buffered.
    pub(crate) const OWED_DRAIN: Self = Self(1 << 10);
    /// Past the connection limit: will be answered with 503.
    pub(crate) const SURPLUS: Self = Self(1 << 7);
    /// Past the limits of its address: a surplus connection that will be answered with 429.
    pub(crate) const LIMITED: Self = Self(1 << 11);

    /// Where the connection's own policy lies, and 0 if it has none.
    const POLICY_SHIFT: u32 = 12;
    const POLICY_MASK: u16 = 0b111 << Self::POLICY_SHIFT;

    /// What happens when the connection's backlog is full, if the application has said so.
    pub(crate) fn policy(self) -> Option<SlowPolicy> {
        match (self.0 & Self::POLICY_MASK) >> Self::POLICY_SHIFT {
            0 => None,
            1 => Some(SlowPolicy::Close),
            2 => Some(SlowPolicy::DropNewest),
            3 => Some(SlowPolicy::DropOldest),
            _ => Some(SlowPolicy::Conflate),
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Option<SlowPolicy>) {
        let bits = match policy {
            None => 0,
            Some(SlowPolicy::Close) => 1,
            Some(SlowPolicy::DropNewest) => 2,
            Some(SlowPolicy::DropOldest) => 3,
            Some(SlowPolicy::Conflate) => 4,
        };
        self.0 = (self.0 & !Self::POLICY_MASK) | bits << Self::POLICY_SHIFT;
    }

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(crate) fn set(&mut self, flag: Self, on: bool) {
        if on {
            self.0 |= flag.0;
        } else {
            self.0 &= !flag.0;
        }
    }
}

/// Input that waits to be handled.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    /// Handled already.
    start: usize,
}

impl Held {
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Moves on; the memory moves only when half of it is done with, so that many small steps stay cheap.
    pub(crate) fn advance(&mut self, consumed: usize) {
        self.start += consumed;
        if self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// How much of a connection's share of input is left in a turn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    turn: u32,
    left: u32,
}

impl Share {
    pub(crate) fn left(self, turn: u32) -> u32 {
        if self.turn == turn {
            self.left
        } else {
            TURN_INPUT
        }
    }

    pub(crate) fn set(&mut self, turn: u32, left: u32) {
        *self = Self { turn, left };
    }
}

/// One connection's record.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Option<Socket>,
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) flags: Flags,
    /// Operations that the kernel has not completed; the slot and its memory stay until then.
    pub(crate) operations: u8,
    /// Which of the application's routes it belongs to, and the slot of its data there.
    pub(crate) route: u16,
    /// In which form it gets messages.
    pub(crate) wire: Wire,
    pub(crate) data: u32,
    /// The tick in which bytes last arrived.
    pub(crate) heard: u32,
    pub(crate) timer: Link,
    pub(crate) share: Share,
    pub(crate) receiver: Receiver,
    /// Bytes that may wait for it; 0 is as the server has it.
    pub(crate) backlog_limit: u32,
    /// An incomplete request head, or input beyond the turn's budget.
    pub(crate) held: Option<Box<Held>>,
    /// This turn's output.
    pub(crate) pending: Pending,
    /// Output that the socket would not take.
    pub(crate) backlog: Option<Box<Backlog>>,
}

impl Connection {
    pub(crate) fn free(generation: u32) -> Self {
        Self {
            socket: None,
            generation,
            state: State::Free,
            flags: Flags::default(),
            operations: 0,
            route: 0,
            wire: Wire::Plain,
            data: 0,
            heard: 0,
            timer: Link::default(),
            share: Share::default(),
            receiver: Receiver::new(),
            backlog_limit: 0,
            held: None,
            pending: Pending::default(),
            backlog: None,
        }
    }

    pub(crate) fn new(socket: Socket, generation: u32, tick: u32) -> Self {
        Self {
            socket: Some(socket),
            state: State::Handshake,
            heard: tick,
            ..Self::free(generation)
        }
    }

    /// The socket of a connection that is not free.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.any_socket().as_fd()
    }

    /// The same, as the transport knows it.
    pub(crate) fn any_socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("a live connection has a socket")
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether bytes from the peer are wanted.
    pub(crate) fn wants_input(&self) -> bool {
        match self.state {
            State::Free | State::Dead => false,
            State::Finishing | State::Lingering => true,
            State::Handshake => true,
            State::Open | State::Closing => !self.flags.has(Flags::PAUSED) && !self.holds_frames(),
        }
    }

    /// Whether received frames wait for their turn.
    pub(crate) fn holds_frames(&self) -> bool {
        self.state >= State::Open && self.held.is_some()
    }

    /// Bytes accepted from the application that the kernel has not taken.
    pub(crate) fn buffered(&self, turn: u32) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes()) + self.pending.bytes(turn)
    }
}
