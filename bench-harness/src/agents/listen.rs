//! `agent`: waits for coordinators, and serves one run at a time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Post;
use super::protocol::{
    self, FromAgent, Hello, ORDER_LIMIT, PROTOCOL, Reader, STRANGER_LIMIT, Start, ToAgent, VERSION,
    Writer,
};
use super::remote::boot;
use super::secret::{Secret, challenge};
use crate::cli::AgentArgs;
use crate::clock::monotonic;
use crate::error::{BenchError, Verdict};
use crate::limits;

/// Who has not proved to be a coordinator by then is sent away.
const PROVING: Duration = Duration::from_secs(5);

/// Strangers that may be proving themselves at once; more are sent away at once.
const STRANGERS: usize = 32;

/// After a connection that could not be accepted, for descriptors to come free.
const BREATH: Duration = Duration::from_millis(100);

/// The coordinator has read what an agent brings home by then, or is gone.
const PARTING: Duration = Duration::from_secs(10);

/// What the first line says before the address.
const LISTENING: &str = "agent listening on ";

/// What all connections share.
struct Agent {
    secret: Secret,
    once: bool,
    /// Somebody has a run here.
    busy: AtomicBool,
    strangers: AtomicUsize,
}

/// The right to have a run here; gives it back.
struct Turn(Arc<Agent>);

/// One of those who may prove themselves.
struct Stranger(Arc<Agent>);

/// Serves runs until SIGTERM or SIGINT, which end it with exit code 0.
///
/// # Errors
/// When it cannot listen, or would do so for everybody.
pub(crate) fn run(args: &AgentArgs) -> Result<Verdict, BenchError> {
    let agent = Arc::new(Agent {
        secret: Secret::new(args.token.as_deref()),
        once: args.once,
        busy: AtomicBool::new(false),
        strangers: AtomicUsize::new(0),
    });
    if agent.secret.is_empty() && !args.listen.ip().is_loopback() {
        return Err(BenchError::usage(
            "whoever reaches an agent has it send whatever they like: with a --listen address other than loopback, \
             set a --token (or CORECAST_AGENT_TOKEN)",
        ));
    }
    limits::raise_descriptors()?;
    end_with_the_others(args.until_stdin_ends)?;
    let listener = TcpListener::bind(args.listen).map_err(|error| {
        BenchError::runtime(format!("cannot listen on {}: {error}", args.listen))
    })?;
    let address = listener.local_addr()?;
    let line = format!("{LISTENING}{address}, process {}\n", process::id());
    io::stdout().write_all(line.as_bytes())?;
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // No descriptor is left, or whoever came has gone: no reason to end a run.
            Err(error) => {
                tell(format_args!("cannot accept: {error}"));
                thread::sleep(BREATH);
                continue;
            }
        };
        let Some(stranger) = Stranger::admit(&agent) else {
            continue;
        };
        // Where no thread can be had, the connection is closed.
        let _ = thread::Builder::new().spawn(move || meet(stream, peer, stranger));
    }
}

/// The address in an agent's first line.
pub(super) fn address_in(line: &str) -> Option<&str> {
    line.strip_prefix(LISTENING)?.split(',').next()
}

/// Ends the process on a signal, and when asked to, with standard input.
fn end_with_the_others(until_stdin_ends: bool) -> Result<(), BenchError> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            process::exit(0);
        }
    });
    if until_stdin_ends {
        thread::spawn(|| {
            // Nothing is ever written to it: a read returns when the other end is closed.
            let _ = io::stdin().read(&mut [0]);
            process::exit(0);
        });
    }
    Ok(())
}

/// Serves whoever has connected.
fn meet(stream: TcpStream, peer: SocketAddr, stranger: Stranger) {
    match serve(stream, stranger) {
        Ok(()) => tell(format_args!("{peer}: served a run")),
        Err(BenchError::CalledOff) => tell(format_args!("{peer}: the coordinator ended the run")),
        Err(error) => tell(format_args!("{peer}: {error}")),
    }
}

/// Standard output may be closed; an agent goes on.
fn tell(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{what}");
}

fn serve(stream: TcpStream, stranger: Stranger) -> Result<(), BenchError> {
    let agent = Arc::clone(&stranger.0);
    let (mut reader, writer) = protocol::halves(stream)?;
    let proved = prove(&agent, &mut reader, &writer);
    let turn = proved.and_then(|()| Turn::take(&agent));
    let _turn = match turn {
        Ok(turn) => {
            drop(stranger);
            turn
        }
        // One that is refused is a stranger until it has gone.
        Err(error) => {
            refuse(&mut reader, &writer, &error);
            return Err(error);
        }
    };
    writer.send(&FromAgent::Welcome)?;
    let start = match until_start(&mut reader, &writer) {
        Ok(start) => start,
        // It has changed its mind.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(BenchError::CalledOff);
        }
        Err(error) => {
            let error = BenchError::from(error);
            refuse(&mut reader, &writer, &error);
            return Err(error);
        }
    };
    let post = Post::new(reader, writer, &start);
    let served = start.order.serve(&post);
    post.part(served.as_ref().err(), Instant::now() + PARTING);
    served
}

/// Has the other side prove that it is a coordinator of this version that knows the secret.
fn prove(agent: &Agent, reader: &mut Reader, writer: &Writer) -> Result<(), BenchError> {
    let challenge = challenge()?;
    writer.send(&FromAgent::Hello(Hello {
        protocol: PROTOCOL,
        version: VERSION.to_owned(),
        boot: boot()?,
        connections: limits::most_connections()?,
        challenge: challenge.clone(),
    }))?;
    let deadline = Instant::now() + PROVING;
    let ToAgent::Join {
        protocol,
        version,
        signature,
    } = reader.receive_by(STRANGER_LIMIT, deadline)?
    else {
        return Err(BenchError::runtime("a coordinator begins with Join"));
    };
    if (protocol, version.as_str()) != (PROTOCOL, VERSION) {
        return Err(BenchError::runtime(format!(
            "the agent is version {VERSION} (protocol {PROTOCOL}): both must be the same"
        )));
    }
    if !agent.secret.verify(&challenge, &signature) {
        return Err(BenchError::runtime(
            "wrong token: set CORECAST_AGENT_TOKEN to the agent's",
        ));
    }
    Ok(())
}

/// Answers questions for the time until the run begins.
fn until_start(reader: &mut Reader, writer: &Writer) -> io::Result<Start> {
    loop {
        match reader.receive(ORDER_LIMIT)? {
            ToAgent::Time => writer.send(&FromAgent::Time { at: monotonic() })?,
            ToAgent::Start(start) => return checked(*start),
            _ => return Err(io::Error::other("a run begins with Start")),
        }
    }
}

/// An order with which nothing in the run would add up is none.
fn checked(start: Start) -> io::Result<Start> {
    let threads = start.cores.len().max(1);
    match start.first.checked_add(threads) {
        Some(end) if end <= start.count => Ok(start),
        _ => Err(io::Error::other(
            "the threads asked for are not among those of the run",
        )),
    }
}

/// Says why not, and waits until the other side has read it.
fn refuse(reader: &mut Reader, writer: &Writer, error: &BenchError) {
    let text = error.to_string();
    if writer.send(&FromAgent::Failed { text }).is_ok() {
        writer.finish();
        reader.drain(Instant::now() + PROVING);
    }
}

impl Stranger {
    fn admit(agent: &Arc<Agent>) -> Option<Self> {
        // Counted before it is looked at: two that come at once are both counted.
        let stranger = Self(Arc::clone(agent));
        let before = agent.strangers.fetch_add(1, Ordering::AcqRel);
        (before < STRANGERS).then_some(stranger)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.strangers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Turn {
    fn take(agent: &Arc<Agent>) -> Result<Self, BenchError> {
        if agent.busy.swap(true, Ordering::AcqRel) {
            return Err(BenchError::runtime("the agent serves another run"));
        }
        Ok(Self(Arc::clone(agent)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        if self.0.once {
            process::exit(0);
        }
    }
}
