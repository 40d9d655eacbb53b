//! The charts of a run.

use std::mem;

use crate::report::Record;
use crate::report::page::{Axis, Band, Chart, Series, Unit};
use crate::report::timeseries;
use crate::stats::latency::{Distribution, Latency};
use crate::telemetry::sample::{Phase, Sample, ServerSample, Stretch};

/// A row that is shorter says nothing of a rate: it lies between two looks that happened to be close.
const SHORTEST_S: f64 = 0.02;

/// Points of the latency curve from one halving of what is above to the next.
const POINTS_PER_HALVING: u32 = 6;

/// A figure of a distribution.
type Figure = fn(&Distribution) -> f64;

/// Charts that show the course of the run share cursor and zoom.
const COURSE: &str = "course";

/// The course of a run.
pub(super) fn course(record: &Record) -> Vec<Chart> {
    let rows = &Rows(record.history.samples.iter().collect());
    let open_loop = record.summary.parameters.open_loop();
    let mut charts = vec![
        rate(rows, record),
        percentiles(rows, open_loop),
        server_cpu(rows, record),
        memory(rows),
        descriptors(rows),
        client(rows),
        connections(rows),
    ];
    for chart in &mut charts {
        chart.group = Some(COURSE.to_owned());
        chart.bands = rows.phases();
    }
    charts
}

/// How long the slowest take: what share of messages took at most so long. The axis gives every further nine the same room.
pub(super) fn latency_curve(stretches: &[Stretch]) -> Chart {
    let mut chart = Chart::new(
        "Latency by percentile",
        Axis::log("", Unit::Percentile),
        vec![Axis::log("", Unit::Micros)],
    );
    chart.note = Some("So many of the messages took at most so long.".to_owned());
    let corrected = sum(stretches.iter().map(Stretch::latency));
    let uncorrected = sum(stretches.iter().filter_map(Stretch::uncorrected_latency));
    let open_loop = uncorrected.is_some();
    let name = if open_loop {
        "corrected: from the time due"
    } else {
        "from the time sent"
    };
    chart.push(Series::new(name, curve(corrected), 0));
    chart.push(Series::new("uncorrected: from the time sent", curve(uncorrected), 1).dashed());
    chart
}

fn sum(all: impl Iterator<Item = Latency>) -> Option<Latency> {
    all.reduce(|mut sum, one| {
        sum.merge(&one);
        sum
    })
}

fn curve(latency: Option<Latency>) -> Vec<(f64, f64)> {
    let Some(latency) = latency else {
        return Vec::new();
    };
    let histogram = latency.histogram();
    let mut points: Vec<(f64, f64)> = Vec::new();
    for step in histogram.iter_quantiles(POINTS_PER_HALVING) {
        // The longest of n stands where one in n is above.
        let above = (1.0 - step.quantile_iterated_to()).max(1.0 / histogram.len() as f64);
        let point = (1.0 / above, step.value_iterated_to() as f64 / 1e3);
        if points.last().is_none_or(|last| point.0 > last.0) {
            points.push(point);
        } else if let Some(last) = points.last_mut() {
            last.1 = point.1;
        }
    }
    points
}

fn rate(rows: &Rows<'_>, record: &Record) -> Chart {
    let broadcast = record.summary.broadcast.is_some();
    let axis = |label: &str| Axis::linear(label, Unit::PerSecond);
    let (title, done) = match record.summary.command.as_str() {
        "connect" | "idle" => ("Connections opened per second", "opened"),
        "broadcast" => ("Messages per second", "delivered"),
        _ => ("Messages per second", "answered"),
    };
    let sides = if broadcast { 2 } else { 1 };
    let mut chart = Chart::new(title, seconds(), vec![axis(""); sides]);
    let place = |series: Series| {
        if broadcast {
            series.on_the_right()
        } else {
            series
        }
    };
    let wanted = Series::new("asked for", asked_for(rows, record), 7);
    chart.push(place(wanted.dashed()));
    let long = rows.long();
    let per_second =
        |count: fn(&Sample) -> u64| long.points(move |row| Some(count(row) as f64 / row.length_s));
    if rows.0.iter().any(|row| row.sent > 0) {
        chart.push(place(Series::new("sent", per_second(|row| row.sent), 1)));
    }
    let finished = if rows.0.iter().any(|row| row.done > 0) {
        per_second(|row| row.done)
    } else {
        long.opened()
    };
    chart.push(Series::new(done, finished, 0));
    chart
}

/// The rate asked for while it counts: of messages in the measurement, of connections while they are opened.
fn asked_for(rows: &Rows<'_>, record: &Record) -> Vec<(f64, f64)> {
    let parameters = &record.summary.parameters;
    let (phase, rate) = match record.summary.command.as_str() {
        "connect" | "idle" => (Phase::Opening, parameters.connect_rate),
        _ => (Phase::Measuring, parameters.rate),
    };
    let Some(mean) = rate else { return Vec::new() };
    let ends = [parameters.rate_from, parameters.rate_to].map(|rate| rate.unwrap_or(mean) as f64);
    let span = |band: Band| vec![(band.from, ends[0]), (band.to, ends[1])];
    let mut bands = rows.phases().into_iter();
    let band = bands.find(|band| band.label == timeseries::phase(phase));
    band.map(span).unwrap_or_default()
}

fn percentiles(rows: &Rows<'_>, open_loop: bool) -> Chart {
    let mut chart = Chart::new(
        "Latency over time",
        seconds(),
        vec![Axis::log("", Unit::Micros)],
    );
    let from = if open_loop {
        "From the time due."
    } else {
        "From the time sent."
    };
    chart.note = Some(from.to_owned());
    let lines: [(&str, Figure, usize); 5] = [
        ("max", |d| d.max, 7),
        ("p99.9", |d| d.p99_9, 4),
        ("p99", |d| d.p99, 1),
        ("p90", |d| d.p90, 5),
        ("p50", |d| d.p50, 0),
    ];
    for (name, figure, colour) in lines {
        let points = rows.points(|row| row.latency_us.as_ref().map(figure));
        chart.push(Series::new(name, points, colour));
    }
    chart
}

fn server_cpu(rows: &Rows<'_>, record: &Record) -> Chart {
    let unit = crate::report::text::unit(&record.summary);
    let axes = vec![
        Axis::linear("", Unit::Share),
        Axis::linear("", Unit::Micros),
    ];
    let mut chart = Chart::new("Server processor time", seconds(), axes);
    chart.note = Some("100 % is one processor, all of the time.".to_owned());
    let long = rows.long();
    let used = long.server(|server, row| Some(server.cpu_us / (row.length_s * 1e6)));
    let each = long.server(|server, row| (row.done > 0).then(|| server.cpu_us / row.done as f64));
    chart.push(Series::new("processor time", used, 0));
    chart.push(Series::new(format!("per {unit}"), each, 1).on_the_right());
    chart
}

fn memory(rows: &Rows<'_>) -> Chart {
    let mut chart = Chart::new(
        "Server memory",
        seconds(),
        vec![Axis::linear("", Unit::Bytes)],
    );
    chart.note = Some("Resident, of the process; the kernel's sockets are not in it.".to_owned());
    let bytes =
        |part: fn(&ServerSample) -> u64| rows.server(move |server, _| Some(part(server) as f64));
    chart.push(Series::new("all", bytes(|s| s.memory.resident), 7).dashed());
    chart.push(Series::new("anonymous", bytes(|s| s.memory.anonymous), 0));
    chart.push(Series::new("file", bytes(|s| s.memory.file), 1));
    chart.push(Series::new("shared", bytes(|s| s.memory.shared), 2));
    chart
}

fn descriptors(rows: &Rows<'_>) -> Chart {
    let axes = vec![
        Axis::linear("", Unit::Count),
        Axis::linear("", Unit::PerSecond),
    ];
    let mut chart = Chart::new("Server descriptors and context switches", seconds(), axes);
    let open = rows.server(|server, _| server.descriptors.map(|count| count as f64));
    chart.push(Series::new("descriptors", open, 0));
    let long = rows.long();
    let per_second = |count: fn(&ServerSample) -> Option<u64>| {
        long.server(move |server, row| Some(count(server)? as f64 / row.length_s))
    };
    let right = |name: &str, points, colour| Series::new(name, points, colour).on_the_right();
    chart.push(right(
        "went to sleep",
        per_second(|s| s.voluntary_switches),
        1,
    ));
    chart.push(right(
        "was put aside",
        per_second(|s| s.involuntary_switches),
        4,
    ));
    chart.push(right("system calls", per_second(|s| s.syscalls), 3));
    chart
}

fn client(rows: &Rows<'_>) -> Chart {
    let axes = vec![
        Axis::linear("", Unit::Share),
        Axis::linear("", Unit::Micros),
    ];
    let mut chart = Chart::new("Client", seconds(), axes);
    chart.note = Some(
        "Its busiest thread; when that is busy all of the time, the client sets the pace."
            .to_owned(),
    );
    let long = rows.long();
    let points = |share: fn(&Sample) -> f64| long.points(move |row| Some(share(row)));
    chart.push(Series::new("busy", points(|row| row.client.busy), 0));
    chart.push(Series::new("running", points(|row| row.client.running), 2));
    let lag = rows.points(|row| row.client.timer_lag_us);
    chart.push(Series::new("late by at most", lag, 1).on_the_right());
    chart
}

fn connections(rows: &Rows<'_>) -> Chart {
    let count = || Axis::linear("", Unit::Count);
    let mut chart = Chart::new("Connections", seconds(), vec![count()]);
    let points = |count: fn(&Sample) -> u64| rows.points(move |row| Some(count(row) as f64));
    chart.push(Series::new("open", points(|row| row.open), 0));
    chart.push(Series::new("on the way", points(|row| row.opening), 1));
    if rows.0.iter().any(|row| row.errors > 0) {
        chart.push(Series::new(
            "errors in the interval",
            points(|row| row.errors),
            4,
        ));
    }
    chart
}

fn seconds() -> Axis {
    Axis::linear("", Unit::Seconds)
}

/// Rows of a run.
struct Rows<'a>(Vec<&'a Sample>);

impl<'a> Rows<'a> {
    /// Those of which a rate can be told.
    fn long(&self) -> Self {
        let long = |row: &&&Sample| row.length_s >= SHORTEST_S;
        Self(self.0.iter().filter(long).copied().collect())
    }

    /// A figure of each row, at the middle of its time; without one the line has a gap.
    fn points(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, f64)> {
        let middle = |row: &Sample| row.at_s - row.length_s / 2.0;
        let point = |row: &&'a Sample| (middle(row), figure(row).unwrap_or(f64::NAN));
        self.0.iter().map(point).collect()
    }

    /// The same of the server.
    fn server(&self, figure: impl Fn(&ServerSample, &Sample) -> Option<f64>) -> Vec<(f64, f64)> {
        self.points(|row| figure(row.server.as_ref()?, row))
    }

    /// Connections opened per second, by how many more are open: those that are only held are never done.
    fn opened(&self) -> Vec<(f64, f64)> {
        let mut before = 0;
        let opened = |row: &&'a Sample| {
            let more = row.open.saturating_sub(mem::replace(&mut before, row.open));
            (row.at_s - row.length_s / 2.0, more as f64 / row.length_s)
        };
        self.0.iter().map(opened).collect()
    }

    /// The stretches of one phase each; what is not measured is shaded.
    fn phases(&self) -> Vec<Band> {
        let same = |one: &&Sample, next: &&Sample| one.phase == next.phase;
        let band = |rows: &[&Sample]| Band {
            from: rows[0].at_s - rows[0].length_s,
            to: rows[rows.len() - 1].at_s,
            label: timeseries::phase(rows[0].phase).to_owned(),
            shaded: rows[0].phase != Phase::Measuring,
        };
        self.0.chunk_by(same).map(band).collect()
    }
}
