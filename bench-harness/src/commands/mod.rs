//! The commands. Each sets a team to work, measures around it, and delivers a summary.

pub(crate) mod broadcast;
pub(crate) mod connect;
mod crew_load;
pub(crate) mod echo;
mod findings;
pub(crate) mod floor;
pub(crate) mod idle;
pub(crate) mod manual;
pub(crate) mod opening;

use std::iter;
use std::net::SocketAddr;

use corecast_protocol::Opcode;

use crate::agents::{Crew, Post};
use crate::cli::Common;
use crate::client::links::Links;
use crate::client::sources::Sources;
use crate::client::team::Member;
use crate::client::upgrade::Wishes;
use crate::error::BenchError;
use crate::procfs::Watch;
use crate::report::summary::Parameters;
use crate::rng::Rng;
use crate::target::{Target, Wire};
use crate::telemetry::monitor::Plan;
use crate::telemetry::syscalls::SyscallMode;

/// What every load command finds out first.
pub(crate) struct Setup<'a> {
    common: &'a Common,
    /// The server's addresses, which threads take in turn.
    servers: Vec<Place>,
    /// Processors named by the user.
    pub(crate) cores: Vec<usize>,
    /// Who puts the load on.
    pub(crate) crew: Crew,
    /// The server.
    pub(crate) watch: Option<Watch>,
    /// Connections that exist at once, for source addresses.
    pub(crate) connections: u64,
    /// The run's number: the coordinator's process.
    pub(crate) run: u32,
}

/// Where a server listens.
struct Place {
    target: Target,
    address: SocketAddr,
    wishes: Wishes,
}

/// How a summary names an opcode of data.
fn opcode_name(opcode: Opcode) -> &'static str {
    if opcode == Opcode::Text {
        "text"
    } else {
        "binary"
    }
}

/// The addresses of the URL and of --also.
fn servers(common: &Common) -> Result<Vec<Place>, BenchError> {
    let reaches = |address: &SocketAddr| common.source_ip.reaches(address);
    let also = common.also.iter();
    let targets = iter::once(common.target.clone()).chain(also.map(|at| common.target.at(at)));
    let place = |target: Target| {
        let wishes = Wishes::new(&target, &common.handshake).map_err(BenchError::usage)?;
        let address = target.resolve(reaches)?;
        Ok(Place {
            target,
            address,
            wishes,
        })
    };
    targets.map(place).collect()
}

fn watch(pids: &[u32], syscalls: SyscallMode) -> Result<Watch, BenchError> {
    let watch = Watch::new(pids);
    let mut watch = watch.map_err(|error| BenchError::usage(format!("--server-pid {error}")))?;
    if syscalls == SyscallMode::Off {
        return Ok(watch);
    }
    if let Err(error) = watch.count_syscalls() {
        let text = format!("system calls cannot be counted: {error}");
        if syscalls == SyscallMode::Require {
            return Err(BenchError::runtime(text));
        }
        eprintln!("corecast-bench: note: {text}");
    }
    Ok(watch)
}

impl<'a> Setup<'a> {
    /// Looks the server up, and whether so many connections can be had.
    pub(crate) fn new(common: &'a Common, connections: u64) -> Result<Self, BenchError> {
        if connections > u64::from(u32::MAX) {
            return Err(BenchError::usage("that many connections cannot be counted"));
        }
        if common.target.wire == Wire::Raw && !common.handshake.is_empty() {
            let problem = "--subprotocol, --header, --origin, --hello, --answer and --ignore are for WebSockets: use ws://";
            return Err(BenchError::usage(problem));
        }
        let pids = &common.server_pid;
        let (servers, crew) = (servers(common)?, Crew::new(common, connections)?);
        if servers.len() > crew.members() {
            return Err(BenchError::usage(format!(
                "the server has {} addresses (--also), for {} threads: take more of --cores or --processes",
                servers.len(),
                crew.members()
            )));
        }
        let setup = Self {
            common,
            servers,
            cores: common.core_list(),
            crew,
            watch: if pids.is_empty() {
                None
            } else {
                Some(watch(pids, common.syscalls)?)
            },
            connections,
            run: std::process::id(),
        };
        setup.note_lines_that_repeat();
        Ok(setup)
    }

    /// The same for an agent's part of the run.
    pub(crate) fn at(
        post: &Post,
        common: &'a Common,
        connections: u64,
    ) -> Result<Self, BenchError> {
        Ok(Self {
            common,
            servers: servers(common)?,
            cores: common.core_list(),
            crew: Crew::at(post, common, connections)?,
            watch: None,
            connections,
            run: post.run_number(),
        })
    }

    /// Connections are made to these paths, too: the files that their placeholders name are read.
    fn learn(&mut self, paths: &[&str]) -> Result<(), BenchError> {
        let all = |place: &mut Place| paths.iter().try_for_each(|path| place.wishes.learn(path));
        let learned = self.servers.iter_mut().try_for_each(all);
        learned.map_err(BenchError::usage)
    }

    /// Tells when several connections have the same line of a file.
    fn note_lines_that_repeat(&self) {
        let placeholders = self.servers[0].wishes.placeholders();
        for (file, lines) in placeholders.shorter_than(self.connections) {
            eprintln!(
                "corecast-bench: note: {file} has {lines} lines for {} connections, which take them in turn",
                self.connections
            );
        }
    }

    /// Threads that put the load on, in all processes.
    fn members(&self) -> usize {
        self.crew.members()
    }

    /// Every thread has at least one of so many things.
    fn enough_for_all(&self, total: u64, thing: &str) -> Result<(), BenchError> {
        let members = self.members();
        if total < members as u64 {
            return Err(BenchError::usage(format!(
                "each of the --cores, and of --processes or --agents, needs at least one {thing}: there are {total} for \
                 {members} threads"
            )));
        }
        Ok(())
    }

    /// What every command was asked for.
    pub(crate) fn parameters(&self) -> Parameters {
        let flags = &self.common.handshake;
        let names = flags.header.iter().map(|header| header.name.clone());
        let given = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let several = |count: usize| (count > 0).then_some(count as u64);
        Parameters {
            subprotocols: given(flags.subprotocol.clone()),
            origin: flags.origin.clone(),
            headers: given(names.collect()),
            answers: given(flags.answer.iter().map(ToString::to_string).collect()),
            ignored: given(flags.ignore.clone()),
            hello: (!flags.hello.is_empty()).then_some(flags.hello.len() as u64),
            also: several(self.common.also.len()),
            processes: several(self.crew.parts().len()),
            syscalls: self
                .watch
                .as_ref()
                .is_some_and(Watch::counts_syscalls)
                .then_some(true),
            cores: self.cores.clone(),
            seed: self.common.seed,
            ..Parameters::default()
        }
    }

    /// What is run, for whoever watches.
    pub(crate) fn plan(&self, command: &str, connections: u64, rate: Option<u64>) -> Plan {
        Plan {
            title: format!("{command} {}{}", self.common.target, self.crew.described()),
            things: match command {
                "broadcast" => "deliveries",
                "connect" => "connections",
                _ => "messages",
            },
            connections,
            rate,
        }
    }

    /// The connections of one thread.
    pub(crate) fn links<'m>(
        &self,
        member: &Member<'m>,
        slots: usize,
    ) -> Result<Links<'m>, BenchError> {
        // Stream 0 is the payload's; each thread starts at another source address.
        let rng = Rng::new(self.common.seed, 1 + member.index as u64);
        let server = &self.servers[member.index % self.servers.len()];
        let sources = Sources::new(
            &self.common.source_ip,
            server.address,
            self.connections,
            member.index,
        );
        Links::new(
            &server.target,
            server.wishes.clone(),
            server.address,
            sources,
            slots,
            rng,
            member,
        )
    }
}
