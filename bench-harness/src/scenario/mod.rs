//! `scenario`: several kinds of load side by side, in phases, from a small TOML file.
//!
//! A file has a title, roles, which are played side by side, and phases, which follow one another for all roles. There is no
//! script: what a file can say stands here.
//!
//! ```toml
//! title = "Chat"
//!
//! [[role]]                          # connections that do the same
//! name = "talkers"
//! kind = "echo"                     # echo | broadcast | idle | churn
//! connections = 500                 # at most; counts take k and m: "1.5k"
//! path = "/echo"                    # default: the URL's
//! rate = "2k"                       # messages per second, of the whole role
//! size = 256                        # payload bytes; sizes take k, m and g: "1k". Default 128
//! payload = "json"                  # random (default) | zero | json | text; the last two are sent as text
//! text = false                      # echo only: text instead of binary
//! hello = "Ada"                     # text messages that every connection sends first: one, or a list
//! skip = 2                          # so many messages of the server come first on every connection, and do not count. Default 0
//!
//! [[role]]
//! name = "rooms"
//! kind = "broadcast"
//! connections = 1000                # subscribers; churn: connections at a time
//! topics = 20                       # default 1. {topic} in the paths is 0, 1, …: connections take turns
//! path = "/topics?sub=room-{topic}"
//! publishers = 20                   # connections that only publish, always open (default: one per topic), or "all": the subscribers
//! publish_path = "/topics?pub=room-{topic}"
//! rate = 60                         # messages published per second, in all topics together
//!
//! [[role]]
//! name = "visitors"
//! kind = "churn"
//! connections = 100                 # at a time
//! rate = 10                         # new connections per second
//! messages = 2                      # each has so many echoed, one after the other (default 0)…
//! hold = "2s"                       # …stays for so long (default 0s), and closes
//!
//! [[phase]]
//! name = "morning"
//! duration = "10s"
//! rate = { from = 0.2, to = 1 }     # share of every role's rate, evenly from … to; or one number
//! connections = { from = 0.5, to = 1 } # share of the connections that are open: on the way up they are dialled, on the way down closed
//! measure = false                   # not in the figures; for phases before all others, or after them. Default true
//! role.visitors = { rate = 5 }      # what is different for one role in this phase: rate, connections
//! ```
//!
//! A share that a phase does not give stays as the phase before it ended, for all roles; the first has everything. What is different for
//! one role holds for that phase alone: in the next one it is back at everybody's share. Shares of the rate may be more than 1.
//! Rates are open loops: every message has a time at which it is due, and its latency counts from then. For churn it is the time from when a
//! connection is due until it is open. Idle roles have no rate.
//!
//! # How it is played
//!
//! Every thread plays its share of every role, on one ring: one [`ensemble::Ensemble`], whose slots belong to the roles one after the other. So a client
//! of one core needs no more threads than any other command has, the thread's saturation is the client's as everywhere, and roles do not
//! compete for a processor in a way that looks like others starving them.
//!
//! Threads may be of several processes. Then subscribers and publishers of a topic are in different ones, and what a subscriber
//! has to receive follows from counts of what publishers have sent ([`crate::agents::Census`]), which processes tell each other when
//! a subscriber has come in the middle, and at the end ([`roles::audience`]).

mod account;
pub(crate) mod charts;
mod course;
mod curve;
mod ensemble;
mod examples;
pub(crate) mod figures;
mod file;
mod fleet;
mod judging;
mod openings;
mod partings;
mod plan;
mod role_figures;
mod roles;
mod run;
mod summarize;
pub(crate) mod table;
mod timeline;

use std::fs;
use std::io::{self, Write as _};

use crate::cli::ScenarioArgs;
use crate::error::{BenchError, Verdict};
use crate::session;
use plan::Plan;
use run::Play;
use serde::{Deserialize, Serialize};

/// A scenario with its flags: all that a process has to know to play its part, wherever it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    args: ScenarioArgs,
    /// The file's.
    text: String,
}

/// Prints what was asked for, or plays a scenario.
///
/// # Errors
/// A file that is not there or not a scenario, and everything that stops a run.
pub(crate) fn run(args: &ScenarioArgs) -> Result<Verdict, BenchError> {
    if let Some(name) = &args.print_example {
        let text = examples::find(name).map_err(BenchError::usage)?;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(Verdict::Valid);
    }
    let script = Script::read(args)?;
    let play = script.play()?;
    if args.check {
        io::stdout().write_all(timeline::of(&play.plan).as_bytes())?;
        return Ok(Verdict::Valid);
    }
    session::run(&play)
}

impl Script {
    fn read(args: &ScenarioArgs) -> Result<Self, BenchError> {
        let args = args.clone();
        let text = text(args.name())?;
        Ok(Self { args, text })
    }

    /// Works it out, with the paths of the command line.
    ///
    /// # Errors
    /// A text that is no scenario, and paths that do not fit it.
    pub(crate) fn play(&self) -> Result<Play<'_>, BenchError> {
        let plan = Plan::parse(&self.text, self.args.scale);
        let wrong = |wrong| BenchError::usage(format!("{}, {wrong}", self.args.name()));
        let mut plan = plan.map_err(wrong)?;
        for change in &self.args.path {
            plan.change_path(change).map_err(BenchError::usage)?;
        }
        Ok(Play { script: self, plan })
    }
}

/// The file's text, or that of the example of this name.
fn text(name: &str) -> Result<String, BenchError> {
    match fs::read_to_string(name) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !name.contains(['/', '.']) => {
            let example = examples::find(name).map(str::to_owned);
            example.map_err(|error| {
                BenchError::usage(format!("there is no file `{name}`, and {error}"))
            })
        }
        Err(error) => Err(BenchError::usage(format!("{name}: {error}"))),
    }
}
