//! Latency distributions, whether a run may be believed, and whether two sets of runs differ.

pub(crate) mod compare;
pub(crate) mod faults;
pub(crate) mod latency;
pub(crate) mod phases;
mod ranks;
pub(crate) mod rounds;
pub(crate) mod validity;
