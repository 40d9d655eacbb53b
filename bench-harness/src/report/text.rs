//! The summary for people.

use std::fmt::{self, Display, Formatter};

use super::env::BUILD;
use super::summary::{
    Broadcast, Client, CompressionCounts, ConnectPhases, Connections, Latencies,
    MemoryPerConnection, Parameters, Server, Summary,
};
use crate::client::payload::PayloadKind;
use crate::procfs::Memory;
use crate::stats::latency::Distribution;
use crate::stats::validity::{JudgedBy, LimitedBy};

/// The summary as plain text.
pub(super) struct Page<'a>(pub(super) &'a Summary);

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        writeln!(f, "{} {}", summary.command, summary.target)?;
        line(f, "load", load(summary))?;
        if BUILD == "debug" {
            line(f, "note", "debug build: figures of the client say nothing")?;
        }
        if let Some(messages) = &summary.messages {
            let (label, way) = match summary.broadcast {
                Some(_) => ("deliveries", ""),
                None => ("messages", " each way"),
            };
            let text = format!(
                "{} in {:.2} s = {}/s, payload {}/s{way} (limited by {})",
                messages.count,
                summary.window_s,
                rounded(messages.per_second),
                bytes(messages.payload_bytes_per_second),
                limit(summary.limited_by)
            );
            line(f, label, text)?;
        }
        if let Some(latencies) = &summary.latency_us {
            latency(f, latencies, summary.parameters.rate.is_some())?;
        }
        if let Some(phases) = &summary.connect_us {
            connecting(f, phases, summary.connections.is_some())?;
        }
        if let Some(part) = &summary.compression {
            compression(f, part)?;
        }
        if let Some(part) = &summary.broadcast {
            broadcast(f, part)?;
        }
        if let Some(list) = &summary.connections {
            connections(f, list, summary)?;
        }
        if let Some(growth) = &summary.memory {
            memory(f, growth)?;
        }
        if let Some(part) = &summary.server {
            server(f, part, summary)?;
        }
        client(f, &summary.client, unit(summary))?;
        errors(f, summary)?;
        verdict(f, summary)
    }
}

const LABEL: usize = 12;

fn line(f: &mut Formatter<'_>, label: &str, text: impl Display) -> fmt::Result {
    writeln!(f, "  {label:<LABEL$} {text}")
}

fn load(summary: &Summary) -> String {
    let p = &summary.parameters;
    let mut text = match p.publishers {
        None => format!("{} connections", p.connections),
        Some(_) if p.all_publish == Some(true) => {
            format!("{} subscribers, all of which publish", p.connections)
        }
        Some(count) => format!("{count} publishers, {} subscribers", p.connections),
    };
    if let Some(stalled) = p.stalled {
        text += &format!(", {stalled} of which stop reading");
    }
    if let Some(active) = p.active {
        text += &format!(", {active} of them send");
    }
    if let (Some(size), Some(wire), Some(opcode)) =
        (p.payload_bytes, p.wire_bytes, p.opcode.as_deref())
    {
        let kind = match p.payload {
            Some(PayloadKind::Json) => "JSON",
            _ => opcode,
        };
        let how = match p.deflate {
            Some(true) => "compressed, with",
            _ => "with",
        };
        text += &format!(", {size} B {kind} ({wire} B {how} the frame header)");
    }
    let rate = rate(p);
    match (p.mode.as_deref(), rate, p.in_flight) {
        (Some("open"), Some(rate), Some(depth)) => {
            text += &format!(
                ", open loop: {rate} in total over all connections, at most {depth} in flight each"
            );
        }
        (Some("open"), Some(rate), None) => {
            text += &format!(", open loop: {rate} in total over all publishers");
        }
        (Some(mode), _, Some(depth)) => text += &format!(", {mode} loop, {depth} in flight each"),
        _ => {}
    }
    if let Some(burst) = p.burst {
        text += &format!(", closed loop, bursts of {burst} by every publisher");
    }
    if let Some(rate) = p.connect_rate {
        text += &format!(", {rate} new connections/s in total");
    }
    if let Some(concurrency) = p.concurrency {
        text += &format!(", {concurrency} at once");
    }
    if let Some(warmup) = p.warmup_s {
        let what = if summary.command == "idle" {
            "settled for"
        } else {
            "warm-up"
        };
        text += &format!(", {what} {warmup:.2} s");
    }
    text
}

fn latency(f: &mut Formatter<'_>, latencies: &Latencies, open_loop: bool) -> fmt::Result {
    if let Some(corrected) = &latencies.corrected {
        let from = if open_loop {
            "from the time due"
        } else {
            "from the time sent"
        };
        line(
            f,
            "latency",
            format!("{} ({from})", distribution(corrected)),
        )?;
    }
    if let Some(uncorrected) = &latencies.uncorrected {
        let text = format!(
            "{} (uncorrected: from the time sent)",
            distribution(uncorrected)
        );
        line(f, "", text)?;
    }
    Ok(())
}

/// Phases of opening; `told`: those of the handshakes stand elsewhere.
fn connecting(f: &mut Formatter<'_>, phases: &ConnectPhases, told: bool) -> fmt::Result {
    let lines = [
        ("tcp", phases.tcp.filter(|_| !told)),
        ("upgrade", phases.upgrade.filter(|_| !told)),
        ("first reply", phases.first_message),
    ];
    for (label, times) in lines {
        if let Some(times) = times {
            line(f, label, distribution(&times))?;
        }
    }
    Ok(())
}

fn compression(f: &mut Formatter<'_>, part: &CompressionCounts) -> fmt::Result {
    let text = format!(
        "{:.1} B came per message of {} B = {:.2} : 1; {} compressed ({} of them inflated, the others the same as one \
         of these), {} not",
        part.wire_bytes_per_message,
        part.payload_bytes_per_message,
        part.ratio,
        part.compressed,
        part.inflated,
        part.uncompressed
    );
    line(f, "compression", text)
}

fn broadcast(f: &mut Formatter<'_>, part: &Broadcast) -> fmt::Result {
    for (label, times) in [("to first", &part.first_us), ("to last", &part.last_us)] {
        if let Some(times) = times {
            line(f, label, distribution(times))?;
        }
    }
    let text = format!(
        "{} = {}/s to {} subscribers; {} lost, {} duplicated, {} out of order",
        part.published,
        rounded(part.published_per_second),
        part.listening,
        part.lost,
        part.duplicated,
        part.reordered
    );
    line(f, "published", text)?;
    if part.to_publishers > 0 {
        let text = format!(
            "{} deliveries to publishers, counted too",
            part.to_publishers
        );
        line(f, "", text)?;
    }
    if let Some(stalled) = &part.stalled {
        let text = format!(
            "{} stopped reading: {} still open",
            stalled.count, stalled.open
        );
        line(f, "stalled", text)?;
        for fate in &stalled.closed {
            line(
                f,
                "",
                format!("{} × closed by the server: {}", fate.count, fate.reason),
            )?;
        }
        for fate in &stalled.cut {
            line(f, "", format!("{} × cut: {}", fate.count, fate.reason))?;
        }
    }
    if let Some(memory) = &part.memory {
        let most = memory.most_resident.map_or(String::new(), |most| {
            format!(", {} at most", bytes(most as f64))
        });
        let text = format!(
            "{} resident before, {} when all had joined{most}",
            bytes(memory.empty.resident as f64),
            bytes(memory.joined.resident as f64)
        );
        line(f, "server rss", text)?;
    }
    Ok(())
}

fn connections(f: &mut Formatter<'_>, list: &Connections, summary: &Summary) -> fmt::Result {
    let what = if summary.parameters.churn == Some(true) {
        "opened, upgraded and closed"
    } else {
        "opened"
    };
    let text = format!("{} {what} = {}/s", list.count, rounded(list.per_second));
    line(f, "connections", text)?;
    let phases = [
        ("tcp", &list.tcp_us),
        ("upgrade", &list.upgrade_us),
        ("close", &list.close_us),
    ];
    for (label, phase) in phases {
        if let Some(times) = phase {
            line(f, label, distribution(times))?;
        }
    }
    if let Some(rate) = list.closed_per_second {
        let cpu = list
            .server_close_cpu_us
            .map_or(String::new(), |cpu| format!(", server {cpu:.2} µs each"));
        line(f, "closing", format!("{}/s{cpu}", rounded(rate)))?;
    }
    if let (Some(heard), Some(lost)) = (list.heard, list.lost) {
        let text = format!(
            "{} messages and {} pings came, {lost} connections were lost, in {:.2} s",
            heard.messages, heard.pings, summary.window_s
        );
        line(f, "idle", text)?;
    }
    Ok(())
}

fn memory(f: &mut Formatter<'_>, growth: &MemoryPerConnection) -> fmt::Result {
    line(f, "before", resident(&growth.before))?;
    line(f, "after", resident(&growth.after))?;
    let text = format!(
        "{:.1} B anonymous, {:.1} B resident (server process only; the kernel's sockets are not in it)",
        growth.anonymous_per_connection, growth.resident_per_connection
    );
    line(f, "each", text)
}

fn server(f: &mut Formatter<'_>, part: &Server, summary: &Summary) -> fmt::Result {
    let unit = unit(summary);
    let split = part.user_share.map_or(String::new(), |user| {
        format!(
            " ({:.0} % user, {:.0} % system)",
            user * 100.0,
            (1.0 - user) * 100.0
        )
    });
    match part.cpu_us_per_message {
        Some(cost) => line(f, "server cpu", format!("{cost:.3} µs per {unit}{split}"))?,
        None => line(
            f,
            "server cpu",
            format!("{:.3} ms{split}", part.cpu_us / 1e3),
        )?,
    }
    let descriptors = part
        .descriptors
        .map_or(String::new(), |n| format!(", {n} descriptors"));
    let text = format!(
        "ran {:.1} % of the time, waited {:.1} % for a processor, {} threads, switches {} voluntary \
         {} involuntary{descriptors}",
        part.running * 100.0,
        (part.busy - part.running) * 100.0,
        part.threads,
        part.voluntary_switches,
        part.involuntary_switches
    );
    line(f, "server", text)?;
    line(f, "server mem", resident(&part.memory))
}

fn client(f: &mut Formatter<'_>, part: &Client, unit: &str) -> fmt::Result {
    let cost = part.cpu_us_per_message.map_or(String::new(), |cost| {
        format!(", {cost:.3} µs cpu per {unit}")
    });
    let steal = part
        .steal_s
        .filter(|&steal| steal > 0.0)
        .map_or(String::new(), |steal| {
            format!(", hypervisor took {steal:.2} s")
        });
    let text = format!(
        "ran {:.1} % of the time, waited {:.1} % for a processor, {} threads{cost}{steal}",
        part.running * 100.0,
        (part.busy - part.running) * 100.0,
        part.threads
    );
    line(f, "client", text)
}

fn errors(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    let errors = &summary.errors;
    if errors.refused + errors.broken + errors.lost == 0 {
        return line(f, "errors", "none");
    }
    let text = format!(
        "{} connections not opened, {} broken, {} messages lost",
        errors.refused, errors.broken, errors.lost
    );
    line(f, "errors", text)?;
    for reason in &errors.reasons {
        line(f, "", format!("{} × {}", reason.count, reason.reason))?;
    }
    Ok(())
}

fn verdict(f: &mut Formatter<'_>, summary: &Summary) -> fmt::Result {
    let word = |good| if good { "valid" } else { "INVALID" };
    let by = match summary.judged_by {
        JudgedBy::Throughput => "throughput and latency",
        JudgedBy::Cost => "cost alone",
    };
    let text = format!(
        "{}, judged by {by}; throughput {}, cost {}",
        if summary.valid {
            "valid"
        } else {
            "INVALID RUN: its figures must not be used"
        },
        word(summary.throughput_valid),
        word(summary.cost_valid)
    );
    line(f, "verdict", text)?;
    for reason in &summary.reasons {
        line(f, "", format!("- {}", reason.text))?;
    }
    Ok(())
}

fn distribution(d: &Distribution) -> String {
    format!(
        "p50 {} p90 {} p99 {} p99.9 {} max {} min {} mean {}",
        time(d.p50),
        time(d.p90),
        time(d.p99),
        time(d.p99_9),
        time(d.max),
        time(d.min),
        time(d.mean)
    )
}

fn limit(limited_by: LimitedBy) -> &'static str {
    match limited_by {
        LimitedBy::Server => "the server",
        LimitedBy::Client => "the client",
        LimitedBy::Rate => "the rate asked for",
        LimitedBy::Others => "other processes",
        LimitedBy::RoundTrip => "the round trip",
    }
}

fn resident(memory: &Memory) -> String {
    format!(
        "{} resident = {} anonymous + {} file + {} shared",
        bytes(memory.resident as f64),
        bytes(memory.anonymous as f64),
        bytes(memory.file as f64),
        bytes(memory.shared as f64)
    )
}

/// What processor time is divided by.
fn unit(summary: &Summary) -> &'static str {
    match summary.command.as_str() {
        "connect" => "connection",
        "broadcast" => "delivery",
        _ => "message",
    }
}

/// Microseconds in the unit that reads best.
fn time(micros: f64) -> String {
    match micros {
        m if m < 1_000.0 => format!("{m:.1} µs"),
        m if m < 1_000_000.0 => format!("{:.2} ms", m / 1e3),
        m => format!("{:.2} s", m / 1e6),
    }
}

/// Bytes in the binary unit that reads best.
fn bytes(count: f64) -> String {
    match count {
        c if c < 1024.0 => format!("{c:.0} B"),
        c if c < 1024.0 * 1024.0 => format!("{:.1} KiB", c / 1024.0),
        c if c < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", c / (1024.0 * 1024.0)),
        c => format!("{:.2} GiB", c / (1024.0 * 1024.0 * 1024.0)),
    }
}

/// The rate asked for, and how it changes.
fn rate(p: &Parameters) -> Option<String> {
    let mut text = match (p.rate_from, p.rate_to) {
        (Some(from), Some(to)) => format!("{from}/s to {to}/s"),
        _ => format!("{}/s", p.rate?),
    };
    if let Some(ramp) = p.ramp_s {
        text += &format!(" (after a ramp of {ramp} s)");
    }
    Some(text)
}

/// A rate with the digits that matter.
fn rounded(rate: f64) -> String {
    if rate < 1_000.0 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit_the_size() {
        assert_eq!(
            (time(12.34), time(1_500.0), time(2e6)),
            ("12.3 µs".into(), "1.50 ms".into(), "2.00 s".into())
        );
        assert_eq!(
            (bytes(100.0), bytes(1536.0)),
            ("100 B".to_owned(), "1.5 KiB".to_owned())
        );
        assert_eq!(bytes(3.0 * 1024.0 * 1024.0 * 1024.0), "3.00 GiB");
        assert_eq!(
            (rounded(12.34), rounded(12_345.6)),
            ("12.3".into(), "12346".into())
        );
    }
}
