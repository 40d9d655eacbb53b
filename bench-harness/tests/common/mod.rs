//! A small WebSocket server of independent make, and the harness's binary.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub(crate) mod agent;
pub(crate) mod deflating;
pub(crate) mod hub;
pub(crate) mod schema;
pub(crate) mod script;
pub(crate) mod terminal;
pub(crate) mod town;
pub(crate) mod toy;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::WebSocket;
use tungstenite::http::{Request, Response};

/// No harness run in these tests takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A connection as the in-test server sees it.
pub(crate) type Peer = WebSocket<TcpStream>;

/// Whether io_uring can be had; prints why a test is skipped when not.
pub(crate) fn ring_available() -> bool {
    let mut builder = io_uring::IoUring::<io_uring::squeue::Entry>::builder();
    match builder.setup_single_issuer().setup_defer_taskrun().build(8) {
        Ok(_) => true,
        Err(error) => {
            println!("skipped: io_uring is not available here: {error}");
            false
        }
    }
}

/// Serves each WebSocket with `talk`, which gets the connection's number, on a thread of its own.
pub(crate) fn serve(talk: impl Fn(usize, Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    let count = AtomicUsize::new(0);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let talk = Arc::clone(&talk);
            let number = count.fetch_add(1, Ordering::Relaxed);
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                if let Ok(peer) = tungstenite::accept(stream) {
                    talk(number, peer);
                }
            });
        }
    });
    address
}

/// Serves each WebSocket with `talk`, after `answer` has looked at the request and changed the response.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
pub(crate) fn serve_asked(
    answer: impl Fn(&Request<()>, &mut Response<()>) + Send + Sync + 'static,
    talk: impl Fn(Peer) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new((answer, talk));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let looked = |request: &Request<()>, mut response: Response<()>| {
                    (shared.0)(request, &mut response);
                    Ok(response)
                };
                if let Ok(peer) = tungstenite::accept_hdr(stream, looked) {
                    (shared.1)(peer);
                }
            });
        }
    });
    address
}

/// Sends every message back, and answers the closing handshake.
pub(crate) fn echo(mut peer: Peer) {
    while let Ok(message) = peer.read() {
        let data = message.is_text() || message.is_binary();
        if data && peer.send(message).is_err() {
            return;
        }
    }
}

/// Runs the harness with JSON output. Returns its exit code, the summary (null when there is none) and what
/// it wrote to standard error.
pub(crate) fn bench(args: &[&str]) -> (i32, Value, String) {
    let output = run(&[args, &["--json"]].concat());
    let summary = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code().expect("ended by itself"),
        summary,
        errors,
    )
}

/// Runs the harness as it is, for a bounded time.
pub(crate) fn run(args: &[&str]) -> Output {
    run_bounded(&mut command(args))
}

/// Runs a command for a bounded time.
pub(crate) fn run_bounded(command: &mut Command) -> Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Read aside, so that the child never waits for room in a pipe.
    let stdout = reader(child.stdout.take().unwrap());
    let stderr = reader(child.stderr.take().unwrap());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("{command:?} took longer than {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The harness with these arguments, not yet started.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corecast-bench"));
    command.args(args);
    command
}

/// A running floor; ends with the value.
pub(crate) struct Floor {
    child: Child,
    /// `tcp://` address.
    pub(crate) url: String,
}

impl Floor {
    /// Starts `floor --mode MODE` on a free port and waits until it listens.
    pub(crate) fn start(mode: &str) -> Self {
        Self::start_with(mode, &[])
    }

    /// The same with further flags.
    pub(crate) fn start_with(mode: &str, flags: &[&str]) -> Self {
        let mut child = command(&["floor", "--mode", mode, "-l", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split("listening on ")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let url = format!(
            "tcp://{}",
            address.unwrap_or_else(|| panic!("unexpected: {line:?}"))
        );
        Self { child, url }
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("tcp://")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
