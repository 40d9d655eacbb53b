//! Whatever is compressed comes back out of other makers' inflaters (RFC 7692 §7.2).

mod inflaters;
mod memory;
mod payloads;
mod with_context;
mod without_context;
