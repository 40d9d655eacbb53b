//! What the application wants done now and then on every core, once there has been work.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Core;

/// The application's wish.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) every: Duration,
    pub(crate) run: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// There was work. Upkeep follows after its time, unless it is on its way already. Says whether it was set just now.
    #[inline]
    pub(super) fn worked(&mut self, now: Instant) -> bool {
        self.worked_at = now;
        if self.upkeep_due.is_none()
            && let Some(upkeep) = &self.hub.config.upkeep
        {
            // Beyond the clock's end is never.
            self.upkeep_due = now.checked_add(upkeep.every);
            return self.upkeep_due.is_some();
        }
        false
    }

    /// Runs the upkeep if it is due. While there is work it comes again and again, and for the last time when there has
    /// been none for as long.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if self.upkeep_due.is_none_or(|due| now < due) {
            return;
        }
        self.upkeep_due = None;
        let Some(upkeep) = &self.hub.config.upkeep else {
            return;
        };
        if now.saturating_duration_since(self.worked_at) < upkeep.every {
            self.upkeep_due = now.checked_add(upkeep.every);
        }
        if catch_unwind(AssertUnwindSafe(|| (upkeep.run)())).is_err() {
            self.hub.stats.panics.add(1);
        }
    }

    /// How long until it is due.
    pub(super) fn time_to_keep_up(&self, now: Instant) -> Option<Duration> {
        let due = self.upkeep_due?;
        Some(due.saturating_duration_since(now))
    }
}
