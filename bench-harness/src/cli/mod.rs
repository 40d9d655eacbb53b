//! The command line.

mod agent;
mod broadcast;
mod common;
mod compare;
mod connect;
mod echo;
mod examples;
mod floor;
mod gates;
mod handshake;
mod hints;
mod idle;
mod manual;
mod pace;
mod payload;
mod scenario;
mod suite;

use clap::{Parser, Subcommand};

pub(crate) use agent::AgentArgs;
pub(crate) use broadcast::BroadcastArgs;
pub(crate) use common::Common;
pub(crate) use compare::CompareArgs;
pub(crate) use connect::ConnectArgs;
pub(crate) use echo::EchoArgs;
pub(crate) use floor::{FloorArgs, FloorMode};
pub(crate) use gates::GateFlags;
pub(crate) use handshake::HandshakeArgs;
pub(crate) use idle::IdleArgs;
pub(crate) use manual::{CompletionsArgs, ManArgs};
pub(crate) use pace::PaceArgs;
pub(crate) use payload::PayloadArgs;
pub(crate) use scenario::ScenarioArgs;
pub(crate) use suite::{Choice, LaunchArgs, OwnServer, ServerPath, SuiteArgs};

/// Measures WebSocket servers.
#[derive(Debug, Parser)]
#[command(name = "corecast-bench", version, about, after_help = examples::ALL)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send messages and check that each comes back.
    #[command(after_help = examples::ECHO)]
    Echo(EchoArgs),
    /// Publish, and check that every subscriber receives everything once and in order.
    ///
    /// What is published has to come as it was sent: not inside an envelope, not together with other messages, and as
    /// the same type (text or binary).
    #[command(after_help = examples::BROADCAST)]
    Broadcast(BroadcastArgs),
    /// Open and close connections.
    #[command(after_help = examples::CONNECT)]
    Connect(ConnectArgs),
    /// Hold connections that do nothing, and see what they cost.
    #[command(after_help = examples::IDLE)]
    Idle(IdleArgs),
    /// Play several kinds of load side by side, in phases, from a small TOML file.
    #[command(after_help = examples::SCENARIO)]
    Scenario(ScenarioArgs),
    /// Serve the barest echo of bytes, or the barest fan-out: what to hold a server against, driven with `echo tcp://HOST:PORT` or
    /// `broadcast ws://HOST:PORT`.
    #[command(after_help = examples::FLOOR)]
    Floor(FloorArgs),
    /// Start servers, measure them in turns, and write one folder that compares them.
    #[command(after_help = examples::SUITE)]
    Suite(SuiteArgs),
    /// Become a program, on processors of its own: how `suite` starts servers.
    #[command(hide = true)]
    Launch(LaunchArgs),
    /// Tell what became better or worse between two sets of runs. Exit code 4 when anything became worse.
    #[command(after_help = examples::COMPARE)]
    Compare(CompareArgs),
    /// Put load on for a coordinator elsewhere: a load command with --agents.
    #[command(after_help = examples::AGENT)]
    Agent(AgentArgs),
    /// Print the manual page, or write one for every command.
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
    /// Print the completions for a shell.
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_three_names() {
        for flag in ["-z", "-d", "--duration"] {
            let cli = Cli::try_parse_from(["corecast-bench", "echo", "ws://h:1/", flag, "3s"]);
            let Command::Echo(echo) = cli.unwrap().command else {
                panic!("echo was asked for")
            };
            assert_eq!(echo.pace.duration, Duration::from_secs(3));
        }
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let cli = Cli::try_parse_from(["corecast-bench", "echo", "ws://h:1/", "--conections", "3"]);
        let error = cli.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--connections"), "{error}");
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        for args in [
            &["connect", "ws://h:1/", "-z", "3s"][..],
            &["connect", "ws://h:1/", "--churn", "-c", "5"],
            &["echo", "ws://h:1/", "--cost"],
        ] {
            let all = ["corecast-bench"].iter().chain(args);
            assert!(Cli::try_parse_from(all).is_err(), "{args:?}");
        }
    }
}
