//! What makes throughput and latency valid in the next run, in flags that can be typed: with the processors of this machine,
//! and a rate that the client can do.

use crate::cli::Common;
use crate::cores::{self, Processors};
use crate::report::summary::Summary;
use crate::stats::validity::{JudgedBy, Kind};

/// A client that is saturated does so much of what it has done with time to spare.
const EASY: f64 = 0.75;

/// The way out that is always there.
const COST: &str = "judge by cost alone (--cost)";

/// What to do, where nothing else spoils a run than that the server and the client were in each other's way, or that the client
/// could not do more.
pub(super) fn advice(summary: &Summary, common: &Common) -> Option<String> {
    let complaints = Complaints::of(summary)?;
    if !common.agents.is_empty() {
        return None;
    }
    let pids = &summary.server.as_ref()?.pids;
    let seats = Seats {
        own: cores::own(),
        server: cores::of_processes(pids)?,
        client: common.core_list().into_iter().collect(),
    };
    Some(told(complaints, &seats, pids, slower(summary)))
}

/// What spoils a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Complaints {
    /// A side was kept from running.
    crowded: bool,
    /// The client could not do more.
    saturated: bool,
}

impl Complaints {
    /// `None` when there is nothing to say about: all is well, cost is what counts, or something else is wrong, too.
    fn of(summary: &Summary) -> Option<Self> {
        let kinds = || summary.reasons.iter().map(|reason| reason.kind);
        let crowds = |kind| matches!(kind, Kind::Starved | Kind::ClientLate);
        let complaints = Self {
            crowded: kinds().any(crowds),
            saturated: kinds().any(|kind| kind == Kind::ClientSaturated),
        };
        // A rate that was missed is what comes of it.
        let known = |kind| crowds(kind) || matches!(kind, Kind::ClientSaturated | Kind::RateMissed);
        let judged = !summary.valid && summary.judged_by == JudgedBy::Throughput;
        let any = complaints.crowded || complaints.saturated;
        (judged && any && kinds().all(known)).then_some(complaints)
    }
}

/// Where the server and the client may run.
#[derive(Clone, Debug)]
struct Seats {
    /// The processors that this process may use.
    own: Processors,
    /// Those that the server may.
    server: Processors,
    /// Those that the client's threads are pinned to; none: not pinned.
    client: Processors,
}

/// Processors for both that they do not share; `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parting {
    server: Option<Processors>,
    client: Option<Processors>,
}

impl Seats {
    /// Those that the client may use.
    fn of_client(&self) -> &Processors {
        if self.client.is_empty() {
            &self.own
        } else {
            &self.client
        }
    }

    /// They do not share a processor.
    fn are_apart(&self) -> bool {
        self.of_client().is_disjoint(&self.server)
    }

    /// So that they are apart, with so many processors for the client at most; `None` where there are too few.
    fn part(&self, threads: usize) -> Option<Parting> {
        let free = without(&self.own, &self.server);
        let left = without(&self.server, &self.client);
        if !self.client.is_empty() && !left.is_empty() && self.client.len() >= threads {
            return Some(Parting {
                server: Some(left),
                client: None,
            });
        }
        if !free.is_empty() {
            return Some(Parting {
                server: None,
                client: Some(last(&free, threads)),
            });
        }
        // The server may use all that this process may.
        let client = last(&self.own, threads.min(self.own.len() / 2).max(1));
        let server = without(&self.server, &client);
        (!server.is_empty()).then_some(Parting {
            server: Some(server),
            client: Some(client),
        })
    }

    /// With more processors for the client than it has; `None` where there are none.
    fn more(&self) -> Option<Parting> {
        let threads = self.client.len().max(1);
        if self.are_apart() {
            let free = without(&without(&self.own, &self.server), &self.client);
            let client: Processors = self.client.union(&free).copied().collect();
            return (client.len() > threads).then_some(Parting {
                server: None,
                client: Some(client),
            });
        }
        let parting = self.part(2 * threads)?;
        let more = |client: &Processors| client.len() > threads;
        parting.client.as_ref().is_some_and(more).then_some(parting)
    }
}

impl Parting {
    /// As commands.
    fn told(&self, pids: &[u32]) -> String {
        let server = self.server.as_ref().map(|processors| {
            let list = cores::listed(processors);
            let moves: Vec<String> = pids
                .iter()
                .map(|pid| format!("taskset -acp {list} {pid}"))
                .collect();
            let moves = moves.join("; ");
            format!("start the server with `taskset -c {list} …` (or move it: `{moves}`)")
        });
        let client = self.client.as_ref().map(|processors| {
            let list = cores::listed(processors);
            format!("run this again with `--cores {list}`")
        });
        let both: Vec<String> = server.into_iter().chain(client).collect();
        both.join(", and ")
    }
}

fn told(complaints: Complaints, seats: &Seats, pids: &[u32], slower: Option<String>) -> String {
    if complaints.crowded && !seats.are_apart() {
        let threads = seats.client.len().max(1);
        return match seats.part(threads) {
            Some(parting) => parting.told(pids),
            None => format!("there is one processor for the server and the client: {COST}"),
        };
    }
    if complaints.crowded {
        let used = seats.server.union(seats.of_client()).copied().collect();
        let used = cores::listed(&used);
        return format!("end what else runs on processors {used}, or {COST}");
    }
    let more = seats.more().map(|parting| parting.told(pids));
    let ways: Vec<String> = more.into_iter().chain(slower).collect();
    match ways.is_empty() {
        true => COST.to_owned(),
        false => format!("{}, or {COST}", ways.join(", or ")),
    }
}

/// The flag for a rate that the client can do, where the command has one.
fn slower(summary: &Summary) -> Option<String> {
    let asked = &summary.parameters;
    let climbs = asked.rate_from.is_some();
    let paced = asked.think_s.is_some() || asked.burst.is_some() || asked.churn == Some(true);
    let deep = summary.command == "broadcast" && asked.in_flight.is_some_and(|depth| depth > 1);
    if climbs || paced || deep {
        return None;
    }
    let (flag, reached) = match summary.command.as_str() {
        "echo" => ("-r", summary.messages.as_ref()?.per_second),
        "broadcast" => ("-r", summary.broadcast.as_ref()?.published_per_second),
        "connect" => ("--connect-rate", summary.connections.as_ref()?.per_second),
        _ => return None,
    };
    let rate = two_digits(reached * EASY);
    (rate > 0).then(|| format!("ask for what the client can do (`{flag} {rate}`)"))
}

/// Rounded down to two digits that count.
fn two_digits(rate: f64) -> u64 {
    let rate = rate as u64;
    let unit = 10_u64.pow(rate.checked_ilog10().unwrap_or(0).saturating_sub(1));
    rate / unit * unit
}

fn without(all: &Processors, taken: &Processors) -> Processors {
    all.difference(taken).copied().collect()
}

/// The last ones, as many as wanted.
fn last(all: &Processors, wanted: usize) -> Processors {
    all.iter().rev().take(wanted).copied().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CROWDED: Complaints = Complaints {
        crowded: true,
        saturated: false,
    };
    const SATURATED: Complaints = Complaints {
        crowded: false,
        saturated: true,
    };

    fn seats(own: &[usize], server: &[usize], client: &[usize]) -> Seats {
        let set = |list: &[usize]| list.iter().copied().collect();
        Seats {
            own: set(own),
            server: set(server),
            client: set(client),
        }
    }

    #[test]
    fn who_shares_processors_gets_some_of_their_own() {
        let apart = |own: &[usize], server: &[usize], client: &[usize]| {
            told(CROWDED, &seats(own, server, client), &[4711], None)
        };
        assert_eq!(
            apart(&[0, 1], &[0, 1], &[]),
            "start the server with `taskset -c 0 …` (or move it: `taskset -acp 0 4711`), and run this again with `--cores 1`"
        );
        let eight: Vec<usize> = (0..8).collect();
        let all = apart(&eight, &eight, &[]);
        assert!(
            all.contains("taskset -c 0-6 …") && all.ends_with("`--cores 7`"),
            "{all}"
        );
        // The server is where it should be, or the client.
        assert_eq!(apart(&[0, 1], &[0], &[]), "run this again with `--cores 1`");
        assert_eq!(apart(&[2, 5], &[5], &[]), "run this again with `--cores 2`");
        assert_eq!(
            apart(&[0, 1], &[0], &[0, 1]),
            "run this again with `--cores 1`"
        );
        assert_eq!(
            apart(&[0, 1], &[1], &[1]),
            "run this again with `--cores 0`"
        );
        let server = apart(&[0, 1, 2], &[0, 1, 2], &[2]);
        assert!(server.ends_with("`taskset -acp 0-1 4711`)"), "{server}");
        // This process was confined from outside.
        let confined = apart(&[1], &[0, 1], &[]);
        assert!(confined.contains("taskset -c 0 …"), "{confined}");
        let one = apart(&[0], &[0], &[]);
        assert_eq!(
            one,
            "there is one processor for the server and the client: judge by cost alone (--cost)"
        );
    }

    #[test]
    fn every_process_of_the_server_is_moved() {
        let text = told(CROWDED, &seats(&[0, 1], &[0, 1], &[]), &[7, 8], None);
        assert!(
            text.contains("`taskset -acp 0 7; taskset -acp 0 8`"),
            "{text}"
        );
    }

    #[test]
    fn who_is_apart_and_kept_from_running_has_others_to_end() {
        let text = told(CROWDED, &seats(&[0, 1, 2], &[0], &[2]), &[1], None);
        assert_eq!(
            text,
            "end what else runs on processors 0,2, or judge by cost alone (--cost)"
        );
    }

    #[test]
    fn a_saturated_client_gets_more_or_is_asked_for_less() {
        let slower = || Some("ask for what the client can do (`-r 30000`)".to_owned());
        let way = |own: &[usize], server: &[usize], client: &[usize]| {
            told(SATURATED, &seats(own, server, client), &[1], slower())
        };
        let less = "ask for what the client can do (`-r 30000`), or judge by cost alone (--cost)";
        assert_eq!(way(&[0, 1], &[0], &[1]), less);
        assert_eq!(way(&[0, 1], &[0, 1], &[]), less);
        let more = "run this again with `--cores 1-3`, or ";
        assert_eq!(way(&[0, 1, 2, 3], &[0], &[1]), format!("{more}{less}"));
        let eight: Vec<usize> = (0..8).collect();
        let parted = way(&eight, &eight, &[]);
        assert!(
            parted.contains("taskset -c 0-5 …") && parted.contains("--cores 6-7`"),
            "{parted}"
        );
        assert_eq!(told(SATURATED, &seats(&[0], &[1], &[]), &[1], None), COST);
    }

    fn summary(change: impl FnOnce(&mut Value)) -> Summary {
        let mut summary = json!({
            "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": false, "judged_by": "throughput",
            "throughput_valid": false, "cost_valid": true, "limited_by": "others",
            "reasons": [{"kind": "starved", "text": "the server waited"}],
            "parameters": {"connections": 1, "cores": [], "seed": 1}, "window_s": 1.0,
            "messages": {"count": 100, "per_second": 57_912.3, "payload_bytes_per_second": 1.0},
            "client": {"threads": 1, "running": 0.1, "busy": 0.1},
            "errors": {"refused": 0, "broken": 0, "lost": 0, "reasons": []},
        });
        change(&mut summary);
        serde_json::from_value(summary).unwrap()
    }

    #[test]
    fn there_is_no_advice_for_what_processors_do_not_mend() {
        assert_eq!(Complaints::of(&summary(|_| ())), Some(CROWDED));
        let with = |kind: &str| json!({"kind": kind, "text": ""});
        for (kind, known) in [
            ("rate-missed", true),
            ("client-saturated", true),
            ("client-late", true),
            ("errors", false),
            ("window-cut", false),
            ("no-server-pid", false),
        ] {
            let summary = summary(|it| it["reasons"].as_array_mut().unwrap().push(with(kind)));
            assert_eq!(Complaints::of(&summary).is_some(), known, "{kind}");
        }
        let missed = summary(|it| it["reasons"] = json!([with("rate-missed")]));
        assert_eq!(Complaints::of(&missed), None, "the server may have");
        assert_eq!(
            Complaints::of(&summary(|it| it["judged_by"] = "cost".into())),
            None
        );
        assert_eq!(
            Complaints::of(&summary(|it| it["valid"] = true.into())),
            None
        );
    }

    #[test]
    fn the_rate_advised_is_below_what_was_reached() {
        let told = |change: &dyn Fn(&mut Value)| slower(&summary(|it| change(it)));
        let flag = |flag| Some(format!("ask for what the client can do (`{flag}`)"));
        assert_eq!(told(&|_| ()), flag("-r 43000"));
        assert_eq!(
            told(&|it| it["messages"]["per_second"] = 9.9.into()),
            flag("-r 7")
        );
        assert_eq!(told(&|it| it["messages"]["per_second"] = 0.5.into()), None);
        assert_eq!(
            told(&|it| it["parameters"]["think_s"] = json!([0.1, 0.2])),
            None
        );
        assert_eq!(told(&|it| it["command"] = "scenario".into()), None);
        let connect = |it: &mut Value| {
            it["command"] = "connect".into();
            it["connections"] = json!({"count": 10, "per_second": 1_000.0});
        };
        assert_eq!(told(&connect), flag("--connect-rate 750"));
    }
}
