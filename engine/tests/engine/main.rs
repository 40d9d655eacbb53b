//! The engine as its users and their clients see it: over real sockets, and over each of the three transports.

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod backpressure;
mod churn;
mod close;
mod deadlines;
mod deflate;
mod deflate_fanout;
mod deflate_policies;
mod drain;
mod echo;
mod ending;
mod fairness;
mod flush_delay;
mod flushing;
mod futures;
mod http;
mod integrity;
mod panics;
mod pause;
mod policies;
mod protocol_errors;
mod retained;
mod stalled_cores;
mod topics;
mod upkeep;
mod wildcards;
mod zero_copy;
