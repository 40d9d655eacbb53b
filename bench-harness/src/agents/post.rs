//! An agent's side of a run: between its threads and the coordinator.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Census;
use super::census::Curiosity;
use super::protocol::{FromAgent, Look, ORDER_LIMIT, Reader, Start, ToAgent, Writer};
use crate::client::team::{self, Conductor, Member, Places, Sum};
use crate::clock::{Clock, Nanos};
use crate::error::BenchError;
use crate::telemetry::progress::Progress;

/// Between two looks whether the threads have contributed to the sum: they wait for it, and go on receiving meanwhile.
const GLANCE: Duration = Duration::from_millis(5);

/// Where an agent stands in a run.
#[derive(Debug)]
pub(crate) struct Post {
    reader: Mutex<Reader>,
    writer: Writer,
    clock: Clock,
    places: Places,
    run: u32,
    /// The threads have ended, or are about to.
    over: AtomicBool,
}

/// What the threads of all processes know together.
#[derive(Clone, Copy)]
struct Shares<'a> {
    sum: &'a Sum,
    census: &'a Census,
}

/// What the coordinator has been told.
#[derive(Default)]
struct Told {
    part: bool,
    last_counts: bool,
    curiosity: Curiosity,
}

impl Post {
    /// As the coordinator wants it.
    pub(super) fn new(reader: Reader, writer: Writer, start: &Start) -> Self {
        Self {
            reader: Mutex::new(reader),
            writer,
            clock: Clock::at(start.epoch),
            places: Places {
                pins: Places::pins(&start.cores),
                first: start.first,
                count: start.count,
            },
            run: start.run,
            over: AtomicBool::new(false),
        }
    }

    /// The threads of this process, in the run.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The run's number.
    pub(crate) fn run_number(&self) -> u32 {
        self.run
    }

    /// Does `work` on the threads of this process, as [`team::run`] does, under the coordinator's word. Sends what they
    /// bring home.
    ///
    /// # Errors
    /// The first thing that went wrong; [`BenchError::CalledOff`] when it was the coordinator that ended.
    pub(crate) fn run<R: Send + Serialize>(
        &self,
        work: impl Fn(Member<'_>) -> Result<R, BenchError> + Sync,
    ) -> Result<(), BenchError> {
        self.run_with(&Census::new(0, 0, true), work)
    }

    /// The same for threads that count in `census` what they publish.
    ///
    /// # Errors
    /// Those of [`Post::run`].
    pub(crate) fn run_with<R: Send + Serialize>(
        &self,
        census: &Census,
        work: impl Fn(Member<'_>) -> Result<R, BenchError> + Sync,
    ) -> Result<(), BenchError> {
        let relay =
            |conductor: &Conductor<'_>, sum: &Sum| self.relay(conductor, Shares { sum, census });
        let (outcomes, ()) = team::run(&self.places, self.clock, work, relay)?;
        let values = outcomes.iter().map(serde_json::to_value);
        let outcomes = values
            .collect::<Result<_, _>>()
            .map_err(|error| BenchError::runtime(format!("cannot tell what was seen: {error}")))?;
        self.writer.send(&FromAgent::Done { outcomes })?;
        Ok(())
    }

    /// Tells what went wrong, if anything did, and waits until the coordinator ends the connection.
    pub(super) fn part(&self, error: Option<&BenchError>, deadline: Instant) {
        if let Some(error) = error {
            let text = error.to_string();
            // A coordinator that is gone does not want to know.
            let _ = self.writer.send(&FromAgent::Failed { text });
        }
        self.writer.finish();
        let mut reader = self.reader.lock().expect("one thread listens");
        reader.drain(deadline);
    }

    fn relay(&self, conductor: &Conductor<'_>, shares: Shares<'_>) -> Result<(), BenchError> {
        let progress = conductor.progress();
        let (to_threads, from_coordinator) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let ended = self.listen(progress, shares, &to_threads);
                if !self.over.load(Ordering::Acquire) {
                    // Nobody is left to tell anything to.
                    progress.iter().for_each(Progress::call_off);
                }
                ended
            });
            let relayed = self.meet(conductor, shares, &from_coordinator);
            self.over.store(true, Ordering::Release);
            relayed
        })
    }

    /// Does what the coordinator says, until it says no more.
    fn listen(
        &self,
        progress: &[Progress],
        shares: Shares<'_>,
        words: &Sender<Nanos>,
    ) -> io::Result<()> {
        let mut reader = self.reader.lock().expect("one thread listens");
        loop {
            let over = || self.over.load(Ordering::Acquire);
            let Some(message) = reader.receive_unless(ORDER_LIMIT, over)? else {
                return Ok(());
            };
            match message {
                // Who does not wait for the word any more has failed, and that is told.
                ToAgent::Go { at } => drop(words.send(at)),
                ToAgent::Look => self.show(progress)?,
                ToAgent::Total { sum } => shares.sum.learn(sum),
                ToAgent::Count => {
                    self.tell_counts(shares.census)?;
                    self.writer.send(&FromAgent::Counted)?;
                }
                ToAgent::Published { sent } => shares.census.learn(&sent)?,
                ToAgent::Known { at } => shares.census.know(at),
                ToAgent::Join { .. } | ToAgent::Time | ToAgent::Start(_) => {
                    let error = "the coordinator said something that has no place in a run";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    fn tell_counts(&self, census: &Census) -> io::Result<()> {
        census.pass_on(|sent| self.writer.send(&FromAgent::Published { sent }))
    }

    fn show(&self, progress: &[Progress]) -> io::Result<()> {
        let look = |thread: &Progress| Look {
            counts: thread.counts(),
            failures: thread.failures(),
            times: thread.times(),
            lag: thread.take_lag(),
            cuts: thread.take_cuts(),
        };
        let threads: Vec<Look> = progress.iter().map(look).collect();
        let at = self.clock.now();
        let message = FromAgent::Looked { at, threads };
        self.writer.send(&message)?;
        let FromAgent::Looked { threads, .. } = message else {
            return Ok(());
        };
        for (thread, look) in progress.iter().zip(threads) {
            look.cuts.into_iter().for_each(|cut| thread.take_back(cut));
        }
        Ok(())
    }

    /// Takes part in each rendezvous, until the threads have ended.
    fn meet(
        &self,
        conductor: &Conductor<'_>,
        shares: Shares<'_>,
        words: &Receiver<Nanos>,
    ) -> Result<(), BenchError> {
        let mut told = Told::default();
        let mut contribute = || self.contribute(shares, &mut told);
        loop {
            let gathered = conductor.gather(|| contribute().map(|()| GLANCE));
            let reports = match gathered {
                Ok(reports) => reports,
                // The threads have ended, well or not: what they brought home tells.
                Err(BenchError::CalledOff) => return Ok(()),
                Err(error) => return Err(error),
            };
            // What they contributed before they came has to be known when they go on.
            contribute()?;
            self.writer.send(&FromAgent::Met { reports })?;
            conductor.go(words.recv().map_err(|_| BenchError::CalledOff)?);
        }
    }

    /// Tells what the threads have for others by now.
    fn contribute(&self, shares: Shares<'_>, told: &mut Told) -> Result<(), BenchError> {
        if let (false, Some(part)) = (told.part, shares.sum.part()) {
            told.part = true;
            self.writer.send(&FromAgent::Contributed { part })?;
        }
        let census = shares.census;
        if !census.is_shared() || told.last_counts {
            return Ok(());
        }
        if census.is_over() {
            told.last_counts = true;
            self.tell_counts(census)?;
            self.writer.send(&FromAgent::Finished)?;
        } else if let Some(at) = told.curiosity.ask(census, self.clock.now()) {
            self.writer.send(&FromAgent::Asked { at })?;
        }
        Ok(())
    }
}
