//! A connection that has nothing to do with the attack, and must not notice it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::client::{BINARY, Client};
use crate::eventually;
use crate::stopwatch::Threads;

/// How long one round trip may take. A peer that is starved waits for seconds, or for ever.
const LATENCY: Duration = Duration::from_secs(2);

/// Between round trips.
const PAUSE: Duration = Duration::from_millis(2);

/// Echoes on a thread of its own until it is ended.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    times: Arc<Times>,
    thread: JoinHandle<()>,
}

/// How long each round trip took, but for what the server and the witness waited for a processor.
#[derive(Default)]
struct Times(Mutex<Vec<Duration>>);

impl Times {
    fn all(&self) -> MutexGuard<'_, Vec<Duration>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness {
    /// With a connection to an application that echoes.
    pub(crate) fn start(client: Client, server: Threads) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let times = Arc::<Times>::default();
        let (stopped, noted) = (Arc::clone(&stop), Arc::clone(&times));
        let thread = thread::Builder::new().name("the witness".to_owned());
        let thread = thread.spawn(move || echo(client, server, &stopped, &noted));
        Self {
            stop,
            times,
            thread: thread.expect("a thread"),
        }
    }

    /// Waits for so many round trips more. Gives their times, the shortest first.
    #[track_caller]
    pub(crate) fn rounds(&self, more: usize) -> Vec<Duration> {
        let before = self.times.all().len();
        for so_far in before..before + more {
            eventually("the witness is served", || {
                assert!(!self.thread.is_finished(), "the witness failed");
                self.times.all().len() > so_far
            });
        }
        let mut times = self.times.all()[before..before + more].to_vec();
        times.sort();
        times
    }

    /// Ends it with a closing handshake, and judges the slowest round trip, but for time that the row itself took.
    #[track_caller]
    pub(crate) fn end(self, allowance: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the witness was served");
        let slowest = self.times.all().iter().copied().max().unwrap_or_default();
        assert!(
            slowest < LATENCY + allowance,
            "the witness waited for {slowest:?}"
        );
    }
}

fn echo(mut client: Client, server: Threads, stop: &AtomicBool, times: &Times) {
    let threads = server.and(Threads::this());
    for round in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let payload: Vec<u8> = (0..64).map(|at| (round * 7 + at) as u8).collect();
        let time = threads.start();
        client.send(BINARY, &payload);
        client.expect(BINARY, &payload);
        times.all().push(time.elapsed());
        sleep(PAUSE);
    }
    client.close(1000);
}
