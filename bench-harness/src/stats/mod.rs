//! Latency distributions, and whether a run may be believed.

pub(crate) mod latency;
pub(crate) mod validity;
