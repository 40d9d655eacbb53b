//! What the operating system knows about a process: processor time, memory, descriptors.
//!
//! Processor time comes from the process's own clock (`clock_getcpuclockid`): nanoseconds,
//! including threads that have ended, up to date for threads that run right now. /proc/PID/stat
//! counts in ticks of 10 ms and is only used to split the time into user and system.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use nix::errno::Errno;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::stats::validity::Load;
use crate::telemetry::syscalls::SyscallCounter;

/// A server of more threads than this is not looked at thread by thread at every turn: that takes some 25 µs each.
const FEW_THREADS: usize = 64;

/// Processes watched as one: a server may be several.
#[derive(Debug)]
pub(crate) struct Watch {
    processes: Vec<(u32, ClockId)>,
    /// The kernel tells how many descriptors are open without listing them (Linux 6.2).
    counts_descriptors: bool,
    syscalls: Option<SyscallCounter>,
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Whatever is cheap, since it is done many times while the server is measured.
    Glance,
    /// Everything, as at both ends of a window.
    Full,
}

/// The state at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When it was taken.
    pub(crate) at: Instant,
    cpu: Duration,
    user_ticks: u64,
    system_ticks: u64,
    /// None when they are too many for a glance.
    threads: Option<HashMap<u32, ThreadTimes>>,
    thread_count: usize,
    /// System calls since counting began.
    syscalls: Option<u64>,
    /// Memory at that moment.
    pub(crate) memory: Memory,
    /// Open descriptors; `None` where /proc/PID/fd may not be read, or takes too long to for a glance.
    pub(crate) descriptors: Option<u64>,
    processors: usize,
}

/// Resident memory in bytes, from /proc/PID/status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Memory {
    /// All resident memory.
    pub(crate) resident: u64,
    /// Heap, stacks and other memory without a file behind it.
    pub(crate) anonymous: u64,
    /// Mapped files: mostly the program itself.
    pub(crate) file: u64,
    /// Shared memory; ring and device mappings count here too.
    pub(crate) shared: u64,
}

/// What a thread has used and wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ThreadTimes {
    /// Nanoseconds on a processor.
    pub(crate) running: u64,
    /// Nanoseconds ready to run, but waiting for a processor.
    pub(crate) waiting: u64,
    /// Times it was put on a processor.
    pub(crate) slices: u64,
    voluntary: u64,
    involuntary: u64,
}

/// What was used between two snapshots.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    /// Processor time, user and system.
    pub(crate) cpu: Duration,
    /// Share of user mode in it, 0 to 1; `None` when no tick was counted.
    pub(crate) user_share: Option<f64>,
    /// How busy the busiest thread was; or, if that is more, how much of all its processors the
    /// process used.
    pub(crate) load: Load,
    /// Threads at the end.
    pub(crate) threads: usize,
    /// Times a thread went to sleep, of threads that live at the end; `None` when they are too many for a glance.
    pub(crate) voluntary_switches: Option<u64>,
    /// Times a thread was put aside, likewise.
    pub(crate) involuntary_switches: Option<u64>,
    /// System calls, where they are counted.
    pub(crate) syscalls: Option<u64>,
}

impl Watch {
    /// Watches the given processes.
    ///
    /// # Errors
    /// When one does not exist.
    pub(crate) fn new(pids: &[u32]) -> io::Result<Self> {
        let clock = |&pid: &u32| {
            let id = i32::try_from(pid).map_err(io::Error::other)?;
            let clock = clock_getcpuclockid(Pid::from_raw(id));
            Ok((pid, clock.map_err(|error| unknown(pid, error))?))
        };
        Ok(Self {
            processes: pids.iter().map(clock).collect::<io::Result<_>>()?,
            counts_descriptors: pids.iter().all(|&pid| counts_descriptors(pid)),
            syscalls: None,
        })
    }

    /// Counts system calls from now on.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn count_syscalls(&mut self) -> io::Result<()> {
        self.syscalls = Some(SyscallCounter::new(&self.pids())?);
        Ok(())
    }

    /// Whether they are counted.
    pub(crate) fn counts_syscalls(&self) -> bool {
        self.syscalls.is_some()
    }

    /// The process numbers.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|&(pid, _)| pid).collect()
    }

    /// Forgets the most memory that was resident, so that [`Watch::peak`] counts from now on. False: the
    /// system does not allow it, as for another user's process.
    pub(crate) fn reset_peak(&self) -> bool {
        // proc_pid_clear_refs(5): 5 sets the peak to what is resident now.
        let reset =
            |&(pid, _): &(u32, _)| fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok();
        self.processes.iter().all(reset)
    }

    /// The most bytes that were resident at once since [`Watch::reset_peak`], summed over the processes.
    ///
    /// # Errors
    /// When a process has ended.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        let peak = |&(pid, _): &(u32, ClockId)| {
            let status = fs::read_to_string(format!("/proc/{pid}/status"));
            let status = status.map_err(|error| gone(pid, &error))?;
            Ok(field(&status, "VmHWM:").and_then(kilobytes).unwrap_or(0))
        };
        self.processes.iter().map(peak).sum()
    }

    /// Takes a snapshot, reading the processor clocks last for the end of a window to be sharp.
    ///
    /// # Errors
    /// When a process has ended.
    pub(crate) fn snapshot(&self, detail: Detail) -> io::Result<Snapshot> {
        let mut shot = Snapshot {
            at: Instant::now(),
            cpu: Duration::ZERO,
            user_ticks: 0,
            system_ticks: 0,
            threads: Some(HashMap::new()),
            thread_count: 0,
            syscalls: self
                .syscalls
                .as_ref()
                .map(SyscallCounter::read)
                .transpose()?,
            memory: Memory::default(),
            descriptors: Some(0),
            processors: 0,
        };
        for &(pid, _) in &self.processes {
            shot.add(pid, detail, self.counts_descriptors)
                .map_err(|error| gone(pid, &error))?;
        }
        for &(pid, clock) in &self.processes {
            let time = clock_gettime(clock).map_err(|error| gone(pid, &error.into()))?;
            shot.cpu += Duration::from(time);
        }
        shot.at = Instant::now();
        Ok(shot)
    }
}

fn unknown(pid: u32, error: Errno) -> io::Error {
    let why = match error {
        Errno::ESRCH => "there is no such process",
        other => other.desc(),
    };
    io::Error::new(io::Error::from(error).kind(), format!("{pid}: {why}"))
}

fn gone(pid: u32, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("server process {pid} cannot be read: {error}"),
    )
}

impl Snapshot {
    /// What was used since an `earlier` snapshot of the same processes.
    pub(crate) fn since(&self, earlier: &Self) -> Usage {
        let wall = self.at - earlier.at;
        let cpu = self.cpu.saturating_sub(earlier.cpu);
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let used = cpu.as_secs_f64() / (wall.as_secs_f64() * self.processors.max(1) as f64);
        let mut usage = Usage {
            cpu,
            user_share: (user + system > 0.0).then(|| user / (user + system)),
            load: Load {
                running: used.min(1.0),
                busy: used.min(1.0),
            },
            threads: self.thread_count,
            voluntary_switches: None,
            involuntary_switches: None,
            syscalls: self
                .syscalls
                .zip(earlier.syscalls)
                .map(|(now, before)| now.saturating_sub(before)),
        };
        if let (Some(threads), Some(before)) = (&self.threads, &earlier.threads) {
            usage.add_threads(threads, before, wall);
        }
        usage
    }

    fn add(&mut self, pid: u32, detail: Detail, counts_descriptors: bool) -> io::Result<()> {
        let (user, system) = parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::other("/proc/PID/stat has an unknown form"))?;
        self.user_ticks += user;
        self.system_ticks += system;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        self.memory.add(&status);
        self.processors += field(&status, "Cpus_allowed_list:").map_or(0, count_list);
        let threads = field(&status, "Threads:").and_then(|count| count.parse().ok());
        self.thread_count += threads.unwrap_or(0);
        if detail == Detail::Glance && self.thread_count > FEW_THREADS {
            self.threads = None;
        }
        if let Some(threads) = &mut self.threads {
            for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
                let tid = entry?.file_name().to_string_lossy().parse().unwrap_or(0);
                // A thread may end while the list is read; its time is in the process's clock.
                if let Ok(times) = thread_times(pid, tid) {
                    threads.insert(tid, times);
                }
            }
        }
        let open = match (counts_descriptors, detail) {
            (true, _) => told_descriptors(pid).ok(),
            (false, Detail::Full) => listed_descriptors(pid).ok(),
            (false, Detail::Glance) => None,
        };
        self.descriptors = self.descriptors.zip(open).map(|(sum, open)| sum + open);
        Ok(())
    }
}

impl Usage {
    fn add_threads(
        &mut self,
        threads: &HashMap<u32, ThreadTimes>,
        before: &HashMap<u32, ThreadTimes>,
        wall: Duration,
    ) {
        let (mut voluntary, mut involuntary) = (0, 0);
        for (tid, now) in threads {
            let before = before.get(tid).copied().unwrap_or_default();
            let load = now.load_since(&before, wall);
            if load.busy > self.load.busy {
                self.load = load;
            }
            voluntary += now.voluntary.saturating_sub(before.voluntary);
            involuntary += now.involuntary.saturating_sub(before.involuntary);
        }
        self.voluntary_switches = Some(voluntary);
        self.involuntary_switches = Some(involuntary);
    }
}

/// Whether the size of /proc/PID/fd is the number of descriptors. They are not listed but for this: with thousands open,
/// listing holds the server's own locks for milliseconds.
fn counts_descriptors(pid: u32) -> bool {
    // The server may open and close some while they are counted.
    let right = || {
        let (before, listed) = (told_descriptors(pid).ok()?, listed_descriptors(pid).ok()?);
        let after = told_descriptors(pid).ok()?;
        Some(before > 0 && (before.min(after)..=before.max(after)).contains(&listed))
    };
    (0..5).any(|_| right() == Some(true))
}

fn told_descriptors(pid: u32) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/fd"))?.len())
}

fn listed_descriptors(pid: u32) -> io::Result<u64> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

impl Memory {
    fn add(&mut self, status: &str) {
        let bytes = |name| field(status, name).and_then(kilobytes).unwrap_or(0);
        self.resident += bytes("VmRSS:");
        self.anonymous += bytes("RssAnon:");
        self.file += bytes("RssFile:");
        self.shared += bytes("RssShmem:");
    }
}

impl ThreadTimes {
    /// How busy the thread was during `wall`.
    pub(crate) fn load_since(&self, earlier: &Self, wall: Duration) -> Load {
        let ran = self.running.saturating_sub(earlier.running);
        let waited = self.waiting.saturating_sub(earlier.waiting);
        Load {
            running: share(ran, wall),
            busy: share(ran + waited, wall),
        }
    }
}

fn share(nanos: u64, wall: Duration) -> f64 {
    (nanos as f64 / (wall.as_nanos() as f64).max(1.0)).min(1.0)
}

/// Times of one thread of a process.
///
/// # Errors
/// When the thread has ended.
pub(crate) fn thread_times(pid: u32, tid: u32) -> io::Result<ThreadTimes> {
    let unknown = || io::Error::other("/proc/PID/task/TID/schedstat has an unknown form");
    let task = format!("/proc/{pid}/task/{tid}");
    let schedstat = fs::read_to_string(format!("{task}/schedstat"))?;
    let mut numbers = schedstat.split_whitespace().map_while(|n| n.parse().ok());
    let running = numbers.next().ok_or_else(unknown)?;
    let waiting = numbers.next().ok_or_else(unknown)?;
    let slices = numbers.next().ok_or_else(unknown)?;
    let status = fs::read_to_string(format!("{task}/status"))?;
    let switches = |name| {
        field(&status, name)
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    };
    Ok(ThreadTimes {
        running,
        waiting,
        slices,
        voluntary: switches("voluntary_ctxt_switches:"),
        involuntary: switches("nonvoluntary_ctxt_switches:"),
    })
}

/// Time the hypervisor gave to others, over all processors, since boot; in seconds.
pub(crate) fn steal_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: u64 = stat
        .lines()
        .next()?
        .split_whitespace()
        .nth(8)?
        .parse()
        .ok()?;
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    Some(ticks as f64 / per_second as f64)
}

/// User and system ticks. The command's name, in parentheses, may itself contain anything.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    // Field 3 (state) is the first one here, 14 and 15 are utime and stime: proc_pid_stat(5).
    let user = fields.nth(11)?.parse().ok()?;
    let system = fields.next()?.parse().ok()?;
    Some((user, system))
}

/// The value after `name` at the start of a line.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn kilobytes(value: &str) -> Option<u64> {
    value
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|n| n << 10)
}

/// Members of a list such as `0-3,8`.
fn count_list(list: &str) -> usize {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    list.split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(number(last)? + 1 - number(first)?)
        })
        .sum()
}

#[cfg(test)]
mod tests;
