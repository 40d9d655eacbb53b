//! A kernel and a network in memory, to run a core over: seeded, without a thread, a socket or a clock.
//!
//! [`SimulatedKernel`] takes the submissions that the real ring would be given, byte for byte, and fills the same ring
//! of provided buffers. So everything above [`Kernel`](super::Kernel) is the code that ships.

mod abi;
mod dice;
mod kernel;
mod log;
mod network;
mod operations;
mod tests;

pub(crate) use dice::{Dice, Fault};
pub(crate) use kernel::{Outside, Queues, SimulatedKernel};
pub(crate) use log::Log;
pub(crate) use network::{Arrived, Handle, LinkId, World};

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::rc::Rc;

use super::buffers::{BufferRing, Shape};
use super::{Op, Ring, Token};
use crate::transport::socket::Socket;

/// Numbers of the kernel's interface (`linux/io_uring.h`).
mod op {
    pub(super) const POLL_ADD: u8 = 6;
    pub(super) const SENDMSG: u8 = 9;
    pub(super) const ACCEPT: u8 = 13;
    pub(super) const ASYNC_CANCEL: u8 = 14;
    pub(super) const SEND: u8 = 26;
    pub(super) const RECV: u8 = 27;
    pub(super) const SEND_ZC: u8 = 47;

    /// IOSQE_CQE_SKIP_SUCCESS.
    pub(super) const SKIP_SUCCESS: u8 = 1 << 6;

    /// IORING_CQE_F_BUFFER, _MORE, _NOTIF and _BUF_MORE.
    pub(super) const F_BUFFER: u32 = 1;
    pub(super) const F_MORE: u32 = 1 << 1;
    pub(super) const F_NOTIF: u32 = 1 << 3;
    pub(super) const F_BUF_MORE: u32 = 1 << 4;
}

/// How a simulated ring uses its receive buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Bytes per buffer.
    pub(crate) size: u32,
    /// A power of two.
    pub(crate) count: u16,
    pub(crate) incremental: bool,
    pub(crate) exchange: bool,
}

impl Ring<SimulatedKernel> {
    pub(crate) fn simulated(mut kernel: SimulatedKernel, pool: Pool) -> io::Result<Self> {
        let shape = Shape {
            size: pool.size,
            count: pool.count,
        };
        let buffers = BufferRing::with_shape(&mut kernel, shape, pool.incremental)?;
        let mut ring = Self::with(kernel, buffers, pool.exchange);
        ring.uring.zero_copy.allowed = true;
        Ok(ring)
    }

    pub(crate) fn kernel(&self) -> &SimulatedKernel {
        &self.uring.io
    }

    /// Tokens of the operations in flight, without the sends that are over and only keep their bytes: a socket may do so for longer
    /// than its connection or the ring is there. At any time those bytes are the ones that have been lent.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = Token> {
        let tokens = self.kernel().in_flight().map(Token::from_bits);
        let keeps = |token: &Token| token.op() == Some(Op::ZeroCopy);
        let (kept, others): (Vec<_>, Vec<_>) = tokens.partition(keeps);
        let lent: HashSet<Token> = self.uring.zero_copy.tokens().collect();
        assert_eq!(lent, kept.into_iter().collect(), "bytes that are lent");
        others.into_iter()
    }

    /// Tokens of the sends whose bytes the ring owns.
    pub(crate) fn owned(&self) -> impl Iterator<Item = Token> {
        self.uring.owned.keys().copied()
    }
}

/// A listener in a world.
pub(crate) fn listener(world: &Rc<RefCell<World>>) -> io::Result<Socket> {
    let descriptor = world.borrow().descriptor()?;
    Ok(Socket::Simulated(Handle::new(world, descriptor, None)))
}
