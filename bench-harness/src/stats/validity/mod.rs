//! Whether a run may be believed, and for what.
//!
//! Two questions are kept apart. *Throughput and latency* are the server's only when the client had
//! time to spare, or the server had none. *Cost*, the server's processor time per message, is
//! measured on the server and stays right when the client is the slower side. Both need every
//! connection and every reply.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::faults::Faults;
use super::latency::Distribution;

/// A client thread that is busy for more of the window than this could not have done more.
pub(crate) const CLIENT_SATURATED: f64 = 0.97;

/// A server that is busy for more of the window than this could not have done more either.
const SERVER_SATURATED: f64 = 0.95;

/// A side that was ready but not running for more of the window than this was held up by others.
const STARVED: f64 = 0.10;

/// In an open loop, the share that the client's own lateness may have in a latency. It is compared percentile by
/// percentile: a client that is late for one message in a hundred has nothing to do with the median, and much with p99.
const LATE: f64 = 0.10;

/// Lateness up to this is what timers and a scheduler that works take, in microseconds: latencies that it is a large part
/// of are too short to be told apart by a client that sleeps (`--busy-poll`).
const LATE_AT_LEAST: f64 = 1_000.0;

/// Clocks of machines may be apart by this share of a latency that one of them begins and another ends.
const APART: f64 = 0.10;

/// The achieved rate may fall short of the wanted one by so much…
const RATE_TOLERANCE: f64 = 0.01;

/// …or by so many messages in the window: whether one at either end falls into it is chance.
const RATE_TOLERANCE_MESSAGES: f64 = 2.0;

/// A window that begins so much too late, as a share of it, has measured something else than was asked for.
const WINDOW_TOLERANCE: f64 = 0.05;

/// A cost per message is a mean over at least so many.
pub(crate) const ENOUGH_MESSAGES: u64 = 100;

/// What was seen.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    /// Connections asked for.
    pub(crate) wanted_connections: u64,
    /// Connections that were open when the measurement began.
    pub(crate) connections: u64,
    /// The window that was asked for, and the one that was measured; `None` for what takes as long as it takes.
    pub(crate) window: Option<(Duration, Duration)>,
    /// Messages in the window (or connections, for `connect`).
    pub(crate) messages: u64,
    /// Whether figures per message are what the run is for.
    pub(crate) counts_messages: bool,
    /// Messages per second asked for, and achieved.
    pub(crate) rate: Option<(f64, f64)>,
    /// How busy the client was.
    pub(crate) client: Load,
    /// The client polls instead of sleeping: that it never rests says nothing.
    pub(crate) busy_poll: bool,
    /// How late the client turned to messages that were due, and the latencies that it is part of. Open loop only.
    pub(crate) lag: Option<(Distribution, Distribution)>,
    /// How busy the server was; `None` without `--server-pid`.
    pub(crate) server: Option<Load>,
    /// Connections that broke, or on which something wrong or unexpected came.
    pub(crate) broken: u64,
    /// Messages that did not come once and in order.
    pub(crate) faults: Faults,
    /// Messages that came compressed; `None` when compression was not asked for.
    pub(crate) compressed: Option<u64>,
}

/// How busy a side was, by its busiest thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Share of the time on a processor, 0 to 1.
    pub(crate) running: f64,
    /// The same, with the time that it was ready but waited for a processor.
    pub(crate) busy: f64,
}

/// What the run is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum JudgedBy {
    /// Everything must be right.
    Throughput,
    /// What it costs the server must be right (`--cost`, and always for `idle`).
    Cost,
}

/// A reason against a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Fewer connections than asked for.
    ConnectionsMissing,
    /// Replies were wrong, lost or unexpected, or connections broke.
    Errors,
    /// Too little was measured.
    TooFewMessages,
    /// The measurement began too late.
    WindowCut,
    /// Compression was asked for and agreed on, and no message came compressed.
    NothingCompressed,
    /// The rate asked for was not reached.
    RateMissed,
    /// The client was the bottleneck.
    ClientSaturated,
    /// The client was late by itself, and that is a considerable part of the latencies.
    ClientLate,
    /// Latencies were taken by clocks of several machines, which agree too little for them.
    ClocksApart,
    /// Others kept the server or the client from running.
    Starved,
    /// Cost was not measured.
    NoServerPid,
}

/// A reason, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// Which one.
    pub(crate) kind: Kind,
    /// With figures, and what to do.
    pub(crate) text: String,
}

/// What limited the throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LimitedBy {
    /// The server had no time left.
    Server,
    /// The client had no time left.
    Client,
    /// The rate asked for (`-r`).
    Rate,
    /// Other processes, which used the processors.
    Others,
    /// Neither side: every message waits for a round trip.
    RoundTrip,
}

/// The verdict on a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Against everything: throughput, latency, cost.
    pub(crate) against_all: Vec<Reason>,
    /// Against throughput and latency only.
    pub(crate) against_throughput: Vec<Reason>,
    /// Against cost only.
    pub(crate) against_cost: Vec<Reason>,
    /// What set the pace.
    pub(crate) limited_by: LimitedBy,
}

impl Judgement {
    /// Words for a reason, where it is known better what may be wrong.
    pub(crate) fn reword(&mut self, kind: Kind, text: &str) {
        let reasons = [
            &mut self.against_all,
            &mut self.against_throughput,
            &mut self.against_cost,
        ];
        let all = reasons.into_iter().flatten();
        for reason in all.filter(|reason| reason.kind == kind) {
            text.clone_into(&mut reason.text);
        }
    }

    /// Throughput and latency are the server's.
    pub(crate) fn throughput_valid(&self) -> bool {
        self.against_all.is_empty() && self.against_throughput.is_empty()
    }

    /// Server processor time per message is right.
    pub(crate) fn cost_valid(&self) -> bool {
        self.against_all.is_empty() && self.against_cost.is_empty()
    }

    /// The run does for what it is judged by.
    pub(crate) fn valid(&self, by: JudgedBy) -> bool {
        match by {
            JudgedBy::Throughput => self.throughput_valid(),
            JudgedBy::Cost => self.cost_valid(),
        }
    }
}

/// Judges a run.
pub(crate) fn judge(seen: &Evidence) -> Judgement {
    let client_full = seen.client.busy >= CLIENT_SATURATED && !seen.busy_poll;
    let server_full = seen
        .server
        .is_some_and(|load| load.running >= SERVER_SATURATED);
    let sides = [("server", seen.server), ("client", Some(seen.client))];
    let against_throughput: Vec<Reason> = sides.into_iter().filter_map(starved).collect();
    let mut judgement = Judgement {
        against_all: against_all(seen),
        limited_by: match (server_full, client_full, seen.rate) {
            (true, _, _) => LimitedBy::Server,
            _ if !against_throughput.is_empty() => LimitedBy::Others,
            (_, true, _) => LimitedBy::Client,
            (_, _, Some(_)) => LimitedBy::Rate,
            _ => LimitedBy::RoundTrip,
        },
        against_throughput,
        against_cost: Vec::new(),
    };
    if client_full && !server_full {
        judgement.against_throughput.push(client_saturated(seen));
    }
    judgement
        .against_throughput
        .extend(seen.lag.as_ref().and_then(client_late));
    judgement.against_throughput.extend(rate_missed(seen));
    if seen.server.is_none() && seen.counts_messages {
        judgement.against_cost.push(Reason {
            kind: Kind::NoServerPid,
            text: "the server's processor time is not known: pass --server-pid".into(),
        });
    }
    judgement
}

fn rate_missed(seen: &Evidence) -> Option<Reason> {
    let (wanted, achieved) = seen.rate?;
    let seconds = match seen.window {
        Some((_, measured)) => measured.as_secs_f64(),
        None => seen.messages as f64 / achieved,
    };
    let missing = wanted - achieved;
    let minded = (wanted * RATE_TOLERANCE).max(RATE_TOLERANCE_MESSAGES / seconds);
    // A hair above: two messages of a window are not a little more than two for being divided by its length.
    (missing > minded * (1.0 + 1e-9)).then(|| {
        let (achieved, wanted) = told_apart(achieved, wanted);
        Reason {
            kind: Kind::RateMissed,
            text: format!("{achieved} per second were reached of the {wanted} asked for"),
        }
    })
}

/// Two numbers with as many digits as it takes to see that they differ.
fn told_apart(one: f64, other: f64) -> (String, String) {
    let shown = |decimals: usize| (format!("{one:.decimals$}"), format!("{other:.decimals$}"));
    let differ = |(one, other): &(String, String)| one != other;
    (0..3).map(shown).find(differ).unwrap_or_else(|| shown(3))
}

fn against_all(seen: &Evidence) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if seen.connections < seen.wanted_connections {
        reasons.push(Reason {
            kind: Kind::ConnectionsMissing,
            text: format!(
                "{} of {} connections were open",
                seen.connections, seen.wanted_connections
            ),
        });
    }
    if seen.broken + seen.faults.total() > 0 {
        reasons.push(Reason {
            kind: Kind::Errors,
            text: errors(seen),
        });
    }
    if seen.counts_messages && seen.messages < ENOUGH_MESSAGES {
        reasons.push(Reason {
            kind: Kind::TooFewMessages,
            text: format!(
                "only {} in the window, at least {ENOUGH_MESSAGES} are needed: measure longer (-z)",
                seen.messages
            ),
        });
    }
    if let Some((wanted, measured)) = seen.window
        && measured.as_secs_f64() < wanted.as_secs_f64() * (1.0 - WINDOW_TOLERANCE)
    {
        reasons.push(Reason {
            kind: Kind::WindowCut,
            text: format!(
                "{measured:.2?} were measured of the {wanted:.2?} asked for: this program was kept from running; end what \
                 else runs here"
            ),
        });
    }
    if seen.compressed == Some(0) {
        reasons.push(Reason {
            kind: Kind::NothingCompressed,
            text: "the server agreed to compress, but no message came compressed: are they below its threshold?"
                .to_owned(),
        });
    }
    reasons
}

fn errors(seen: &Evidence) -> String {
    let Faults {
        lost,
        duplicated,
        reordered,
    } = seen.faults;
    let counts = [
        (lost, "messages were lost"),
        (duplicated, "came more than once"),
        (reordered, "came out of order"),
        (
            seen.broken,
            "connections broke, or brought something wrong or unexpected",
        ),
    ];
    let some = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = some
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    told.join(", ")
}

fn client_saturated(seen: &Evidence) -> Reason {
    let client = seen.client.busy * 100.0;
    let server = match seen.server {
        Some(load) => format!("while the server was busy for {:.1} %", load.busy * 100.0),
        None => "and how busy the server was is not known (--server-pid)".to_owned(),
    };
    Reason {
        kind: Kind::ClientSaturated,
        text: format!(
            "the client was the bottleneck: its busiest thread worked for {client:.1} % of the time, \
             {server}; give it more processors, such as --cores 2-5, or judge by cost alone (--cost)"
        ),
    }
}

fn client_late((lag, latency): &(Distribution, Distribution)) -> Option<Reason> {
    let percentiles = [("p99", lag.p99, latency.p99), ("p50", lag.p50, latency.p50)];
    let late = |&(_, lag, latency): &(&str, f64, f64)| lag > LATE_AT_LEAST && lag > latency * LATE;
    let (name, lag, latency) = percentiles.into_iter().find(late)?;
    Some(Reason {
        kind: Kind::ClientLate,
        text: format!(
            "the client itself was late: it turned to messages {:.2} ms after they were due ({name}), of a latency \
             of {:.2} ms; give it processors of its own (--cores), or ask for less",
            lag / 1e3,
            latency / 1e3
        ),
    })
}

/// What is against latencies from one process to another, whose clocks may be apart by `error`.
pub(crate) fn clocks_apart(error: Duration, latency: Option<&Distribution>) -> Option<Reason> {
    let (error, median) = (error.as_secs_f64() * 1e6, latency?.p50);
    (error > median * APART).then(|| Reason {
        kind: Kind::ClocksApart,
        text: format!(
            "the clocks of two agents may be {:.2} ms apart, of a latency of {:.2} ms (p50): take agents that are nearer, \
             or one machine (--processes)",
            error / 1e3,
            median / 1e3
        ),
    })
}

fn starved((side, load): (&str, Option<Load>)) -> Option<Reason> {
    let waited = load.map_or(0.0, |load| load.busy - load.running);
    (waited > STARVED).then(|| Reason {
        kind: Kind::Starved,
        text: format!(
            "the {side} was ready but waited for a processor for {:.1} % of the time: others used \
             it; give the server and the client (--cores) processors of their own",
            waited * 100.0
        ),
    })
}

#[cfg(test)]
mod tests;
