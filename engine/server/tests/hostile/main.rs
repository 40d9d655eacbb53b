//! Hostile input and faults: what a peer, or the machine, can do to a running server, and what must come of it.
//!
//! Every row of the table in `README.md` is a test with that name, once per transport, against a server process of its
//! own: the answer is asserted, a witness is served throughout, and descriptors and memory come back.

mod ask;
#[path = "../../../tests/common/bounds.rs"]
mod bounds;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../../tests/common/client.rs"]
mod client;
mod closing;
mod compression;
mod coverage;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../../tests/common/deflate.rs"]
mod deflate;
mod faults;
#[path = "../../../tests/common/flood.rs"]
mod flood;
mod floods;
mod frames;
mod handshake;
mod headers;
mod herd;
mod lifecycle;
mod messages;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../../tests/common/payload.rs"]
mod payload;
mod process;
#[path = "../../../tests/common/queued.rs"]
mod queued;
mod requests;
mod slow;
#[path = "../../../tests/common/stopwatch.rs"]
mod stopwatch;
#[path = "../../../tests/common/transports.rs"]
mod transports;
mod trial;
mod witness;

use corecast::Io;

use bounds::{PATIENCE, TEST_TIME, eventually, within};

/// Declares every function given as a row: a test for each transport, and an entry in `ROWS`.
macro_rules! rows {
    ($($row:ident),+ $(,)?) => {
        $crate::transports::test_each_over!($crate::run: $($row),+);

        pub(crate) const ROWS: &[&str] = &[$(stringify!($row)),+];
    };
}
pub(crate) use rows;

/// Runs a row over a transport within [`TEST_TIME`]; skips it, and says so, where io_uring cannot be had.
pub(crate) fn run(io: Io, row: fn(&'static str)) {
    // Usual limits are lower than what some rows open.
    corecast::raise_descriptor_limit();
    let name: &'static str = io.to_string().leak();
    match process::unavailable(name) {
        Some(reason) => transports::skip(io, &reason),
        None => {
            // The thread of a row that takes too long is left alone, its servers are not.
            let _end = process::EndServers;
            within(TEST_TIME, "the row", move || row(name));
        }
    }
}
