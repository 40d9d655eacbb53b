//! Starts a program on its processors: what has to be arranged in the child itself, before the program takes over.
//!
//! It is a hidden command of this binary, because code between fork and exec would have to be `unsafe`, and a program's own
//! flags know nothing of all this.

use std::convert::Infallible;
use std::env;
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::{self, Command};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, setsid};

use crate::cli::LaunchArgs;
use crate::error::{BenchError, Verdict};
use crate::limits;

/// The command that runs `argv` on the processors `cores`, in a session and process group of its own, with as many descriptors
/// as the system allows. It is killed when the calling thread ends, however that comes.
///
/// # Errors
/// When this binary cannot be found any more.
pub(crate) fn command(cores: &[usize], argv: &[impl AsRef<OsStr>]) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    let list = cores.iter().map(usize::to_string).collect::<Vec<_>>();
    command.args(["launch", "--cores", &list.join(",")]);
    command.args(["--parent", &process::id().to_string(), "--"]);
    command.args(argv);
    Ok(command)
}

/// Becomes the program.
///
/// # Errors
/// When it cannot be run.
pub(crate) fn run(args: &LaunchArgs) -> Result<Verdict, BenchError> {
    let failed = |error: io::Error| {
        BenchError::runtime(format!(
            "cannot run {}: {error}",
            args.program[0].to_string_lossy()
        ))
    };
    match become_program(args).map_err(failed)? {}
}

fn become_program(args: &LaunchArgs) -> io::Result<Infallible> {
    setsid()?;
    set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have ended before the line above.
    if parent_id() != args.parent {
        return Err(io::Error::other("whoever wanted it is gone"));
    }
    if io::stdin().is_terminal() {
        take_terminal()?;
    }
    pin(args.cores.numbers())?;
    limits::raise_descriptors().map_err(io::Error::other)?;
    Err(Command::new(&args.program[0])
        .args(&args.program[1..])
        .exec())
}

/// Makes standard input the terminal of the new session, in whose foreground this process then is: a screen is drawn on no other
/// (tty(4): so does opening one without `O_NOCTTY`, for the leader of a session that has none).
fn take_terminal() -> io::Result<()> {
    let mut open = OpenOptions::new();
    open.read(true)
        .write(true)
        .open("/proc/self/fd/0")
        .map(drop)
}

/// Restricts the calling thread, and what it starts, to these processors.
///
/// # Errors
/// When none of them can be used.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
