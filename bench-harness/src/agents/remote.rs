//! The coordinator's side of one agent.

use std::fmt::Display;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::Order;
use super::census::{PIECE, Sent};
use super::crew::Agent;
use super::exchange::{Exchange, Said, Step};
use super::protocol::{
    self, FromAgent, Hello, Look, OUTCOME_LIMIT, PROTOCOL, Reader, STRANGER_LIMIT, Start, ToAgent,
    VERSION, Writer,
};
use super::secret::Secret;
use crate::client::team::{Report, Sum};
use crate::clock::{Clock, Nanos, monotonic, nanos};
use crate::error::BenchError;
use crate::telemetry::progress::Progress;

/// An agent that has not answered by then is not there, or busy with another run.
const JOINING: Duration = Duration::from_secs(10);

/// Questions for the time; the quickest answer counts.
const QUESTIONS: usize = 16;

/// An agent that has not shown its threads for so long has fallen behind: it does so beside the load, within
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// An agent's threads have made their payloads and rings within this time: those of a gigabyte take a while.
const BEGINNING: Duration = Duration::from_secs(120);

/// They have closed their connections within this time.
const ENDING: Duration = Duration::from_secs(120);

/// Time that a word takes to reach the threads of an agent, beside the network: two threads have to wake up.
const RELAYING: Duration = Duration::from_millis(10);

/// An agent that has joined.
#[derive(Debug)]
pub(crate) struct Remote {
    /// `HOST:PORT`, or the number of a child.
    name: String,
    hello: Hello,
    reader: Mutex<Reader>,
    writer: Writer,
    /// When it was last asked for a look, on this process's monotonic clock.
    asked: AtomicU64,
    /// When the agent must have said something, on the same clock; never, while it is looked at.
    word_due: AtomicU64,
    agreement: Agreement,
    /// The most that its clock was seen to differ by during the run, beyond what the way explains.
    drift: AtomicU64,
    /// This side has ended the run.
    over: AtomicBool,
}

/// How the agent's clock and this process's go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreement {
    /// To be added to this process's monotonic clock.
    ahead: i64,
    /// It may be off by so much.
    error: Nanos,
    /// The shortest round trip.
    round_trip: Nanos,
}

impl Remote {
    /// Joins the agent at `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody is there, the secret is wrong, or the agent has another version or another run.
    pub(super) fn join(address: &str, name: String, secret: &Secret) -> Result<Self, BenchError> {
        Self::try_join(address, name.clone(), secret).map_err(|error| {
            BenchError::runtime(match error.kind() {
                io::ErrorKind::TimedOut => format!("agent {name} does not answer"),
                _ => format!("agent {name}: {error}"),
            })
        })
    }

    fn try_join(address: &str, name: String, secret: &Secret) -> io::Result<Self> {
        let deadline = Instant::now() + JOINING;
        let address = address
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::other("it has no address"))?;
        let stream = TcpStream::connect_timeout(&address, JOINING)?;
        let (mut reader, writer) = protocol::halves(stream)?;
        let hello = match reader.receive_by(STRANGER_LIMIT, deadline)? {
            FromAgent::Hello(hello) => hello,
            other => return Err(refused(other)),
        };
        let (protocol, version) = (PROTOCOL, VERSION.to_owned());
        if (hello.protocol, hello.version.as_str()) != (protocol, &version) {
            return Err(io::Error::other(format!(
                "it is version {} (protocol {}), this is {version} ({protocol}): both must be the same",
                hello.version, hello.protocol
            )));
        }
        let signature = secret.sign(&hello.challenge);
        writer.send(&ToAgent::Join {
            protocol,
            version,
            signature,
        })?;
        match reader.receive_by(STRANGER_LIMIT, deadline)? {
            FromAgent::Welcome => {}
            other => return Err(refused(other)),
        }
        let agreement = agree(&hello, &mut reader, &writer, deadline)?;
        Ok(Self {
            name,
            hello,
            reader: Mutex::new(reader),
            writer,
            asked: AtomicU64::new(0),
            word_due: AtomicU64::new(u64::MAX),
            agreement,
            drift: AtomicU64::new(0),
            over: AtomicBool::new(false),
        })
    }

    /// How it is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Connections that it can hold.
    pub(super) fn connections(&self) -> u64 {
        self.hello.connections
    }

    /// The most that its clock may be off by.
    pub(super) fn clock_error(&self) -> Duration {
        Duration::from_nanos(self.agreement.error + self.drift.load(Ordering::Relaxed))
    }

    /// The shortest round trip.
    pub(super) fn round_trip(&self) -> Duration {
        Duration::from_nanos(self.agreement.round_trip)
    }

    /// Time that a word takes to reach its threads, generously.
    pub(crate) fn lead(&self) -> Duration {
        RELAYING + 2 * self.round_trip()
    }

    /// Begins a run on `cores`, with threads `first` and on of `count`.
    pub(super) fn start(
        &self,
        order: &Order,
        clock: Clock,
        cores: Vec<usize>,
        first: usize,
        count: usize,
    ) -> Result<(), BenchError> {
        let start = Start {
            order: order.clone(),
            run: std::process::id(),
            epoch: clock.epoch().saturating_add_signed(self.agreement.ahead),
            cores,
            first,
            count,
        };
        self.send(&ToAgent::Start(Box::new(start)))
    }

    /// Lets its threads go on.
    pub(crate) fn go(&self, at: Nanos) -> Result<(), BenchError> {
        self.send(&ToAgent::Go { at })
    }

    /// Tells what all threads of the run have contributed.
    pub(super) fn tell_total(&self, sum: u64) -> Result<(), BenchError> {
        self.send(&ToAgent::Total { sum })
    }

    /// Asks how much its publishers have sent.
    pub(super) fn ask_for_a_count(&self) -> Result<(), BenchError> {
        self.send(&ToAgent::Count)
    }

    /// Tells how much publishers have sent, and of what time all is known then.
    pub(super) fn tell_counts(
        &self,
        sent: &[Sent],
        known: Option<Nanos>,
    ) -> Result<(), BenchError> {
        sent.chunks(PIECE).try_for_each(|piece| {
            let sent = piece.to_vec();
            self.send(&ToAgent::Published { sent })
        })?;
        known.map_or(Ok(()), |at| self.send(&ToAgent::Known { at }))
    }

    /// Asks for what its threads show.
    ///
    /// # Errors
    /// When it is gone.
    pub(crate) fn ask_for_a_look(&self) -> Result<(), BenchError> {
        self.asked.store(monotonic(), Ordering::Relaxed);
        self.send(&ToAgent::Look)
    }

    /// Waits until what its threads show has been taken in.
    ///
    /// # Errors
    /// When it is gone, or has fallen behind.
    pub(crate) fn await_look(&self, looks: &Receiver<()>) -> Result<(), BenchError> {
        match looks.recv_timeout(PATIENCE) {
            Ok(()) => Ok(()),
            // The thread that listens tells why.
            Err(RecvTimeoutError::Disconnected) => Err(BenchError::CalledOff),
            Err(RecvTimeoutError::Timeout) => Err(self.error(format_args!(
                "has fallen behind: it has not shown its threads for {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Takes in what the agent says in a run, until it has brought home what its threads have seen.
    ///
    /// # Errors
    /// When it has failed or is gone; [`BenchError::CalledOff`] when it was this side that ended the run.
    pub(super) fn listen<R: DeserializeOwned>(
        &self,
        ears: &Ears<'_>,
    ) -> Result<Vec<R>, BenchError> {
        let mut reader = self.reader.lock().expect("one thread listens");
        self.expect_a_word_within(BEGINNING);
        loop {
            let message = reader
                .receive_unless(OUTCOME_LIMIT, || self.is_silent())
                .map_err(|error| self.lost(&error))?
                .ok_or_else(|| self.error("has not been heard of for too long"))?;
            match message {
                // Who does not want to know any more has an error to tell.
                FromAgent::Met { reports } => {
                    // From now on it is looked at.
                    self.word_due.store(u64::MAX, Ordering::Relaxed);
                    let _ = ears.reports.send(reports);
                }
                FromAgent::Looked { at, threads } => {
                    self.compare_clocks(at, ears.clock);
                    if threads.len() != ears.progress.len() {
                        return Err(self.error("shows other threads than it has"));
                    }
                    for (progress, look) in ears.progress.iter().zip(threads) {
                        take_in(progress, look);
                    }
                    let _ = ears.looks.send(());
                }
                FromAgent::Contributed { part } => {
                    ears.sum.add(part);
                    if let Some(total) = ears.sum.part() {
                        ears.team
                            .iter()
                            .try_for_each(|agent| agent.tell_total(total))?;
                    }
                }
                FromAgent::Asked { at } => ears.hear(Said::Asked(at))?,
                FromAgent::Published { sent } => ears.hear(Said::Sent(sent))?,
                FromAgent::Counted => ears.hear(Said::Counted)?,
                FromAgent::Finished => ears.hear(Said::Finished)?,
                FromAgent::Done { outcomes } => {
                    let values = outcomes.into_iter().map(serde_json::from_value);
                    return values
                        .collect::<Result<_, _>>()
                        .map_err(|error| self.error(format_args!("is not understood: {error}")));
                }
                FromAgent::Failed { text } => return Err(self.error(text)),
                FromAgent::Hello(_) | FromAgent::Welcome | FromAgent::Time { .. } => {
                    return Err(self.error("said something that has no place in a run"));
                }
            }
        }
    }

    /// Nothing is left to do for its threads but to bring home what they have seen.
    pub(super) fn expect_the_outcome(&self) {
        self.expect_a_word_within(ENDING);
    }

    fn expect_a_word_within(&self, time: Duration) {
        let due = monotonic() + nanos(time);
        self.word_due.store(due, Ordering::Relaxed);
    }

    fn is_silent(&self) -> bool {
        monotonic() >= self.word_due.load(Ordering::Relaxed)
    }

    /// Ends the run and the connection.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
        self.writer.end();
    }

    /// The agent's clock stood at `at` between the question and now: whatever it is outside of that, it is wrong.
    fn compare_clocks(&self, at: Nanos, clock: Clock) {
        let asked = self
            .asked
            .load(Ordering::Relaxed)
            .saturating_sub(clock.epoch());
        let off = asked.saturating_sub(at).max(at.saturating_sub(clock.now()));
        self.drift.fetch_max(off, Ordering::Relaxed);
    }

    fn send(&self, message: &ToAgent) -> Result<(), BenchError> {
        self.writer.send(message).map_err(|error| self.lost(&error))
    }

    fn lost(&self, error: &io::Error) -> BenchError {
        if self.over.load(Ordering::Acquire) {
            return BenchError::CalledOff;
        }
        match error.kind() {
            io::ErrorKind::InvalidData => self.error(error),
            _ => self.error(format_args!("was lost during the run: {error}")),
        }
    }

    fn error(&self, what: impl Display) -> BenchError {
        BenchError::runtime(format!("agent {} {what}", self.name))
    }
}

/// Where what an agent says goes.
pub(super) struct Ears<'a> {
    pub(super) clock: Clock,
    /// Its threads.
    pub(super) progress: &'a [Progress],
    pub(super) reports: Sender<Vec<Report>>,
    pub(super) looks: Sender<()>,
    /// What agents contribute, and who wants to know.
    pub(super) sum: &'a Sum,
    pub(super) team: &'a [Agent],
    /// The agent's number among them.
    pub(super) number: usize,
    /// What they tell each other about publishers.
    pub(super) exchange: &'a Exchange,
}

impl Ears<'_> {
    /// The agent has said something about publishers.
    fn hear(&self, said: Said) -> Result<(), BenchError> {
        self.exchange.hear(self.number, said);
        self.exchange.go_on(|step| match step {
            Step::Count => self.team.iter().try_for_each(Agent::ask_for_a_count),
            Step::PassOn { sent, known } => {
                let mut agents = self.team.iter().zip(known);
                agents.try_for_each(|(agent, known)| agent.tell_counts(&sent, known))
            }
        })
    }
}

fn take_in(progress: &Progress, look: Look) {
    progress.mirror(&look.counts, look.failures, look.times);
    if let Some(late) = look.lag {
        progress.show_lag(late);
    }
    look.cuts
        .into_iter()
        .for_each(|cut| progress.hand_over(cut));
}

/// What an agent said instead of what was expected of it.
fn refused(message: FromAgent) -> io::Error {
    match message {
        FromAgent::Failed { text } => io::Error::other(text),
        _ => io::Error::other("it said something else than expected"),
    }
}

/// Finds out how the clocks go together. Processes of the same machine have one clock.
fn agree(
    hello: &Hello,
    reader: &mut Reader,
    writer: &Writer,
    deadline: Instant,
) -> io::Result<Agreement> {
    let mut best: Option<Agreement> = None;
    for _ in 0..QUESTIONS {
        let asked = monotonic();
        writer.send(&ToAgent::Time)?;
        let at = match reader.receive_by(STRANGER_LIMIT, deadline)? {
            FromAgent::Time { at } => at,
            other => return Err(refused(other)),
        };
        let agreement = Agreement::new(asked, at, monotonic());
        if best.is_none_or(|best| agreement.round_trip < best.round_trip) {
            best = Some(agreement);
        }
    }
    let best = best.expect("there are questions");
    if hello.boot == boot()? {
        return Ok(Agreement {
            ahead: 0,
            error: 0,
            ..best
        });
    }
    Ok(best)
}

impl Agreement {
    /// The other clock stood at `at` at some time between `asked` and `answered` on this one.
    fn new(asked: Nanos, at: Nanos, answered: Nanos) -> Self {
        let round_trip = answered.saturating_sub(asked);
        Self {
            ahead: at.wrapping_sub(asked + round_trip / 2) as i64,
            error: round_trip.div_ceil(2),
            round_trip,
        }
    }
}

/// Which start of which machine this is.
pub(super) fn boot() -> io::Result<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    // A time namespace has a monotonic clock of its own.
    let offsets = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let monotonic = offsets.lines().find(|line| line.starts_with("monotonic"));
    let offset = monotonic.map(|line| {
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(".")
    });
    Ok(format!("{} {}", id.trim(), offset.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_to_half_a_round_trip() {
        let ahead = Agreement::new(1_000, 5_150, 1_200);
        assert_eq!(
            (ahead.ahead, ahead.error, ahead.round_trip),
            (4_050, 100, 200)
        );
        let behind = Agreement::new(5_000, 90, 5_021);
        assert_eq!((behind.ahead, behind.error), (-4_920, 11));
    }

    #[test]
    fn this_machine_knows_itself() {
        assert_eq!(boot().unwrap(), boot().unwrap());
        assert!(boot().unwrap().len() > 30);
    }
}
