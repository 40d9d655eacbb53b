//! One stretch of time, measured from outside: the server, the client's threads, the counters.

use std::time::{Duration, Instant};

use crate::client::team::Conductor;
use crate::error::BenchError;
use crate::procfs::{self, Detail, Memory, Snapshot, ThreadTimes, Usage, Watch};
use crate::report::summary::{Client, Server, micros};
use crate::stats::validity::Load;
use crate::telemetry::progress::Counts;
use crate::telemetry::sample::{ClientSample, ServerSample};

/// What the conductor looks at.
pub(crate) struct Observer<'a> {
    conductor: &'a Conductor<'a>,
    watch: Option<&'a Watch>,
}

/// A look at everything at one moment.
#[derive(Clone)]
pub(crate) struct Moment {
    at: Instant,
    /// So long after the time at which it should have been taken.
    pub(super) late: Duration,
    server: Option<Snapshot>,
    threads: Vec<ThreadTimes>,
    counts: Counts,
    steal: Option<f64>,
}

/// What happened between two moments.
pub(crate) struct Window {
    /// Wall-clock time, during which the load was on.
    pub(crate) wall: Duration,
    /// Things that the client's threads finished.
    pub(crate) done: u64,
    /// How busy the client was, by its busiest thread.
    pub(crate) client_load: Load,
    client_cpu: Duration,
    /// What the client's threads waited for a processor, and how often they were put on one.
    client_waited: Duration,
    client_slices: u64,
    client_threads: usize,
    steal: Option<f64>,
    server: Option<ServerWindow>,
}

struct ServerWindow {
    pids: Vec<u32>,
    usage: Usage,
    memory: Memory,
    descriptors: Option<u64>,
}

impl<'a> Observer<'a> {
    /// Watches the threads, and the server if one is given.
    pub(crate) fn new(conductor: &'a Conductor<'a>, watch: Option<&'a Watch>) -> Self {
        Self { conductor, watch }
    }

    /// Looks at everything. The server's clock and the counters are read last, side by side.
    ///
    /// # Errors
    /// When the server or an agent has ended.
    pub(crate) fn look(&self, detail: Detail) -> Result<Moment, BenchError> {
        self.conductor.refresh()?;
        let progress = self.conductor.progress().iter();
        let threads = progress.map(|thread| thread.times()).collect();
        let steal = procfs::steal_seconds();
        let snapshot = |watch: &Watch| watch.snapshot(detail);
        let server = self.watch.map(snapshot).transpose()?;
        let at = Instant::now();
        let counts = self.conductor.counts();
        Ok(Moment {
            at,
            late: Duration::ZERO,
            server,
            threads,
            counts,
            steal,
        })
    }

    /// What happened between two moments, with the load on all the time.
    pub(crate) fn window(&self, before: &Moment, after: &Moment) -> Window {
        self.window_of(after.at - before.at, before, after)
    }

    /// The same, when the load has ended on time, whenever the last look at it was taken.
    pub(crate) fn last_window(&self, before: &Moment, after: &Moment) -> Window {
        let wall = (after.at - before.at).saturating_sub(after.late);
        self.window_of(wall.max(Duration::from_nanos(1)), before, after)
    }

    fn window_of(&self, wall: Duration, before: &Moment, after: &Moment) -> Window {
        let threads = before.threads.iter().zip(&after.threads);
        let ran = |(before, after): (&ThreadTimes, &ThreadTimes)| {
            Duration::from_nanos(after.running.saturating_sub(before.running))
        };
        let waited = |(before, after): (&ThreadTimes, &ThreadTimes)| {
            Duration::from_nanos(after.waiting.saturating_sub(before.waiting))
        };
        let slices = |(before, after): (&ThreadTimes, &ThreadTimes)| {
            after.slices.saturating_sub(before.slices)
        };
        let server = match (self.watch, &before.server, &after.server) {
            (Some(watch), Some(before), Some(after)) => Some(ServerWindow {
                pids: watch.pids(),
                usage: after.since(before),
                memory: after.memory,
                descriptors: after.descriptors,
            }),
            _ => None,
        };
        Window {
            wall,
            done: after.counts.done - before.counts.done,
            client_load: threads
                .clone()
                .map(|(before, after)| after.load_since(before, wall))
                .max_by(|one, other| one.busy.total_cmp(&other.busy))
                .unwrap_or_default(),
            client_cpu: threads.clone().map(ran).sum(),
            client_waited: threads.clone().map(waited).sum(),
            client_slices: threads.map(slices).sum(),
            client_threads: after.threads.len(),
            steal: after
                .steal
                .zip(before.steal)
                .map(|(after, before)| after - before),
            server,
        }
    }
}

impl Moment {
    /// What the threads had counted.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The server's memory, when it is watched.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.server.as_ref().map(|server| server.memory)
    }
}

impl Window {
    /// Things done per second.
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.wall.as_secs_f64()
    }

    /// How busy the server was, when it is watched.
    pub(crate) fn server_load(&self) -> Option<Load> {
        self.server.as_ref().map(|server| server.usage.load)
    }

    /// Server processor time per thing done.
    pub(crate) fn server_cost(&self, done: u64) -> Option<f64> {
        let server = self.server.as_ref()?;
        (done > 0).then(|| micros(server.usage.cpu) / done as f64)
    }

    /// The summary's part about the server, with the cost of `done` things (none if 0).
    pub(crate) fn server(&self, done: u64) -> Option<Server> {
        self.server.as_ref().map(|server| {
            let pids = server.pids.clone();
            Server::new(pids, &server.usage, server.memory, server.descriptors, done)
        })
    }

    /// The summary's part about the client.
    pub(crate) fn client(&self, done: u64) -> Client {
        Client {
            threads: self.client_threads,
            running: self.client_load.running,
            busy: self.client_load.busy,
            cpu_us_per_message: (done > 0).then(|| micros(self.client_cpu) / done as f64),
            waited_us: Some(micros(self.client_waited)),
            scheduling_delay_us: (self.client_slices > 0)
                .then(|| micros(self.client_waited) / self.client_slices as f64),
            timer_lag_us: None,
            steal_s: self.steal,
        }
    }

    /// The client's side of an interval.
    pub(crate) fn client_sample(&self) -> ClientSample {
        ClientSample {
            running: self.client_load.running,
            busy: self.client_load.busy,
            cpu_us: micros(self.client_cpu),
            timer_lag_us: None,
        }
    }

    /// The server's side of an interval, when it is watched.
    pub(crate) fn server_sample(&self) -> Option<ServerSample> {
        self.server.as_ref().map(|server| ServerSample {
            cpu_us: micros(server.usage.cpu),
            running: server.usage.load.running,
            busy: server.usage.load.busy,
            memory: server.memory,
            descriptors: server.descriptors,
            voluntary_switches: server.usage.voluntary_switches,
            involuntary_switches: server.usage.involuntary_switches,
            syscalls: server.usage.syscalls,
        })
    }
}
