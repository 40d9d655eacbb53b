//! Time that somebody takes, told apart from time for which the machine lets them wait.
//!
//! A thread that is ready and gets no processor is late through no fault of its own, and on a busy machine that is most of
//! the time. The kernel counts it for each thread. What is left shows whether a server keeps its peers waiting: the time
//! for which its threads work, and for which they sleep.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Threads whose waiting for a processor does not count.
#[derive(Debug)]
pub(crate) struct Threads(Vec<File>);

impl Threads {
    /// The one that calls.
    pub(crate) fn this() -> Self {
        Self(
            statistics(Path::new("/proc/thread-self"))
                .into_iter()
                .collect(),
        )
    }

    /// All that a process has now.
    pub(crate) fn of_process(id: u32) -> Self {
        let threads = fs::read_dir(format!("/proc/{id}/task")).expect("the process runs");
        let threads = threads.map(|thread| thread.expect("procfs").path());
        Self(threads.filter_map(|path| statistics(&path)).collect())
    }

    pub(crate) fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    pub(crate) fn start(&self) -> Stopwatch<'_> {
        Stopwatch {
            threads: self,
            waited: self.waited(),
            start: Instant::now(),
        }
    }

    /// How long they were ready and did not run so far, added up.
    fn waited(&self) -> Duration {
        self.0.iter().map(waited).sum()
    }
}

/// What the scheduler counts of a thread; nothing where the kernel is built without.
fn statistics(thread: &Path) -> Option<File> {
    File::open(thread.join("schedstat")).ok()
}

/// The second of three numbers: nanoseconds on a processor, nanoseconds ready without one, turns on one.
fn waited(statistics: &File) -> Duration {
    let mut text = [0; 96];
    // A thread that has ended waits no more.
    let len = statistics.read_at(&mut text, 0).unwrap_or(0);
    let text = std::str::from_utf8(&text[..len]).unwrap_or_default();
    let waited = text
        .split(' ')
        .nth(1)
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(waited.unwrap_or(0))
}

/// A time that runs.
#[derive(Debug)]
pub(crate) struct Stopwatch<'a> {
    threads: &'a Threads,
    waited: Duration,
    start: Instant,
}

impl Stopwatch<'_> {
    /// The time since the start.
    pub(crate) fn wall(&self) -> Duration {
        self.start.elapsed()
    }

    /// The same but for what the threads have waited for a processor.
    pub(crate) fn elapsed(&self) -> Duration {
        let time = self.start.elapsed();
        let waited = self.threads.waited().saturating_sub(self.waited);
        time.saturating_sub(waited)
    }
}

#[test]
fn a_stopwatch_counts_work_and_sleep() {
    const TIME: Duration = Duration::from_millis(50);
    /// Between the clocks of the scheduler and of the test.
    const APART: Duration = Duration::from_millis(2);
    let worked = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let threads = Threads::this();
    let (stopwatch, before) = (threads.start(), worked());
    while worked() - before < TIME {}
    assert!(stopwatch.elapsed() >= TIME - APART, "{stopwatch:?}");
    std::thread::sleep(TIME);
    let (elapsed, wall) = (stopwatch.elapsed(), stopwatch.wall());
    assert!(elapsed >= 2 * (TIME - APART), "{elapsed:?}");
    assert!(elapsed <= wall, "{elapsed:?} of {wall:?}");
}
