//! The figures of a run by the names that users type: `p99`, `tcp.p99.9`, `cpu`, `rss/conn`.
//!
//! A figure is looked up in `summary.json`, so that runs of other versions have it, too; a test holds the places against
//! `summary.schema.json`.

mod catalogue;

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde_json::Value;

use super::unit::Unit;
use crate::cli::Common;
use crate::stats::latency::Latency;
use catalogue::{FAMILIES, SCALARS};

/// One figure of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Figure {
    /// One that stands for itself.
    Scalar(&'static Scalar),
    /// One of a distribution.
    Of(&'static Family, Statistic),
}

/// A figure that stands for itself.
#[derive(Debug, PartialEq)]
pub(crate) struct Scalar {
    /// What users type.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    unit: Unit,
    better: Better,
    place: Place,
    source: Source,
}

/// A distribution of times.
#[derive(Debug, PartialEq)]
pub(crate) struct Family {
    /// What users type before the statistic, with its dot; empty for the latency that a command is about.
    pub(crate) prefix: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Where it lies in a summary.
    places: &'static [&'static str],
    source: Source,
}

/// A figure of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statistic {
    /// Shortest.
    Min,
    /// Arithmetic mean.
    Mean,
    /// So many hundredths are at most as long.
    Percentile(f64),
    /// Longest.
    Max,
}

/// In which direction a figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// A rate.
    Higher,
    /// A cost or a time.
    Lower,
}

/// Where a scalar lies in a summary. Paths are separated by dots.
#[derive(Debug, PartialEq)]
enum Place {
    /// At the first of these that is there.
    First(&'static [&'static str]),
    /// The sum of those of these that are there.
    Sum(&'static [&'static str]),
    /// `(first - second) / third`.
    Growth(&'static str, &'static str, &'static str),
}

/// What has to be there for a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    commands: &'static [&'static str],
    server: bool,
}

/// What is known of a run before it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// The command, as in a summary; for a scenario, which kind of one.
    pub(crate) command: &'static str,
    /// The server's process is given.
    pub(crate) server: bool,
    /// Messages, or connections, have times at which they are due.
    pub(crate) rate: bool,
    /// The highest rate is searched for.
    pub(crate) search: bool,
}

/// A run that figures are taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures<'a> {
    /// Its summary.
    pub(crate) summary: &'a Value,
    /// All latencies of its window, corrected and uncorrected, where they are at hand: for any percentile.
    pub(crate) latencies: [Option<&'a Latency>; 2],
}

/// The figure that a search has.
const MAX_RATE: &str = "max-rate";

/// Statistics that every summary has, by the names in it.
const SUMMARIZED: [(Statistic, &str); 7] = [
    (Statistic::Min, "min"),
    (Statistic::Mean, "mean"),
    (Statistic::Percentile(50.0), "p50"),
    (Statistic::Percentile(90.0), "p90"),
    (Statistic::Percentile(99.0), "p99"),
    (Statistic::Percentile(99.9), "p99_9"),
    (Statistic::Max, "max"),
];

impl Outlook {
    /// Of a command with these flags.
    pub(crate) fn new(command: &'static str, common: &Common, rate: bool) -> Self {
        Self {
            command,
            server: !common.server_pid.is_empty(),
            rate,
            search: !common.gates.find_max.is_empty(),
        }
    }
}

impl Figure {
    /// What it is measured in.
    pub(crate) fn unit(&self) -> Unit {
        match self {
            Self::Scalar(scalar) => scalar.unit,
            Self::Of(..) => Unit::Time,
        }
    }

    /// In which direction it improves.
    pub(crate) fn better(&self) -> Better {
        match self {
            Self::Scalar(scalar) => scalar.better,
            Self::Of(..) => Better::Lower,
        }
    }

    /// Whether the command will measure it.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub(crate) fn check(&self, run: &Outlook) -> Result<(), String> {
        let source = self.source();
        if !source.commands.contains(&run.command) {
            let known: Vec<String> = names()
                .filter(|figure| figure.source().commands.contains(&run.command))
                .map(|figure| figure.to_string())
                .collect();
            return Err(format!(
                "{} does not measure {self}; it measures {}",
                run.command,
                known.join(", ")
            ));
        }
        if source.server && !run.server {
            return Err(format!("{self} is the server's: pass --server-pid"));
        }
        match self {
            Self::Scalar(_) if self.is_max_rate() && !run.search => {
                Err(format!("{self} is what --find-max finds"))
            }
            Self::Of(family, _) if family.prefix == "uncorrected." && !run.rate => Err(format!(
                "{self} is what it is without the prefix; they differ with -r only"
            )),
            Self::Of(family, Statistic::Percentile(_)) if !self.summarized() => {
                match histogram_of(family) {
                    Some(_) => Ok(()),
                    None => Err(format!(
                        "of {}* there are p50, p90, p99 and p99.9, but not {self}",
                        family.prefix
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    /// Whether it is what a search finds, which no run of a search has.
    pub(crate) fn is_max_rate(&self) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.name == MAX_RATE)
    }

    /// Its value in a run, in the unit's base: microseconds, bytes, shares of 1. `None` where it was not measured.
    pub(crate) fn value(&self, run: &Figures<'_>) -> Option<f64> {
        let value = match self {
            Self::Scalar(scalar) => scalar.place.value(run.summary),
            Self::Of(family, statistic) => family.value(*statistic, run),
        };
        value.filter(|value| value.is_finite())
    }

    fn source(&self) -> Source {
        match self {
            Self::Scalar(scalar) => scalar.source,
            Self::Of(family, _) => family.source,
        }
    }

    /// Whether every summary has it: histograms are not read for a comparison.
    pub(crate) fn summarized(&self) -> bool {
        match self {
            Self::Scalar(_) => true,
            Self::Of(_, statistic) => SUMMARIZED.iter().any(|(known, _)| known == statistic),
        }
    }
}

/// Which of the latencies at hand are a family's.
fn histogram_of(family: &Family) -> Option<usize> {
    ["", "uncorrected."]
        .iter()
        .position(|prefix| *prefix == family.prefix)
}

impl Family {
    fn value(&self, statistic: Statistic, run: &Figures<'_>) -> Option<f64> {
        let field = SUMMARIZED.iter().find(|(known, _)| *known == statistic);
        let Some((_, field)) = field else {
            let latency = run.latencies[histogram_of(self)?]?;
            let Statistic::Percentile(percent) = statistic else {
                return None;
            };
            return latency.percentile(percent);
        };
        let place = |place: &&str| at(run.summary, place)?.get(field)?.as_f64();
        self.places.iter().find_map(place)
    }
}

impl Place {
    fn value(&self, summary: &Value) -> Option<f64> {
        let number = |path: &str| at(summary, path)?.as_f64();
        match self {
            Self::First(paths) => paths.iter().find_map(|path| number(path)),
            Self::Sum(paths) => paths
                .iter()
                .filter_map(|path| number(path))
                .reduce(|sum, one| sum + one),
            Self::Growth(after, before, count) => {
                Some((number(after)? - number(before)?) / number(count)?)
            }
        }
    }
}

/// What lies at a path with dots.
fn at<'a>(summary: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(summary, |value, name| value.get(name))
}

/// Every figure by name, with the percentiles that summaries have.
pub(crate) fn names() -> impl Iterator<Item = Figure> {
    let families = FAMILIES.iter().flat_map(|family| {
        SUMMARIZED
            .iter()
            .map(move |(statistic, _)| Figure::Of(family, *statistic))
    });
    families.chain(SCALARS.iter().map(Figure::Scalar))
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(scalar) = SCALARS.iter().find(|scalar| scalar.name == name) {
            return Ok(Self::Scalar(scalar));
        }
        // The family without a prefix fits every name, so it comes last.
        let families = FAMILIES[1..].iter().chain(&FAMILIES[..1]);
        for family in families {
            let statistic = name.strip_prefix(family.prefix).and_then(statistic);
            if let Some(statistic) = statistic {
                return Ok(Self::Of(family, statistic));
            }
        }
        Err(unknown(name))
    }
}

fn statistic(name: &str) -> Option<Statistic> {
    match name {
        "min" => Some(Statistic::Min),
        "mean" => Some(Statistic::Mean),
        "max" => Some(Statistic::Max),
        _ => {
            let digits = name.strip_prefix('p')?;
            let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let percent: f64 = digits.parse().ok().filter(|_| plain)?;
            (percent > 0.0 && percent < 100.0).then_some(Statistic::Percentile(percent))
        }
    }
}

/// Names that an error tells.
const NEAREST: usize = 5;

fn unknown(name: &str) -> String {
    let mut known: Vec<String> = names().map(|figure| figure.to_string()).collect();
    // Stable: names that are equally near keep their order.
    known.sort_by(|one, other| {
        strsim::jaro_winkler(other, name).total_cmp(&strsim::jaro_winkler(one, name))
    });
    known.truncate(NEAREST);
    format!(
        "no figure is called {name:?}; the nearest are {} (any percentile goes, such as p99.99; the manual has all: \
         bench-harness/README.md, Gates)",
        known.join(", ")
    )
}

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => f.write_str(scalar.name),
            Self::Of(family, statistic) => match statistic {
                Statistic::Min => write!(f, "{}min", family.prefix),
                Statistic::Mean => write!(f, "{}mean", family.prefix),
                Statistic::Percentile(percent) => write!(f, "{}p{percent}", family.prefix),
                Statistic::Max => write!(f, "{}max", family.prefix),
            },
        }
    }
}

#[cfg(test)]
mod tests;
