//! How a run is ended before its time: SIGINT (Ctrl-C) and SIGTERM.
//!
//! The first signal is kept, and heard by the conductor between two looks: it calls the threads off, gives the terminal
//! back, and whoever started servers ends them. A second one ends the process at once.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::BenchError;

/// What a shell adds to a signal's number for the exit code of a process that it ended.
const SIGNALLED: i32 = 128;

/// Between two looks whether a signal has come.
const LOOK_UP: Duration = Duration::from_millis(100);

struct Caught {
    /// The signal's number; 0 when none has come.
    signal: Arc<AtomicUsize>,
}

static CAUGHT: OnceLock<Caught> = OnceLock::new();

/// Listens from now on.
///
/// # Errors
/// The system's.
pub(crate) fn listen() -> io::Result<()> {
    if CAUGHT.get().is_some() {
        return Ok(());
    }
    let signal = Arc::new(AtomicUsize::new(0));
    let second = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, and raises it.
        flag::register_conditional_shutdown(number, SIGNALLED + number, Arc::clone(&second))?;
        flag::register(number, Arc::clone(&second))?;
        flag::register_usize(number, Arc::clone(&signal), number as usize)?;
    }
    CAUGHT.get_or_init(|| Caught { signal });
    Ok(())
}

/// Asks whether the run is to end.
///
/// # Errors
/// [`BenchError::Stopped`] when it is.
pub(crate) fn check() -> Result<(), BenchError> {
    let caught = CAUGHT.get();
    match caught.map_or(0, |caught| caught.signal.load(Ordering::Relaxed)) {
        0 => Ok(()),
        signal => Err(BenchError::Stopped(signal as u8)),
    }
}

/// Waits, and listens meanwhile. Returns false: nothing has to be shown for it.
///
/// # Errors
/// Those of [`check`].
pub(crate) fn rest(time: Duration) -> Result<bool, BenchError> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(left.min(LOOK_UP));
    }
}

/// What the user's keys say is the same as Ctrl-C.
pub(crate) fn stopped() -> BenchError {
    BenchError::Stopped(SIGINT as u8)
}
