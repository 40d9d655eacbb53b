//! The servers that can be measured: Corecast and its variants, the floors, the peers, and the user's own.

use std::env;
use std::path::{Path, PathBuf};

use super::peers;
use crate::cli::{OwnServer, ServerPath, SuiteArgs};
use crate::error::BenchError;

/// What a server has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Send every message back.
    Echo,
    /// Send every message to all. The floors want to know of how many payload bytes.
    Broadcast { payload: u64 },
}

impl Mode {
    /// As the peers' command lines have it.
    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Broadcast { .. } => "broadcast",
        }
    }
}

/// How a server is to be started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) mode: Mode,
    pub(crate) port: u16,
    /// Processors that it gets.
    pub(crate) cores: usize,
}

/// A server that can be started here.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    /// By which users and files name it.
    pub(crate) name: String,
    /// Of the library or program, where it tells.
    pub(crate) version: Option<String>,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// `corecast serve`, and the flags of the variant.
    Corecast(PathBuf, &'static [&'static str]),
    /// This program's `floor`, by its mode.
    Floor(PathBuf, &'static str),
    /// Program and arguments, with placeholders.
    Peer(Vec<String>),
    /// The same, and the path that clients ask for.
    Own(Vec<String>, String),
}

/// A server that cannot be started here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) name: String,
    /// What to do about it.
    pub(crate) install: String,
}

/// Corecast's variants: what is added to `corecast serve`.
const CORECAST: [(&str, &[&str]); 4] = [
    ("corecast", &[]),
    ("corecast-monoio", &["--io", "monoio"]),
    ("corecast-epoll", &["--io", "epoll"]),
    ("corecast-busy-poll", &["--busy-poll", "50us"]),
];

/// The floor: bytes echoed with no WebSocket at all, or fanned out with just enough of it.
const FLOORS: [(&str, &str); 2] = [("floor-ring", "ring"), ("floor-epoll", "epoll")];

/// Everything that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// What can be measured, in the order of the tables.
    pub(crate) present: Vec<Contestant>,
    /// What cannot.
    pub(crate) missing: Vec<Missing>,
}

impl Roster {
    /// Looks for everything that the flags ask for.
    ///
    /// # Errors
    /// Names that do not exist, or that are named outright and are not installed.
    pub(crate) fn find(args: &SuiteArgs) -> Result<Self, BenchError> {
        check_names(args)?;
        let mut roster = Self::default();
        roster.add_corecast(args)?;
        // All others are compared with the first.
        if roster.present.is_empty() {
            roster.add_own(args);
        }
        let this = env::current_exe()?;
        for (name, mode) in FLOORS {
            let kind = Kind::Floor(this.clone(), mode);
            roster.present.push(Contestant::new(name, None, kind));
        }
        for found in peers::find()
            .into_iter()
            .filter(|peer| args.peers.has(peer.name))
        {
            match found.command {
                Ok(command) => {
                    let kind = Kind::Peer(command);
                    let peer = Contestant::new(found.name, found.version, kind);
                    roster.present.push(peer);
                }
                Err(install) => roster.miss(found.name, install),
            }
        }
        if !roster.present.iter().any(Contestant::is_own) {
            roster.add_own(args);
        }
        roster.narrow(args)?;
        Ok(roster)
    }

    fn add_own(&mut self, args: &SuiteArgs) {
        for OwnServer { name, command } in &args.server {
            let kind = Kind::Own(command.clone(), path_of(name, &args.server_path));
            self.present.push(Contestant::new(name, None, kind));
        }
    }

    /// The one of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Contestant> {
        self.present.iter().find(|it| it.name == name)
    }

    fn miss(&mut self, name: &str, install: String) {
        self.missing.push(Missing {
            name: name.to_owned(),
            install,
        });
    }

    fn add_corecast(&mut self, args: &SuiteArgs) -> Result<(), BenchError> {
        let beside = env::current_exe()?.with_file_name("corecast");
        let binary = args.corecast.clone().unwrap_or(beside);
        if !binary.is_file() {
            let shown = binary.display();
            let install = format!(
                "there is no {shown}: `cargo build --release -p corecast-server`, or name it with --corecast"
            );
            CORECAST
                .iter()
                .for_each(|(name, _)| self.miss(name, install.clone()));
            return Ok(());
        }
        let version = version_of(&binary);
        for (name, flags) in CORECAST {
            let kind = Kind::Corecast(binary.clone(), flags);
            let variant = Contestant::new(name, version.clone(), kind);
            self.present.push(variant);
        }
        Ok(())
    }

    /// Keeps those that `--contestants` names, when it names any.
    fn narrow(&mut self, args: &SuiteArgs) -> Result<(), BenchError> {
        let only = &args.contestants;
        let wanted = |name: &String| only.is_empty() || only.contains(name);
        self.present.retain(|it| wanted(&it.name));
        self.missing.retain(|it| wanted(&it.name));
        let outright = |it: &&Missing| {
            let name = &it.name;
            // Whoever measures a server of their own need not have Corecast.
            let expected =
                name == CORECAST[0].0 && (args.server.is_empty() || args.corecast.is_some());
            only.contains(name) || args.peers.named().contains(name) || expected
        };
        match self.missing.iter().find(outright) {
            // A list is there to tell it, too.
            Some(missing) if !args.list => Err(BenchError::usage(format!(
                "{} cannot be started: {}",
                missing.name, missing.install
            ))),
            _ => Ok(()),
        }
    }
}

impl Contestant {
    fn new(name: &str, version: Option<String>, kind: Kind) -> Self {
        let name = name.to_owned();
        Self {
            name,
            version,
            kind,
        }
    }

    /// Program and arguments.
    pub(crate) fn argv(&self, call: Call) -> Vec<String> {
        let address = format!("127.0.0.1:{}", call.port);
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        match &self.kind {
            Kind::Corecast(binary, flags) => {
                let app = match call.mode {
                    Mode::Echo => "echo",
                    Mode::Broadcast { .. } => "topics",
                };
                let cores = call.cores.to_string();
                let all = ["serve", "-l", &address, "--cores", &cores, "--app", app];
                [vec![text(binary)], words(&all), words(flags)].concat()
            }
            Kind::Floor(binary, mode) => {
                let mut argv = vec![text(binary)];
                argv.extend(words(&["floor", "--mode", mode, "-l", &address]));
                if let Mode::Broadcast { payload } = call.mode {
                    argv.extend(["--broadcast".to_owned(), payload.to_string()]);
                }
                argv
            }
            Kind::Peer(command) | Kind::Own(command, _) => {
                command.iter().map(|word| filled(word, call)).collect()
            }
        }
    }

    /// What clients open, and what publishers open that are no subscribers: there are such when they publish `apart`.
    pub(crate) fn urls(&self, call: Call, apart: bool) -> (String, Option<String>) {
        let port = call.port;
        let path = match &self.kind {
            Kind::Own(_, path) => path.as_str(),
            _ => "/",
        };
        let url = format!("ws://127.0.0.1:{port}{path}");
        match (call.mode, &self.kind) {
            (Mode::Echo, Kind::Floor(..)) => (format!("tcp://127.0.0.1:{port}"), None),
            // A query that Corecast, the floors and the peers know, and others do not mind.
            (Mode::Broadcast { .. }, _) if apart => {
                (format!("{url}?sub=a"), Some(format!("{url}?pub=a")))
            }
            _ => (url, None),
        }
    }

    /// It is Corecast as it comes.
    pub(crate) fn is_corecast(&self) -> bool {
        self.name == CORECAST[0].0
    }

    /// It is Corecast's `--busy-poll`, which is for round trips.
    pub(crate) fn busy_polls(&self) -> bool {
        self.name == CORECAST[3].0
    }

    /// It is Corecast over another transport than the ring.
    pub(crate) fn is_variant(&self) -> bool {
        matches!(&self.kind, Kind::Corecast(_, flags) if !flags.is_empty())
    }

    /// It speaks no WebSocket, or hardly any.
    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(..))
    }

    /// It is a floor, and there is a lower one.
    pub(crate) fn is_second_floor(&self) -> bool {
        self.is_floor() && self.name != FLOORS[0].0
    }

    /// It is the user's.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Own(..))
    }

    /// It is the peer of this name.
    pub(crate) fn is_peer(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Peer(_)) && self.name == name
    }

    /// It is a peer that compresses, and is measured only where that is asked for.
    pub(crate) fn only_deflates(&self) -> bool {
        matches!(self.kind, Kind::Peer(_)) && self.name.ends_with("-deflate")
    }

    /// It can send what it gets to all.
    pub(crate) fn fans_out(&self) -> bool {
        match &self.kind {
            Kind::Own(command, _) => mentions(command, "{mode}"),
            _ => true,
        }
    }

    /// It can be told how many processors to use.
    pub(crate) fn takes_cores(&self) -> bool {
        match &self.kind {
            Kind::Corecast(..) => true,
            Kind::Own(command, _) => mentions(command, "{cores}"),
            _ => false,
        }
    }
}

/// The path of a server of the user's: its own, or else that of all.
fn path_of(name: &str, paths: &[ServerPath]) -> String {
    let of = |wanted: Option<&str>| {
        let mut last_first = paths.iter().rev();
        last_first.find(|path| path.name.as_deref() == wanted)
    };
    let found = of(Some(name)).or_else(|| of(None));
    found.map_or("/".to_owned(), |found| found.path.clone())
}

fn mentions(command: &[String], placeholder: &str) -> bool {
    command.iter().any(|word| word.contains(placeholder))
}

fn filled(word: &str, call: Call) -> String {
    word.replace("{port}", &call.port.to_string())
        .replace("{mode}", call.mode.name())
        .replace("{cores}", &call.cores.to_string())
}

/// What it prints for `--version`, without its name.
fn version_of(binary: &Path) -> Option<String> {
    let output = std::process::Command::new(binary)
        .arg("--version")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// Refuses names that nobody has, and names that two have.
fn check_names(args: &SuiteArgs) -> Result<(), BenchError> {
    let built_in = CORECAST
        .iter()
        .map(|(name, _)| *name)
        .chain(FLOORS.iter().map(|(name, _)| *name))
        .chain(peers::NAMES);
    let mut known: Vec<&str> = built_in.collect();
    for own in &args.server {
        if known.contains(&own.name.as_str()) {
            return Err(BenchError::usage(format!(
                "--server {}: there is one of that name already",
                own.name
            )));
        }
        known.push(&own.name);
    }
    let own: Vec<&str> = args.server.iter().map(|own| own.name.as_str()).collect();
    let mut paths = args
        .server_path
        .iter()
        .filter_map(|path| path.name.as_deref());
    if let Some(name) = paths.find(|name| !own.contains(name)) {
        return Err(BenchError::usage(format!(
            "--server-path {name}=…: there is no --server of that name"
        )));
    }
    let unknown = |name: &&String| !known.contains(&name.as_str());
    if let Some(name) = args.contestants.iter().find(unknown) {
        return Err(no_such("--contestants", name, &known));
    }
    let peer = |name: &&String| !peers::NAMES.contains(&name.as_str());
    match args.peers.named().iter().find(peer) {
        Some(name) => Err(no_such("--peers", name, &peers::NAMES)),
        None => Ok(()),
    }
}

/// An error that names what there is.
pub(crate) fn no_such(flag: &str, name: &str, known: &[&str]) -> BenchError {
    BenchError::usage(format!(
        "{flag}: there is no {name}; there are {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    const BROADCAST: Call = Call {
        mode: Mode::Broadcast { payload: 64 },
        port: 4711,
        cores: 2,
    };
    const ECHO: Call = Call {
        mode: Mode::Echo,
        ..BROADCAST
    };

    fn own(command: &[&str]) -> Contestant {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        Contestant::new("mine", None, Kind::Own(command, "/echo".to_owned()))
    }

    #[test]
    fn publishers_have_a_path_of_their_own_unless_all_publish() {
        let corecast = Contestant::new("corecast", None, Kind::Corecast("c".into(), &[]));
        let url = |path: &str| format!("ws://127.0.0.1:4711/{path}");
        let apart = (url("?sub=a"), Some(url("?pub=a")));
        assert_eq!(corecast.urls(BROADCAST, true), apart);
        assert_eq!(corecast.urls(BROADCAST, false), (url(""), None));
        assert_eq!(own(&[]).urls(ECHO, false), (url("echo"), None));
        let floor = Contestant::new("floor-ring", None, Kind::Floor("f".into(), "ring"));
        assert_eq!(floor.urls(ECHO, false).0, "tcp://127.0.0.1:4711");
    }

    /// What the flags of a suite find where nothing is installed beside this program.
    fn found(flags: &[&str]) -> Result<Roster, BenchError> {
        use clap::Parser as _;
        let all = ["corecast-bench", "suite", "--peers", "none"];
        let cli = Cli::try_parse_from(all.iter().chain(flags)).unwrap();
        let Command::Suite(args) = cli.command else {
            panic!("a suite was asked for");
        };
        Roster::find(&args)
    }

    #[test]
    fn whoever_has_a_server_need_not_have_corecast() {
        let mine = ["--server", "mine=./x {port}"];
        let roster = found(&mine).unwrap();
        let names: Vec<&str> = roster.present.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["mine", "floor-ring", "floor-epoll"]);
        assert_eq!(roster.missing[0].name, "corecast");
        for (flags, why) in [
            (&[][..], "corecast cannot be started"),
            (&["--corecast", "/nowhere"], "there is no /nowhere"),
            (
                &["--contestants", "corecast,mine"],
                "corecast cannot be started",
            ),
        ] {
            let with_mine = [&mine[..], flags].concat();
            let flags = if flags.is_empty() { flags } else { &with_mine };
            let error = found(flags).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let stray = found(&[&mine[..], &["--server-path", "other=/x"]].concat());
        assert!(
            stray
                .unwrap_err()
                .to_string()
                .contains("no --server of that name")
        );
    }

    #[test]
    fn a_server_has_its_own_path_or_that_of_all() {
        let paths = ["/all", "a=/a", "a=/again"].map(|path| path.parse().unwrap());
        assert_eq!(path_of("a", &paths), "/again");
        assert_eq!(path_of("b", &paths), "/all");
        assert_eq!(path_of("b", &paths[1..]), "/");
    }

    #[test]
    fn commands_are_filled_in() {
        let mine = own(&["x", "--at=:{port}", "{mode}", "{cores}"]);
        assert_eq!(mine.argv(ECHO), ["x", "--at=:4711", "echo", "2"]);
        assert_eq!(mine.argv(BROADCAST)[2], "broadcast");
        assert!(mine.fans_out() && mine.takes_cores());
        let plain = own(&["x", "{port}"]);
        assert!(!plain.fans_out() && !plain.takes_cores());
        let floor = Contestant::new("floor-ring", None, Kind::Floor("f".into(), "ring"));
        assert!(
            floor
                .argv(BROADCAST)
                .ends_with(&["--broadcast".to_owned(), "64".to_owned()])
        );
    }
}
