//! A core's doorbell: whoever has something for the core says so, and rings where it sleeps.
//!
//! Both sides meet in one word, so of a core that goes to sleep and somebody who has news for it one is the first. If the news comes
//! first, the core does not sleep; if the core does, its bell is rung, once. A core that is awake costs nobody a
//! system call. What was written before [`Doorbell::notify`] is seen after the [`Doorbell::answer`] that took notice of it.

use std::cell::Cell;
use std::io;
use std::sync::atomic::Ordering;

use crate::core::bell::Bell;
use crate::core::sync::AtomicU8;

/// The core works, and has taken notice of all that was said.
const AWAKE: u8 = 0;
/// There is something that it has not taken notice of; if it slept, its bell rings or is about to.
const NEWS: u8 = 1;
/// It sleeps, or will have looked for news once more before it does.
const ASLEEP: u8 = 2;

/// The half that everybody uses, and what it rings.
#[derive(Debug)]
pub(super) struct Doorbell {
    state: AtomicU8,
    bell: Bell,
}

impl Doorbell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            state: AtomicU8::new(AWAKE),
            bell: Bell::new()?,
        })
    }

    /// Says that there is something new, and wakes the core if it sleeps.
    pub(super) fn notify(&self) {
        if self.state.swap(NEWS, Ordering::AcqRel) == ASLEEP {
            self.bell.ring();
        }
    }

    /// Whether there is something new. Cheap: one load.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NEWS
    }

    /// The core takes notice: what it looks for after this includes all that was said before.
    pub(super) fn answer(&self) {
        self.state.swap(AWAKE, Ordering::AcqRel);
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// The core's own half: going to sleep and waking up.
#[derive(Debug, Default)]
pub(super) struct Sleeper {
    announced: Cell<bool>,
    /// Rings that were caused and not silenced yet. Whoever causes one may be slow to ring.
    rings: Cell<u64>,
}

impl Sleeper {
    /// Announces that the core is about to sleep; `false` when there is news, and it must not.
    pub(super) fn try_sleep(&self, doorbell: &Doorbell) -> bool {
        let announced = doorbell
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        self.announced.set(announced);
        announced
    }

    /// The core is awake, for whatever reason, if it ever was to sleep.
    pub(super) fn wake(&self, doorbell: &Doorbell) {
        if !self.announced.take() {
            return;
        }
        let undisturbed = doorbell
            .state
            .compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        self.rings.set(self.rings.get() + u64::from(!undisturbed));
    }

    /// Ends the ringing, for those who look whether the bell rings rather than wait for each ring.
    pub(super) fn silence(&self, doorbell: &Doorbell) {
        if self.rings.get() > 0 {
            self.rings.set(self.rings.get() - doorbell.bell.silence());
        }
    }
}
