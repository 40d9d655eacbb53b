//! A connection that has nothing to do with the attack, and must not notice it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::client::{BINARY, Client};
use crate::eventually;

/// How long one round trip may take. Generous, for machines that do ten other things: a peer that is starved waits
/// for seconds, or for ever.
const LATENCY: Duration = Duration::from_secs(2);

/// Between round trips.
const PAUSE: Duration = Duration::from_millis(2);

/// Echoes on a thread of its own until it is ended.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Duration>,
}

impl Witness {
    /// With a connection to an application that echoes.
    pub(crate) fn start(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&rounds));
        let thread = thread::Builder::new().name("the witness".to_owned());
        let thread = thread.spawn(move || echo(client, &stopped, &counted));
        Self {
            stop,
            rounds,
            thread: thread.expect("a thread"),
        }
    }

    /// Waits for so many round trips more.
    #[track_caller]
    pub(crate) fn rounds(&self, more: u64) {
        let before = self.rounds.load(Ordering::Relaxed);
        eventually("the witness is served", || {
            assert!(!self.thread.is_finished(), "the witness failed");
            self.rounds.load(Ordering::Relaxed) >= before + more
        });
    }

    /// Ends it with a closing handshake, and judges the slowest round trip, but for time that the row itself took.
    #[track_caller]
    pub(crate) fn end(self, allowance: Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let slowest = self.thread.join().expect("the witness was served");
        assert!(
            slowest < LATENCY + allowance,
            "the witness waited for {slowest:?}"
        );
    }
}

fn echo(mut client: Client, stop: &AtomicBool, rounds: &AtomicU64) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut round: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let payload: Vec<u8> = (0..64).map(|at| (round * 7 + at) as u8).collect();
        let start = Instant::now();
        client.send(BINARY, &payload);
        client.expect(BINARY, &payload);
        slowest = slowest.max(start.elapsed());
        round += 1;
        rounds.store(round, Ordering::Relaxed);
        sleep(PAUSE);
    }
    client.close(1000);
    slowest
}
