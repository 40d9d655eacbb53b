//! Hostile input and faults: what a peer, or the machine, can do to a running server, and what must come of it.
//!
//! Every row of the table in `README.md` is a test with that name, once per transport, against a server process of its
//! own: the answer is asserted, a witness is served throughout, and descriptors and memory come back.

mod ask;
#[allow(dead_code, reason = "the engine's tests use the rest")]
#[path = "../../../tests/common/client.rs"]
mod client;
mod closing;
mod coverage;
mod faults;
mod floods;
mod frames;
mod handshake;
mod headers;
mod herd;
mod lifecycle;
mod messages;
mod process;
mod requests;
mod slow;
mod trial;
mod witness;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Long, because machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long one test may take in all.
const TEST_TIME: Duration = Duration::from_secs(120);

/// Declares every function given as a row: a test for each transport, and an entry in `ROWS`.
macro_rules! rows {
    ($($row:ident),+ $(,)?) => {
        $(mod $row {
            #[test]
            fn ring() {
                $crate::run("ring", super::$row);
            }

            #[test]
            fn monoio() {
                $crate::run("monoio", super::$row);
            }

            #[test]
            fn epoll() {
                $crate::run("epoll", super::$row);
            }
        })+

        pub(crate) const ROWS: &[&str] = &[$(stringify!($row)),+];
    };
}
pub(crate) use rows;

/// Runs a row over a transport within [`TEST_TIME`]; skips it, and says so, where io_uring cannot be had.
pub(crate) fn run(io: &'static str, row: fn(&'static str)) {
    // Usual limits are lower than what some rows open.
    corecast::raise_descriptor_limit();
    if let Some(reason) = process::unavailable(io) {
        return eprintln!("skipped: {reason}");
    }
    let (done, is_done) = mpsc::channel();
    let name = thread::current().name().unwrap_or("a row").to_owned();
    let thread = thread::Builder::new().name(name).spawn(move || {
        row(io);
        // Nobody listens any more when time was up.
        let _ = done.send(());
    });
    match is_done.recv_timeout(TEST_TIME) {
        Ok(()) => {}
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it took longer than {TEST_TIME:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.expect("a thread").join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Waits for something that has no event to wait for, such as a count of descriptors.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
