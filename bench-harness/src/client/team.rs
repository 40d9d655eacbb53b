//! The threads of a run and their conductor.
//!
//! Threads do the load, each on its own core and ring. The conductor, on the main thread, takes the
//! measurements around it. They meet at rendezvous points: a thread reports and waits, the conductor
//! hears all reports and names the time to go on.

use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::clock::{Clock, Nanos};
use crate::cores::{self, Aside};
use crate::error::BenchError;
use crate::telemetry::progress::{Counts, Progress};

/// One thread's view of the run.
pub(crate) struct Member<'a> {
    /// This thread's number, and how many there are.
    pub(crate) index: usize,
    /// Threads in the team.
    pub(crate) count: usize,
    /// The run's clock.
    pub(crate) clock: Clock,
    /// A counter that the conductor reads while the thread runs.
    pub(crate) progress: &'a Progress,
    reports: Sender<Report>,
    go: Receiver<Nanos>,
}

/// What a thread tells at a rendezvous.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// The thread's system id.
    pub(crate) thread: u32,
    /// Its connections that are open.
    pub(crate) open: u64,
}

/// The main thread's view of the run.
pub(crate) struct Conductor<'a> {
    reports: Vec<Receiver<Report>>,
    go: Vec<Sender<Nanos>>,
    progress: &'a [Progress],
}

impl Member<'_> {
    /// This thread's share of `total` things dealt out in turn.
    pub(crate) fn share(&self, total: u64) -> u64 {
        let (index, count) = (self.index as u64, self.count as u64);
        (total + count - 1 - index) / count
    }

    /// Reports, and waits for the conductor; returns the time that it names.
    ///
    /// # Errors
    /// When the conductor has called the run off.
    pub(crate) fn rendezvous(&self, open: usize) -> Result<Nanos, BenchError> {
        let thread = nix::unistd::gettid().as_raw() as u32;
        let report = Report {
            thread,
            open: open as u64,
        };
        self.reports
            .send(report)
            .map_err(|_| BenchError::CalledOff)?;
        self.go.recv().map_err(|_| BenchError::CalledOff)
    }
}

impl Conductor<'_> {
    /// Waits until every thread has reported. Meanwhile `tick` is called, and says how long to wait until the next time.
    ///
    /// # Errors
    /// When a thread has ended instead, and what `tick` returns.
    pub(crate) fn gather(
        &self,
        mut tick: impl FnMut() -> Result<Duration, BenchError>,
    ) -> Result<Vec<Report>, BenchError> {
        let mut list = Vec::new();
        for reports in &self.reports {
            list.push(loop {
                match reports.recv_timeout(tick()?) {
                    Ok(report) => break report,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(BenchError::CalledOff),
                }
            });
        }
        Ok(list)
    }

    /// Lets every thread go on, with a time to go by.
    pub(crate) fn go(&self, time: Nanos) {
        for go in &self.go {
            // A thread that is gone has an error to tell, which `run` returns.
            let _ = go.send(time);
        }
    }

    /// Sum of what the threads show.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.progress
            .iter()
            .for_each(|progress| sum += progress.counts());
        sum
    }

    /// What each thread shows.
    pub(crate) fn progress(&self) -> &[Progress] {
        self.progress
    }
}

/// Runs `work` on one thread per core of `cores` (one that is not pinned when empty), and
/// `conduct` here meanwhile. Returns what each thread and the conductor brought home.
///
/// # Errors
/// The first thing that went wrong on any of them.
pub(crate) fn run<R: Send, C>(
    cores: &[usize],
    clock: Clock,
    work: impl Fn(Member<'_>) -> Result<R, BenchError> + Sync,
    conduct: impl FnOnce(&Conductor<'_>) -> Result<C, BenchError>,
) -> Result<(Vec<R>, C), BenchError> {
    let pins: Vec<Option<usize>> = if cores.is_empty() {
        vec![None]
    } else {
        cores.iter().copied().map(Some).collect()
    };
    let progress: Vec<Progress> = pins.iter().map(|_| Progress::default()).collect();
    let work = &work;
    thread::scope(|scope| {
        let mut conductor = Conductor {
            reports: Vec::new(),
            go: Vec::new(),
            progress: &progress,
        };
        let mut threads = Vec::new();
        for (index, &pin) in pins.iter().enumerate() {
            let (reports, their_reports) = channel();
            let (their_go, go) = channel();
            conductor.reports.push(their_reports);
            conductor.go.push(their_go);
            let progress = &progress[index];
            let member = Member {
                index,
                count: pins.len(),
                clock,
                progress,
                reports,
                go,
            };
            threads.push(scope.spawn(move || {
                pin.map_or(Ok(()), cores::pin)?;
                work(member)
            }));
        }
        let conducted = {
            let _aside = Aside::from(cores);
            conduct(&conductor)
        };
        if conducted.is_err() {
            progress.iter().for_each(Progress::call_off);
        }
        // Threads that still wait for a word are called off.
        drop(conductor);
        let worked: Vec<_> = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
            })
            .collect();
        combine(worked, conducted)
    })
}

/// A side that was called off knows the reason least.
fn combine<R, C>(
    worked: Vec<Result<R, BenchError>>,
    conducted: Result<C, BenchError>,
) -> Result<(Vec<R>, C), BenchError> {
    let mut results = Vec::new();
    let mut called_off = false;
    for outcome in worked {
        match outcome {
            Ok(result) => results.push(result),
            Err(BenchError::CalledOff) => called_off = true,
            Err(error) => return Err(error),
        }
    }
    let conducted = conducted?;
    if called_off {
        Err(BenchError::CalledOff)
    } else {
        Ok((results, conducted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_dealt_out_completely() {
        for count in 1..5 {
            let clock = Clock::start();
            let cores = vec![core_affinity::get_core_ids().unwrap()[0].id; count];
            let work = |member: Member<'_>| Ok(member.share(10));
            let (shares, ()) = run(&cores, clock, work, |_| Ok(())).unwrap();
            assert_eq!(shares.iter().sum::<u64>(), 10, "{shares:?}");
        }
    }

    #[test]
    fn a_thread_that_fails_is_heard() {
        let work = |_: Member<'_>| Err::<(), _>(BenchError::runtime("no luck"));
        let error = run(&[], Clock::start(), work, |team| {
            team.gather(|| Ok(Duration::from_secs(1)))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "no luck");
    }

    #[test]
    fn a_conductor_that_fails_is_heard() {
        let work = |member: Member<'_>| member.rendezvous(0);
        let conduct = |_: &Conductor<'_>| Err::<(), _>(BenchError::runtime("server gone"));
        let error = run(&[], Clock::start(), work, conduct).unwrap_err();
        assert_eq!(error.to_string(), "server gone");
    }
}
