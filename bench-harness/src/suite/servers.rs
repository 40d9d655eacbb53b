//! A server that runs on its processors, from when it listens until it is ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::launch;
use super::process::{Interrupt, Process, Trouble};
use crate::screen::words::clean;

/// What of a failing server's output is shown.
const SHOWN_LINES: usize = 20;

/// How long servers may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until it listens.
    pub(crate) start: Duration,
    /// From SIGTERM until it has ended.
    pub(crate) stop: Duration,
}

/// A server that listens. Dropped, it is ended.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    log: PathBuf,
}

impl Running {
    /// Starts `argv` on these processors and waits until `port` answers. What it prints goes to the file `log`.
    ///
    /// # Errors
    /// When it ends instead of listening, or does not listen in time: with what it printed.
    pub(crate) fn start(
        argv: &[String],
        cores: &[usize],
        port: u16,
        log: &Path,
        patience: Patience,
        interrupt: &Interrupt,
    ) -> Result<Self, Trouble> {
        let output = File::create(log)?;
        let mut command = launch::command(cores, argv)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut running = Self {
            process: Process::start(&mut command, patience.stop)?,
            log: log.to_owned(),
        };
        running.wait_until_it_listens(port, patience.start, interrupt)?;
        Ok(running)
    }

    /// The server's processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.process.group()
    }

    /// How the server ended, with what it printed, if it is not running any more.
    pub(crate) fn complaint(&mut self) -> Option<String> {
        let status = self.process.ended().ok()??;
        Some(format!("the server ended, {status}{}", self.printed()))
    }

    /// Ends it. Returns what has to be said against how it ended.
    pub(crate) fn stop(mut self) -> Option<String> {
        let heeded = self.process.stop();
        (!heeded).then(|| "the server did not end when it was asked to, and was killed".to_owned())
    }

    fn wait_until_it_listens(
        &mut self,
        port: u16,
        limit: Duration,
        interrupt: &Interrupt,
    ) -> Result<(), Trouble> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.ended()? {
                let printed = self.printed();
                let reason = format!("the server ended instead of listening, {status}{printed}");
                return Err(Trouble::Failed(reason));
            }
            if TcpStream::connect_timeout(&address, CONNECT_LIMIT).is_ok() {
                return Ok(());
            }
            if begun.elapsed() > limit {
                let seconds = limit.as_secs_f64();
                let printed = self.printed();
                return Err(Trouble::Failed(format!(
                    "the server does not listen on port {port} after {seconds} s{printed}"
                )));
            }
            interrupt.nap()?;
        }
    }

    /// The end of what it printed, as the end of a sentence.
    fn printed(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.trim().lines().collect();
        if lines.is_empty() {
            return "; it printed nothing".to_owned();
        }
        let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].iter();
        let shown: Vec<_> = last.map(|line| clean(line)).collect();
        format!("; it printed:\n{}", shown.join("\n"))
    }
}

/// For a connection on loopback: a server that takes longer is not ready.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Ports for servers: below those that the system gives to clients.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A port that nobody listens on, and another one each time, so that connections of the last server in TIME_WAIT do no harm.
///
/// # Errors
/// When there is none.
pub(crate) fn free_port() -> Result<u16, Trouble> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Suites that run side by side begin at different ones.
    let offset = u16::try_from(process::id() % u32::from(span)).expect("within a span of 16 bits");
    for _ in 0..span {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % span;
        let port = PORTS.start + (offset + number) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Trouble::failed(format!(
        "no port from {} to {} is free",
        PORTS.start, PORTS.end
    )))
}
