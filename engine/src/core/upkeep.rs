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
    /// There was work. Upkeep follows after its time, unless it is on its way already: so a busy core sees it
    /// regularly, a core that has become idle once more, and an idle core never. Says whether it was set just now.
    #[inline]
    pub(super) fn worked(&mut self, now: Instant) -> bool {
        if self.upkeep_due.is_none()
            && let Some(upkeep) = &self.hub.config.upkeep
        {
            self.upkeep_due = Some(now + upkeep.every);
            return true;
        }
        false
    }

    /// Runs the upkeep if it is due.
    pub(super) fn keep_up(&mut self, now: Instant) {
        if self.upkeep_due.is_none_or(|due| now < due) {
            return;
        }
        self.upkeep_due = None;
        if let Some(upkeep) = &self.hub.config.upkeep
            && catch_unwind(AssertUnwindSafe(|| (upkeep.run)())).is_err()
        {
            self.hub.stats.panics.add(1);
        }
    }

    /// How long until it is due.
    pub(super) fn time_to_keep_up(&self, now: Instant) -> Option<Duration> {
        let due = self.upkeep_due?;
        Some(due.saturating_duration_since(now))
    }
}
