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
    pub(crate) run: Arc<dyn Fn(Activity) + Send + Sync>,
}

/// What a core has done since its last upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It has worked: the upkeep comes again.
    Busy,
    /// Nothing: this is the last upkeep before there is work again.
    Idle,
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
        let activity = if now.saturating_duration_since(self.worked_at) < upkeep.every {
            self.upkeep_due = now.checked_add(upkeep.every);
            Activity::Busy
        } else {
            Activity::Idle
        };
        // Before the application has the allocator give memory back: sixteen spares of 256 KiB can keep 64 MiB from going.
        self.shared.release_spares();
        if catch_unwind(AssertUnwindSafe(|| (upkeep.run)(activity))).is_err() {
            self.hub.stats.panics.add(1);
        }
    }

    /// How long until it is due.
    pub(super) fn time_to_keep_up(&self, now: Instant) -> Option<Duration> {
        let due = self.upkeep_due?;
        Some(due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::core::bare;
    use crate::core::config::Config;

    const EVERY: Duration = Duration::from_secs(5);

    #[test]
    fn spare_buffers_go_before_the_upkeep_and_it_is_told_which_is_the_last() {
        let (ran, reports) = mpsc::channel();
        let run = Arc::new(move |activity| ran.send(activity).expect("the test listens"));
        let mut core = bare::core(Config {
            upkeep: Some(Upkeep { every: EVERY, run }),
            ..Config::default()
        });
        let start = Instant::now();
        let spare_after = |core: &mut Core, time| {
            core.shared.recycle(Vec::with_capacity(256 << 10));
            core.keep_up(start + time);
            core.shared.spare_bytes()
        };
        assert_ne!(spare_after(&mut core, EVERY), 0, "no work, no upkeep");
        assert!(core.worked(start));
        assert!(!core.worked(start + EVERY / 2));
        assert_ne!(spare_after(&mut core, EVERY / 2), 0, "not due");
        assert_eq!(reports.try_iter().count(), 0);
        assert_eq!(spare_after(&mut core, EVERY), 0);
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [Activity::Busy]);
        assert_eq!(spare_after(&mut core, EVERY * 2), 0);
        assert_eq!(reports.try_iter().collect::<Vec<_>>(), [Activity::Idle]);
        assert_eq!(core.time_to_keep_up(start + EVERY * 2), None, "the last");
    }
}
