//! A doorbell without a kernel: what an eventfd and its two ways to be waited for promise.

use std::io;
use std::os::fd::BorrowedFd;

use loom::sync::{Condvar, Mutex};

/// In the place of the eventfd.
#[derive(Debug)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The eventfd's value: it is readable unless this is zero.
    value: u64,
    /// A poll that is armed for good has completed since somebody last waited.
    completed: bool,
}

impl Bell {
    #[expect(
        clippy::unnecessary_wraps,
        reason = "an eventfd may be refused by the system"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn ring(&self) {
        let mut state = self.state.lock().unwrap();
        state.value += 1;
        state.completed = true;
        self.changed.notify_all();
    }

    pub(crate) fn silence(&self) -> u64 {
        std::mem::take(&mut self.state.lock().unwrap().value)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        unreachable!("no kernel takes part in a model")
    }

    /// As the data ring waits: a multishot poll completes with each ring, and a ring that was silenced
    /// has completed it all the same.
    pub(super) fn wait_for_completion(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.completed {
            state = self.changed.wait(state).unwrap();
        }
        state.completed = false;
    }

    /// As monoio waits for each sleep anew: until the eventfd is readable, at once if it is already.
    pub(super) fn wait_until_readable(&self) {
        let mut state = self.state.lock().unwrap();
        while state.value == 0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        self.state.lock().unwrap().value > 0
    }
}
