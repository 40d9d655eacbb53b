//! Examples that `--help` ends with. A test parses every one of them.

/// Of `corecast-bench` itself.
pub(super) const ALL: &str = "\
Examples:
  How fast is my server, and what does a message cost it?
    corecast-bench echo ws://127.0.0.1:9001/echo -c 100 -z 10s --server-pid 4711
  How long do users wait at 20,000 messages a second?
    corecast-bench echo ws://127.0.0.1:9001/echo -c 1k -r 20k -z 30s --output results/today
  What does a thousand subscribers cost?
    corecast-bench broadcast ws://127.0.0.1:9001/topics -c 1k -r 100 -z 10s

Counts take k and m (1000), sizes k, m and g (1024), times us, ms, s and m.

Exit codes: 0 ok, 1 error, 2 bad flags, 3 an --expect failed, 4 worse than the baseline (slower, dearer, or \
more memory), 5 invalid run (client saturated, rate missed, connections or replies missing): its figures must not be used, 130 and \
143 stopped by Ctrl-C or SIGTERM: no result.";

/// Of `echo`.
pub(super) const ECHO: &str = "\
Examples:
  As fast as 100 connections can, one message on the way each (closed loop):
    corecast-bench echo ws://127.0.0.1:9001/echo -c 100 -s 512 -z 10s
  At a rate (open loop: latency counts from the time a message was due), client on processor 1:
    corecast-bench echo ws://127.0.0.1:9001/echo -c 1k -r 20k -z 30s --cores 1 --server-pid 4711
  Compressed JSON:
    corecast-bench echo ws://127.0.0.1:9001/echo -c 100 -s 4k --payload json --deflate
  Every connection a user of its own, with a server that greets and sends heartbeats (Socket.IO):
    corecast-bench echo 'ws://127.0.0.1:3000/socket.io/?EIO=4&transport=websocket&user={connection}' --hello 40 \
--skip 2 --answer 2=3 --payload lines:events.txt
  What the kernel's TCP alone costs:
    corecast-bench echo tcp://127.0.0.1:9100 -c 100 -s 512";

/// Of `agent`.
pub(super) const AGENT: &str = "\
Examples:
  On each of two machines that are to put load on a server:
    CORECAST_AGENT_TOKEN=secret corecast-bench agent -l 0.0.0.0:9200
  And on a third, which starts and measures the run:
    CORECAST_AGENT_TOKEN=secret corecast-bench echo ws://10.0.0.1:9001/echo -c 100k -r 50k \
--agents 10.0.0.2:9200,10.0.0.3:9200
  Several processes of this machine need no agents:
    corecast-bench echo ws://127.0.0.1:9001/echo -c 100k --active 1k -r 10k --processes 6";

/// Of `broadcast`.
pub(super) const BROADCAST: &str = "\
Examples:
  One publisher, 1,000 subscribers, 100 messages a second:
    corecast-bench broadcast ws://127.0.0.1:9001/topics -c 1k -r 100 -z 10s
  Publishers with an address of their own, 1 % of the subscribers stop reading:
    corecast-bench broadcast 'ws://127.0.0.1:9001/topics?sub=a' --publish-url 'ws://127.0.0.1:9001/topics?pub=a' \
-c 10k -r 8 --slow 1%
  A chat: everybody hears everybody:
    corecast-bench broadcast ws://127.0.0.1:9001/topics -c 200 --all-publish -r 500";

/// Of `connect`.
pub(super) const CONNECT: &str = "\
Examples:
  Open 10,000 connections at 2,000 a second, hold them until all are open, close them:
    corecast-bench connect ws://127.0.0.1:9001/echo -c 10k --connect-rate 2k
  Open, upgrade and close over and over for 5 seconds:
    corecast-bench connect ws://127.0.0.1:9001/echo --churn -z 5s --server-pid 4711";

/// Of `idle`.
pub(super) const IDLE: &str = "\
Examples:
  What 15,000 connections that do nothing cost:
    corecast-bench idle ws://127.0.0.1:9001/echo -c 15k -z 30s --server-pid 4711";

/// Of `compare`.
pub(super) const COMPARE: &str = "\
Examples:
  Eight runs before a change and eight after it (echo ... --repeat 8 --output results/before):
    corecast-bench compare results/before results/after
  Only what a message costs the server counts, and 2 % are nothing:
    corecast-bench compare results/before results/after --figures cpu --noise 2%";

/// Of `scenario`.
pub(super) const SCENARIO: &str = "\
Examples:
  A chat against `corecast serve`, as large as two processors bear:
    corecast-bench scenario chat ws://127.0.0.1:9001 --server-pid 4711 --cores 1
  Who would do what when, ten times as large:
    corecast-bench scenario chat --check --scale 10
  One's own, beginning with an example:
    $ corecast-bench scenario --print-example market-data > mine.toml
    corecast-bench scenario mine.toml ws://127.0.0.1:9001 --output results/mine
  A hundred times the chat, from as many processes as the descriptors take, or from other machines:
    corecast-bench scenario chat ws://127.0.0.1:9001 --scale 100
    corecast-bench scenario chat ws://10.0.0.1:9001 --scale 100 --agents 10.0.0.2:9200,10.0.0.3:9200";

/// Of `floor`.
pub(super) const FLOOR: &str = "\
Examples:
  An echo of bytes by io_uring, on processor 0, for `echo tcp://127.0.0.1:9100`:
    corecast-bench floor --mode ring --cores 0
  A fan-out of messages of 64 bytes, for `broadcast ws://127.0.0.1:9100 -s 64`:
    corecast-bench floor --mode epoll --broadcast 64";

/// Of `suite`.
pub(super) const SUITE: &str = "\
Examples:
  Where things stand, in under three minutes:
    corecast-bench suite --quick
  Your own server beside Corecast and the floors:
    corecast-bench suite --peers none --server 'mine=./server --port {port}' --server-path /echo
  One case again; the others of the folder stay as they are:
    corecast-bench suite --cases echo-512 --curves none --output results/suite";

/// Of `man`.
pub(super) const MAN: &str = "\
Examples:
  Read it:
    $ corecast-bench man | man -l -
  Install it, with a page for each command:
    corecast-bench man --output /usr/local/share/man/man1";

/// Of `completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  bash: source <(corecast-bench completions bash)
  zsh: corecast-bench completions zsh > ~/.zfunc/_corecast-bench
  fish: corecast-bench completions fish > ~/.config/fish/completions/corecast-bench.fish";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::Cli;

    /// The words of a command line, which may have single quotes.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for c in line.trim().chars() {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("there is a first").push(c),
            }
        }
        words
    }

    /// The end of a command's help, before it is wrapped to the width of a terminal.
    fn help(command: &clap::Command) -> String {
        let end = command.get_after_help();
        end.map_or(String::new(), |text| format!("{text}\n"))
    }

    #[test]
    fn every_example_is_understood() {
        let cli = Cli::command();
        let all = cli
            .get_subcommands()
            .chain([&cli])
            .map(help)
            .collect::<String>();
        let example = |line: &&str| line.trim().starts_with("corecast-bench ");
        for example in all.lines().filter(example) {
            let parsed = Cli::try_parse_from(words(example));
            assert!(parsed.is_ok(), "{example}\n{}", parsed.unwrap_err());
        }
        assert!(all.lines().filter(example).count() > 12, "{all}");
    }

    #[test]
    fn every_command_has_examples() {
        let cli = Cli::command();
        let bare = |command: &&clap::Command| {
            !command.is_hide_set() && !help(command).contains("Examples:")
        };
        let bare: Vec<_> = cli
            .get_subcommands()
            .filter(bare)
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(bare, Vec::<&str>::new());
    }
}
