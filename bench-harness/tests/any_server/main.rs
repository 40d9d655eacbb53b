//! Servers that are not Corecast, and loads of many shapes.

#[path = "../common/mod.rs"]
mod common;

mod flags;
mod greeting;
mod handshake;
mod pace;
mod payload;
mod refusal;

/// A load of each kind, which takes next to no time.
pub(crate) const SHORT: [&[&str]; 4] = [
    &["echo", "-c", "2", "-z", "200ms", "--warmup", "0ms"],
    &["broadcast", "-c", "2", "-z", "200ms", "--warmup", "0ms"],
    &["connect", "-c", "100"],
    &["idle", "-c", "2", "-z", "100ms", "--settle", "0ms"],
];
