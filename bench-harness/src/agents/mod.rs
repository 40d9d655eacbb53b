//! A run put on from several processes, of this machine or of others.
//!
//! An *agent* (`corecast-bench agent`, [`listen`]) does the load of some of the run's threads; the *coordinator* is the
//! process that the user started. It tells each agent the command and which threads of the run are its own ([`remote`]),
//! and stands in for them at the rendezvous, so that commands know nothing of processes: numbers, shares, seeds
//! and due times are those of the whole run. Its agents are named by the user, or are children of its own
//! ([`children`]). An agent in a run relays between its threads and the coordinator ([`post`]).
//!
//! In a scenario, what subscribers of one process should receive from publishers of another is known by counts that agents
//! tell each other ([`census`]) through the coordinator ([`exchange`]); within a process, threads share them.
//!
//! Times of a run are nanoseconds since an epoch that all share: agents of the same machine have the same monotonic
//! clock, the clocks of others are compared with the coordinator's when they join.

pub(crate) mod census;
mod children;
pub(crate) mod crew;
pub(crate) mod exchange;
pub(crate) mod listen;
mod order;
pub(crate) mod post;
mod protocol;
pub(crate) mod remote;
mod secret;

pub(crate) use census::Census;
pub(crate) use crew::Crew;
pub(crate) use order::Order;
pub(crate) use post::Post;
