//! Counters of one core, written by its thread and read by any.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sync::AtomicU64;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        // One writer: a load and a store need no locked instruction.
        self.0
            .store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, with one writer.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one core has done.
#[derive(Debug)]
pub(crate) struct CoreStats {
    pub(crate) accepted: Counter,
    pub(crate) opened: Counter,
    /// Past the connection limit, or on the way out.
    pub(crate) refused: Counter,
    /// Past the limits of their address.
    pub(crate) limited: Counter,
    pub(crate) dropped: Counter,
    pub(crate) panics: Counter,
    pub(crate) ring_overflows: Counter,
    pub(crate) compressed: Counter,
    pub(crate) zero_copy_sends: Counter,
    pub(crate) zero_copy_bytes: Gauge,
    /// Connections of all cores together, against `max_connections`.
    total: Arc<AtomicU64>,
    max: u64,
}

impl CoreStats {
    pub(crate) fn new(total: Arc<AtomicU64>, max: usize) -> Self {
        Self {
            accepted: Counter::default(),
            opened: Counter::default(),
            refused: Counter::default(),
            limited: Counter::default(),
            dropped: Counter::default(),
            panics: Counter::default(),
            ring_overflows: Counter::default(),
            compressed: Counter::default(),
            zero_copy_sends: Counter::default(),
            zero_copy_bytes: Gauge::default(),
            total,
            max: max as u64,
        }
    }

    /// Counts a connection in; `false` when it is one too many, and not counted.
    pub(crate) fn count_in(&self) -> bool {
        if self.total.fetch_add(1, Ordering::Relaxed) < self.max {
            return true;
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Connections of all cores.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts a connection out, if it was counted in.
    pub(crate) fn closed(&self, surplus: bool) {
        if !surplus {
            self.total.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
