//! The server, the client, and the processes that the client is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::procfs::{Memory, Usage};
use crate::stats::latency::Distribution;

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

/// Microseconds with a fraction.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}
