//! The system calls of a process, counted by the kernel's own tracepoint (`raw_syscalls:sys_enter`, perf_event_open(2)).
//!
//! Nothing stops the server, as a tracer would, but while anybody counts, the kernel takes its slower way into every
//! system call of every process.

use std::fs;
use std::io;
use std::sync::Mutex;

use perf_event::events::Tracepoint;
use perf_event::{Builder, Counter};

/// Where the tracing file system is mounted: today, and formerly.
const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Whether system calls are counted.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SyscallMode {
    /// They are not.
    #[default]
    Off,
    /// Where the system allows it.
    Auto,
    /// They are, or the run fails.
    Require,
}

/// Counts from its making on.
#[derive(Debug)]
pub(crate) struct SyscallCounter {
    /// One for each thread that there was; each counts those that its thread starts, too.
    threads: Mutex<Vec<Counter>>,
}

impl SyscallCounter {
    /// Counts what all threads of these processes do from now on.
    ///
    /// # Errors
    /// When the system has no such tracepoint, or does not let this user count; with what to do about it.
    pub(crate) fn new(pids: &[u32]) -> io::Result<Self> {
        let id = tracepoint().map_err(|error| {
            let help = "is tracefs mounted (mount -t tracefs tracefs /sys/kernel/tracing), and may you read it?";
            io::Error::new(error.kind(), format!("{error}; {help}"))
        })?;
        let mut counters = Vec::new();
        for pid in pids {
            for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
                let thread = entry?.file_name().to_string_lossy().parse();
                match count(thread.map_err(io::Error::other)?, id) {
                    Ok(counter) => counters.push(counter),
                    // It has ended meanwhile.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return Err(refused(&error)),
                }
            }
        }
        Ok(Self {
            threads: Mutex::new(counters),
        })
    }

    /// System calls so far.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub(crate) fn read(&self) -> io::Result<u64> {
        let mut threads = self
            .threads
            .lock()
            .expect("nobody panics with the counters");
        threads.iter_mut().map(Counter::read).sum()
    }
}

/// The number of the tracepoint that every system call passes.
fn tracepoint() -> io::Result<u64> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for folder in TRACEFS {
        let path = format!("{folder}/events/raw_syscalls/sys_enter/id");
        match fs::read_to_string(&path) {
            Ok(text) => return text.trim().parse().map_err(io::Error::other),
            Err(error) => last = io::Error::new(error.kind(), format!("{path}: {error}")),
        }
    }
    Err(last)
}

fn count(thread: i32, tracepoint: u64) -> io::Result<Counter> {
    let mut builder = Builder::new(Tracepoint::with_id(tracepoint));
    builder.observe_pid(thread).any_cpu();
    builder.include_kernel().inherit(true).enabled(true);
    builder.build()
}

fn refused(error: &io::Error) -> io::Error {
    let help = "counting takes root or CAP_PERFMON, or kernel.perf_event_paranoid at -1";
    io::Error::new(error.kind(), format!("perf_event_open: {error}; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_where_the_system_allows_it() {
        let counter = match SyscallCounter::new(&[std::process::id()]) {
            Ok(counter) => counter,
            Err(error) => {
                assert!(
                    error.to_string().contains("tracefs")
                        || error.to_string().contains("CAP_PERFMON"),
                    "says what to do: {error}"
                );
                println!("skipped: {error}");
                return;
            }
        };
        let before = counter.read().unwrap();
        // Not answered by the vDSO.
        let call = || {
            for _ in 0..1_000 {
                std::hint::black_box(nix::unistd::getppid());
            }
        };
        call();
        // A thread that did not exist when counting began.
        std::thread::spawn(call).join().unwrap();
        let counted = counter.read().unwrap() - before;
        assert!(counted >= 2_000, "{counted}");
    }
}
