//! A doorbell: a core sleeps on it, and whoever has something for the core rings it.

#[cfg(not(all(test, loom)))]
pub(crate) use eventfd::Bell;

#[cfg(all(test, loom))]
pub(crate) use super::models::bell::Bell;

#[cfg(not(all(test, loom)))]
mod eventfd {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    use rustix::event::{EventfdFlags, eventfd};

    /// An eventfd.
    #[derive(Debug)]
    pub(crate) struct Bell(OwnedFd);

    impl Bell {
        pub(crate) fn new() -> io::Result<Self> {
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map(Self)
                .map_err(io::Error::from)
        }

        /// Wakes whoever sleeps on it, now or next.
        pub(crate) fn ring(&self) {
            // Full only when it has been rung 2^64 - 2 times: then it is ringing.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }

        /// Ends the ringing; gives how often it was rung since it last was silent.
        pub(crate) fn silence(&self) -> u64 {
            let mut rings = [0; 8];
            match rustix::io::read(&self.0, &mut rings) {
                Ok(_) => u64::from_ne_bytes(rings),
                // Empty unless it rings: then there is nothing to read.
                Err(_) => 0,
            }
        }

        /// Readable while it rings.
        pub(crate) fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}
