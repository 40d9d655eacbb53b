//! `scenario` from several processes: what subscribers of one have to receive, publishers of another have sent.

mod common;

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use common::agent::{Agent, TOKEN, until, with_token};
use common::hub;
use common::script::{Script, number, role};
use common::town::Town;
use common::{command, ring_available, run_bounded, schema};
use serde_json::Value;

/// Subscribers and publishers of every role are in both of two processes, or the one publisher is in the other one. Some come in
/// the middle, and some go.
const ROOMS: &str = r#"
title = "Rooms"

[[role]]
name = "rooms"
kind = "broadcast"
connections = 24
topics = 3
publishers = "all"
path = "/topics?sub=room{topic}&pub=room{topic}"
rate = 150

[[role]]
name = "feed"
kind = "broadcast"
connections = 9
path = "/topics?sub=feed"
publish_path = "/topics?pub=feed"
rate = 100

[[role]]
name = "latecomers"
kind = "broadcast"
connections = 12
publishers = 3
path = "/topics?sub=late"
publish_path = "/topics?pub=late"
rate = 90

[[role]]
name = "talkers"
kind = "echo"
connections = 6
rate = 100

[[role]]
name = "visitors"
kind = "churn"
connections = 10
path = "/echo?visit"
rate = 30
messages = 2

[[phase]]
name = "few"
duration = "600ms"
role.rooms = { connections = 0.5 }
role.latecomers = { connections = 0.25 }

[[phase]]
name = "rise"
duration = "600ms"
role.rooms = { connections = { from = 0.5, to = 1 } }
role.latecomers = { connections = { from = 0.25, to = 1 } }

[[phase]]
name = "fall"
duration = "600ms"
role.rooms = { connections = { from = 1, to = 0.5 } }
role.latecomers = { connections = 1 }
"#;

/// Over all phases of a role, and the time after them.
fn sum(summary: &Value, name: &str, what: &str) -> u64 {
    let role = role(summary, name);
    let phases = role["phases"].as_array().unwrap();
    let after = role["after_end"][what].as_u64().unwrap_or(0);
    phases.iter().map(|part| number(part, what)).sum::<u64>() + after
}

fn faults(summary: &Value, name: &str) -> [u64; 3] {
    ["lost", "duplicated", "reordered"].map(|what| sum(summary, name, what))
}

/// The run has been made, by so many processes, and nothing was missing in any role.
fn assert_complete(run: &(i32, Value, String), processes: usize) {
    let (code, summary, errors) = run;
    assert!(matches!(code, 0 | 5), "{errors}\n{summary:#}");
    assert_eq!(summary["agents"].as_array().unwrap().len(), processes);
    assert_eq!(summary["client"]["threads"], processes);
    for name in ["rooms", "feed", "latecomers", "talkers", "visitors"] {
        assert_eq!(faults(summary, name), [0; 3], "{name}: {summary:#}");
        assert_eq!(sum(summary, name, "broken"), 0, "{name}: {summary:#}");
        assert_eq!(sum(summary, name, "sent"), sum(summary, name, "due"));
    }
    // Everybody was there all the time.
    let fed = sum(summary, "feed", "done");
    assert_eq!((sum(summary, "feed", "sent"), fed), (180, 180 * 9));
    let late = sum(summary, "latecomers", "done");
    assert!(
        late >= 162 * 3,
        "{late}: three were there from the begin on"
    );
    assert_eq!(sum(summary, "latecomers", "opened"), 12 + 3);
    assert_eq!(sum(summary, "talkers", "done"), 180);
    assert_eq!(sum(summary, "visitors", "opened"), 54);
    assert_eq!(sum(summary, "visitors", "done"), 2 * 54);
}

#[test]
fn everybody_hears_the_publishers_of_other_processes() {
    if !ring_available() {
        return;
    }
    let (town, script) = (Town::honest(), Script::new("crowd", ROOMS));
    let run = script.play_with(&town.url(), &["--processes", "2"]);
    assert_complete(&run, 2);
    let summary = &run.1;
    assert_eq!(schema::faults(summary), Vec::<String>::new());
    // Latencies of all processes are in one distribution, and in one course.
    for name in ["rooms", "feed", "latecomers", "talkers"] {
        let role = role(summary, name);
        let timed = &role["total"]["latency_us"]["corrected"]["count"];
        assert_eq!(timed, sum(summary, name, "done"), "{name}");
        let course = role["course"].as_array().unwrap();
        let due: u64 = course.iter().map(|part| number(part, "due")).sum();
        let all = sum(summary, name, "due");
        // What a thread notices when the last interval is over is in none.
        assert!(due <= all && 2 * due > all, "{name}: {due} of {all}");
    }
}

#[test]
fn agents_are_told_the_scenario() {
    if !ring_available() {
        return;
    }
    let (town, script) = (Town::honest(), Script::new("told", ROOMS));
    let agents = [Agent::start(""), Agent::start(""), Agent::start("")];
    let list: Vec<&str> = agents.iter().map(|agent| agent.address.as_str()).collect();
    let (url, list) = (town.url(), list.join(","));
    let args = ["scenario", script.path(), &url, "--agents", &list, "--json"];
    assert_complete(&with_token(&args, ""), 3);
}

/// Subscribers that come in the middle, and others; nobody leaves.
const JOINERS: &str = r#"
title = "Joiners"
[[role]]
name = "feed"
kind = "broadcast"
connections = 12
publishers = 4
path = "/?sub"
publish_path = "/?pub"
rate = 200
[[phase]]
name = "few"
duration = "500ms"
connections = 0.5
[[phase]]
name = "more"
duration = "1s"
connections = { from = 0.5, to = 1 }
[[phase]]
name = "all"
duration = "500ms"
connections = 1
"#;

#[test]
fn lost_deliveries_are_counted_exactly() {
    if !ring_available() {
        return;
    }
    // One delivery in 40 is forgotten, and one in 70 comes twice; but for a subscriber's first ones, of which nobody can know
    // whether it had joined.
    let done = Arc::new(Mutex::new((0, 0)));
    let counted = Arc::clone(&done);
    let mut heard = HashMap::<(usize, Vec<u8>), u64>::new();
    let mut deliveries = 0_u64;
    let address = hub::serve(move |subscribers, payload| {
        let mut done = counted.lock().unwrap();
        for place in 0..subscribers.streams.len() {
            deliveries += 1;
            // By publisher, whose number comes second in the stamp.
            let before = heard.entry((place, payload[4..8].to_vec())).or_default();
            *before += 1;
            match (*before > 1, deliveries % 40, deliveries % 70) {
                (true, 7, _) => done.0 += 1,
                (true, _, 5) => {
                    done.1 += 1;
                    subscribers.send_to(place, payload);
                    subscribers.send_to(place, payload);
                }
                _ => subscribers.send_to(place, payload),
            }
        }
    });
    let agents = [Agent::start(""), Agent::start("")];
    let list = format!("{},{}", agents[0].address, agents[1].address);
    let (url, script) = (format!("ws://{address}/"), Script::new("joiners", JOINERS));
    let args = ["scenario", script.path(), &url, "--agents", &list, "--json"];
    let (code, summary, errors) = with_token(&args, "");
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    let (dropped, repeated) = *done.lock().unwrap();
    assert!(dropped > 50 && repeated > 20, "{dropped}, {repeated}");
    assert_eq!(faults(&summary, "feed"), [dropped, repeated, 0]);
    assert_eq!(role(&summary, "feed")["valid"], false);
}

/// The last messages are missing, which only the counts of the other process tell.
#[test]
fn the_last_messages_are_missed_when_they_are_lost() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Last"
[[role]]
name = "feed"
kind = "broadcast"
connections = 5
path = "/topics?sub=feed"
publish_path = "/topics?pub=feed"
rate = 200
[[phase]]
name = "only"
duration = "500ms"
"#;
    let town = Town::serve(|number, payload| match number {
        97.. => Vec::new(),
        _ => vec![hub::frame(payload)],
    });
    let script = Script::new("last", text);
    let (code, summary, errors) = script.play_with(&town.url(), &["--processes", "2"]);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert_eq!(faults(&summary, "feed"), [3 * 5, 0, 0], "{summary:#}");
}

#[test]
fn an_agent_that_dies_is_named() {
    if !ring_available() {
        return;
    }
    let text = ROOMS.replace("600ms", "30s");
    let (town, script) = (Town::honest(), Script::new("dies", &text));
    let (mut agent, other) = (Agent::start(""), Agent::start(""));
    let list = format!("{},{}", other.address, agent.address);
    let (url, path) = (town.url(), script.path().to_owned());
    let run = command(&["scenario", &path, &url, "--agents", &list])
        .env(TOKEN, "")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the load", || town.joined("/echo?visit") > 3);
    agent.child.kill().unwrap();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&agent.address), "{errors}");
    assert!(errors.contains("was lost during the run"), "{errors}");
}

/// As many processes as the descriptors take.
#[test]
fn a_process_that_may_have_few_descriptors_is_joined_by_others() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Many"
[[role]]
name = "quiet"
kind = "idle"
connections = 150
[[role]]
name = "talkers"
kind = "echo"
connections = 50
rate = 200
[[phase]]
name = "only"
duration = "500ms"
"#;
    let (town, script) = (Town::honest(), Script::new("many", text));
    let program = command(&[]).get_program().to_owned();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 180 && exec \"$@\"", "sh"]);
    limited.arg(program);
    limited.args(["scenario", script.path(), &town.url(), "--json"]);
    let output = run_bounded(&mut limited);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["agents"].as_array().unwrap().len(), 2, "{errors}");
    assert_eq!(sum(&summary, "quiet", "opened"), 150);
    assert_eq!(sum(&summary, "talkers", "done"), 100);
}
