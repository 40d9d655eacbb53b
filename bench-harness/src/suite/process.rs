//! A child process that is never left behind.

use std::fmt;
use std::fs;
use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::BenchError;

/// How often a child is looked at; a wake-up costs microseconds, on the client's processors.
const POLL: Duration = Duration::from_millis(20);

/// Why something that a child was to do was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The user wants the whole suite to end.
    Interrupted,
    /// This child failed, or took too long; what the user reads.
    Failed(String),
}

impl Trouble {
    /// A failure with its reason.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self::Failed(reason.into())
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Whether SIGINT, SIGTERM or SIGHUP has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes note of the signals from now on, instead of dying of them.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn on_signals() -> Result<Self, BenchError> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Sleeps for a moment.
    ///
    /// # Errors
    /// [`Trouble::Interrupted`] when a signal has come.
    pub(crate) fn nap(&self) -> Result<(), Trouble> {
        self.check()?;
        thread::sleep(POLL);
        self.check()
    }

    /// # Errors
    /// [`Trouble::Interrupted`] when a signal has come.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Trouble::Interrupted);
        }
        Ok(())
    }
}

/// A running child, at best the leader of a process group of its own (see [`super::launch`]). Dropped, it is ended, and so is
/// whatever it has started in that group.
pub(crate) struct Process {
    child: Child,
    /// How long it may take to end when asked to.
    patience: Duration,
    /// It has been waited for: its number may be another's by now.
    reaped: bool,
}

impl Process {
    /// Starts it. `patience` is the time that it gets between SIGTERM and SIGKILL.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(command: &mut Command, patience: Duration) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self {
            child,
            patience,
            reaped: false,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// It, and the processes that it has started in its group: a server may be several.
    pub(crate) fn group(&self) -> Vec<u32> {
        let mut members = vec![self.id()];
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if let Some(pid) =
                number.filter(|&pid| pid != self.id() && group_of(pid) == Some(self.id()))
            {
                members.push(pid);
            }
        }
        members
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if !self.has_ended() {
            return Ok(None);
        }
        self.reap().map(Some)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// [`Trouble::Failed`] when it takes longer than `limit`, [`Trouble::Interrupted`] after a signal. It is still running then.
    pub(crate) fn wait(
        &mut self,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<ExitStatus, Trouble> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if begun.elapsed() > limit {
                return Err(Trouble::Failed(format!(
                    "it did not end within {:.0} s",
                    limit.as_secs_f64()
                )));
            }
            interrupt.nap()?;
        }
    }

    /// Ends it: SIGTERM, and SIGKILL, for its whole group, when that is not heeded in time. Returns whether it was.
    pub(crate) fn stop(&mut self) -> bool {
        let pid = self.pid();
        let begun = Instant::now();
        if !self.has_ended() {
            // It may end in between, which is what is wanted.
            let _ = kill(pid, Signal::SIGTERM);
        }
        while !self.has_ended() && begun.elapsed() < self.patience {
            thread::sleep(POLL);
        }
        let heeded = self.has_ended();
        // Nobody else waits for it, so there is nothing that this could fail of.
        let _ = self.reap();
        heeded
    }

    /// Kills what is left of it and of its group, and waits for it. Until that, its number cannot be anyone else's.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        if !self.reaped {
            let pid = self.pid();
            if killpg(pid, Signal::SIGKILL) == Err(Errno::ESRCH) {
                // It has not got so far as to lead a group.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
        let status = self.child.wait()?;
        self.reaped = true;
        Ok(status)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process number"))
    }

    /// Looks without waiting for it, so that its number stays its own.
    fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.reaped || waitid(Id::Pid(self.pid()), flags) != Ok(WaitStatus::StillAlive)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.id())
    }
}

/// The process group of a process that is not a zombie: field 5 of proc_pid_stat(5); the name before it may hold anything.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z").then_some(group)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::*;

    /// Far more than anything here takes.
    const LONG: Duration = Duration::from_secs(60);

    fn shell(script: &str, patience: Duration) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        Process::start(&mut command, patience).unwrap()
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    /// A process that nobody waits for here is a zombie until init does.
    fn wait_until_gone(pid: u32) {
        let begun = Instant::now();
        while group_of(pid).is_some() {
            assert!(begun.elapsed() < LONG, "process {pid} is still there");
            thread::sleep(POLL);
        }
    }

    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(begun.elapsed() < LONG, "it does not come");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn it_is_told_how_it_ended() {
        let mut process = shell("exit 7", LONG);
        let status = process.wait(LONG, &Interrupt::default());
        assert_eq!(status.unwrap().code(), Some(7));
    }

    #[test]
    fn one_that_hangs_is_given_up_and_ended() {
        let mut process = shell("exec sleep 600", LONG);
        let pid = process.id();
        let waited = process.wait(Duration::from_millis(50), &Interrupt::default());
        let Err(Trouble::Failed(reason)) = waited else {
            panic!("{waited:?}")
        };
        assert!(reason.contains("did not end"), "{reason}");
        assert!(process.stop(), "sleep ends when it is asked to");
        assert!(!exists(pid));
    }

    #[test]
    fn one_that_ignores_sigterm_is_killed_with_all_that_it_started() {
        let mut process = shell(
            "trap '' TERM; sleep 600 & sleep 600",
            Duration::from_millis(200),
        );
        let members = until(|| Some(process.group()).filter(|members| members.len() == 3));
        assert!(!process.stop(), "SIGTERM is ignored");
        assert!(!exists(process.id()));
        members.into_iter().for_each(wait_until_gone);
    }

    #[test]
    fn what_outlives_its_leader_is_killed() {
        let mut process = shell("sleep 600 & exit 0", LONG);
        // The leader is a zombie from here on, the other one is not.
        let other = until(|| process.group().into_iter().find(|&pid| pid != process.id()));
        let status = process.wait(LONG, &Interrupt::default()).unwrap();
        assert_eq!(status.into_raw(), 0);
        wait_until_gone(other);
    }

    #[test]
    fn a_panic_ends_it() {
        let mut pid = 0;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let process = shell("exec sleep 600", LONG);
            pid = process.id();
            assert!(!exists(pid), "on purpose");
        }));
        assert!(panicked.is_err() && pid != 0);
        assert!(!exists(pid));
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let interrupt = Interrupt::default();
        interrupt.0.store(true, Ordering::Relaxed);
        let mut process = shell("exec sleep 600", LONG);
        let waited = process.wait(LONG, &interrupt);
        assert!(matches!(waited, Err(Trouble::Interrupted)), "{waited:?}");
    }
}
