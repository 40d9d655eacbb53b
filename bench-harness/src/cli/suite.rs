//! Flags of `suite`, and of what it starts servers with.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::cores::CoreList;
use crate::units;

/// `suite`.
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// Less of everything, in under three minutes: shows where things stand, and compares nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Other servers to measure, beside Corecast and the floors: all that are installed, none, or these.
    #[arg(long, value_name = "all|none|NAME,...", default_value = "all")]
    pub(crate) peers: Choice,
    /// A server of your own: how it is started, without a shell. {port} becomes the port to listen on; {mode} becomes echo or broadcast,
    /// for a server that can do both; {cores} the number of processors that it gets. May be given again.
    #[arg(long, value_name = "NAME=COMMAND")]
    pub(crate) server: Vec<OwnServer>,
    /// Where clients connect to your own servers, such as /echo; or to one of them, such as mine=/echo. May be given again [default: /].
    #[arg(long, value_name = "[NAME=]PATH")]
    pub(crate) server_path: Vec<ServerPath>,
    /// Corecast's binary. Default: `corecast` beside this program; with --server it may be missing.
    #[arg(long, value_name = "PATH")]
    pub(crate) corecast: Option<PathBuf>,
    /// Only these of all servers, such as corecast,floor-ring,bun.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) contestants: Vec<String>,
    /// Only these cases, or none; --list names them.
    #[arg(long, value_name = "all|none|NAME,...", default_value = "all")]
    pub(crate) cases: Choice,
    /// Scaling curves: connections, subscribers, cores, payload. With --quick, the default is short ones of connections and payload.
    #[arg(long, value_name = "all|none|NAME,...")]
    pub(crate) curves: Option<Choice>,
    /// How often each is measured [default: 5, with --quick 2; of curves at most 3]. Differences are judged from 4 on.
    #[arg(long, value_name = "COUNT", value_parser = units::count)]
    pub(crate) rounds: Option<u64>,
    /// Time that a run measures, after its warm-up [default: 3s, with --quick 800ms].
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub(crate) duration: Option<Duration>,
    /// Processors for the servers [default: half of them, without splitting a core's hyperthreads]. All but the cores curve use one.
    #[arg(long, value_name = "LIST")]
    pub(crate) server_cores: Option<CoreList>,
    /// Processors for the client [default: the others].
    #[arg(long, value_name = "LIST")]
    pub(crate) client_cores: Option<CoreList>,
    /// How long a server may take until it listens.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = units::duration)]
    pub(crate) start_timeout: Duration,
    /// How long a server may take to end after SIGTERM, before it is killed.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    pub(crate) stop_timeout: Duration,
    /// Where everything is written. What is there of other cases stays [default: results/suite, with --quick results/suite-quick].
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Name the servers, which of them can be started and what installs the others, and all cases; measure nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Write README.md and report.html of this folder again, from its suite.json; measure nothing.
    #[arg(long, value_name = "DIR", exclusive = true)]
    pub(crate) render: Option<PathBuf>,
}

/// All, none, or some by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// All that there are.
    All,
    /// None.
    None,
    /// These.
    Named(Vec<String>),
}

impl Choice {
    /// Whether this one was chosen.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Named(names) => names.iter().any(|chosen| chosen == name),
        }
    }

    /// The names that were written out.
    pub(crate) fn named(&self) -> &[String] {
        match self {
            Self::Named(names) => names,
            _ => &[],
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => {
                let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
                if names.iter().any(String::is_empty) {
                    return Err("expected all, none, or names separated by commas".to_owned());
                }
                Ok(Self::Named(names))
            }
        }
    }
}

/// A server of the user's: `NAME=COMMAND`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnServer {
    /// Names folders, too.
    pub(crate) name: String,
    /// Program and arguments, with their placeholders.
    pub(crate) command: Vec<String>,
}

impl FromStr for OwnServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = text
            .split_once('=')
            .ok_or("expected NAME=COMMAND, such as 'mine=./server --port {port}'")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err("a name is made of letters, digits, -, _ and .".to_owned());
        }
        let command = shlex::split(command).filter(|words| !words.is_empty());
        let command = command.ok_or("the command is empty, or a quote in it is not closed")?;
        if !command.iter().any(|word| word.contains("{port}")) {
            return Err("the command needs {port}, where the port to listen on is put".to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            command,
        })
    }
}

/// Where clients connect to servers of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerPath {
    /// To this one; `None`: to all that have no path of their own.
    pub(crate) name: Option<String>,
    /// Path and query.
    pub(crate) path: String,
}

impl FromStr for ServerPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may have the sign in it, and begins with what no name has.
        let named = text.split_once('=').filter(|_| !text.starts_with('/'));
        let (name, path) = named.map_or((None, text), |(name, path)| (Some(name), path));
        if !path.starts_with('/') || name.is_some_and(str::is_empty) {
            return Err("expected a path such as /echo, or NAME=/echo for one server".to_owned());
        }
        Ok(Self {
            name: name.map(str::to_owned),
            path: path.to_owned(),
        })
    }
}

/// `launch`: becomes a program, for `suite`.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// Processors that it may use.
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: CoreList,
    /// The process that waits for it: with it gone, there is nothing to be done.
    #[arg(long, value_name = "PID")]
    pub(crate) parent: u32,
    /// Program and arguments.
    #[arg(value_name = "PROGRAM", required = true, last = true)]
    pub(crate) program: Vec<OsString>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_servers_are_split_as_a_shell_would() {
        let own: OwnServer = "mine=./my server --port={port} 'a b'".parse().unwrap();
        assert_eq!(own.name, "mine");
        assert_eq!(own.command, ["./my", "server", "--port={port}", "a b"]);
        for (text, reason) in [
            ("./server {port}", "NAME=COMMAND"),
            ("../x=./server {port}", "a name is made of"),
            ("..=./server {port}", "a name is made of"),
            ("mine=./server 9001", "needs {port}"),
            ("mine=./server '{port}", "quote"),
            ("mine=", "empty"),
        ] {
            let error = text.parse::<OwnServer>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_is_for_one_server_or_for_all() {
        let path = |text: &str| text.parse::<ServerPath>();
        let read = |name: Option<&str>, path: &str| {
            Ok(ServerPath {
                name: name.map(str::to_owned),
                path: path.to_owned(),
            })
        };
        assert_eq!(path("/a?b=/c"), read(None, "/a?b=/c"));
        assert_eq!(path("mine=/a?b=c"), read(Some("mine"), "/a?b=c"));
        for wrong in ["", "echo", "mine=", "mine=echo", "=/echo"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn choices_are_all_none_or_names() {
        assert!("all".parse::<Choice>().unwrap().has("x"));
        assert!(!"none".parse::<Choice>().unwrap().has("x"));
        let some: Choice = "x,y".parse().unwrap();
        assert!(some.has("y") && !some.has("all"));
        assert!("x,".parse::<Choice>().is_err() && "".parse::<Choice>().is_err());
    }
}
