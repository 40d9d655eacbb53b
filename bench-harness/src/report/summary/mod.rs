//! `summary.json`: the figures of a run. `summary.schema.json` describes it; a test keeps the two
//! together.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::contents::PayloadKind;
use crate::client::deflate::WireCounts;
use crate::client::dial::Failures;
use crate::client::reply::Verify;
use crate::procfs::{Memory, Usage};
use crate::scenario::figures::ScenarioFigures;
use crate::stats::faults::Faults;
use crate::stats::latency::{Distribution, Latency};
use crate::stats::phases::ConnectTimes;
use crate::stats::validity::{JudgedBy, Judgement, LimitedBy, Reason};
use crate::telemetry::recorder::Recorded;

/// Version of the format; raised when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// All figures of a run. Parts that a command does not measure are left out.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// `echo`, `broadcast`, `connect`, `idle` or `scenario`.
    pub(crate) command: String,
    /// The URL.
    pub(crate) target: String,
    /// The run does for what it is judged by.
    pub(crate) valid: bool,
    /// What it is judged by.
    pub(crate) judged_by: JudgedBy,
    /// Throughput and latency are the server's.
    pub(crate) throughput_valid: bool,
    /// The server's processor time per message is right.
    pub(crate) cost_valid: bool,
    /// Everything against the run.
    pub(crate) reasons: Vec<Reason>,
    /// What set the pace.
    pub(crate) limited_by: LimitedBy,
    /// What was asked for.
    pub(crate) parameters: Parameters,
    /// Seconds measured.
    pub(crate) window_s: f64,
    /// Messages in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<Messages>,
    /// How long replies took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency_us: Option<Latencies>,
    /// How long connections took to open, phase by phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_us: Option<ConnectPhases>,
    /// What came compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<CompressionCounts>,
    /// Publishers and subscribers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broadcast: Option<Broadcast>,
    /// Connections opened and closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<Connections>,
    /// Roles and phases of a scenario.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<ScenarioFigures>,
    /// Memory of the server before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<MemoryPerConnection>,
    /// The server in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Server>,
    /// The client in the window.
    pub(crate) client: Client,
    /// The processes that put the load on, when there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<AgentPart>,
    /// What went wrong.
    pub(crate) errors: Errors,
    /// What came of what was expected (`--expect`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) expectations: Vec<Expected>,
    /// The search that this run ended (`--find-max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) find_max: Option<FindMax>,
}

/// A search for the highest rate that holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FindMax {
    /// What had to hold.
    pub(crate) objective: Vec<String>,
    /// The lowest rate that failed is at most so much above the one found, as a share.
    pub(crate) precision: f64,
    /// The rate found, or the highest that held; not there when none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    /// How the search ended.
    pub(crate) ended: Ended,
    /// The same for people.
    pub(crate) text: String,
    /// Its runs.
    pub(crate) steps: Vec<Step>,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// With the highest rate, confirmed.
    Found,
    /// At a rate that was the client's limit.
    ClientLimit,
    /// At a rate at which others took the processors.
    OthersLimit,
    /// Without a rate that held.
    NothingHolds,
}

/// One run of a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Asked for, per second.
    pub(crate) rate: u64,
    /// Per second.
    pub(crate) reached: f64,
    /// `held`, `failed`, `client-limit` or `others-limit`.
    pub(crate) outcome: StepOutcome,
    /// It confirmed a rate that was found.
    pub(crate) confirms: bool,
    /// What came of the objective.
    pub(crate) expectations: Vec<Expected>,
    /// Everything against the run.
    pub(crate) reasons: Vec<String>,
}

/// What a run of a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepOutcome {
    /// It held the objective and the rate.
    Held,
    /// The server did not.
    Failed,
    /// It did not, and the client was the limit.
    ClientLimit,
    /// It did not, and others kept the server or the client from running.
    OthersLimit,
}

/// What came of one expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Expected {
    /// Such as `p99 < 5 ms`.
    pub(crate) expectation: String,
    /// The figure's name.
    pub(crate) figure: String,
    /// Its value in microseconds, bytes, per second or as a share of 1; not there when it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<f64>,
    /// The same for people.
    pub(crate) shown: String,
    /// Whether it is as expected.
    pub(crate) held: bool,
}

/// What was asked for. Parts that do not apply are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publishers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) all_publish: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish_url: Option<String>,
    /// Subscribers that stop reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<u64>,
    /// Of a message: the mean, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_bytes: Option<u64>,
    /// Of the shortest and of the longest message, when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_range: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wire_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) opcode: Option<String>,
    /// What messages carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<PayloadKind>,
    /// Where messages were read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_file: Option<String>,
    /// permessage-deflate was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deflate: Option<bool>,
    #[serde(rename = "loop", skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) in_flight: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) burst: Option<u64>,
    /// Messages per second asked for; when it climbs, the mean over the measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
    /// Where a rate that climbs begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_from: Option<u64>,
    /// Where it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_to: Option<u64>,
    /// Seconds of the climb before the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ramp_s: Option<f64>,
    /// Messages fall due together, once in so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tick_s: Option<f64>,
    /// Pauses of a connection before its next message: the shortest and the longest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) think_s: Option<[f64; 2]>,
    /// Messages of the server on every connection that came first and did not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skip: Option<u64>,
    /// Subprotocols offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subprotocols: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<String>,
    /// Names of the headers added; their values may be secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) headers: Option<Vec<String>>,
    /// Messages that every connection sent once it was open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hello: Option<u64>,
    /// Messages of the server that were answered and did not count, with their answers: `PING=PONG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<Vec<String>>,
    /// Begins of messages of the server that did not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ignored: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<Verify>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) busy_poll: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connect_rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) churn: Option<bool>,
    /// Messages that every connection of `--churn` has echoed before it closes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warmup_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_s: Option<f64>,
    /// Title of the scenario that was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario: Option<String>,
    /// Of its file's text and the changes of --path: tells scenarios of the same title apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scenario_digest: Option<String>,
    /// It was played so many times as large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scale: Option<u64>,
    /// Further addresses of the server (`--also`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) also: Option<u64>,
    /// Processes that put the load on, when there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) processes: Option<u64>,
    /// The server's system calls were counted, which makes each of them slower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls: Option<bool>,
    pub(crate) cores: Vec<usize>,
    pub(crate) seed: u64,
}

impl Parameters {
    /// Messages had times at which they were due, from which latency counts.
    pub(crate) fn open_loop(&self) -> bool {
        self.mode.as_deref() == Some("open")
    }
}

/// Messages in the window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Messages {
    /// Replies, or for `broadcast` deliveries, received.
    pub(crate) count: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// Their payload bytes per second.
    pub(crate) payload_bytes_per_second: f64,
}

/// What came, and how much smaller than what it stands for: over the whole run, with warm-up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CompressionCounts {
    /// Messages that came compressed.
    pub(crate) compressed: u64,
    /// Messages that came as they are.
    pub(crate) uncompressed: u64,
    /// Compressed ones that the client inflated. The others are byte for byte what one of these was.
    pub(crate) inflated: u64,
    /// Bytes of a message on the wire, server to client, with its frame headers: the mean over the payloads that take turns,
    /// however often each came.
    pub(crate) wire_bytes_per_message: f64,
    /// Bytes of a message once it is inflated: the mean over the payloads that came.
    pub(crate) payload_bytes_per_message: u64,
    /// Payload bytes per byte on the wire.
    pub(crate) ratio: f64,
}

/// How long replies took.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies {
    /// From the time a message was due; in a closed loop, when it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) corrected: Option<Distribution>,
    /// From the time a message was sent: hides how long it waited in the client. Open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uncorrected: Option<Distribution>,
}

/// How long connections took to open, phase by phase.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ConnectPhases {
    /// The TCP handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tcp: Option<Distribution>,
    /// The upgrade, from the request to the 101 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade: Option<Distribution>,
    /// Both: until the connection can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) open: Option<Distribution>,
    /// From a connection's first message to its reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_message: Option<Distribution>,
}

impl Latencies {
    /// From what was recorded.
    pub(crate) fn new(recorded: &Recorded) -> Self {
        let uncorrected = recorded.uncorrected.as_ref();
        Self {
            corrected: recorded.corrected.distribution(),
            uncorrected: uncorrected.and_then(Latency::distribution),
        }
    }
}

impl ConnectPhases {
    /// From what was recorded.
    pub(crate) fn new(times: &ConnectTimes) -> Self {
        Self {
            tcp: times.tcp.distribution(),
            upgrade: times.upgrade.distribution(),
            open: times.open.distribution(),
            first_message: times.first_message.distribution(),
        }
    }
}

/// What became of what was published.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Broadcast {
    /// Messages sent by publishers in the window.
    pub(crate) published: u64,
    /// The same per second.
    pub(crate) published_per_second: f64,
    /// Subscribers that had to receive everything.
    pub(crate) listening: u64,
    /// Deliveries to connections that only publish; they are among the messages counted.
    pub(crate) to_publishers: u64,
    /// From the time a message was due until the first subscriber had it. One client thread only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_us: Option<Distribution>,
    /// The same for the last subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_us: Option<Distribution>,
    /// Deliveries that never came, over the whole run.
    pub(crate) lost: u64,
    /// Deliveries that came more than once.
    pub(crate) duplicated: u64,
    /// Deliveries that came after a later message of the same publisher.
    pub(crate) reordered: u64,
    /// What became of subscribers that stopped reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled: Option<StalledFates>,
    /// The server's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<BroadcastMemory>,
}

/// What became of subscribers that stopped reading.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StalledFates {
    /// How many joined.
    pub(crate) count: u64,
    /// Still open at the end.
    pub(crate) open: u64,
    /// Closed with a Close frame, by code.
    pub(crate) closed: Vec<ErrorReason>,
    /// Ended without one, or with one that a reset destroyed.
    pub(crate) cut: Vec<ErrorReason>,
    /// Messages that they could read when they read on at the end.
    pub(crate) messages_read_at_the_end: u64,
}

/// The server's memory during a broadcast, in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BroadcastMemory {
    /// Before the first connection.
    pub(crate) empty: Memory,
    /// With all connections, before the first message.
    pub(crate) joined: Memory,
    /// Most resident at once from then on; not there where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) most_resident: Option<u64>,
}

/// Connections opened and closed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Connections that were opened (with `--churn`: opened, upgraded and closed).
    pub(crate) count: u64,
    /// The same per second.
    pub(crate) per_second: f64,
    /// The TCP handshake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tcp_us: Option<Distribution>,
    /// The upgrade, from the request to the 101 response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade_us: Option<Distribution>,
    /// The closing handshake, from our Close frame to the end of the TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) close_us: Option<Distribution>,
    /// Closed per second, when all were closed at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) closed_per_second: Option<f64>,
    /// Server processor time per connection closed at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_close_cpu_us: Option<f64>,
    /// Messages that came without being asked for, and pings (answered).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<HeardCounts>,
    /// Connections that ended in the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
}

/// What came on idle connections in the window.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct HeardCounts {
    pub(crate) messages: u64,
    pub(crate) pings: u64,
}

/// Server memory in bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MemoryPerConnection {
    /// Before the first connection.
    pub(crate) before: Memory,
    /// With all of them open and idle.
    pub(crate) after: Memory,
    /// Growth of resident memory per connection.
    pub(crate) resident_per_connection: f64,
    /// Growth of anonymous memory per connection.
    pub(crate) anonymous_per_connection: f64,
}

/// The server in the window.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) pids: Vec<u32>,
    /// Processor time in all, user and system.
    pub(crate) cpu_us: f64,
    /// The primary figure: processor time per message (`echo`), delivery (`broadcast`) or
    /// connection (`connect`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_message: Option<f64>,
    /// Share of user mode in it.
    pub(crate) user_share: Option<f64>,
    /// Share of the time in which its busiest thread ran, 0 to 1.
    pub(crate) running: f64,
    /// The same, with the time that the thread waited for a processor.
    pub(crate) busy: f64,
    pub(crate) threads: usize,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// System calls, where they are counted (`--syscalls`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls: Option<u64>,
    /// The same per message, delivery or connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syscalls_per_message: Option<f64>,
    /// Memory at the end of the window, in bytes.
    pub(crate) memory: Memory,
    pub(crate) descriptors: Option<u64>,
}

/// The client in the window.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) threads: usize,
    /// Share of the time in which its busiest thread ran, 0 to 1.
    pub(crate) running: f64,
    /// The same, with the time that the thread waited for a processor.
    pub(crate) busy: f64,
    /// Processor time of all threads per message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_message: Option<f64>,
    /// What all its threads waited for a processor, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waited_us: Option<f64>,
    /// The same per time that one was put on a processor: the mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheduling_delay_us: Option<f64>,
    /// From the time a message was due until the client turned to it. Open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timer_lag_us: Option<Distribution>,
    /// Seconds that the hypervisor took away, over all processors.
    pub(crate) steal_s: Option<f64>,
}

/// A process that put a part of the load on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AgentPart {
    /// Its address, or its number and process.
    pub(crate) name: String,
    pub(crate) threads: usize,
    /// Their processors; none: not pinned.
    pub(crate) cores: Vec<usize>,
    /// The most that its clock may have differed from this process's; 0 on the same machine, but for what was seen.
    pub(crate) clock_error_us: f64,
    /// The shortest round trip of a question.
    pub(crate) round_trip_us: f64,
}

/// What went wrong.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Errors {
    /// Connections that could not be opened.
    pub(crate) refused: u64,
    /// Connections that broke, or on which a reply was wrong or unexpected.
    pub(crate) broken: u64,
    /// Messages without a reply, or that did not reach a subscriber.
    pub(crate) lost: u64,
    /// Messages that came back, or were delivered, more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duplicated: Option<u64>,
    /// Messages that came after a later one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reordered: Option<u64>,
    /// The most frequent reasons.
    pub(crate) reasons: Vec<ErrorReason>,
}

/// One reason, and how often it was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ErrorReason {
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// Reasons listed; more would only repeat themselves.
const LISTED_REASONS: usize = 5;

impl Errors {
    /// Counts by kind, with the reasons of both kinds of failure. `faults`: where messages are checked.
    pub(crate) fn new(refused: &Failures, broken: &Failures, faults: Option<Faults>) -> Self {
        let mut reasons = refused.by_count();
        reasons.extend(broken.by_count());
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        reasons.truncate(LISTED_REASONS);
        let listed = |(reason, count): (&str, u64)| ErrorReason {
            reason: reason.to_owned(),
            count,
        };
        Self {
            refused: refused.total(),
            broken: broken.total(),
            lost: faults.map_or(0, |faults| faults.lost),
            duplicated: faults.map(|faults| faults.duplicated),
            reordered: faults.map(|faults| faults.reordered),
            reasons: reasons.into_iter().map(listed).collect(),
        }
    }
}

impl Server {
    /// The server's part; `messages` 0 leaves the figure per message out.
    pub(crate) fn new(
        pids: Vec<u32>,
        usage: &Usage,
        memory: Memory,
        descriptors: Option<u64>,
        messages: u64,
    ) -> Self {
        let cpu_us = micros(usage.cpu);
        Self {
            pids,
            cpu_us,
            cpu_us_per_message: (messages > 0).then(|| cpu_us / messages as f64),
            user_share: usage.user_share,
            running: usage.load.running,
            busy: usage.load.busy,
            threads: usage.threads,
            voluntary_switches: usage.voluntary_switches.unwrap_or(0),
            involuntary_switches: usage.involuntary_switches.unwrap_or(0),
            syscalls: usage.syscalls,
            syscalls_per_message: (usage.syscalls.filter(|_| messages > 0))
                .map(|count| count as f64 / messages as f64),
            memory,
            descriptors,
        }
    }
}

impl CompressionCounts {
    /// From what was counted of each payload; `payload_len` says how long one is. Those that came count alike: which of them
    /// happens to come most often must not decide which of two servers makes them smaller.
    pub(crate) fn new(counts: &[WireCounts], payload_len: impl Fn(usize) -> usize) -> Self {
        let came = || {
            let all = counts.iter().enumerate();
            all.filter(|(_, payload)| payload.messages() > 0)
        };
        let mean = |sum: f64| sum / came().count().max(1) as f64;
        let each = |payload: &WireCounts| payload.wire_bytes as f64 / payload.messages() as f64;
        let wire = mean(came().map(|(_, payload)| each(payload)).sum());
        let payload = mean(came().map(|(number, _)| payload_len(number) as f64).sum());
        let total = |field: fn(&WireCounts) -> u64| counts.iter().map(field).sum();
        Self {
            compressed: total(|payload| payload.compressed),
            uncompressed: total(|payload| payload.uncompressed),
            inflated: total(|payload| payload.inflated),
            wire_bytes_per_message: wire,
            payload_bytes_per_message: payload.round() as u64,
            // Without a message there is no ratio; 1 divides nothing by nothing.
            ratio: payload / wire.max(1.0),
        }
    }
}

impl MemoryPerConnection {
    /// Growth from `before` to `after` spread over the connections.
    pub(crate) fn new(before: Memory, after: Memory, connections: u64) -> Self {
        let each =
            |after: u64, before: u64| (after as f64 - before as f64) / connections.max(1) as f64;
        Self {
            before,
            after,
            resident_per_connection: each(after.resident, before.resident),
            anonymous_per_connection: each(after.anonymous, before.anonymous),
        }
    }
}

impl Summary {
    /// A summary with its verdict and nothing else yet.
    pub(crate) fn new(
        command: &str,
        target: String,
        judgement: Judgement,
        judged_by: JudgedBy,
        parameters: Parameters,
        window: Duration,
    ) -> Self {
        Self {
            schema: SCHEMA,
            command: command.to_owned(),
            target,
            valid: judgement.valid(judged_by),
            judged_by,
            throughput_valid: judgement.throughput_valid(),
            cost_valid: judgement.cost_valid(),
            limited_by: judgement.limited_by,
            reasons: [
                judgement.against_all,
                judgement.against_throughput,
                judgement.against_cost,
            ]
            .concat(),
            parameters,
            window_s: window.as_secs_f64(),
            messages: None,
            latency_us: None,
            connect_us: None,
            compression: None,
            broadcast: None,
            connections: None,
            scenario: None,
            memory: None,
            server: None,
            client: Client::default(),
            agents: Vec::new(),
            errors: Errors::default(),
            expectations: Vec::new(),
            find_max: None,
        }
    }
}

/// Microseconds with a fraction.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_count_alike_however_often_they_came() {
        let came = |messages, each| WireCounts {
            compressed: messages,
            uncompressed: 0,
            inflated: 1,
            wire_bytes: messages * each,
        };
        let counts = [came(10, 100), came(1, 200), came(0, 0)];
        // The last one never came: what it would have taken says nothing about the others.
        let part = CompressionCounts::new(&counts, |number| [200, 400, 9_000][number]);
        assert_eq!((part.compressed, part.inflated), (11, 3));
        assert_eq!((part.wire_bytes_per_message, part.ratio), (150.0, 2.0));
        assert_eq!(part.payload_bytes_per_message, 300);
        assert_eq!(CompressionCounts::new(&[], |_| 300).compressed, 0);
    }
}
