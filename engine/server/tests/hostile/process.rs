//! A server process, and what can be seen of it from outside: descriptors, memory, processor time, log.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::stopwatch::Threads;
use crate::{PATIENCE, eventually};

/// Which program is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The server binary, with its built-in applications.
    Corecast,
    /// The example that misbehaves on demand: `tests/victim`.
    Victim,
}

/// A running server that ends with its test.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts a server on a free port of loopback.
    pub(crate) fn start(program: Program, args: &[&str]) -> Self {
        Self::spawn(&mut eager(command(program)), args)
    }

    /// The same, with the allocator as it is by default.
    pub(crate) fn start_as_shipped(program: Program, args: &[&str]) -> Self {
        Self::spawn(&mut command(program), args)
    }

    /// The same, with so many descriptors at most.
    pub(crate) fn start_with_descriptors(program: Program, most: u64, args: &[&str]) -> Self {
        let inner = command(program);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -n {most} && exec \"$@\""), "sh"])
            .arg(inner.get_program())
            .args(inner.get_args());
        Self::spawn(&mut eager(limited), args)
    }

    fn spawn(command: &mut Command, args: &[&str]) -> Self {
        // Neither comes while a test lasts, unless it is what the row is about: the clients here expect no pings.
        let long = [("--ping-interval", "10m"), ("--idle-timeout", "15m")];
        let long = long.into_iter().filter(|(flag, _)| !args.contains(flag));
        let mut child = command
            .args(["-l", "127.0.0.1:0"])
            .args(args)
            .args(long.flat_map(|(flag, time)| [flag, time]))
            // What a peer did is said at debug: at the default level a flood of bad peers must not fill a disk.
            .env("CORECAST_LOG", "info,corecast=debug")
            // Looking up the names for a trace takes more memory than any attack.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        servers().push((current_row(), child.id()));
        let log = Arc::default();
        keep_lines(child.stderr.take().expect("piped"), Arc::clone(&log));
        let address = listening(child.stdout.take().expect("piped"));
        let mut process = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
        };
        match address.recv_timeout(PATIENCE) {
            Ok(address) => process.address = address,
            Err(_) => panic!("{args:?} does not start: {:#?}", process.log()),
        }
        process
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// The threads that it has now.
    pub(crate) fn threads(&self) -> Threads {
        Threads::of_process(self.child.id())
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.clone()
    }

    /// Open descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = fs::read_dir(self.proc("fd")).expect("the process runs");
        folder.count()
    }

    /// Whether one of the first so many is free. (A process may inherit others with higher numbers.)
    pub(crate) fn has_free_descriptors(&self, most: u64) -> bool {
        (0..most).any(|number| !self.proc(&format!("fd/{number}")).is_symlink())
    }

    /// Bytes of anonymous memory that are resident.
    pub(crate) fn memory(&self) -> usize {
        self.status("RssAnon:")
    }

    /// Bytes of address space: what has been asked of the system, touched or not.
    pub(crate) fn address_space(&self) -> usize {
        self.status("VmSize:")
    }

    fn status(&self, name: &str) -> usize {
        let status = fs::read_to_string(self.proc("status")).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kib.expect("the kernel says so") << 10
    }

    /// Processor time so far, user and system.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(self.proc("stat")).expect("the process runs");
        // The name before it may hold spaces, but no closing bracket that is not its own.
        let fields = stat.rsplit_once(") ").expect("a name").1.split(' ');
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh").args(["-c", &kill]).status();
        assert!(done.expect("a shell").success(), "{kill}");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the server ends", || {
            ended = self.child.try_wait().expect("our child");
            ended.is_some()
        });
        servers().retain(|&(_, id)| id != self.child.id());
        ended.expect("it ended")
    }

    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.child.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // First: once it is waited for, its number may be another's.
        servers().retain(|&(_, id)| id != self.child.id());
        // Fails only when it has ended already, which the test has noticed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The thread's name: a row runs on a thread that is named like its test's.
type Row = Option<String>;

/// The servers that run, and the rows that started them.
static SERVERS: Mutex<Vec<(Row, u32)>> = Mutex::new(Vec::new());

fn servers() -> MutexGuard<'static, Vec<(Row, u32)>> {
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn current_row() -> Row {
    thread::current().name().map(str::to_owned)
}

/// Ends the servers that a row has left running when this is dropped, on the thread of its test.
pub(crate) struct EndServers;

impl Drop for EndServers {
    fn drop(&mut self) {
        let row = current_row();
        for &(_, id) in servers().iter().filter(|(of, _)| *of == row) {
            let id = i32::try_from(id).ok().and_then(Pid::from_raw);
            // Fails only when it has ended already.
            let _ = kill_process(id.expect("a process"), Signal::KILL);
        }
    }
}

/// Lets the allocator give back at once what the server frees, so that tests see it. By itself it takes seconds.
fn eager(mut command: Command) -> Command {
    command.env("MIMALLOC_PURGE_DELAY", "0");
    command
}

fn command(program: Program) -> Command {
    match program {
        Program::Corecast => {
            let mut command = Command::new(env!("CARGO_BIN_EXE_corecast"));
            command.arg("serve");
            command
        }
        Program::Victim => Command::new(victim()),
    }
}

/// The victim, built: cargo builds examples for a whole `cargo test`, but not when only this test is asked for.
fn victim() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = std::env::current_exe().expect("this test");
        let profile = test.parent().and_then(|deps| deps.parent());
        let victim = profile.expect("a profile").join("examples/victim");
        if !is_fresh(&victim) {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--package", "corecast-server"]);
            build.args(["--example", "victim"]);
            if !cfg!(debug_assertions) {
                build.arg("--release");
            }
            let built = build.status().expect("cargo");
            assert!(built.success() && victim.exists(), "{build:?}");
        }
        victim
    })
}

/// Whether a program is younger than all it was made from, which cargo lists beside it.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|data| data.modified());
    let Ok(made) = changed(program) else {
        return false;
    };
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let Some((_, sources)) = list.split_once(": ") else {
        return false;
    };
    // One that is gone was part of an older program.
    let is_older = |source| changed(Path::new(source)).is_ok_and(|changed| changed <= made);
    sources.split_whitespace().all(is_older)
}

/// Reads lines into a list until the stream ends.
fn keep_lines(stream: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line);
        }
    });
}

/// The address that a server prints when it listens, at both programs the last word of a line that begins so.
fn listening(stdout: impl Read + Send + 'static) -> mpsc::Receiver<SocketAddr> {
    let (found, address) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let last = line
                .strip_prefix("listening")
                .and_then(|rest| rest.split(' ').next_back());
            if let Some(address) = last.and_then(|word| word.parse().ok()) {
                // Nobody waits any more for a second address.
                let _ = found.send(address);
            }
        }
    });
    address
}

/// Why a transport cannot be had here, if so: the kernel or a sandbox may refuse io_uring.
pub(crate) fn unavailable(io: &str) -> Option<String> {
    static REFUSED: OnceLock<[Option<String>; 2]> = OnceLock::new();
    let refused = REFUSED.get_or_init(|| ["ring", "monoio"].map(reason_against));
    match io {
        "ring" => refused[0].clone(),
        "monoio" => refused[1].clone(),
        _ => None,
    }
}

/// What the server says when it is asked for a transport that it cannot have.
fn reason_against(io: &str) -> Option<String> {
    let mut child = command(Program::Corecast)
        .args(["-l", "127.0.0.1:0", "--io", io])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server binary");
    let address = listening(child.stdout.take().expect("piped"));
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if address.recv_timeout(Duration::from_millis(20)).is_ok() {
            break;
        }
        if child.try_wait().expect("our child").is_some() {
            let mut said = String::new();
            let stderr = child.stderr.as_mut().expect("piped");
            stderr.read_to_string(&mut said).expect("text");
            return Some(said);
        }
    }
    // It runs, so it has what was asked for.
    let _ = child.kill();
    let _ = child.wait();
    None
}
