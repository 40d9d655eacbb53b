//! What a thread shows while it runs: counters, and the histograms of intervals that are over.

use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::client::dial::Failures;
use crate::clock::Nanos;
use crate::procfs::{self, ThreadTimes};
use crate::stats::latency::Latency;

/// Empty histograms kept to be used again, a quarter of a megabyte each: an interval takes two, and two more are on the
/// way.
const SPARES: usize = 4;

/// The counters of one thread, on cache lines of their own. Only the thread writes, but for `lag` and `called_off`.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    done: AtomicU64,
    sent: AtomicU64,
    errors: AtomicU64,
    opening: AtomicU64,
    open: AtomicU64,
    /// The most that the thread was late for a message since somebody looked, in nanoseconds and one more; 0 when none
    /// was due.
    lag: AtomicU64,
    called_off: AtomicBool,
    failures: Mutex<Failures>,
    /// The thread's system id; 0 for one of another process.
    thread: AtomicU32,
    shelf: Mutex<Shelf>,
}

/// Histograms on their way between a thread and the conductor.
#[derive(Debug, Default)]
struct Shelf {
    cuts: Vec<Cut>,
    /// Empty ones, to be used again.
    spare: Vec<Latency>,
    /// What a thread of another process has used.
    times: ThreadTimes,
}

/// The latencies of one interval on one thread.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// The interval's number on the run's grid.
    pub(crate) number: i64,
    /// They are the measurement's; not those of the warm-up, and of what fell due after the end.
    pub(crate) measured: bool,
    /// From the time due.
    pub(crate) corrected: Latency,
    /// From the time sent. Open loop only.
    pub(crate) uncorrected: Option<Latency>,
}

/// What a thread has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Replies, deliveries or connections done.
    pub(crate) done: u64,
    /// Messages sent.
    pub(crate) sent: u64,
    /// What went wrong.
    pub(crate) errors: u64,
    /// Connections on the way.
    pub(crate) opening: u64,
    /// Connections open.
    pub(crate) open: u64,
}

impl Progress {
    /// Shows what is done so far.
    #[inline]
    pub(crate) fn show(&self, done: u64, sent: u64, errors: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
        self.errors.store(errors, Ordering::Relaxed);
    }

    /// Shows the connections.
    #[inline]
    pub(crate) fn show_connections(&self, opening: usize, open: usize) {
        self.opening.store(opening as u64, Ordering::Relaxed);
        self.open.store(open as u64, Ordering::Relaxed);
    }

    /// The thread turned to a message so much later than it was due.
    #[inline]
    pub(crate) fn show_lag(&self, late: Nanos) {
        self.lag.fetch_max(late + 1, Ordering::Relaxed);
    }

    /// Shows the failures so far, when there are new ones.
    pub(crate) fn show_failures(&self, lists: [&Failures; 2]) {
        let mut all = lists[0].clone();
        all.merge(lists[1].clone());
        *self.failures.lock().expect("nobody panics with the list") = all;
    }

    /// The failures so far.
    pub(crate) fn failures(&self) -> Failures {
        let list = self.failures.lock().expect("nobody panics with the list");
        list.clone()
    }

    /// Hands over an interval's histograms.
    pub(crate) fn hand_over(&self, cut: Cut) {
        self.lock().cuts.push(cut);
    }

    /// An empty histogram, used before when there is one.
    pub(crate) fn empty(&self) -> Latency {
        self.lock().spare.pop().unwrap_or_else(Latency::new)
    }

    /// The thread is this one of the process.
    pub(crate) fn set_thread(&self, id: u32) {
        self.thread.store(id, Ordering::Relaxed);
    }

    /// The thread is one of another process, and this is what it shows there.
    pub(crate) fn mirror(&self, counts: &Counts, failures: Failures, times: ThreadTimes) {
        self.show(counts.done, counts.sent, counts.errors);
        self.show_connections(counts.opening as usize, counts.open as usize);
        *self.failures.lock().expect("nobody panics with the list") = failures;
        self.lock().times = times;
    }

    /// What the thread has used of processors so far.
    pub(crate) fn times(&self) -> ThreadTimes {
        match self.thread.load(Ordering::Relaxed) {
            0 => self.lock().times,
            id => procfs::thread_times(std::process::id(), id).unwrap_or_default(),
        }
    }

    /// Asks the thread to end: nobody wants to know any more.
    pub(crate) fn call_off(&self) {
        self.called_off.store(true, Ordering::Relaxed);
    }

    /// Whether the thread has been asked to end.
    #[inline]
    pub(crate) fn is_called_off(&self) -> bool {
        self.called_off.load(Ordering::Relaxed)
    }

    /// What is shown now.
    pub(crate) fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            done: load(&self.done),
            sent: load(&self.sent),
            errors: load(&self.errors),
            opening: load(&self.opening),
            open: load(&self.open),
        }
    }

    /// The most that the thread was late since this was last called.
    pub(crate) fn take_lag(&self) -> Option<Nanos> {
        self.lag.swap(0, Ordering::Relaxed).checked_sub(1)
    }

    /// The histograms handed over since this was last called.
    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        mem::take(&mut self.lock().cuts)
    }

    /// Gives a histogram back, to be used again.
    pub(crate) fn give_back(&self, mut latency: Latency) {
        latency.clear();
        let mut shelf = self.lock();
        if shelf.spare.len() < SPARES {
            shelf.spare.push(latency);
        }
    }

    /// Gives back what was handed over.
    pub(crate) fn take_back(&self, cut: Cut) {
        self.give_back(cut.corrected);
        cut.uncorrected
            .into_iter()
            .for_each(|latency| self.give_back(latency));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("nobody panics with the shelf")
    }
}

impl Cut {
    /// Nothing yet, of the same interval.
    pub(crate) fn empty(&self) -> Self {
        Self {
            number: self.number,
            measured: self.measured,
            corrected: Latency::new(),
            uncorrected: self.uncorrected.as_ref().map(|_| Latency::new()),
        }
    }

    /// Adds the latencies of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.corrected.merge(&other.corrected);
        if let (Some(sum), Some(one)) = (&mut self.uncorrected, &other.uncorrected) {
            sum.merge(one);
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.sent += other.sent;
        self.errors += other.errors;
        self.opening += other.opening;
        self.open += other.open;
    }
}
