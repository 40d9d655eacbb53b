//! The figures of a run that deserve large type, and the table of its distributions.

use crate::report::format::{bytes, rounded, time};
use crate::report::page::{Figure, Table};
use crate::report::summary::{Server, Summary};
use crate::report::text::unit;
use crate::stats::latency::Distribution;

/// What the run was made for comes first: what a message or connection costs the server.
pub(super) fn figures(summary: &Summary) -> Vec<Figure> {
    let mut list = Vec::new();
    list.extend(memory_per_connection(summary));
    list.extend(cost(summary));
    list.extend(throughput(summary));
    list.extend(latencies(summary));
    list.extend(summary.server.as_ref().map(memory));
    let busy = format!("{:.1} %", summary.client.busy * 100.0);
    let note = "its busiest thread, with what it waited";
    list.push(figure("Client busy", busy, note, "client.busy"));
    list
}

fn memory_per_connection(summary: &Summary) -> Option<Figure> {
    let each = bytes(summary.memory.as_ref()?.anonymous_per_connection);
    let note = "anonymous, of the server's process";
    let source = "memory.anonymous_per_connection";
    let figure = figure("Memory per connection", each, note, source);
    Some(judged(figure, summary.cost_valid))
}

fn cost(summary: &Summary) -> Option<Figure> {
    let server = summary.server.as_ref()?;
    let cost = format!("{:.3} µs", server.cpu_us_per_message?);
    let label = format!("Server CPU per {}", unit(summary));
    let note = format!("busy for {:.1} % of the time", server.busy * 100.0);
    let figure = figure(&label, cost, &note, "server.cpu_us_per_message");
    Some(judged(figure, summary.cost_valid))
}

fn throughput(summary: &Summary) -> Option<Figure> {
    let rate = |per_second| format!("{}/s", rounded(per_second));
    let figure = if let Some(messages) = &summary.messages {
        let broadcast = summary.broadcast.is_some();
        let label = if broadcast { "Deliveries" } else { "Messages" };
        let note = format!("{} in {:.2} s", messages.count, summary.window_s);
        let source = "messages.per_second";
        figure(label, rate(messages.per_second), &note, source)
    } else {
        let connections = summary.connections.as_ref()?;
        let note = format!("{} in all", connections.count);
        let source = "connections.per_second";
        figure("Connections", rate(connections.per_second), &note, source)
    };
    Some(judged(figure, summary.throughput_valid))
}

fn latencies(summary: &Summary) -> Vec<Figure> {
    let corrected = summary.latency_us.as_ref().and_then(|it| it.corrected);
    let Some(d) = corrected else {
        return Vec::new();
    };
    let note = if summary.parameters.open_loop() {
        "from the time due"
    } else {
        "from the time sent"
    };
    [
        ("Median latency", d.p50, "latency_us.corrected.p50"),
        ("p99 latency", d.p99, "latency_us.corrected.p99"),
        ("p99.9 latency", d.p99_9, "latency_us.corrected.p99_9"),
        ("Longest", d.max, "latency_us.corrected.max"),
    ]
    .map(|(label, micros, source)| figure(label, time(micros), note, source))
    .map(|figure| judged(figure, summary.throughput_valid))
    .to_vec()
}

fn memory(server: &Server) -> Figure {
    let anonymous = bytes(server.memory.anonymous as f64);
    let note = format!("of {} resident", bytes(server.memory.resident as f64));
    let source = "server.memory.anonymous";
    figure("Server memory, anonymous", anonymous, &note, source)
}

fn figure(label: &str, value: String, note: &str, source: &'static str) -> Figure {
    Figure {
        label: label.to_owned(),
        value,
        note: note.to_owned(),
        source,
        spoilt: false,
    }
}

/// A figure that is not the server's must not look like one.
fn judged(figure: Figure, valid: bool) -> Figure {
    if valid {
        return figure;
    }
    Figure {
        note: "spoilt: see above".to_owned(),
        spoilt: true,
        ..figure
    }
}

/// Every distribution that the summary has.
pub(super) fn distributions(summary: &Summary) -> Table {
    let latency = summary.latency_us.as_ref();
    let broadcast = summary.broadcast.as_ref();
    let connections = summary.connections.as_ref();
    let phases = summary.connect_us.as_ref();
    let all = [
        (
            if summary.parameters.open_loop() {
                "Corrected: from the time due"
            } else {
                "From the time sent"
            },
            latency.and_then(|it| it.corrected),
        ),
        (
            "Uncorrected: from the time sent",
            latency.and_then(|it| it.uncorrected),
        ),
        (
            "Until the first subscriber had it",
            broadcast.and_then(|it| it.first_us),
        ),
        (
            "Until the last subscriber had it",
            broadcast.and_then(|it| it.last_us),
        ),
        ("The client's own lateness", summary.client.timer_lag_us),
        ("TCP handshake", phases.and_then(|it| it.tcp)),
        ("Upgrade", phases.and_then(|it| it.upgrade)),
        ("Both: until it can be used", phases.and_then(|it| it.open)),
        (
            "A connection's first reply",
            phases.and_then(|it| it.first_message),
        ),
        ("Closing handshake", connections.and_then(|it| it.close_us)),
    ];
    let head = [
        "", "count", "min", "mean", "p50", "p90", "p99", "p99.9", "max",
    ];
    Table {
        head: head.map(str::to_owned).to_vec(),
        rows: all
            .into_iter()
            .filter_map(|(name, it)| Some(row(name, &it?)))
            .collect(),
    }
}

fn row(name: &str, d: &Distribution) -> Vec<String> {
    let times = [d.min, d.mean, d.p50, d.p90, d.p99, d.p99_9, d.max].map(time);
    let begin = [name.to_owned(), d.count.to_string()];
    begin.into_iter().chain(times).collect()
}
