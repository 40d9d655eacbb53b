//! Waiting with a bound.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once: it stands for "for ever". Long, because machines that run tests
/// are busy, and because sanitizers make everything several times slower.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long one test may take in all.
pub(crate) const TEST_TIME: Duration = Duration::from_secs(300);

/// Runs `f` on a thread of its own, and fails when that takes longer than `time`.
pub(crate) fn within<T: Send + 'static>(
    time: Duration,
    what: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (done, is_done) = mpsc::channel();
    let name = thread::current().name().map(str::to_owned);
    let mut builder = thread::Builder::new();
    if let Some(name) = name {
        builder = builder.name(name);
    }
    let thread = builder
        .spawn(move || {
            let result = f();
            // Nobody listens any more when time was up.
            let _ = done.send(result);
        })
        .expect("a thread");
    match is_done.recv_timeout(time) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what} took longer than {time:?}"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("it ended without a result and without a panic"),
        },
    }
}

/// Waits for something that has no event to wait for, such as a counter.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not so: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
