//! The threads of a run and their conductor.
//!
//! Threads do the load, each on its own core and ring, in this process or in agents (`crate::agents`). The conductor, on
//! the main thread, takes the measurements around it. They meet at rendezvous points: a thread reports and waits, the
//! conductor hears all reports and names the time to go on.

use std::panic;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::agents::remote::Remote;
use crate::clock::{Clock, Nanos};
use crate::cores::{self, Aside};
use crate::error::BenchError;
use crate::telemetry::progress::{Counts, Progress};

/// One thread's view of the run.
pub(crate) struct Member<'a> {
    /// This thread's number, and how many there are: in all processes of the run.
    pub(crate) index: usize,
    /// Threads in the team.
    pub(crate) count: usize,
    /// The run's clock.
    pub(crate) clock: Clock,
    /// A counter that the conductor reads while the thread runs.
    pub(crate) progress: &'a Progress,
    /// A number that all threads add up.
    pub(crate) sum: &'a Sum,
    reports: Sender<Vec<Report>>,
    go: Receiver<Nanos>,
}

/// What a thread tells at a rendezvous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Report {
    /// Its connections that are open.
    pub(crate) open: u64,
}

/// A number to which every thread of the run contributes once, and which all learn when all have.
#[derive(Debug)]
pub(crate) struct Sum {
    sum: AtomicU64,
    /// Contributions that are missing.
    left: AtomicUsize,
    /// There are no other processes.
    alone: bool,
    total: OnceLock<u64>,
}

/// The main thread's view of the run.
pub(crate) struct Conductor<'a> {
    seats: Vec<Seat<'a>>,
    progress: &'a [Progress],
}

/// Where the conductor hears and reaches threads.
pub(crate) struct Seat<'a> {
    /// The reports of a rendezvous, of one thread or of all those of an agent.
    pub(crate) reports: Receiver<Vec<Report>>,
    /// How to answer.
    pub(crate) reach: Reach<'a>,
}

/// How the conductor reaches threads.
pub(crate) enum Reach<'a> {
    /// One thread of this process.
    Thread(Sender<Nanos>),
    /// Those of another process, with word that what they show has been taken in.
    Agent(&'a Remote, Receiver<()>),
}

/// The threads of this process.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// For each the processor that it runs on; `None`: wherever the system puts it.
    pub(crate) pins: Vec<Option<usize>>,
    /// The number of the first one in the run.
    pub(crate) first: usize,
    /// Threads in the run.
    pub(crate) count: usize,
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
        let report = Report { open: open as u64 };
        self.reports
            .send(vec![report])
            .map_err(|_| BenchError::CalledOff)?;
        self.go.recv().map_err(|_| BenchError::CalledOff)
    }
}

impl Sum {
    /// Of so many contributions in this process; `alone`: there are no others.
    pub(crate) fn new(contributions: usize, alone: bool) -> Self {
        Self {
            sum: AtomicU64::new(0),
            left: AtomicUsize::new(contributions),
            alone,
            total: OnceLock::new(),
        }
    }

    /// Contributes. To be called once by each thread.
    pub(crate) fn add(&self, value: u64) {
        self.sum.fetch_add(value, Ordering::Relaxed);
        // Orders the sum before the count for whoever sees the count.
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 && self.alone {
            self.learn(self.sum.load(Ordering::Relaxed));
        }
    }

    /// What this process contributes; `None` while a contribution is missing.
    pub(crate) fn part(&self) -> Option<u64> {
        let all = self.left.load(Ordering::Acquire) == 0;
        all.then(|| self.sum.load(Ordering::Relaxed))
    }

    /// The sum over all processes is known.
    pub(crate) fn learn(&self, total: u64) {
        self.total.get_or_init(|| total);
    }

    /// The sum over all threads; `None` while it is not known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total.get().copied()
    }
}

impl<'a> Conductor<'a> {
    /// Of threads that report at `seats` and show their progress in the same order.
    pub(crate) fn new(seats: Vec<Seat<'a>>, progress: &'a [Progress]) -> Self {
        Self { seats, progress }
    }

    /// Waits until every thread has reported. Meanwhile `tick` is called, and says how long to wait until the next time.
    ///
    /// # Errors
    /// When a thread has ended instead, and what `tick` returns.
    pub(crate) fn gather(
        &self,
        mut tick: impl FnMut() -> Result<Duration, BenchError>,
    ) -> Result<Vec<Report>, BenchError> {
        let mut list = Vec::new();
        for seat in &self.seats {
            list.extend(loop {
                match seat.reports.recv_timeout(tick()?) {
                    Ok(reports) => break reports,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Err(BenchError::CalledOff),
                }
            });
        }
        Ok(list)
    }

    /// Lets every thread go on, with a time to go by.
    pub(crate) fn go(&self, time: Nanos) {
        for seat in &self.seats {
            // A thread that is gone has an error to tell, which `run` returns; so has an agent.
            match &seat.reach {
                Reach::Thread(go) => drop(go.send(time)),
                Reach::Agent(remote, _) => drop(remote.go(time)),
            }
        }
    }

    /// From the word to go until every thread has heard it, when threads of this process take `base`.
    pub(crate) fn lead(&self, base: Duration) -> Duration {
        let leads = self.seats.iter().map(|seat| match &seat.reach {
            Reach::Thread(_) => Duration::ZERO,
            Reach::Agent(remote, _) => remote.lead(),
        });
        base + leads.max().unwrap_or_default()
    }

    /// Brings what threads of other processes show up to date.
    ///
    /// # Errors
    /// When one of these processes has ended, or does not answer.
    pub(crate) fn refresh(&self) -> Result<(), BenchError> {
        let agents = || {
            self.seats.iter().filter_map(|seat| match &seat.reach {
                Reach::Thread(_) => None,
                Reach::Agent(remote, looks) => Some((remote, looks)),
            })
        };
        agents().try_for_each(|(remote, _)| remote.ask_for_a_look())?;
        agents().try_for_each(|(remote, looks)| remote.await_look(looks))
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

impl Places {
    /// One thread per core of `cores`; one that is not pinned when it is empty.
    pub(crate) fn alone(cores: &[usize]) -> Self {
        let pins = Self::pins(cores);
        Self {
            first: 0,
            count: pins.len(),
            pins,
        }
    }

    /// There are no others in the run.
    pub(crate) fn is_all(&self) -> bool {
        self.pins.len() == self.count
    }

    /// The processors that threads are pinned to.
    fn pinned(&self) -> Vec<usize> {
        self.pins.iter().copied().flatten().collect()
    }

    /// One thread per core of `cores`; one that is not pinned when it is empty.
    pub(crate) fn pins(cores: &[usize]) -> Vec<Option<usize>> {
        if cores.is_empty() {
            vec![None]
        } else {
            cores.iter().copied().map(Some).collect()
        }
    }
}

/// Runs `work` on a thread for each of `places`, and `conduct` here meanwhile. Returns what each thread and the conductor
/// brought home.
///
/// # Errors
/// The first thing that went wrong on any of them.
pub(crate) fn run<R: Send, C>(
    places: &Places,
    clock: Clock,
    work: impl Fn(Member<'_>) -> Result<R, BenchError> + Sync,
    conduct: impl FnOnce(&Conductor<'_>, &Sum) -> Result<C, BenchError>,
) -> Result<(Vec<R>, C), BenchError> {
    let progress: Vec<Progress> = places.pins.iter().map(|_| Progress::default()).collect();
    let sum = Sum::new(places.pins.len(), places.is_all());
    let (work, sum, all) = (&work, &sum, &progress);
    thread::scope(|scope| {
        let mut seats = Vec::new();
        let mut threads = Vec::new();
        for ((place, &pin), progress) in places.pins.iter().enumerate().zip(&progress) {
            let (reports, their_reports) = channel();
            let (their_go, go) = channel();
            seats.push(Seat {
                reports: their_reports,
                reach: Reach::Thread(their_go),
            });
            let member = Member {
                index: places.first + place,
                count: places.count,
                clock,
                progress,
                sum,
                reports,
                go,
            };
            threads.push(scope.spawn(move || {
                progress.set_thread(nix::unistd::gettid().as_raw() as u32);
                let result = pin.map_or(Ok(()), cores::pin).and_then(|()| work(member));
                if result.is_err() {
                    all.iter().for_each(Progress::call_off);
                }
                result
            }));
        }
        let conductor = Conductor::new(seats, &progress);
        let conducted = {
            let _aside = Aside::from(&places.pinned());
            conduct(&conductor, sum)
        };
        if conducted.is_err() {
            progress.iter().for_each(Progress::call_off);
        }
        // Threads that still wait for a word are called off.
        drop(conductor);
        let worked = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panicked| panic::resume_unwind(panicked))
        });
        combine(worked.collect(), conducted)
    })
}

/// A side that was called off knows the reason least.
pub(crate) fn combine<R, C>(
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
            let places = Places {
                pins: vec![None; count],
                first: 0,
                count,
            };
            let work = |member: Member<'_>| Ok(member.share(10));
            let (shares, ()) = run(&places, Clock::start(), work, |_, _| Ok(())).unwrap();
            assert_eq!(shares.iter().sum::<u64>(), 10, "{shares:?}");
        }
    }

    #[test]
    fn a_thread_that_fails_is_heard() {
        let work = |_: Member<'_>| Err::<(), _>(BenchError::runtime("no luck"));
        let error = run(&Places::alone(&[]), Clock::start(), work, |team, _| {
            team.gather(|| Ok(Duration::from_secs(1)))
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "no luck");
    }

    #[test]
    fn a_conductor_that_fails_is_heard() {
        let work = |member: Member<'_>| member.rendezvous(0);
        let conduct = |_: &Conductor<'_>, _: &Sum| Err::<(), _>(BenchError::runtime("server gone"));
        let error = run(&Places::alone(&[]), Clock::start(), work, conduct).unwrap_err();
        assert_eq!(error.to_string(), "server gone");
    }

    #[test]
    fn a_sum_is_known_when_all_have_contributed() {
        let sum = Sum::new(2, true);
        sum.add(5);
        assert_eq!((sum.part(), sum.total()), (None, None));
        sum.add(7);
        assert_eq!((sum.part(), sum.total()), (Some(12), Some(12)));
        let part = Sum::new(1, false);
        part.add(5);
        assert_eq!((part.part(), part.total()), (Some(5), None));
        part.learn(12);
        assert_eq!(part.total(), Some(12));
    }
}
