//! The conductor's eye on a run: rows of the time series, and the screen.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;
use std::thread;
use std::time::{Duration, SystemTime};

use super::progress::Cut;
use super::sample::{Grid, Phase, Sample, Stretch};
use super::window::{Moment, Observer, Window};
use crate::client::dial::Failures;
use crate::client::team::{Conductor, Report};
use crate::clock::{Clock, Nanos};
use crate::error::BenchError;
use crate::procfs::{Detail, Watch};
use crate::screen::{Screen, SoFar, View};
use crate::stats::latency::{Distribution, Latency};

/// Between two looks while nothing is measured.
const GLANCE: Duration = Duration::from_millis(250);

/// Input is not waited for to the last: that rounds times up to milliseconds.
const PUNCTUAL: Duration = Duration::from_millis(3);

/// Intervals after which one is taken to be over on all threads.
const SETTLED: i64 = 3;

/// What a run is, for whoever watches it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Command and URL.
    pub(crate) title: String,
    /// What the counters count: messages, deliveries or connections.
    pub(crate) things: &'static str,
    /// Connections asked for.
    pub(crate) connections: u64,
    /// Messages (or connections) per second asked for.
    pub(crate) rate: Option<u64>,
}

/// What a run leaves of its course.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Rows, in order.
    pub(crate) samples: Vec<Sample>,
    /// Latencies by interval of the measurement, in order; warm-up is not among them.
    pub(crate) stretches: Vec<Stretch>,
    /// When it ended; what it leaves may be written later.
    pub(crate) ended: Option<SystemTime>,
}

/// Watches a run.
pub(crate) struct Monitor<'a> {
    conductor: &'a Conductor<'a>,
    observer: Observer<'a>,
    clock: Clock,
    screen: &'a mut dyn Screen,
    plan: Plan,
    phase: Phase,
    /// Where the phase begins and ends, when it has a time.
    span: Option<Range<Nanos>>,
    samples: Vec<Sample>,
    /// For each row the interval that it is, when it is one.
    numbers: Vec<Option<i64>>,
    /// Where the last row ended.
    last: (Nanos, Moment),
    grid: Option<Grid>,
    /// Intervals that may still grow, those of the measurement apart from others of the same time.
    cuts: BTreeMap<(i64, bool), Cut>,
    /// Intervals that are over.
    stretches: BTreeMap<i64, Stretch>,
    /// All intervals of the measurement so far.
    so_far: Option<Cut>,
}

impl<'a> Monitor<'a> {
    /// Waits for the threads' first rendezvous, and begins with what they report. The caller lets them go.
    ///
    /// # Errors
    /// When a thread or the server has ended.
    pub(crate) fn begin(
        conductor: &'a Conductor<'a>,
        watch: Option<&'a Watch>,
        clock: Clock,
        plan: Plan,
        screen: &'a mut dyn Screen,
    ) -> Result<Self, BenchError> {
        conductor.gather(|| screen.rest(Duration::ZERO).map(|_| GLANCE))?;
        let observer = Observer::new(conductor, watch);
        let last = (clock.now(), observer.look(Detail::Full)?);
        Ok(Self {
            conductor,
            observer,
            clock,
            screen,
            plan,
            phase: Phase::Opening,
            span: None,
            samples: Vec::new(),
            numbers: Vec::new(),
            last,
            grid: None,
            cuts: BTreeMap::new(),
            stretches: BTreeMap::new(),
            so_far: None,
        })
    }

    /// From now on there are to be so many connections.
    pub(crate) fn ask_for(&mut self, connections: u64) {
        self.plan.connections = connections;
    }

    /// Why connections could not be opened, or broke, so far.
    pub(crate) fn failures(&self) -> Failures {
        let mut failures = Failures::default();
        let progress = self.conductor.progress().iter();
        progress.for_each(|thread| failures.merge(thread.failures()));
        failures
    }

    /// The last look that was taken for a row: after [`Monitor::gather`], when the threads had met.
    pub(crate) fn latest(&self) -> Moment {
        self.last.1.clone()
    }

    /// What happened between two moments.
    pub(crate) fn window(&self, before: &Moment, after: &Moment) -> Window {
        self.observer.window(before, after)
    }

    /// Waits for the threads' next rendezvous, and shows the run meanwhile. Takes a look when they have met.
    ///
    /// # Errors
    /// When a thread or the server has ended, or the user does not want to go on.
    pub(crate) fn gather(&mut self, phase: Phase) -> Result<Vec<Report>, BenchError> {
        self.enter(phase, None);
        let conductor = self.conductor;
        let mut due = self.clock.now();
        let reports = conductor.gather(|| {
            let again = self.screen.rest(Duration::ZERO)?;
            if again || self.clock.now() >= due {
                self.glance()?;
                due = self.clock.now() + crate::clock::nanos(GLANCE);
            }
            Ok(self.clock.until(due))
        })?;
        self.row(None, Detail::Full)?;
        Ok(reports)
    }

    /// Watches from now until the end of the measurement. Threads that record do so on the same grid.
    ///
    /// # Errors
    /// When the server has ended, or the user does not want to go on.
    pub(crate) fn measure(&mut self, measured: Range<Nanos>) -> Result<Window, BenchError> {
        let looks = [measured.start, measured.end];
        let moments = self.measure_with(measured, &looks)?;
        Ok(self.observer.last_window(&moments[0], &moments[1]))
    }

    /// The same, with a look at each of these times, in order; those after the measurement are waited for.
    ///
    /// # Errors
    /// When the server has ended, or the user does not want to go on.
    pub(crate) fn measure_with(
        &mut self,
        measured: Range<Nanos>,
        looks: &[Nanos],
    ) -> Result<Vec<Moment>, BenchError> {
        let grid = Grid::new(&measured);
        self.grid = Some(grid);
        let mut looks = Looks {
            ahead: looks.iter().copied().collect(),
            taken: Vec::new(),
        };
        self.enter(Phase::WarmUp, Some(self.clock.now()..measured.start));
        let mut number = grid.number(self.clock.now());
        while number < 0 {
            self.take(&mut looks, grid.begin(number + 1))?;
            self.await_row(grid, number)?;
            number += 1;
        }
        self.take(&mut looks, measured.start)?;
        self.rest(measured.start)?;
        self.enter(Phase::Measuring, Some(measured.clone()));
        for number in 0..grid.count() as i64 - 1 {
            self.take(&mut looks, grid.begin(number + 1))?;
            self.await_row(grid, number)?;
        }
        self.take(&mut looks, measured.end)?;
        self.rest(measured.end)?;
        self.row(Some(grid.count() as i64 - 1), Detail::Glance)?;
        self.enter(Phase::Draining, None);
        let mut number = grid.count() as i64;
        while let Some(&last) = looks.ahead.back() {
            let end = grid.begin(number + 1).min(last);
            self.take(&mut looks, end)?;
            self.rest(end)?;
            self.row(Some(number), Detail::Glance)?;
            self.show()?;
            number += 1;
        }
        Ok(looks.taken)
    }

    /// Waits for the threads' last rendezvous, lets them go, and tells what was seen.
    ///
    /// # Errors
    /// When a thread or the server has ended, or the user does not want to go on.
    pub(crate) fn finish(mut self) -> Result<History, BenchError> {
        self.gather(Phase::Draining)?;
        self.conductor.go(self.clock.now());
        Ok(self.history())
    }

    fn enter(&mut self, phase: Phase, span: Option<Range<Nanos>>) {
        self.phase = phase;
        self.span = span;
    }

    /// Waits for a time, and listens to the user until shortly before.
    fn rest(&mut self, until: Nanos) -> Result<(), BenchError> {
        while self
            .screen
            .rest(self.clock.until(until).saturating_sub(PUNCTUAL))?
        {
            self.show()?;
        }
        thread::sleep(self.clock.until(until));
        Ok(())
    }

    /// Waits for each look that is due by then, and takes it.
    fn take(&mut self, looks: &mut Looks, limit: Nanos) -> Result<(), BenchError> {
        while let Some(&look) = looks.ahead.front().filter(|look| **look <= limit) {
            looks.ahead.pop_front();
            self.rest(look)?;
            let mut moment = self.observer.look(Detail::Full)?;
            moment.late = Duration::from_nanos(self.clock.now().saturating_sub(look));
            looks.taken.push(moment);
        }
        Ok(())
    }

    /// Waits until an interval is over, and makes a row of it.
    fn await_row(&mut self, grid: Grid, number: i64) -> Result<(), BenchError> {
        self.rest(grid.begin(number + 1))?;
        self.row(Some(number), Detail::Glance)?;
        self.show()
    }

    /// Makes a row of the time since the last one, and shows it.
    fn glance(&mut self) -> Result<(), BenchError> {
        self.row(None, Detail::Glance)?;
        self.show()
    }

    fn row(&mut self, number: Option<i64>, detail: Detail) -> Result<(), BenchError> {
        let moment = self.observer.look(detail)?;
        let now = self.clock.now();
        let window = self.observer.window(&self.last.1, &moment);
        let (counts, before) = (moment.counts(), self.last.1.counts());
        let lags = self
            .conductor
            .progress()
            .iter()
            .filter_map(|thread| thread.take_lag());
        let mut client = window.client_sample();
        client.timer_lag_us = lags.max().map(|lag| lag as f64 / 1e3);
        self.samples.push(Sample {
            at_s: seconds(now),
            length_s: seconds(now - self.last.0),
            phase: self.phase,
            done: counts.done - before.done,
            sent: counts.sent - before.sent,
            errors: counts.errors - before.errors,
            opening: counts.opening,
            open: counts.open,
            latency_us: None,
            uncorrected_us: None,
            client,
            server: window.server_sample(),
        });
        self.numbers.push(number);
        self.last = (now, moment);
        self.collect();
        Ok(())
    }

    /// Takes in the histograms that the threads have handed over, and fills in the rows they belong to.
    fn collect(&mut self) {
        let mut changed = Vec::new();
        for thread in self.conductor.progress() {
            for cut in thread.take_cuts() {
                changed.push(cut.number);
                self.count_in(&cut);
                if cut.measured {
                    self.unpack(cut.number);
                }
                let place = (cut.number, cut.measured);
                let Some(sum) = self.cuts.get_mut(&place) else {
                    self.cuts.insert(place, cut);
                    continue;
                };
                sum.merge(&cut);
                thread.take_back(cut);
            }
        }
        for &number in &changed {
            let rows = self.numbers.iter().rposition(|row| *row == Some(number));
            if let Some(row) = rows {
                let [corrected, uncorrected] = self.distributions(number);
                self.samples[row].latency_us = corrected;
                self.samples[row].uncorrected_us = uncorrected;
            }
        }
        if let Some((last, _)) = self.cuts.keys().next_back() {
            self.pack(last - SETTLED);
        }
    }

    /// Of all latencies of an interval, measured or not: corrected and uncorrected.
    fn distributions(&self, number: i64) -> [Option<Distribution>; 2] {
        let of = |cut: &Cut| {
            let uncorrected = cut.uncorrected.as_ref();
            [
                cut.corrected.distribution(),
                uncorrected.and_then(Latency::distribution),
            ]
        };
        let part = |measured| self.cuts.get(&(number, measured));
        match (part(true), part(false)) {
            (Some(one), Some(other)) => {
                let mut both = one.empty();
                both.merge(one);
                both.merge(other);
                of(&both)
            }
            (one, other) => one.or(other).map_or([None, None], of),
        }
    }

    /// Neither the warm-up counts, nor what falls due after the measurement.
    fn count_in(&mut self, cut: &Cut) {
        if cut.measured {
            self.so_far.get_or_insert_with(|| cut.empty()).merge(cut);
        }
    }

    fn show(&mut self) -> Result<(), BenchError> {
        let now = self.clock.now();
        let passed = |span: &Range<Nanos>| {
            let length = span.end.saturating_sub(span.start);
            (
                seconds(now.saturating_sub(span.start).min(length)),
                seconds(length),
            )
        };
        let failures = self.failures();
        let so_far = self.so_far.as_ref().map_or(SoFar::default(), |sum| SoFar {
            corrected: sum.corrected.distribution(),
            uncorrected: sum.uncorrected.as_ref().and_then(Latency::distribution),
        });
        self.screen.show(&View {
            title: &self.plan.title,
            things: self.plan.things,
            phase: self.phase,
            elapsed_s: seconds(now),
            phase_s: self.span.as_ref().map(passed),
            connections: self.plan.connections,
            rate: self.plan.rate,
            samples: &self.samples,
            so_far,
            failures: &failures,
        })
    }

    fn history(mut self) -> History {
        self.collect();
        self.pack(i64::MAX);
        History {
            stretches: self.stretches.into_values().collect(),
            samples: self.samples,
            ended: Some(SystemTime::now()),
        }
    }

    /// Packs intervals before this one: a histogram takes a quarter of a megabyte, and a run may have thousands.
    fn pack(&mut self, before: i64) {
        let Some(grid) = self.grid else { return };
        let later = self.cuts.split_off(&(before, false));
        for (_, cut) in mem::replace(&mut self.cuts, later) {
            // The others leave their rows only.
            if cut.measured {
                self.stretches.insert(cut.number, stretch(grid, &cut));
            }
            self.conductor.progress()[0].take_back(cut);
        }
    }

    /// A thread that was held up hands over an interval that was thought to be over.
    fn unpack(&mut self, number: i64) {
        if let Some(stretch) = self.stretches.remove(&number) {
            let unpack = |packed: &Vec<u8>| Latency::unpack(packed).expect("it was packed here");
            let cut = Cut {
                number,
                measured: true,
                corrected: unpack(&stretch.corrected),
                uncorrected: stretch.uncorrected.as_ref().map(unpack),
            };
            self.cuts.insert((number, true), cut);
        }
    }
}

/// Times to look at, and what was seen.
struct Looks {
    ahead: VecDeque<Nanos>,
    taken: Vec<Moment>,
}

fn stretch(grid: Grid, cut: &Cut) -> Stretch {
    Stretch {
        from_s: seconds(grid.begin(cut.number)),
        length_s: seconds(grid.step()),
        corrected: cut.corrected.pack(),
        uncorrected: cut.uncorrected.as_ref().map(Latency::pack),
    }
}

fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}
