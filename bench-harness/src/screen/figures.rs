//! What a view's rows come to.

use super::View;
use crate::stats::latency::Distribution;
use crate::telemetry::sample::{Phase, Sample};

/// "Now" is the last rows of so many seconds: single rows of a quarter of a second jump about.
const NOW_S: f64 = 0.95;

/// The figures of a run at one moment. `None`: nothing to tell yet.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Figures {
    /// Things done per second, in the last second.
    pub(super) rate: Option<f64>,
    /// Things done per second, in the measurement so far.
    pub(super) mean_rate: Option<f64>,
    /// Connections that became ready per second, in the last second.
    pub(super) opening_rate: Option<f64>,
    /// Connections that are on the way, and open.
    pub(super) opening: u64,
    /// Connections that are open.
    pub(super) open: u64,
    /// What went wrong since the run began.
    pub(super) errors: u64,
    /// Latencies of the last row that has any.
    pub(super) latency: Option<Distribution>,
    /// The same from the time sent.
    pub(super) uncorrected: Option<Distribution>,
    /// The client's busiest thread in the last second, 0 to 1.
    pub(super) client_busy: Option<f64>,
    /// How late a thread woke up at most in the last second, in microseconds.
    pub(super) timer_lag_us: Option<f64>,
    /// The client's processor time per thing, in microseconds, in the last second.
    pub(super) client_cost_us: Option<f64>,
    /// The server, when it is watched.
    pub(super) server: Option<ServerFigures>,
}

/// The server at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ServerFigures {
    /// Its busiest thread in the last second, 0 to 1.
    pub(super) busy: f64,
    /// Its processor time per thing, in microseconds: in the measurement so far, or before it in the last second.
    pub(super) cost_us: Option<f64>,
    /// Resident memory in bytes.
    pub(super) resident: u64,
    /// Anonymous part of it.
    pub(super) anonymous: u64,
    /// Open descriptors.
    pub(super) descriptors: Option<u64>,
}

impl Figures {
    /// What the rows come to.
    pub(super) fn new(view: &View<'_>) -> Self {
        let samples = view.samples;
        let now = recent(samples);
        let Some(last) = now.last() else {
            return Self::default();
        };
        let measured: Vec<&Sample> = of_phase(samples, Phase::Measuring).collect();
        let with_latency = samples.iter().rev().find(|row| row.latency_us.is_some());
        let lags = now.iter().filter_map(|row| row.client.timer_lag_us);
        Self {
            rate: rate(now.iter()),
            mean_rate: rate(measured.iter().copied()),
            opening_rate: opening_rate(now),
            opening: last.opening,
            open: last.open,
            errors: samples
                .iter()
                .map(|row| row.errors)
                .fold(0, u64::saturating_add),
            latency: with_latency.and_then(|row| row.latency_us),
            uncorrected: with_latency.and_then(|row| row.uncorrected_us),
            client_busy: mean(now, |row| Some(row.client.busy)),
            timer_lag_us: lags.max_by(f64::total_cmp),
            client_cost_us: cost(now.iter(), |row| Some(row.client.cpu_us)),
            server: server(now, &measured, last),
        }
    }
}

/// Rows of a phase.
pub(super) fn of_phase(samples: &[Sample], phase: Phase) -> impl Iterator<Item = &Sample> {
    samples.iter().filter(move |row| row.phase == phase)
}

/// The last rows that make up about a second, of one phase.
fn recent(samples: &[Sample]) -> &[Sample] {
    let Some(last) = samples.last() else {
        return samples;
    };
    let mut length = 0.0;
    let rows = samples
        .iter()
        .rev()
        .take_while(|row| {
            let wanted = length < NOW_S && row.phase == last.phase;
            length += row.length_s;
            wanted
        })
        .count();
    &samples[samples.len() - rows..]
}

fn rate<'a>(rows: impl Iterator<Item = &'a Sample>) -> Option<f64> {
    let (mut done, mut length) = (0.0, 0.0);
    for row in rows {
        done += row.done as f64;
        length += row.length_s;
    }
    (length > 0.0).then(|| done / length)
}

fn opening_rate(rows: &[Sample]) -> Option<f64> {
    let (first, last) = (rows.first()?, rows.last()?);
    let length = last.at_s - first.at_s;
    (length > 0.0).then(|| last.open.saturating_sub(first.open) as f64 / length)
}

/// Weighted by the rows' lengths.
fn mean(rows: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut length) = (0.0, 0.0);
    for row in rows {
        sum += of(row)? * row.length_s;
        length += row.length_s;
    }
    (length > 0.0).then(|| sum / length)
}

fn cost<'a>(
    rows: impl Iterator<Item = &'a Sample>,
    of: impl Fn(&Sample) -> Option<f64>,
) -> Option<f64> {
    let (mut cpu, mut done) = (0.0, 0.0);
    for row in rows {
        cpu += of(row)?;
        done += row.done as f64;
    }
    (done > 0.0).then(|| cpu / done)
}

fn server(now: &[Sample], measured: &[&Sample], last: &Sample) -> Option<ServerFigures> {
    let part = last.server.as_ref()?;
    let cpu = |row: &Sample| row.server.as_ref().map(|server| server.cpu_us);
    let so_far = cost(measured.iter().copied(), cpu);
    Some(ServerFigures {
        busy: mean(now, |row| row.server.as_ref().map(|server| server.busy))?,
        cost_us: so_far.or_else(|| cost(now.iter(), cpu)),
        resident: part.memory.resident,
        anonymous: part.memory.anonymous,
        descriptors: part.descriptors,
    })
}
