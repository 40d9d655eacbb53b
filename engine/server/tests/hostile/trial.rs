//! One attack on one server: what is measured before, watched during, and has to hold after it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::{Client, http, request};
use crate::process::{Process, Program};
use crate::witness::Witness;
use crate::{PATIENCE, eventually};

/// A server under attack, beside a witness that has to be served all the time.
pub(crate) struct Trial {
    pub(crate) process: Process,
    witness: Option<Witness>,
    descriptors: usize,
    memory: usize,
    /// Log lines before the attack.
    lines: usize,
    /// How long the row itself keeps the core from serving the witness.
    allowance: Duration,
    over: bool,
}

/// Anonymous memory that may stay after an attack, where a row says nothing else: the connection table's first
/// pages, the receive buffers that a turn has filled (4 MiB per core), what the allocator keeps.
pub(crate) const MEMORY: usize = 8 << 20;

/// Assembly buffers that a core keeps for the next large messages, at most.
pub(crate) const SPARE: usize = 16 << 20;

impl Trial {
    /// The server binary on one core, with further flags.
    pub(crate) fn corecast(io: &'static str, args: &[&str]) -> Self {
        let args = [&["--io", io, "--cores", "1"], args].concat();
        Self::on(Process::start(Program::Corecast, &args))
    }

    /// The program that misbehaves on demand, on one core unless the flags say otherwise.
    pub(crate) fn victim(io: &'static str, args: &[&str]) -> Self {
        let args = [&["--io", io], args].concat();
        Self::on(Process::start(Program::Victim, &args))
    }

    pub(crate) fn on(process: Process) -> Self {
        // What a first connection makes the server allocate for good is no leak. Server and victim both echo there.
        for _ in 0..2 {
            let mut client = Client::connect_to(process.address, "/echo");
            client.round_trip("hello");
            client.close(1000);
            assert_eq!(http(process.address, &request("/nothing")).status, 404);
        }
        let witness = Client::connect_to(process.address, "/echo");
        Self::watched_by(process, witness)
    }

    /// The same with a witness of the row's own choice, connected to an application that echoes.
    pub(crate) fn watched_by(process: Process, witness: Client) -> Self {
        let witness = Witness::start(witness, process.threads());
        witness.rounds(3);
        let mut trial = Self {
            descriptors: 0,
            memory: 0,
            lines: 0,
            allowance: Duration::ZERO,
            process,
            witness: Some(witness),
            over: false,
        };
        trial.descriptors = trial.settled_descriptors();
        trial.memory = trial.process.memory();
        trial.lines = trial.process.log().len();
        trial
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// Open descriptors before the attack.
    pub(crate) fn descriptors_before(&self) -> usize {
        self.descriptors
    }

    /// A connection to the application that echoes.
    pub(crate) fn connect(&self) -> Client {
        Client::connect_to(self.address(), "/echo")
    }

    /// Waits until the witness has been served so many times more: whoever is starved fails here.
    pub(crate) fn witnessed(&self, rounds: usize) {
        self.witness_times(rounds);
    }

    /// The same. Gives how long it waited each time, the shortest first.
    pub(crate) fn witness_times(&self, rounds: usize) -> Vec<Duration> {
        self.witness.as_ref().expect("running").rounds(rounds)
    }

    /// Ends the witness while this runs, for a server that has nothing to do.
    pub(crate) fn unwitnessed(&mut self, run: impl FnOnce(&Self)) {
        let witness = self.witness.take().expect("running");
        witness.end(self.allowance);
        run(self);
        self.witness = Some(Witness::start(self.connect(), self.process.threads()));
    }

    /// The row makes the witness's core sleep in a callback for so long.
    pub(crate) fn allow(&mut self, time: Duration) {
        self.allowance = self.allowance.max(time);
    }

    /// Anonymous memory beyond that before the attack, in bytes.
    pub(crate) fn grown(&self) -> usize {
        self.process.memory().saturating_sub(self.memory)
    }

    /// The share of a processor that the server takes beside the witness, watched for so long.
    pub(crate) fn busy(&self, time: Duration) -> f64 {
        let (before, start) = (self.process.processor_time(), Instant::now());
        std::thread::sleep(time);
        let spent = self.process.processor_time() - before;
        spent.as_secs_f64() / start.elapsed().as_secs_f64()
    }

    /// How many log lines since the attack began hold a text.
    pub(crate) fn logged(&self, text: &str) -> usize {
        let log = self.process.log();
        let lines = log.iter().skip(self.lines);
        lines.filter(|line| line.contains(text)).count()
    }

    /// Waits until the log holds a text so many times, and makes sure that it stays so.
    #[track_caller]
    pub(crate) fn logs(&self, text: &str, times: usize) {
        eventually(&format!("{times} log lines with {text:?}"), || {
            self.logged(text) >= times
        });
        assert_eq!(
            self.logged(text),
            times,
            "{text:?} in {:#?}",
            self.process.log()
        );
    }

    /// After the attack, its connections closed: the witness was served throughout, descriptors are as many as before,
    /// memory is back within [`MEMORY`], nothing panicked.
    #[track_caller]
    pub(crate) fn over(self) {
        self.over_within(MEMORY);
    }

    /// The same, with a bound of the row's own on the memory that stays.
    #[track_caller]
    pub(crate) fn over_within(self, memory: usize) {
        assert_eq!(self.logged("panicked"), 0, "{:#?}", self.process.log());
        self.over_after_panics(memory);
    }

    /// The same, where the application was made to panic.
    #[track_caller]
    pub(crate) fn over_after_panics(mut self, memory: usize) {
        self.over = true;
        // It is served after the attack too.
        self.witnessed(3);
        eventually("descriptors come back", || {
            self.process.descriptors() <= self.descriptors
        });
        let mut grown = 0;
        let start = Instant::now();
        while start.elapsed() < PATIENCE / 4 {
            grown = self.grown();
            if grown <= memory {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(
            grown <= memory,
            "{} KiB stay, {} KiB may",
            grown >> 10,
            memory >> 10
        );
        self.witness.take().expect("running").end(self.allowance);
        assert!(self.process.is_running());
    }

    /// Descriptors once nothing of the warm-up is left.
    fn settled_descriptors(&self) -> usize {
        let mut seen = (self.process.descriptors(), Instant::now());
        let start = Instant::now();
        while seen.1.elapsed() < Duration::from_millis(30) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.process.descriptors();
            if now != seen.0 {
                seen = (now, Instant::now());
            }
        }
        seen.0
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        assert!(
            self.over || std::thread::panicking(),
            "a row ends with what holds after the attack"
        );
    }
}
