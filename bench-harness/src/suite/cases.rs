//! What is measured: the cases, each a table of its own, with who takes part in it.

use super::contestants::{Contestant, Mode};
use super::metrics::{self, Metric};

/// A command of the harness, as a case uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Echo,
    Broadcast,
    /// `connect --churn`.
    Churn,
    Idle,
}

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// By which users and folders name it.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) load: Load,
    /// That exist at once.
    pub(crate) connections: u64,
    /// Payload bytes.
    pub(crate) size: u64,
    /// Flags of the harness beside those two.
    pub(crate) flags: Vec<&'static str>,
    /// Who takes part.
    pub(crate) field: Field,
    /// The first is what contestants are compared by; lower is better.
    pub(crate) metrics: &'static [Metric],
    /// Processors of the server.
    pub(crate) cores: usize,
    /// The curve that it is a point of, and where on it.
    pub(crate) curve: Option<(Curve, f64)>,
}

/// Who takes part in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// All that echo.
    All,
    /// The same, and Corecast polling.
    Polling,
    /// All that answer an upgrade.
    WebSocket,
    /// All that send to all.
    FanOut,
    /// Those who compress.
    Deflate,
    /// One server, with the harness's live screen and without.
    Screen,
    /// Corecast, its floor, Bun, and the user's own.
    Few,
    /// The same of those that send to all.
    FewFanOut,
    /// Those that can be told how many processors to use.
    Scaling,
}

/// A scaling curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    Connections,
    Subscribers,
    Cores,
    Payload,
}

/// One server in a case: what is started, and what its runs have beside the case's flags.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) label: String,
    /// The [`Contestant`]'s name.
    pub(crate) contestant: String,
    /// Added to the server's command line.
    pub(crate) server: &'static [&'static str],
    /// Added to the harness's.
    pub(crate) bench: &'static [&'static str],
    /// The same server with room for hardly any connection: one that sets memory aside before they come is charged for it.
    /// Empty for those that do not.
    pub(crate) empty: &'static [&'static str],
    /// The harness has a terminal to draw on.
    pub(crate) screen: bool,
}

impl Case {
    /// What the servers have to do.
    pub(crate) fn mode(&self) -> Mode {
        match self.load {
            Load::Broadcast => Mode::Broadcast { payload: self.size },
            _ => Mode::Echo,
        }
    }

    /// Publishers are no subscribers.
    pub(crate) fn publishes_apart(&self) -> bool {
        self.load == Load::Broadcast && !self.flags.contains(&"--all-publish")
    }

    /// Those of the contestants that take part, in their order. A quick suite leaves out what differs little from others.
    pub(crate) fn entrants(&self, contestants: &[Contestant], quick: bool) -> Vec<Entrant> {
        if self.field == Field::Screen {
            return contestants
                .first()
                .map(screens)
                .into_iter()
                .flatten()
                .collect();
        }
        let first = |it: &Contestant| !it.is_variant() && !it.is_second_floor();
        let takes_part = |it: &&Contestant| self.field.has(it) && (!quick || first(it));
        contestants
            .iter()
            .filter(takes_part)
            .map(|it| self.entrant(it))
            .collect()
    }

    fn entrant(&self, it: &Contestant) -> Entrant {
        let corecast = it.is_corecast() || it.is_variant();
        let mut entrant = Entrant::new(&it.name, it);
        if self.field == Field::Deflate {
            entrant.bench = &["--deflate"];
            entrant.server = if corecast {
                &["--deflate", "shared"]
            } else {
                &[]
            };
        }
        if self.load == Load::Idle && corecast {
            entrant.server = &["--max-connections", "20k", "--ping-interval", "0ms"];
            entrant.empty = &["--max-connections", "1"];
        }
        entrant
    }
}

impl Field {
    fn has(self, it: &Contestant) -> bool {
        let plain = !it.busy_polls() && !it.only_deflates();
        let few = it.is_corecast() || it.name == "floor-ring" || it.is_peer("bun") || it.is_own();
        match self {
            Self::All => plain,
            Self::Polling => !it.only_deflates(),
            Self::WebSocket => plain && !it.is_floor(),
            Self::FanOut => plain && it.fans_out(),
            Self::Deflate => it.is_corecast() || it.only_deflates(),
            Self::Screen => true,
            Self::Few => few,
            Self::FewFanOut => few && it.fans_out(),
            Self::Scaling => !it.is_variant() && it.takes_cores(),
        }
    }
}

impl Entrant {
    fn new(label: &str, contestant: &Contestant) -> Self {
        Self {
            label: label.to_owned(),
            contestant: contestant.name.clone(),
            server: &[],
            bench: &[],
            empty: &[],
            screen: false,
        }
    }
}

/// The same server, twice.
fn screens(contestant: &Contestant) -> [Entrant; 2] {
    let plain = Entrant::new(&format!("{}, no screen", contestant.name), contestant);
    let mut watched = Entrant::new(&format!("{}, live screen", contestant.name), contestant);
    watched.screen = true;
    [plain, watched]
}

/// A case of echo.
fn echo(name: &str, title: &str, connections: u64, size: u64, flags: &[&'static str]) -> Case {
    Case {
        name: name.to_owned(),
        title: title.to_owned(),
        load: Load::Echo,
        connections,
        size,
        flags: flags.to_vec(),
        field: Field::All,
        metrics: &metrics::ECHO,
        cores: 1,
        curve: None,
    }
}

/// A case of fan-out.
fn broadcast(name: &str, title: &str, subscribers: u64, size: u64, flags: &[&'static str]) -> Case {
    Case {
        load: Load::Broadcast,
        field: Field::FanOut,
        metrics: &metrics::BROADCAST,
        ..echo(name, title, subscribers, size, flags)
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Connections of the cases about many: most of the 20,000 descriptors that a process often has.
const MANY: u64 = 15_000;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    vec![
        echo(
            "echo-512",
            "echo 512 B, 100 connections, 1 in flight",
            100,
            512,
            &[],
        ),
        echo(
            "echo-pipelined",
            "echo 128 B, 64 connections, 16 in flight",
            64,
            128,
            &["--in-flight", "16"],
        ),
        echo("echo-1000", "echo 20 B, 1,000 connections", 1_000, 20, &[]),
        echo("echo-5000", "echo 20 B, 5,000 connections", 5_000, 20, &[]),
        echo(
            "echo-16k",
            "echo 16 KiB, 100 connections",
            100,
            16 * KIB,
            &[],
        ),
        echo("echo-60k", "echo 60 kB, 100 connections", 100, 60_000, &[]),
        echo("echo-1m", "echo 1 MiB, 8 connections", 8, MIB, &[]),
        ping_pong(),
        deflate(),
        broadcast(
            "one-publisher",
            "1 publisher, 1,000 subscribers, 64 B, 1 in flight",
            1_000,
            64,
            &[],
        ),
        broadcast(
            "bursts",
            "16 publishers in bursts of 4, 1,000 subscribers, 64 B",
            1_000,
            64,
            &["--publishers", "16", "--burst", "4"],
        ),
        broadcast(
            "chat-200",
            "every one of 200 publishes to all, 64 B, 1 in flight each",
            200,
            64,
            &["--all-publish"],
        ),
        churn(),
        idle("idle", "15,000 idle connections, pings off", MANY),
        screen(),
    ]
}

/// Those of `--quick`: one of each kind, with fewer connections.
pub(crate) fn quick() -> Vec<Case> {
    vec![
        echo(
            "echo-512",
            "echo 512 B, 100 connections, 1 in flight",
            100,
            512,
            &[],
        ),
        broadcast(
            "one-publisher",
            "1 publisher, 200 subscribers, 64 B, 1 in flight",
            200,
            64,
            &[],
        ),
        churn(),
        idle("idle", "2,000 idle connections, pings off", 2_000),
        screen(),
    ]
}

/// A client that sleeps would add its own wake-up to every round trip, which is most of it.
fn ping_pong() -> Case {
    Case {
        field: Field::Polling,
        metrics: &metrics::ROUND_TRIP,
        ..echo(
            "ping-pong",
            "1 connection, ping-pong, the client polling",
            1,
            512,
            &["--busy-poll"],
        )
    }
}

fn deflate() -> Case {
    Case {
        field: Field::Deflate,
        metrics: &metrics::DEFLATE,
        ..echo(
            "echo-deflate",
            "echo of JSON of 4 KiB, compressed both ways, 100 connections",
            100,
            4 * KIB,
            &["--payload", "json"],
        )
    }
}

fn churn() -> Case {
    Case {
        load: Load::Churn,
        field: Field::WebSocket,
        metrics: &metrics::CHURN,
        ..echo(
            "connect",
            "connect, upgrade and close, 64 at a time",
            64,
            0,
            &[],
        )
    }
}

fn idle(name: &str, title: &str, connections: u64) -> Case {
    Case {
        load: Load::Idle,
        field: Field::WebSocket,
        metrics: &metrics::IDLE,
        ..echo(name, title, connections, 0, &[])
    }
}

/// The harness beside itself: its screen must not be in the figures.
fn screen() -> Case {
    Case {
        field: Field::Screen,
        metrics: &metrics::SCREEN,
        ..echo(
            "screen",
            "the same run with the harness's live screen and without: echo 512 B, 100 connections",
            100,
            512,
            &[],
        )
    }
}

impl Curve {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [
        Self::Connections,
        Self::Subscribers,
        Self::Cores,
        Self::Payload,
    ];

    /// By which users and folders name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Subscribers => "subscribers",
            Self::Cores => "cores",
            Self::Payload => "payload",
        }
    }

    /// What is plotted.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Connections => "connections: echo 512 B, 1 in flight each",
            Self::Subscribers => "subscribers: 1 publisher, 64 B, 1 in flight",
            Self::Cores => "server processors: echo 512 B, 256 connections, 1 in flight each",
            Self::Payload => "payload: echo, 1 in flight on each connection",
        }
    }

    /// The name of its axis.
    pub(crate) fn axis(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Subscribers => "subscribers",
            Self::Cores => "server processors",
            Self::Payload => "payload, bytes",
        }
    }

    /// Its points, each a case; the server has up to `cores` processors.
    pub(crate) fn points(self, quick: bool, cores: usize) -> Vec<Case> {
        match self {
            Self::Connections => steps(quick, &[1, 10, 100, 1_000, 5_000, MANY], &[1, 100, 1_000])
                .map(|count| self.point(count, echo("", "", count, 512, &[])))
                .collect(),
            Self::Subscribers => steps(quick, &[1, 10, 100, 1_000, 5_000, MANY], &[1, 100, 1_000])
                .map(|count| self.point(count, broadcast("", "", count, 64, &[])))
                .collect(),
            Self::Cores => doubling(cores)
                .map(|count| Case {
                    cores: count,
                    ..self.point(count as u64, echo("", "", 256, 512, &[]))
                })
                .collect(),
            Self::Payload => steps(
                quick,
                &[
                    16,
                    64,
                    256,
                    KIB,
                    4 * KIB,
                    16 * KIB,
                    64 * KIB,
                    256 * KIB,
                    MIB,
                ],
                &[16, KIB, 64 * KIB],
            )
            .map(|size| self.point(size, echo("", "", in_memory(size), size, &[])))
            .collect(),
        }
    }

    fn point(self, x: u64, case: Case) -> Case {
        Case {
            name: format!("{}-{x}", self.name()),
            title: format!("{} {x}", self.axis()),
            field: match self {
                Self::Connections | Self::Payload => Field::Few,
                Self::Subscribers => Field::FewFanOut,
                Self::Cores => Field::Scaling,
            },
            metrics: match self {
                Self::Payload => &metrics::PAYLOAD,
                _ => case.metrics,
            },
            curve: Some((self, x as f64)),
            ..case
        }
    }
}

fn steps(quick: bool, full: &[u64], short: &[u64]) -> impl Iterator<Item = u64> {
    (if quick { short } else { full }).to_vec().into_iter()
}

/// 1, 2, 4 and so on, and at last `most` itself.
fn doubling(most: usize) -> impl Iterator<Item = usize> {
    let powers = (0..usize::BITS).map(|power| 1 << power);
    powers
        .take_while(move |&count| count < most)
        .chain([most.max(1)])
}

/// Connections such that what is on the way stays below 8 MiB: at 1 MiB as many as the case `echo-1m` has.
fn in_memory(size: u64) -> u64 {
    (8 * MIB / size.max(1)).clamp(8, 100)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_not_used_twice_and_lead_to_folders() {
        for quick_ones in [false, true] {
            let tables = if quick_ones { quick() } else { all() };
            let points = Curve::ALL.map(|curve| curve.points(quick_ones, 4)).concat();
            let cases = [tables, points].concat();
            let names: HashSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
            assert_eq!(names.len(), cases.len());
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            assert!(
                names.iter().all(|name| name.chars().all(plain)),
                "{names:?}"
            );
        }
    }

    #[test]
    fn quick_cases_are_cases() {
        let known: HashSet<_> = all().into_iter().map(|case| case.name).collect();
        assert!(quick().iter().all(|case| known.contains(&case.name)));
    }

    #[test]
    fn curves_reach_from_end_to_end() {
        let ends = |curve: Curve| {
            let xs: Vec<f64> = curve
                .points(false, 6)
                .iter()
                .filter_map(|case| Some(case.curve?.1))
                .collect();
            assert!(xs.is_sorted(), "{xs:?}");
            (xs[0], xs[xs.len() - 1])
        };
        assert_eq!(ends(Curve::Connections), (1.0, 15_000.0));
        assert_eq!(ends(Curve::Subscribers), (1.0, 15_000.0));
        assert_eq!(ends(Curve::Cores), (1.0, 6.0));
        assert_eq!(ends(Curve::Payload), (16.0, 1_048_576.0));
    }

    #[test]
    fn processors_double_up_to_all_of_them() {
        assert_eq!(doubling(1).collect::<Vec<_>>(), [1]);
        assert_eq!(doubling(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(doubling(6).collect::<Vec<_>>(), [1, 2, 4, 6]);
    }
}
