//! The figures of a run that deserve large type, and the table of its distributions.

use crate::report::format::{bytes, rounded, time};
use crate::report::page::{Figure, Table};
use crate::report::summary::Summary;
use crate::report::text::unit;
use crate::stats::latency::Distribution;

/// What the run was made for comes first: what a message costs the server.
pub(super) fn figures(summary: &Summary) -> Vec<Figure> {
    let mut list = Vec::new();
    let mut add = |label: &str, value: String, note: String, source| {
        list.push(Figure {
            label: label.to_owned(),
            value,
            note,
            source,
        });
    };
    if let Some(growth) = &summary.memory {
        let each = bytes(growth.anonymous_per_connection);
        let note = "anonymous, of the server's process".to_owned();
        add(
            "Memory per connection",
            each,
            note,
            "memory.anonymous_per_connection",
        );
    }
    if let Some(server) = &summary.server {
        if let Some(cost) = server.cpu_us_per_message {
            let label = format!("Server CPU per {}", unit(summary));
            let note = format!("busy for {:.1} % of the time", server.busy * 100.0);
            add(
                &label,
                format!("{cost:.3} µs"),
                note,
                "server.cpu_us_per_message",
            );
        }
    }
    if let Some(messages) = &summary.messages {
        let label = if summary.broadcast.is_some() {
            "Deliveries"
        } else {
            "Messages"
        };
        let note = format!("{} in {:.2} s", messages.count, summary.window_s);
        add(
            label,
            format!("{}/s", rounded(messages.per_second)),
            note,
            "messages.per_second",
        );
    }
    if let Some(connections) = &summary.connections {
        let note = format!("{} in all", connections.count);
        add(
            "Connections",
            format!("{}/s", rounded(connections.per_second)),
            note,
            "connections.per_second",
        );
    }
    if let Some(latency) = summary.latency_us.as_ref().and_then(|it| it.corrected) {
        let note = if summary.parameters.rate.is_some() {
            "from the time due"
        } else {
            "from the time sent"
        };
        let note = || note.to_owned();
        add(
            "Median latency",
            time(latency.p50),
            note(),
            "latency_us.corrected.p50",
        );
        add(
            "p99 latency",
            time(latency.p99),
            note(),
            "latency_us.corrected.p99",
        );
        add(
            "p99.9 latency",
            time(latency.p99_9),
            note(),
            "latency_us.corrected.p99_9",
        );
        add(
            "Longest",
            time(latency.max),
            note(),
            "latency_us.corrected.max",
        );
    }
    if let Some(server) = &summary.server {
        let note = format!("of {} resident", bytes(server.memory.resident as f64));
        add(
            "Server memory, anonymous",
            bytes(server.memory.anonymous as f64),
            note,
            "server.memory.anonymous",
        );
    }
    let client = &summary.client;
    let note = "its busiest thread, with what it waited".to_owned();
    add(
        "Client busy",
        format!("{:.1} %", client.busy * 100.0),
        note,
        "client.busy",
    );
    list
}

/// Every distribution that the summary has.
pub(super) fn distributions(summary: &Summary) -> Table {
    let latency = summary.latency_us.as_ref();
    let broadcast = summary.broadcast.as_ref();
    let connections = summary.connections.as_ref();
    let phases = summary.connect_us.as_ref();
    let all = [
        (
            "Corrected: from the time due",
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
        ("TCP handshake", phases.and_then(|it| it.tcp)),
        ("Upgrade", phases.and_then(|it| it.upgrade)),
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
