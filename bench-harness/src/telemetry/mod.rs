//! What a run shows of itself while it goes on: sampled at even intervals, off the hot path.
//!
//! Threads record into a histogram of the interval and hand it over at its end ([`recorder`]); the conductor adds what the
//! operating system counts, and keeps the row ([`monitor`], [`sample`]).

pub(crate) mod monitor;
pub(crate) mod progress;
pub(crate) mod recorder;
pub(crate) mod sample;
pub(crate) mod syscalls;
pub(crate) mod window;
