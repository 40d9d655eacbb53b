//! The load client: connections on a ring, one thread per core.

pub(crate) mod asides;
pub(crate) mod contents;
pub(crate) mod deflate;
pub(crate) mod delivery;
pub(crate) mod dial;
pub(crate) mod fates;
pub(crate) mod frames;
pub(crate) mod greeting;
pub(crate) mod links;
pub(crate) mod listen;
mod message;
pub(crate) mod payload;
pub(crate) mod placeholders;
pub(crate) mod publication;
pub(crate) mod recent;
mod rejection;
pub(crate) mod reply;
pub(crate) mod schedule;
pub(crate) mod sources;
pub(crate) mod surprise;
pub(crate) mod team;
pub(crate) mod think;
pub(crate) mod upgrade;
pub(crate) mod workload;
