//! The summary for people.

use super::env::BUILD;
use super::format::{bytes, rounded, time};
use super::sheet::Sheet;
use super::summary::{
    AgentPart, Broadcast, Client, CompressionCounts, ConnectPhases, Connections, Latencies,
    MemoryPerConnection, Messages, Parameters, Server, Summary,
};
use crate::client::contents::PayloadKind;
use crate::gates;
use crate::procfs::Memory;
use crate::scenario::table;
use crate::stats::latency::Distribution;
use crate::stats::validity::{JudgedBy, LimitedBy};

/// The figures of a run, in the order in which people ask for them.
pub(super) fn sheet(summary: &Summary) -> Sheet {
    let mut sheet = Sheet::new(format!("{} {}", summary.command, summary.target));
    sheet.line("load", load(summary));
    if BUILD == "debug" {
        sheet.line("note", "debug build: figures of the client say nothing");
    }
    // What a run is for comes first.
    if let Some(part) = &summary.server {
        server_cpu(&mut sheet, part, unit(summary));
    }
    if let Some(part) = &summary.messages {
        messages(&mut sheet, part, summary);
    }
    if let Some(latencies) = &summary.latency_us {
        let open_loop = summary.parameters.open_loop();
        latency(&mut sheet, latencies, open_loop);
    }
    if let Some(phases) = &summary.connect_us {
        connecting(&mut sheet, phases, summary.connections.is_some());
    }
    if let Some(part) = &summary.compression {
        compression(&mut sheet, part);
    }
    if let Some(part) = &summary.broadcast {
        broadcast(&mut sheet, part);
    }
    for (label, text) in summary.scenario.iter().flat_map(table::lines) {
        sheet.line(&label, text);
    }
    if let Some(list) = &summary.connections {
        connections(&mut sheet, list, summary);
    }
    if let Some(growth) = &summary.memory {
        memory(&mut sheet, growth);
    }
    if let Some(part) = &summary.server {
        server(&mut sheet, part, unit(summary));
    }
    client(&mut sheet, &summary.client, unit(summary));
    agents(&mut sheet, &summary.agents);
    errors(&mut sheet, summary);
    if let Some(search) = &summary.find_max {
        sheet.line("find-max", &search.text);
    }
    for expected in &summary.expectations {
        sheet.line("expected", gates::line(expected));
    }
    verdict(&mut sheet, summary);
    sheet
}

/// The verdict in a few words, and what it is about.
pub(super) fn verdict_words(summary: &Summary) -> (&'static str, String) {
    let word = |good| if good { "valid" } else { "INVALID" };
    let by = match summary.judged_by {
        JudgedBy::Throughput => "throughput and latency",
        JudgedBy::Cost => "cost alone",
    };
    match (summary.valid, summary.cost_valid, summary.throughput_valid) {
        (false, true, _) => (
            "INVALID RUN for throughput and latency",
            format!("but valid for cost: {}", cost(summary)),
        ),
        (false, _, true) => (
            "INVALID RUN for cost",
            "but valid for throughput and latency".to_owned(),
        ),
        (false, ..) => (
            "INVALID RUN: its figures must not be used",
            format!("judged by {by}"),
        ),
        (true, cost, throughput) => (
            "valid",
            format!(
                "judged by {by}; throughput {}, cost {}",
                word(throughput),
                word(cost)
            ),
        ),
    }
}

/// What a message, or a run, costs the server.
fn cost(summary: &Summary) -> String {
    let server = summary.server.as_ref();
    match server.map(|server| (server.cpu_us_per_message, server.cpu_us)) {
        Some((Some(each), _)) => format!("{each:.3} µs of the server per {}", unit(summary)),
        Some((None, all)) => format!("{:.3} ms of the server", all / 1e3),
        None => "not measured".to_owned(),
    }
}

fn messages(sheet: &mut Sheet, messages: &Messages, summary: &Summary) {
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
    sheet.line(label, text);
}

/// What was asked for, in a sentence.
pub(super) fn load(summary: &Summary) -> String {
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
        let sizes = match p.payload_range {
            Some([least, most]) => format!("{least} to {most} B, {size} B on average,"),
            None => format!("{size} B"),
        };
        text += &format!(", {sizes} {kind} ({wire} B {how} the frame header)");
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
    if let Some([least, most]) = p.think_s {
        let time = if least < most {
            format!("{least} to {most} s")
        } else {
            format!("{least} s")
        };
        text += &format!(", {time} between a reply and the next message");
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

fn latency(sheet: &mut Sheet, latencies: &Latencies, open_loop: bool) {
    if let Some(corrected) = &latencies.corrected {
        let from = if open_loop {
            "from the time due"
        } else {
            "from the time sent"
        };
        sheet.line("latency", format!("{} ({from})", distribution(corrected)));
    }
    if let Some(uncorrected) = &latencies.uncorrected {
        let text = format!(
            "{} (uncorrected: from the time sent)",
            distribution(uncorrected)
        );
        sheet.line("", text);
    }
}

/// Phases of opening; `told`: those of the handshakes stand elsewhere.
fn connecting(sheet: &mut Sheet, phases: &ConnectPhases, told: bool) {
    let lines = [
        ("tcp", phases.tcp.filter(|_| !told)),
        ("upgrade", phases.upgrade.filter(|_| !told)),
        ("first reply", phases.first_message),
    ];
    for (label, times) in lines {
        if let Some(times) = times {
            sheet.line(label, distribution(&times));
        }
    }
}

fn compression(sheet: &mut Sheet, part: &CompressionCounts) {
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
    sheet.line("compression", text)
}

fn broadcast(sheet: &mut Sheet, part: &Broadcast) {
    for (label, times) in [("to first", &part.first_us), ("to last", &part.last_us)] {
        if let Some(times) = times {
            sheet.line(label, distribution(times));
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
    sheet.line("published", text);
    if part.to_publishers > 0 {
        let text = format!(
            "{} deliveries to publishers, counted too",
            part.to_publishers
        );
        sheet.line("", text);
    }
    if let Some(stalled) = &part.stalled {
        let text = format!(
            "{} stopped reading: {} still open",
            stalled.count, stalled.open
        );
        sheet.line("stalled", text);
        for fate in &stalled.closed {
            sheet.line(
                "",
                format!("{} × closed by the server: {}", fate.count, fate.reason),
            );
        }
        for fate in &stalled.cut {
            sheet.line("", format!("{} × cut: {}", fate.count, fate.reason));
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
        sheet.line("server rss", text);
    }
}

fn connections(sheet: &mut Sheet, list: &Connections, summary: &Summary) {
    let what = if summary.parameters.churn == Some(true) {
        "opened, upgraded and closed"
    } else {
        "opened"
    };
    let text = format!("{} {what} = {}/s", list.count, rounded(list.per_second));
    sheet.line("connections", text);
    let phases = [
        ("tcp", &list.tcp_us),
        ("upgrade", &list.upgrade_us),
        ("close", &list.close_us),
    ];
    for (label, phase) in phases {
        if let Some(times) = phase {
            sheet.line(label, distribution(times));
        }
    }
    if let Some(rate) = list.closed_per_second {
        let cpu = list
            .server_close_cpu_us
            .map_or(String::new(), |cpu| format!(", server {cpu:.2} µs each"));
        sheet.line("closing", format!("{}/s{cpu}", rounded(rate)));
    }
    if let (Some(heard), Some(lost)) = (list.heard, list.lost) {
        let text = format!(
            "{} messages and {} pings came, {lost} connections were lost, in {:.2} s",
            heard.messages, heard.pings, summary.window_s
        );
        sheet.line("idle", text);
    }
}

fn memory(sheet: &mut Sheet, growth: &MemoryPerConnection) {
    sheet.line("before", resident(&growth.before));
    sheet.line("after", resident(&growth.after));
    let text = format!(
        "{:.1} B anonymous, {:.1} B resident (server process only; the kernel's sockets are not in it)",
        growth.anonymous_per_connection, growth.resident_per_connection
    );
    sheet.line("each", text)
}

fn server_cpu(sheet: &mut Sheet, part: &Server, unit: &str) {
    let split = part.user_share.map_or(String::new(), |user| {
        format!(
            " ({:.0} % user, {:.0} % system)",
            user * 100.0,
            (1.0 - user) * 100.0
        )
    });
    match part.cpu_us_per_message {
        Some(cost) => sheet.line("server cpu", format!("{cost:.3} µs per {unit}{split}")),
        None => sheet.line("server cpu", format!("{:.3} ms{split}", part.cpu_us / 1e3)),
    }
}

fn server(sheet: &mut Sheet, part: &Server, unit: &str) {
    let syscalls = part.syscalls_per_message.map_or(String::new(), |each| {
        format!(", {each:.3} system calls per {unit}")
    });
    let descriptors = part
        .descriptors
        .map_or(String::new(), |n| format!(", {n} descriptors"));
    let text = format!(
        "ran {:.1} % of the time, waited {:.1} % for a processor, {} threads, switches {} voluntary \
         {} involuntary{descriptors}{syscalls}",
        part.running * 100.0,
        (part.busy - part.running) * 100.0,
        part.threads,
        part.voluntary_switches,
        part.involuntary_switches
    );
    sheet.line("server", text);
    sheet.line("server mem", resident(&part.memory))
}

fn client(sheet: &mut Sheet, part: &Client, unit: &str) {
    let cost = part.cpu_us_per_message.map_or(String::new(), |cost| {
        format!(", {cost:.3} µs cpu per {unit}")
    });
    let steal = part
        .steal_s
        .filter(|&steal| steal > 0.0)
        .map_or(String::new(), |steal| {
            format!(", hypervisor took {steal:.2} s")
        });
    let delay = part.scheduling_delay_us.map_or(String::new(), |delay| {
        format!(" ({} each time)", time(delay))
    });
    let text = format!(
        "ran {:.1} % of the time, waited {:.1} % for a processor{delay}, {} threads{cost}{steal}",
        part.running * 100.0,
        (part.busy - part.running) * 100.0,
        part.threads
    );
    sheet.line("client", text);
    if let Some(lag) = &part.timer_lag_us {
        sheet.line("client lag", distribution(lag));
    }
}

/// Clocks that may be further apart than this spoil latencies between processes.
const NOTEWORTHY_CLOCK_ERROR_US: f64 = 100.0;

fn agents(sheet: &mut Sheet, parts: &[AgentPart]) {
    if parts.is_empty() {
        return;
    }
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    let text = format!("{}: {}", parts.len(), names.join(", "));
    sheet.line("processes", text);
    for part in parts {
        if part.clock_error_us > NOTEWORTHY_CLOCK_ERROR_US {
            let text = format!(
                "the clock of {} may be off by {}: so may latencies of messages from one process to another",
                part.name,
                time(part.clock_error_us)
            );
            sheet.line("", text);
        }
    }
}

fn errors(sheet: &mut Sheet, summary: &Summary) {
    let errors = &summary.errors;
    let (again, late) = (
        errors.duplicated.unwrap_or(0),
        errors.reordered.unwrap_or(0),
    );
    if errors.refused + errors.broken + errors.lost + again + late == 0 {
        return sheet.line("errors", "none");
    }
    let text = format!(
        "{} connections not opened, {} broken; {} messages lost, {again} duplicated, {late} out of order",
        errors.refused, errors.broken, errors.lost
    );
    sheet.line("errors", text);
    for reason in &errors.reasons {
        sheet.line("", format!("{} × {}", reason.count, reason.reason));
    }
}

fn verdict(sheet: &mut Sheet, summary: &Summary) {
    let (verdict, about) = verdict_words(summary);
    sheet.line("verdict", format!("{verdict}, {about}"));
    for reason in &summary.reasons {
        sheet.line("", format!("- {}", reason.text));
    }
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
pub(super) fn unit(summary: &Summary) -> &'static str {
    match summary.command.as_str() {
        "connect" => "connection",
        "broadcast" => "delivery",
        _ => "message",
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
    if let Some(tick) = p.tick_s {
        text += &format!(", all of {} ms at once", tick * 1e3);
    }
    Some(text)
}

#[cfg(test)]
mod tests;
