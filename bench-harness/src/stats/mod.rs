//! Latency distributions, whether a run may be believed, and whether two sets of runs differ.

#[allow(
    dead_code,
    reason = "the commands that compare come with the next commits"
)]
pub(crate) mod compare;
pub(crate) mod faults;
pub(crate) mod latency;
pub(crate) mod phases;
pub(crate) mod validity;
