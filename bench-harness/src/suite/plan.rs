//! What a suite is going to do, and about how long that takes.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

use super::cases::{self, Case, Curve, Entrant, Field, Load};
use super::contestants::{Roster, no_such};
use super::servers::Patience;
use crate::cli::{Choice, SuiteArgs};
use crate::cores::CoreList;
use crate::error::BenchError;

/// Rounds with which two servers can be told apart well (see [`crate::stats::rounds`]).
const ROUNDS: u64 = 5;
const QUICK_ROUNDS: u64 = 2;

/// The fewest rounds that can tell anything: the harness tells it of its own screen even when it is quick.
const QUICK_SCREEN_ROUNDS: u64 = 4;

/// Most rounds of a curve, which shows a shape and judges nothing.
const CURVE_ROUNDS: u64 = 3;

const DURATION: Duration = Duration::from_secs(3);
const QUICK_DURATION: Duration = Duration::from_millis(800);

/// Longest time under load before a window, which is no longer than the window itself.
const WARMUP: Duration = Duration::from_secs(1);
const QUICK_WARMUP: Duration = Duration::from_millis(300);

/// Longest window of a curve's point.
const CURVE_DURATION: Duration = Duration::from_secs(2);

/// A guess at what a run takes beside its warm-up and its window: to start a server, to connect, to close and to end it.
const AROUND: Duration = Duration::from_millis(450);

/// The same per connection.
const PER_CONNECTION: Duration = Duration::from_micros(200);

/// Descriptors that a server or a client has beside its connections.
const SPARE_DESCRIPTORS: u64 = 128;

/// All that a suite is going to do.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) items: Vec<Item>,
    /// What is left out of what was asked for, and why.
    pub(crate) skipped: Vec<String>,
    /// What will make figures rough.
    pub(crate) warnings: Vec<String>,
    pub(crate) cores: Cores,
    pub(crate) patience: Patience,
}

/// A case, and how often and how long it is measured.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) case: Case,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) rounds: u64,
    /// Of the window.
    pub(crate) duration: Duration,
    /// Time under load before the window.
    pub(crate) warmup: Duration,
}

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: Vec<usize>,
    pub(crate) client: Vec<usize>,
}

impl Plan {
    /// What the flags ask for, with the servers that there are.
    ///
    /// # Errors
    /// Names of cases that do not exist, nothing to do, or processors that cannot be used.
    pub(crate) fn new(args: &SuiteArgs, roster: &Roster) -> Result<Self, BenchError> {
        let cores = Cores::choose(args)?;
        let mut plan = Self {
            items: Vec::new(),
            skipped: Vec::new(),
            warnings: cores.shared(&siblings).into_iter().collect(),
            patience: Patience {
                start: args.start_timeout,
                stop: args.stop_timeout,
            },
            cores,
        };
        let allowed = allowed_connections()?;
        for case in chosen(args, plan.cores.all().len())? {
            plan.add(args, roster, case, allowed);
        }
        if plan.items.is_empty() {
            let skipped = plan.skipped.join("\n");
            return Err(BenchError::usage(format!(
                "there is nothing to measure: none of these servers takes part in any of these cases\n{skipped}"
            )));
        }
        Ok(plan)
    }

    /// About how long it takes, when no run is invalid.
    pub(crate) fn estimate(&self) -> Duration {
        self.items.iter().map(Item::estimate).sum()
    }

    /// Runs, when none is invalid.
    pub(crate) fn runs(&self) -> u64 {
        self.items
            .iter()
            .map(|item| item.rounds * item.entrants.len() as u64)
            .sum()
    }

    fn add(&mut self, args: &SuiteArgs, roster: &Roster, case: Case, allowed: u64) {
        // What is named outright takes part.
        let brief = args.quick && args.contestants.is_empty();
        let entrants = case.entrants(&roster.present, brief);
        if entrants.is_empty() {
            let reason = "none of these servers takes part in it";
            self.skipped.push(format!("{}: {reason}", case.name));
            return;
        }
        if case.connections > allowed {
            self.skipped.push(format!(
                "{}: {} connections need more descriptors than a process may have here; as root, `ulimit -Hn {}`",
                case.name,
                case.connections,
                case.connections + SPARE_DESCRIPTORS
            ));
            return;
        }
        let (rounds, duration) = extent(args, &case);
        let most = if args.quick { QUICK_WARMUP } else { WARMUP };
        let warmup = duration.min(most);
        self.items.push(Item {
            case,
            entrants,
            rounds,
            duration,
            warmup,
        });
    }
}

impl Item {
    fn estimate(&self) -> Duration {
        let connections = u32::try_from(self.case.connections).unwrap_or(u32::MAX);
        let run = self.warmup + self.duration + AROUND + PER_CONNECTION * connections;
        // A server that is charged for its empty memory starts twice.
        let extra = if self.case.load == Load::Idle {
            AROUND * 2
        } else {
            Duration::ZERO
        };
        let runs = u32::try_from(self.rounds * self.entrants.len() as u64).unwrap_or(u32::MAX);
        (run + extra) * runs
    }
}

impl Cores {
    /// The flags', or halves of what there is.
    fn choose(args: &SuiteArgs) -> Result<Self, BenchError> {
        let allowed: Vec<usize> = core_affinity::get_core_ids()
            .unwrap_or_default()
            .into_iter()
            .map(|core| core.id)
            .collect();
        Self::of(
            &allowed,
            args.server_cores.as_ref(),
            args.client_cores.as_ref(),
            &siblings,
        )
        .map_err(BenchError::usage)
    }

    fn of(
        allowed: &[usize],
        server: Option<&CoreList>,
        client: Option<&CoreList>,
        siblings: Siblings<'_>,
    ) -> Result<Self, String> {
        if allowed.len() < 2 {
            return Err(
                "servers and client need a processor each, and there is only one".to_owned(),
            );
        }
        let named = |flag: &str, list: Option<&CoreList>| {
            let cores = list.map_or(Vec::new(), |list| list.numbers().to_vec());
            match cores.iter().find(|core| !allowed.contains(core)) {
                Some(core) => Err(format!(
                    "{flag}: processor {core} is not among those this process may use ({allowed:?})"
                )),
                None => Ok(cores),
            }
        };
        let mut server = named("--server-cores", server)?;
        let mut client = named("--client-cores", client)?;
        let without = |taken: &[usize]| -> Vec<usize> {
            let free = allowed.iter().filter(|core| !taken.contains(core));
            free.copied().collect()
        };
        match (server.is_empty(), client.is_empty()) {
            (true, true) => {
                (server, client) = halves(allowed, siblings);
            }
            (true, false) => server = without(&client),
            (false, true) => client = without(&server),
            (false, false) => {}
        }
        if server.is_empty() || client.is_empty() {
            return Err("no processor is left for the other side".to_owned());
        }
        match server.iter().find(|core| client.contains(core)) {
            Some(core) => Err(format!(
                "processor {core} is both the servers' and the client's: neither's figures would be its own"
            )),
            None => Ok(Self { server, client }),
        }
    }

    /// What to say when a server and the client would run on threads of one core, which slow each other down.
    fn shared(&self, siblings: Siblings<'_>) -> Option<String> {
        let shares = |core: &&usize| siblings(**core).iter().any(|it| self.client.contains(it));
        let core = self.server.iter().find(shares)?;
        Some(format!(
            "processor {core}, the servers', is a thread of the same core as one of the client's: they slow each other down; \
             name others with --server-cores and --client-cores, where there are others"
        ))
    }

    /// The servers' first, so that a server that gets more than these shares the client's.
    pub(crate) fn all(&self) -> Vec<usize> {
        [self.server.as_slice(), &self.client].concat()
    }
}

/// The processors that are threads of the same core as one, with itself.
type Siblings<'a> = &'a dyn Fn(usize) -> Vec<usize>;

/// As the system tells it; a processor of which it does not is alone.
fn siblings(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let list = fs::read_to_string(path).ok();
    let list = list.and_then(|list| list.trim().parse::<CoreList>().ok());
    list.map_or(vec![core], |list| list.numbers().to_vec())
}

/// Two halves, with all threads of a core in the same one, unless there is only one core.
fn halves(allowed: &[usize], siblings: Siblings<'_>) -> (Vec<usize>, Vec<usize>) {
    let half = allowed.len() / 2;
    let mut server = Vec::new();
    for core in allowed {
        if server.len() < half && !server.contains(core) {
            let threads = siblings(*core);
            server.extend(
                allowed
                    .iter()
                    .filter(|it| **it == *core || threads.contains(it)),
            );
        }
    }
    if server.len() == allowed.len() {
        server.truncate(half);
    }
    server.sort_unstable();
    let client = allowed.iter().filter(|core| !server.contains(core));
    let client = client.copied().collect();
    (server, client)
}

/// How often a case is measured, and for how long.
fn extent(args: &SuiteArgs, case: &Case) -> (u64, Duration) {
    let curve = case.curve.is_some();
    let rounds = match (args.quick, curve) {
        (true, true) => 1,
        (true, false) if case.field == Field::Screen => QUICK_SCREEN_ROUNDS,
        (true, false) => QUICK_ROUNDS,
        (false, _) => ROUNDS,
    };
    let duration = if args.quick { QUICK_DURATION } else { DURATION };
    let rounds = args.rounds.unwrap_or(rounds);
    let duration = args.duration.unwrap_or(duration);
    if curve {
        (rounds.min(CURVE_ROUNDS), duration.min(CURVE_DURATION))
    } else {
        (rounds, duration)
    }
}

/// The cases and curves that were asked for. The servers can have up to `processors`.
fn chosen(args: &SuiteArgs, processors: usize) -> Result<Vec<Case>, BenchError> {
    let cases = if args.quick {
        cases::quick()
    } else {
        cases::all()
    };
    check(
        "--cases",
        &args.cases,
        cases.iter().map(|case| case.name.as_str()),
    )?;
    let by_default = if args.quick {
        Choice::Named(QUICK_CURVES.map(|curve| curve.name().to_owned()).into())
    } else {
        Choice::All
    };
    let curves = args.curves.as_ref().unwrap_or(&by_default);
    check(
        "--curves",
        curves,
        Curve::ALL.iter().map(|curve| curve.name()),
    )?;
    let mut chosen: Vec<Case> = cases
        .into_iter()
        .filter(|case| args.cases.has(&case.name))
        .collect();
    for curve in Curve::ALL
        .into_iter()
        .filter(|curve| curves.has(curve.name()))
    {
        chosen.extend(curve.points(args.quick, processors));
    }
    Ok(chosen)
}

/// Curves that `--quick` has by default.
const QUICK_CURVES: [Curve; 2] = [Curve::Connections, Curve::Payload];

fn check<'a>(
    flag: &str,
    choice: &Choice,
    known: impl Iterator<Item = &'a str>,
) -> Result<(), BenchError> {
    let known: Vec<&str> = known.collect();
    let unknown = |name: &&String| !known.contains(&name.as_str());
    match choice.named().iter().find(unknown) {
        Some(name) => Err(no_such(flag, name, &known)),
        None => Ok(()),
    }
}

/// As many as a process may have descriptors for.
fn allowed_connections() -> Result<u64, BenchError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    Ok(hard.saturating_sub(SPARE_DESCRIPTORS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CoreList {
        text.parse().unwrap()
    }

    fn cores(server: &[usize], client: &[usize]) -> Result<Cores, String> {
        Ok(Cores {
            server: server.to_vec(),
            client: client.to_vec(),
        })
    }

    /// Processors of which each is a core.
    fn alone(core: usize) -> Vec<usize> {
        vec![core]
    }

    #[test]
    fn threads_of_a_core_stay_on_one_side() {
        // As most systems number them, and as others do.
        let apart = |core: usize| vec![core % 4, core % 4 + 4];
        let beside = |core: usize| vec![core / 2 * 2, core / 2 * 2 + 1];
        let all: Vec<usize> = (0..8).collect();
        let of = |allowed: &[usize], siblings: Siblings<'_>| {
            let cores = Cores::of(allowed, None, None, siblings).unwrap();
            assert_eq!(cores.shared(siblings), None, "{cores:?}");
            (cores.server, cores.client)
        };
        assert_eq!(of(&all, &apart), (vec![0, 1, 4, 5], vec![2, 3, 6, 7]));
        assert_eq!(of(&all, &beside), (vec![0, 1, 2, 3], vec![4, 5, 6, 7]));
        assert_eq!(of(&[0, 4, 6], &apart), (vec![0, 4], vec![6]));
        let one = Cores::of(&[0, 1], None, None, &beside).unwrap();
        assert_eq!((&one.server, &one.client), (&vec![0], &vec![1]));
        assert!(one.shared(&beside).unwrap().contains("processor 0"));
    }

    #[test]
    fn processors_are_halved_unless_named() {
        let of = |allowed: &[usize], server: Option<&str>, client: Option<&str>| {
            let (server, client) = (server.map(list), client.map(list));
            Cores::of(allowed, server.as_ref(), client.as_ref(), &alone)
        };
        assert_eq!(of(&[0, 1], None, None), cores(&[0], &[1]));
        assert_eq!(of(&[2, 3, 6, 7], None, None), cores(&[2, 3], &[6, 7]));
        assert_eq!(of(&[0, 1, 2], Some("2"), None), cores(&[2], &[0, 1]));
        assert_eq!(of(&[0, 1, 2], None, Some("0")), cores(&[1, 2], &[0]));
        assert_eq!(of(&[0, 1, 2], Some("0"), Some("2")), cores(&[0], &[2]));
    }

    #[test]
    fn nonsense_about_processors_is_refused() {
        let refused = |allowed: &[usize], server: Option<&str>, client: Option<&str>| {
            let (server, client) = (server.map(list), client.map(list));
            Cores::of(allowed, server.as_ref(), client.as_ref(), &alone).unwrap_err()
        };
        assert!(refused(&[3], None, None).contains("only one"));
        assert!(refused(&[0, 1], Some("0-1"), None).contains("left for the other"));
        assert!(refused(&[0, 1], Some("0"), Some("0-1")).contains("both"));
        assert!(refused(&[0, 1], Some("5"), None).contains("--server-cores: processor 5"));
    }
}
