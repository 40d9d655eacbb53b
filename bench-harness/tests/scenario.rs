//! `scenario` against a server of independent make: an echo, and topics.

mod common;

use std::net::TcpListener;
use std::sync::Mutex;

use common::hub::frame;
use common::script::{Script, number, role};
use common::town::Town;
use common::{bench, ring_available, run, schema};
use serde_json::Value;

/// What is against a role.
fn kinds(role: &Value) -> Vec<&str> {
    let reasons = role["reasons"].as_array().unwrap().iter();
    reasons
        .filter_map(|reason| reason["kind"].as_str())
        .collect()
}

const ALL_KINDS: &str = r#"
title = "All kinds"

[[role]]
name = "talkers"
kind = "echo"
connections = 20
payload = "json"
size = 200
rate = 500

[[role]]
name = "rooms"
kind = "broadcast"
connections = 20
topics = 2
publishers = "all"
path = "/topics?sub=room{topic}&pub=room{topic}"
size = 64
rate = 100

[[role]]
name = "feed"
kind = "broadcast"
connections = 10
path = "/topics?sub=feed"
publish_path = "/topics?pub=feed"
rate = 100

[[role]]
name = "quiet"
kind = "idle"
connections = 10

[[role]]
name = "visitors"
kind = "churn"
connections = 10
path = "/echo?visit"
rate = 40
messages = 2
hold = "20ms"

[[phase]]
name = "rise"
duration = "400ms"
connections = { from = 0.5, to = 1 }
rate = { from = 0, to = 1 }
measure = false

[[phase]]
name = "steady"
duration = "500ms"

[[phase]]
name = "rush"
duration = "500ms"
role.visitors = { rate = 2 }

[[phase]]
name = "fall"
duration = "300ms"
connections = { from = 1, to = 0.5 }

[[phase]]
name = "low"
duration = "500ms"
connections = 0.5
"#;

#[test]
fn all_kinds_side_by_side() {
    if !ring_available() {
        return;
    }
    let town = Town::honest();
    let (code, summary, errors) = Script::new("kinds", ALL_KINDS).play(&town);
    assert_played(code, &summary, &errors);
    assert_eq!(summary["errors"]["reasons"].as_array().unwrap().len(), 0);
    assert_eq!(schema::faults(&summary), Vec::<String>::new());
    // What falls due follows from the plan alone: ramps are areas, whatever the machine does.
    let due = |name: &str| -> Vec<u64> {
        let phases = role(&summary, name)["phases"].as_array().unwrap();
        phases.iter().map(|part| number(part, "due")).collect()
    };
    let close = |found: Vec<u64>, expected: [u64; 5]| {
        let near = found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.abs_diff(expected) <= 1);
        assert!(near, "{found:?} {expected:?}");
    };
    close(due("talkers"), [100, 250, 250, 150, 250]);
    close(due("rooms"), [20, 50, 50, 30, 50]);
    close(due("visitors"), [8, 20, 40, 12, 20]);
    for name in ["talkers", "rooms", "feed", "visitors"] {
        let total = &role(&summary, name)["total"];
        let latency = &total["latency_us"]["corrected"];
        assert!(
            latency["p99_9"].as_f64().unwrap() >= latency["p50"].as_f64().unwrap(),
            "{name}"
        );
        assert_eq!(
            (number(total, "lost"), number(total, "duplicated")),
            (0, 0),
            "{name}"
        );
    }
    let talkers = &role(&summary, "talkers")["total"];
    assert_eq!(talkers["latency_us"]["corrected"]["count"], talkers["due"]);
    assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    assert!(
        summary["scenario"]["phases"][1]["server_cpu_us_per_message"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert_eq!(summary["scenario"]["phases"][0]["measured"], false);
    the_course_adds_up(&summary);
    connections_follow_the_plan(&summary);
    visits_are_counted(&town, &summary);
}

/// The run came to its end, and nothing is against it but what a machine that is busy does to it.
fn assert_played(code: i32, summary: &Value, errors: &str) {
    assert!(matches!(code, 0 | 5), "{code}: {errors}");
    let reasons = summary["reasons"].as_array().unwrap().iter();
    let told = reasons.filter_map(|reason| reason["kind"].as_str());
    let of_the_load: Vec<&str> = told
        .filter(|kind| ["errors", "connections-missing", "too-few-messages"].contains(kind))
        .collect();
    assert_eq!(of_the_load, Vec::<&str>::new(), "{errors}\n{summary:#}");
}

/// Intervals hold what the phases hold, but for what came after the end.
fn the_course_adds_up(summary: &Value) {
    for name in ["talkers", "rooms", "visitors"] {
        let role = role(summary, name);
        let course = role["course"].as_array().unwrap();
        let phases = role["phases"].as_array().unwrap();
        assert_eq!(
            course.len(),
            9,
            "{name}: 2.2 s in steps of less than 250 ms"
        );
        for what in ["due", "done", "opened"] {
            let sum = |list: &[Value]| list.iter().map(|part| number(part, what)).sum::<u64>();
            let (parts, all) = (sum(course), sum(phases));
            assert!(
                parts <= all && 2 * parts > all,
                "{name}: {what}: {parts} of {all}"
            );
        }
        let timed = |interval: &Value| interval["latency_us"]["p99"].is_number();
        assert!(course.iter().any(timed), "{name}");
    }
}

/// Ramps are followed: what opens and closes is what the plan says.
fn connections_follow_the_plan(summary: &Value) {
    for (name, all) in [("talkers", 20), ("rooms", 20), ("quiet", 10)] {
        let phases = role(summary, name)["phases"].as_array().unwrap();
        let sum = |what: &str| phases.iter().map(|part| number(part, what)).sum::<u64>();
        assert_eq!(
            (sum("opened"), sum("closed")),
            (all, all / 2),
            "{name}: {phases:#?}"
        );
        let at_end: Vec<(u64, u64)> = phases
            .iter()
            .map(|part| (number(part, "wanted"), number(part, "open")))
            .collect();
        assert_eq!(at_end[1], (all, all), "{name}");
        assert_eq!(at_end[4], (all / 2, all / 2), "{name}");
    }
}

fn visits_are_counted(town: &Town, summary: &Value) {
    let role = role(summary, "visitors");
    let phases = role["phases"].as_array().unwrap().iter();
    let parts: Vec<&Value> = phases.chain([&role["after_end"]]).collect();
    let sum = |what: &str| parts.iter().map(|part| number(part, what)).sum::<u64>();
    let due: u64 = parts[..5].iter().map(|part| number(part, "due")).sum();
    assert_eq!(town.joined("/echo?visit"), sum("opened"));
    assert_eq!(sum("opened"), due);
    assert_eq!(
        sum("done"),
        2 * sum("opened"),
        "each has two messages echoed"
    );
    assert!(
        sum("closed") + 10 >= sum("opened"),
        "only the last ones may still be there"
    );
}

const ONE_FEED: &str = r#"
title = "Feed"
[[role]]
name = "feed"
kind = "broadcast"
connections = 5
path = "/topics?sub=feed"
publish_path = "/topics?pub=feed"
rate = 200
[[phase]]
name = "first"
duration = "500ms"
[[phase]]
name = "second"
duration = "500ms"
"#;

/// Lost, duplicated and reordered deliveries of the one role.
fn faults(summary: &Value) -> [u64; 3] {
    let phases = role(summary, "feed")["phases"].as_array().unwrap();
    ["lost", "duplicated", "reordered"]
        .map(|what| phases.iter().map(|part| number(part, what)).sum())
}

#[test]
fn lost_and_repeated_deliveries_are_found() {
    if !ring_available() {
        return;
    }
    let town = Town::serve(|number, payload| match number {
        20 | 150 => Vec::new(),
        30 | 60 | 170 => vec![frame(payload); 2],
        _ => vec![frame(payload)],
    });
    let (code, summary, _) = Script::new("faults", ONE_FEED).play(&town);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(faults(&summary), [2 * 5, 3 * 5, 0], "{summary:#}");
    let feed = role(&summary, "feed");
    assert_eq!(feed["valid"], false);
    // What came again is no delivery more.
    let phases = feed["phases"].as_array().unwrap();
    let sum = |what: &str| phases.iter().map(|part| number(part, what)).sum::<u64>();
    let done = sum("done") + number(&feed["after_end"], "done");
    assert_eq!(done, 5 * (sum("due") - 2), "{feed:#}");
}

#[test]
fn swapped_deliveries_are_found() {
    if !ring_available() {
        return;
    }
    let kept = Mutex::new(Vec::new());
    let town = Town::serve(move |number, payload| {
        let mut kept = kept.lock().unwrap();
        if number % 50 == 40 {
            kept.push(frame(payload));
            return Vec::new();
        }
        [vec![frame(payload)], kept.drain(..).collect()].concat()
    });
    let (code, summary, _) = Script::new("swapped", ONE_FEED).play(&town);
    assert_eq!((code, faults(&summary)), (5, [0, 0, 4 * 5]), "{summary:#}");
}

#[test]
fn lost_and_repeated_replies_are_found() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Echo"
[[role]]
name = "feed"
kind = "echo"
connections = 2
path = "/echo?faulty"
rate = 600
[[phase]]
name = "only"
duration = "1s"
"#;
    let town = Town::honest();
    let (code, summary, _) = Script::new("replies", text).play(&town);
    assert_eq!(
        (code, faults(&summary)),
        (5, [2 * 3, 2 * 3, 0]),
        "{summary:#}"
    );
}

#[test]
fn what_comes_when_the_load_is_over_did_not_come_in_time() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Slow"
[[role]]
name = "slow"
kind = "echo"
connections = 1
path = "/echo?slow"
rate = 500
[[phase]]
name = "only"
duration = "1s"
"#;
    let (code, summary, errors) = Script::new("slow", text).play(&Town::honest());
    assert!(matches!(code, 0 | 5), "{code}: {errors}");
    let slow = role(&summary, "slow");
    let (total, after) = (&slow["total"], &slow["after_end"]);
    // It answers every four milliseconds at best.
    assert!(number(total, "done") <= 250 + 20, "{slow:#}");
    assert_eq!(
        (
            number(total, "due"),
            number(total, "done") + number(after, "done"),
            number(total, "lost"),
        ),
        (500, 500, 0)
    );
    assert_eq!(number(total, "late"), number(after, "done"));
    assert_eq!(kinds(slow), ["rate-missed"]);
    assert_eq!(summary["throughput_valid"], false);
}

/// A scenario of one role and one phase.
fn one_role(role: &str, duration: &str) -> String {
    format!(
        "title = 'One'\n[[role]]\nname = 'one'\n{role}\n[[phase]]\nname = 'only'\nduration = '{duration}'\n"
    )
}

#[test]
fn visitors_who_are_not_answered_are_counted() {
    if !ring_available() {
        return;
    }
    let town = Town::honest();
    let churn = "kind = 'churn'\nconnections = 12\nrate = 40\nmessages = 2\npath = ";
    let visit = |path: &str| {
        let script = Script::new(&path[1..], &one_role(&format!("{churn}'{path}'"), "300ms"));
        let (code, summary, errors) = script.play(&town);
        (code, summary, errors)
    };
    // Each has sent a message, and waits for ever.
    let (code, summary, _) = visit("/mute");
    let total = &role(&summary, "one")["total"];
    assert_eq!(
        (code, number(total, "due"), number(total, "lost")),
        (5, 12, 12),
        "{summary:#}"
    );
    assert_eq!(kinds(role(&summary, "one"))[0], "errors");
    assert_eq!(number(&summary["errors"], "lost"), 12);
    // None is ever open: there is nothing to judge.
    let (code, _, errors) = visit("/hang");
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("no connection could be opened"), "{errors}");
}

#[test]
fn servers_that_greet_are_played_with_skip_and_hello() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Greetings"
[[role]]
name = "talkers"
kind = "echo"
connections = 4
path = "/echo?greets"
hello = "Ada"
skip = 2
rate = 200
[[role]]
name = "rooms"
kind = "broadcast"
connections = 3
publishers = "all"
path = "/topics?greets&sub=a&pub=a"
hello = ["Ada"]
skip = 2
rate = 50
[[role]]
name = "visitors"
kind = "churn"
connections = 10
path = "/echo?greets"
hello = "Ada"
skip = 2
messages = 1
rate = 20
[[role]]
name = "hopeful"
kind = "churn"
connections = 10
path = "/echo?greets"
hello = "Ada"
skip = 3
rate = 10
[[phase]]
name = "only"
duration = "1s"
"#;
    let (code, summary, errors) = Script::new("greets", text).play(&Town::honest());
    assert_eq!(code, 5, "{errors}");
    let all = |name: &str| {
        let role = role(&summary, name);
        let sum = |what: &str| number(&role["total"], what) + number(&role["after_end"], what);
        let total = |what: &str| number(&role["total"], what);
        (total("due"), sum("done"), total("lost"), total("refused"))
    };
    assert_eq!(all("talkers"), (200, 200, 0, 0), "{summary:#}");
    assert_eq!(all("rooms"), (50, 150, 0, 0), "{summary:#}");
    assert_eq!(all("visitors"), (20, 20, 0, 0), "{summary:#}");
    // A third message never comes.
    assert_eq!(all("hopeful"), (10, 0, 10, 0), "{summary:#}");
}

#[test]
fn visitors_who_only_come_and_go_are_what_is_done() {
    if !ring_available() {
        return;
    }
    let visitors = one_role(
        "kind = 'churn'\nconnections = 50\nrate = 200\npath = '/echo'",
        "800ms",
    );
    let script = Script::new("visitors", &visitors);
    let town = Town::honest();
    let (code, summary, errors) = script.play(&town);
    assert_played(code, &summary, &errors);
    let all = number(&summary["connections"], "count");
    assert!((100..=160).contains(&all), "{summary:#}");
    assert!(summary["messages"].is_null());
    assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    // There are no latencies, which is said before the run.
    let (code, _, errors) = bench(&["scenario", script.path(), &town.url(), "--expect", "p99<1s"]);
    assert_eq!(code, 2, "{errors}");
    assert!(
        errors.contains("without replies does not measure p99"),
        "{errors}"
    );
}

#[test]
fn connections_and_attempts_at_them_are_two_things() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Full"
[[role]]
name = "inside"
kind = "idle"
connections = 2
[[role]]
name = "outside"
kind = "idle"
connections = 4
path = "/full"
[[phase]]
name = "before"
duration = "100ms"
role.outside = { connections = 0 }
[[phase]]
name = "only"
duration = "2s"
role.outside = { connections = 1 }
"#;
    let (code, summary, errors) = Script::new("full", text).play(&Town::honest());
    assert_eq!(code, 5, "{errors}");
    let outside = &role(&summary, "outside")["total"];
    let (refused, attempts) = (number(outside, "refused"), number(outside, "attempts"));
    assert_eq!(refused, 4, "{outside:#}");
    // After 0.1 s, 0.2 s, 0.4 s and so on; opening takes some time, too.
    assert!((8..=4 * 9).contains(&attempts), "{attempts}");
    assert_eq!(number(&summary["errors"], "refused"), 4);
    assert_eq!(number(&role(&summary, "inside")["total"], "refused"), 0);
}

#[test]
fn a_server_that_is_not_there_ends_the_run_before_it_begins() {
    if !ring_available() {
        return;
    }
    let script = Script::new("nobody", &one_role("kind = 'idle'\nconnections = 9", "60m"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let url = format!("ws://{}/", free.unwrap());
    let (code, _, errors) = bench(&["scenario", script.path(), &url]);
    assert_eq!(code, 1, "{errors}");
    assert!(
        errors.contains("no connection could be opened: connect:"),
        "{errors}"
    );
}

#[test]
fn a_server_that_closes_what_it_opens_does_not_hold_up_the_run() {
    if !ring_available() {
        return;
    }
    let brief = "kind = 'idle'\nconnections = 300\npath = '/brief'";
    let script = Script::new("brief", &one_role(brief, "60m"));
    let (code, _, errors) = script.play(&Town::honest());
    assert_eq!(code, 1, "{errors}");
    assert!(
        errors.contains("the server ended the connection"),
        "{errors}"
    );
}

#[test]
fn phases_that_are_not_measured_are_in_no_latency() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Tail"
[[role]]
name = "talkers"
kind = "echo"
connections = 2
rate = 300
[[phase]]
name = "before"
duration = "500ms"
measure = false
[[phase]]
name = "counts"
duration = "600ms"
[[phase]]
name = "after"
duration = "800ms"
measure = false
"#;
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let script = Script::new("tail", text);
    let url = Town::honest().url();
    let output = output.to_str().unwrap();
    let (code, summary, errors) = bench(&["scenario", script.path(), &url, "--output", output]);
    assert!(matches!(code, 0 | 5), "{code}: {errors}");
    for latency in ["corrected", "uncorrected"] {
        assert_eq!(summary["latency_us"][latency]["count"], 180, "{summary:#}");
    }
    let dues: Vec<u64> = role(&summary, "talkers")["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| number(part, "due"))
        .collect();
    assert_eq!(dues, [150, 180, 240]);
    // The course shows them all the same.
    let rows = std::fs::read_to_string(format!("{output}/timeseries.csv")).unwrap();
    let mut rows = rows
        .lines()
        .map(|row| row.split(',').collect::<Vec<&str>>());
    let names = rows.next().unwrap();
    let column = |name: &str| names.iter().position(|it| *it == name).unwrap();
    let (phase, count) = (column("phase"), column("latency_count"));
    let after: u64 = rows
        .filter(|row| row[phase] == "draining")
        .filter_map(|row| row[count].parse::<u64>().ok())
        .sum();
    assert!(
        after > 100,
        "of 240, all but those of intervals that were late: {after}"
    );
}

#[test]
fn a_role_without_replies_is_invalid_and_the_others_are_not() {
    if !ring_available() {
        return;
    }
    let text = r#"
title = "Half"
[[role]]
name = "heard"
kind = "echo"
connections = 4
rate = 200
[[role]]
name = "ignored"
kind = "echo"
connections = 4
path = "/mute"
rate = 200
[[phase]]
name = "only"
duration = "600ms"
"#;
    let town = Town::honest();
    let (code, summary, _) = Script::new("half", text).play(&town);
    assert_eq!(code, 5, "{summary:#}");
    let ignored = role(&summary, "ignored");
    assert_eq!(
        (number(&ignored["total"], "lost"), &ignored["valid"]),
        (120, &Value::Bool(false))
    );
    assert_eq!(kinds(ignored), ["errors", "rate-missed"]);
    assert_eq!(number(&role(&summary, "heard")["total"], "lost"), 0);
    assert_eq!(number(&role(&summary, "heard")["total"], "due"), 120);
}

#[test]
fn a_file_is_checked_and_an_example_printed_without_a_server() {
    let text = |args: &[&str]| {
        let output = run(&[&["scenario"], args].concat());
        let both = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(both).unwrap())
    };
    let (code, page) = text(&["--check", "game-ticks", "--scale", "3"]);
    assert_eq!(code, Some(0), "{page}");
    assert!(
        page.contains("60 topics, 60 publishers at /topics?pub=match-{topic}"),
        "{page}"
    );
    let (code, example) = text(&["--print-example", "chat"]);
    assert_eq!(code, Some(0));
    let copy = Script::new("copy", &example);
    assert_eq!(text(&["--check", copy.path()]).0, Some(0));
    let slip = Script::new("slip", &example.replace("duration", "durration"));
    let (code, error) = text(&["--check", slip.path()]);
    assert_eq!(code, Some(2), "{error}");
    assert!(
        error.contains("line 5") && error.contains("did you mean `duration`?"),
        "{error}"
    );
    let (code, error) = text(&["chat"]);
    assert!(code == Some(2) && error.contains("<URL>"), "{error}");
    let (code, error) = text(&["chat", "tcp://127.0.0.1:9"]);
    assert!(code == Some(2) && error.contains("ws://"), "{error}");
    let (code, error) = text(&["chat", "--check", "--path", "typing2=/x"]);
    assert!(
        code == Some(2) && error.contains("did you mean `typing`?"),
        "{error}"
    );
}
