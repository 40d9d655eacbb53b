//! What the tests share: the harness's binary, small servers of independent make, and time for busy machines.

// Each test file uses its own part of this.
#![allow(dead_code, unused_imports)]

pub(crate) mod agent;
pub(crate) mod apart;
pub(crate) mod deflating;
mod floor;
mod harness;
pub(crate) mod hub;
pub(crate) mod patience;
pub(crate) mod schema;
pub(crate) mod script;
mod servers;
pub(crate) mod terminal;
pub(crate) mod town;
pub(crate) mod toy;

pub(crate) use floor::Floor;
pub(crate) use harness::{
    Outcome, Process, assert_clean, assert_unharmed, assert_usage, bench, command, due, load,
    measure, outcome, own_pid, run, run_bounded, strs,
};
pub(crate) use patience::bench_long_enough;
pub(crate) use servers::{
    Peer, accept_on, answering, choose, echo, echo_url, listener, serve, serve_asked, url,
};

/// What may not be skipped, with commas between; `ring` is io_uring.
const REQUIRE: &str = "CORECAST_REQUIRE";

/// Whether io_uring can be had; prints why a test is skipped when not, and fails where it is required.
#[track_caller]
pub(crate) fn ring_available() -> bool {
    let mut builder = io_uring::IoUring::<io_uring::squeue::Entry>::builder();
    match builder.setup_single_issuer().setup_defer_taskrun().build(8) {
        Ok(_) => true,
        Err(error) => {
            let required = std::env::var(REQUIRE).unwrap_or_default();
            assert!(
                !required.split(',').any(|name| name == "ring"),
                "{REQUIRE}={required} does not allow to skip this: {error}"
            );
            println!("skipped: io_uring is not available here: {error}");
            false
        }
    }
}

/// A list of two processors for `--cores`; `None`, with the reason printed, where there are none to be had, or no io_uring.
pub(crate) fn two_cores() -> Option<String> {
    let cores = core_affinity::get_core_ids().unwrap();
    if cores.len() < 2 {
        println!("skipped: takes two processors");
        return None;
    }
    ring_available().then(|| format!("{},{}", cores[0].id, cores[1].id))
}
