//! Flags of every command that sends messages: how long, and in an open loop how many.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::client::schedule::Course;
use crate::error::BenchError;
use crate::units::{self, Rate};

/// Ticks of a measurement at least: with fewer, whether one more falls into it decides what the rate is.
const TICKS: u32 = 40;

/// When messages are sent, and how the run is judged.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub(crate) struct PaceArgs {
    /// Time to measure, after the warm-up.
    #[arg(short = 'z', visible_short_alias = 'd', long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) duration: Duration,
    /// Time under load before the measurement; not in the figures.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Messages sent per second, in total over all connections: an open loop, whose latencies count from the time a message
    /// was due. FROM..TO, such as 0..50k, climbs evenly over the measurement. Without it the loop is closed.
    #[arg(short, long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) rate: Option<Rate>,
    /// Before the warm-up, climb evenly from no messages to the rate of -r for this time.
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "rate")]
    pub(crate) ramp: Option<Duration>,
    /// Messages fall due together, once in this time, as those of a game do: at 2k and 50ms, 100 at once. Default: evenly
    /// one after the other.
    #[arg(long, value_name = "TIME", value_parser = units::duration, requires = "rate")]
    pub(crate) tick: Option<Duration>,
    /// Judge the run by server processor time per message or delivery only: a saturated client does not spoil it.
    #[arg(long, requires = "server_pid")]
    pub(crate) cost: bool,
    /// Poll instead of sleeping, so that the client's own wake-ups are not in the latencies, and the server does not have to wake it: for
    /// round trips with few connections. Whether the client was the limit cannot be told then, hence --cost.
    #[arg(long, requires = "cost")]
    pub(crate) busy_poll: bool,
}

impl PaceArgs {
    /// The course of a run.
    pub(crate) fn course(&self) -> Course {
        Course {
            rate: self.rate,
            ramp: self.ramp.unwrap_or_default(),
            tick: self.tick.unwrap_or_default(),
            warmup: self.warmup,
            duration: self.duration,
        }
    }

    /// The same at another rate, and for another time when one is given.
    pub(crate) fn at_rate(&self, rate: u64, length: Option<Duration>) -> Self {
        Self {
            rate: Some(rate.into()),
            duration: length.unwrap_or(self.duration),
            ..self.clone()
        }
    }

    /// Refuses what cannot be measured.
    ///
    /// # Errors
    /// Ticks that are too far apart.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        if self
            .tick
            .is_some_and(|tick| tick.is_zero() || tick * TICKS > self.duration)
        {
            let problem = "--tick is more than nothing, and at most a fortieth of --duration";
            return Err(BenchError::usage(problem));
        }
        Ok(())
    }
}
