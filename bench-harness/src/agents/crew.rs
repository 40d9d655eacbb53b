//! Who puts the load on: threads of this process, or agents.

use std::str::FromStr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::census::Sent;
use super::children::Child;
use super::exchange::Exchange;
use super::remote::{Ears, Remote};
use super::secret::Secret;
use super::{Order, Post};
use crate::cli::Common;
use crate::client::team::{self, Conductor, Places, Reach, Seat, Sum};
use crate::clock::{Clock, Nanos};
use crate::cores::Aside;
use crate::error::BenchError;
use crate::limits;
use crate::report::summary::{AgentPart, micros};
use crate::telemetry::progress::Progress;

/// Children at most: each has a share of the machine's memory and processors.
const MOST_CHILDREN: u64 = 256;

/// `--processes`: how many processes put the load on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Processes {
    /// This one, or as many as needed for the descriptors.
    #[default]
    Auto,
    /// So many children; with 1, this process.
    Count(u64),
}

/// Who puts the load on.
#[derive(Debug)]
pub(crate) enum Crew {
    /// Threads of this process: all those of the run, or an agent's.
    Threads(Places),
    /// Other processes.
    Agents(Vec<Agent>),
}

/// One other process.
#[derive(Debug)]
pub(crate) struct Agent {
    // The connection comes first: a child that has lost it ends by itself.
    remote: Remote,
    /// The processors of its threads.
    cores: Vec<usize>,
    child: Option<Child>,
}

impl FromStr for Processes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse() {
            Ok(count @ 1..=MOST_CHILDREN) => Ok(Self::Count(count)),
            _ => Err(format!(
                "expected auto or a number from 1 to {MOST_CHILDREN}"
            )),
        }
    }
}

impl Crew {
    /// What the flags ask for, with room for so many connections.
    ///
    /// # Errors
    /// When an agent cannot be had, or cannot hold its share.
    pub(crate) fn new(common: &Common, connections: u64) -> Result<Self, BenchError> {
        let list = common.cores.as_ref();
        if !common.agents.is_empty() {
            // The processors are those of other machines, which check them.
            let cores = list.map_or(&[][..], |list| list.numbers());
            return Self::join(&common.agents, cores, connections);
        }
        let cores = list.map_or(Ok(&[][..]), |list| list.checked())?;
        let processes = match common.processes {
            Processes::Auto => limits::processes_for(connections)?,
            Processes::Count(count) => count,
        };
        // More than that many children is no remedy: the error then says what is.
        if processes == 1 || processes > MOST_CHILDREN {
            limits::allow_connections(connections)?;
            return Ok(Self::Threads(Places::alone(cores)));
        }
        let crew = Self::Agents(bear(processes as usize, cores)?);
        crew.check(connections)?;
        Ok(crew)
    }

    /// This process is an agent.
    ///
    /// # Errors
    /// When it cannot hold its share of so many connections, or has not the processors asked for.
    pub(crate) fn at(post: &Post, common: &Common, connections: u64) -> Result<Self, BenchError> {
        let places = post.places();
        if let Some(list) = &common.cores {
            list.checked()?;
        }
        limits::allow_connections(share(connections, places.pins.len(), places.count))?;
        Ok(Self::Threads(places.clone()))
    }

    /// Threads in the run, in all processes.
    pub(crate) fn members(&self) -> usize {
        match self {
            Self::Threads(places) => places.count,
            Self::Agents(agents) => agents.iter().map(Agent::threads).sum(),
        }
    }

    /// The threads, when they are of this process.
    pub(crate) fn here(&self) -> Option<&Places> {
        match self {
            Self::Threads(places) => Some(places),
            Self::Agents(_) => None,
        }
    }

    /// Runs `work` on the threads, here or in agents, where `order` stands for it; and `conduct` here meanwhile.
    ///
    /// # Errors
    /// The first thing that went wrong on any of them.
    pub(crate) fn run<R: Send + DeserializeOwned, C>(
        &self,
        order: Order,
        clock: Clock,
        work: impl Fn(team::Member<'_>) -> Result<R, BenchError> + Sync,
        conduct: impl FnOnce(&Conductor<'_>) -> Result<C, BenchError>,
    ) -> Result<(Vec<R>, C), BenchError> {
        match self {
            Self::Threads(places) => {
                team::run(places, clock, work, |conductor, _| conduct(conductor))
            }
            Self::Agents(agents) => lead(agents, &order, clock, conduct),
        }
    }

    /// The summary's part about agents.
    pub(crate) fn parts(&self) -> Vec<AgentPart> {
        let Self::Agents(agents) = self else {
            return Vec::new();
        };
        let part = |agent: &Agent| AgentPart {
            name: agent.remote.name().to_owned(),
            threads: agent.threads(),
            cores: agent.cores.clone(),
            clock_error_us: micros(agent.remote.clock_error()),
            round_trip_us: micros(agent.remote.round_trip()),
        };
        agents.iter().map(part).collect()
    }

    /// The most that the clocks of two of the processes may be apart.
    pub(crate) fn clock_error(&self) -> Duration {
        let Self::Agents(agents) = self else {
            return Duration::ZERO;
        };
        let mut errors: Vec<Duration> = agents.iter().map(|it| it.remote.clock_error()).collect();
        errors.sort();
        errors.iter().rev().take(2).sum()
    }

    /// A few words about the processes, for whoever watches; empty for one.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Threads(_) => String::new(),
            Self::Agents(agents) => format!(" from {} processes", agents.len()),
        }
    }

    fn join(list: &[String], cores: &[usize], connections: u64) -> Result<Self, BenchError> {
        let secret = Secret::new(None);
        let join = |address: &String| {
            Ok(Agent {
                remote: Remote::join(address, address.clone(), &secret)?,
                cores: cores.to_vec(),
                child: None,
            })
        };
        let agents: Result<Vec<_>, BenchError> = list.iter().map(join).collect();
        let crew = Self::Agents(agents?);
        crew.check(connections)?;
        Ok(crew)
    }

    /// Every agent can hold its share.
    fn check(&self, connections: u64) -> Result<(), BenchError> {
        let Self::Agents(agents) = self else {
            return Ok(());
        };
        let members = self.members();
        for agent in agents {
            let (share, most) = (
                share(connections, agent.threads(), members),
                agent.remote.connections(),
            );
            if share > most {
                return Err(BenchError::usage(format!(
                    "agent {} can hold {most} connections for its descriptors, and would have to hold {share}: \
                     raise its hard limit (`ulimit -Hn`), or take more agents or --processes",
                    agent.remote.name()
                )));
            }
        }
        Ok(())
    }
}

impl Agent {
    /// Tells what all threads of the run have contributed.
    pub(super) fn tell_total(&self, sum: u64) -> Result<(), BenchError> {
        self.remote.tell_total(sum)
    }

    /// Asks how much its publishers have sent.
    pub(super) fn ask_for_a_count(&self) -> Result<(), BenchError> {
        self.remote.ask_for_a_count()
    }

    /// Tells how much publishers have sent, and of what time all is known then.
    pub(super) fn tell_counts(
        &self,
        sent: &[Sent],
        known: Option<Nanos>,
    ) -> Result<(), BenchError> {
        self.remote.tell_counts(sent, known)
    }

    fn threads(&self) -> usize {
        self.cores.len().max(1)
    }
}

/// Starts so many children, among which `cores` are dealt out in turn.
fn bear(count: usize, cores: &[usize]) -> Result<Vec<Agent>, BenchError> {
    let secret = Secret::draw()?;
    // All begin to start before the first one is waited for.
    let children: Result<Vec<_>, _> = (0..count).map(|_| Child::start(&secret)).collect();
    let agent = |(number, mut child): (usize, Child)| {
        let address = child.address()?;
        let name = format!("{} (process {})", number + 1, child.id());
        Ok(Agent {
            remote: Remote::join(&address, name, &secret)?,
            cores: dealt(cores, number, count),
            child: Some(child),
        })
    };
    children?.into_iter().enumerate().map(agent).collect()
}

/// The processors of process `number` of `count`: its share of them; where there are fewer than processes, one, which it
/// shares with others.
fn dealt(cores: &[usize], number: usize, count: usize) -> Vec<usize> {
    if cores.is_empty() {
        return Vec::new();
    }
    if cores.len() < count {
        return vec![cores[number % cores.len()]];
    }
    cores.iter().copied().skip(number).step_by(count).collect()
}

/// The most of `total` things that `threads` of `members` have to hold, dealt out in turn.
fn share(total: u64, threads: usize, members: usize) -> u64 {
    total
        .div_ceil(members as u64)
        .saturating_mul(threads as u64)
}

/// The processors of this machine that agents have to themselves.
fn pinned_here(agents: &[Agent]) -> Vec<usize> {
    let children = agents.iter().filter(|agent| agent.child.is_some());
    children.flat_map(|agent| agent.cores.clone()).collect()
}

/// Has the agents run `order`, and conducts them.
fn lead<R: Send + DeserializeOwned, C>(
    agents: &[Agent],
    order: &Order,
    clock: Clock,
    conduct: impl FnOnce(&Conductor<'_>) -> Result<C, BenchError>,
) -> Result<(Vec<R>, C), BenchError> {
    let count = agents.iter().map(Agent::threads).sum();
    let progress: Vec<Progress> = (0..count).map(|_| Progress::default()).collect();
    let (sum, exchange) = (Sum::new(agents.len(), false), Exchange::new(agents.len()));
    let (sum, exchange, mut rest, mut first) = (&sum, &exchange, &progress[..], 0);
    thread::scope(|scope| {
        let (mut seats, mut listeners, mut started) = (Vec::new(), Vec::new(), Ok(()));
        for (number, agent) in agents.iter().enumerate() {
            let (mine, others) = rest.split_at(agent.threads());
            rest = others;
            let (reports, their_reports) = channel();
            let (looks, their_looks) = channel();
            seats.push(Seat {
                reports: their_reports,
                reach: Reach::Agent(&agent.remote, their_looks),
            });
            let ears = Ears {
                clock,
                progress: mine,
                reports,
                looks,
                sum,
                team: agents,
                number,
                exchange,
            };
            listeners.push(scope.spawn(move || agent.remote.listen(&ears)));
            let cores = agent.cores.clone();
            started = started.and_then(|()| agent.remote.start(order, clock, cores, first, count));
            first += agent.threads();
        }
        let conductor = Conductor::new(seats, &progress);
        let conducted = started.and_then(|()| {
            let _aside = Aside::from(&pinned_here(agents));
            conduct(&conductor)
        });
        match conducted {
            Ok(_) => agents
                .iter()
                .for_each(|agent| agent.remote.expect_the_outcome()),
            Err(_) => agents.iter().for_each(|agent| agent.remote.end()),
        }
        drop(conductor);
        let listened = listeners.into_iter().map(|listener| {
            let outcomes: Result<Vec<R>, BenchError> = listener
                .join()
                .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked));
            if outcomes.is_err() {
                // The others need not go on.
                agents.iter().for_each(|agent| agent.remote.end());
            }
            outcomes
        });
        let (outcomes, conducted) = team::combine(listened.collect(), conducted)?;
        Ok((outcomes.into_iter().flatten().collect(), conducted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_dealt_out() {
        assert!(dealt(&[], 1, 3).is_empty());
        assert_eq!(dealt(&[4, 5, 6], 0, 2), [4, 6]);
        assert_eq!(dealt(&[4, 5, 6], 1, 2), [5]);
        assert_eq!(dealt(&[4, 5], 2, 3), [4]);
    }

    #[test]
    fn shares_are_rounded_up() {
        assert_eq!(share(100_000, 1, 6), 16_667);
        assert_eq!(share(10, 2, 4), 6);
    }

    #[test]
    fn numbers_of_processes() {
        assert_eq!("auto".parse(), Ok(Processes::Auto));
        assert_eq!("6".parse(), Ok(Processes::Count(6)));
        for text in ["0", "257", "-1", "many"] {
            assert!(text.parse::<Processes>().is_err(), "{text}");
        }
    }
}
