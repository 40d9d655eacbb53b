//! `connect` and `idle`.

mod common;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::apart::Apart;
use common::patience::{bench_stretched, bench_until, is_cut_short, lengthen};
use common::{
    Floor, Outcome, accept_on, answering, assert_clean, bench, bench_long_enough, choose,
    deflating, echo, echo_url, hub, listener, load, measure, own_pid, ring_available, serve,
    serve_asked, strs, url,
};
use serde_json::Value;
use tempfile::NamedTempFile;
use tungstenite::Message;

#[test]
fn connections_are_opened_and_closed_by_handshake() {
    if !ring_available() {
        return;
    }
    let summary = assert_clean(measure(&["connect", &echo_url(), "-c", "200"]));
    let connections = &summary["connections"];
    assert_eq!(connections["count"], 200);
    for phase in ["tcp_us", "upgrade_us", "close_us"] {
        assert_eq!(connections[phase]["count"], 200, "{phase}");
        assert!(connections[phase]["p50"].as_f64().unwrap() > 0.0);
    }
    assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
    assert!(connections["server_close_cpu_us"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_connect_rate_is_kept() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let args = ["connect", &url, "-c", "150", "--connect-rate", "300"];
    let flags = ["--source-ip", "127.0.0.5"];
    let summary = assert_clean(measure(&[&args[..], &flags].concat()));
    // 150 connections, the last one due after 149/300 s.
    assert!(summary["window_s"].as_f64().unwrap() >= 0.49, "{summary:#}");
}

/// Arguments of a churn of half a second.
fn churn<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let churn = ["connect", url, "--churn", "-z", "500ms", "--warmup"];
    [&churn[..], &["100ms"], more].concat()
}

#[test]
fn churn_counts_whole_cycles() {
    if !ring_available() {
        return;
    }
    let summary = assert_clean(measure(&churn(&echo_url(), &["--concurrency", "8"])));
    assert!(summary["connections"]["count"].as_u64().unwrap() >= 100);
    assert!(
        summary["connections"]["close_us"]["count"]
            .as_u64()
            .unwrap()
            >= 100
    );
}

#[test]
fn churning_connections_talk_before_they_close() {
    if !ring_available() {
        return;
    }
    let attempt = |times| {
        let heard = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&heard);
        let url = answering(move |_, _, message| {
            counter.fetch_add(1, Ordering::Relaxed);
            vec![message]
        });
        let (flags, pid) = (["--concurrency", "4", "--messages", "3"], own_pid());
        let outcome = bench_stretched(&load(&churn(&url, &flags), &pid), times);
        (outcome, heard.load(Ordering::Relaxed))
    };
    let (outcome, heard) = lengthen(attempt, |(outcome, _)| !is_cut_short(outcome));
    let summary = assert_clean(outcome);
    let cycles = summary["connections"]["count"].as_u64().unwrap();
    assert!(cycles >= 20, "{summary:#}");
    // Those of the warm-up are not among the cycles, and some were under way at the end.
    assert!(heard >= 3 * cycles);
    assert_eq!(summary["parameters"]["messages"], 3);
}

#[test]
fn a_wrong_reply_breaks_a_churning_connection() {
    if !ring_available() {
        return;
    }
    let url = answering(|_, _, _| vec![Message::binary(vec![0; 64])]);
    let (code, summary, errors) = measure(&churn(&url, &["--messages", "1"]));
    assert_eq!(code, 1, "{errors}\n{summary:#}");
    assert!(errors.contains("a reply differs"), "{errors}");
}

#[test]
fn a_doubled_reply_breaks_a_churning_connection() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        while let Ok(message) = peer.read() {
            let _ = peer.write(message.clone());
            let _ = peer.send(message);
        }
    });
    let (code, summary, errors) = measure(&churn(&url(address), &["--messages", "2"]));
    assert_eq!(code, 1, "{errors}\n{summary:#}");
}

#[test]
fn a_server_that_ends_without_a_closing_handshake_is_reported() {
    if !ring_available() {
        return;
    }
    // Reads one message, our Close, and drops the TCP connection without an answer.
    let address = serve(|_, mut peer| {
        let mut head = [0; 2];
        let _ = peer.get_mut().read_exact(&mut head);
    });
    let (code, summary, _) = bench(&["connect", &url(address), "-c", "5"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["errors"]["broken"], 5, "{summary:#}");
}

#[test]
fn idle_connections_are_weighed_and_listened_to() {
    if !ring_available() {
        return;
    }
    const CONNECTIONS: usize = 60;
    let server = Apart::start("idle_connections_are_weighed_and_listened_to", || {
        serve(|number, mut peer| {
            // While the window is open: after the settling time, and well before the end.
            thread::sleep(time_of(number, CONNECTIONS) * 5 / 4);
            if number % CONNECTIONS < 5 {
                peer.send(Message::Ping(vec![7].into())).unwrap();
                peer.send(Message::text("news")).unwrap();
                assert!(matches!(peer.read(), Ok(Message::Pong(_))));
            }
            echo(peer);
        })
    });
    let (count, pid) = (CONNECTIONS.to_string(), server.pid());
    let args = [
        "idle",
        &server.url,
        "-c",
        &count,
        "-z",
        "2s",
        "--settle",
        "500ms",
    ];
    let heard = |summary: &Value| summary["connections"]["heard"]["messages"].as_u64();
    let in_time = |outcome: &Outcome| outcome.0 == 0 && heard(&outcome.1) == Some(5);
    let attempt = |times| bench_stretched(&load(&args, &pid), times);
    let summary = assert_clean(lengthen(attempt, in_time));
    let connections = &summary["connections"];
    assert_eq!(
        (&connections["count"], &connections["lost"]),
        (&CONNECTIONS.into(), &0.into())
    );
    assert_eq!(connections["heard"]["messages"], 5);
    assert_eq!(connections["heard"]["pings"], 5);
    // A thread per connection costs something.
    assert!(
        summary["memory"]["anonymous_per_connection"]
            .as_f64()
            .unwrap()
            > 1000.0
    );
}

/// A second for each of the connections of a first attempt, two for the second one's, and so on: twice the time of before.
fn time_of(number: usize, connections: usize) -> Duration {
    Duration::from_secs(1 << (number / connections))
}

#[test]
fn an_idle_server_shows_zero() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("ring");
    let args = [
        "idle", &floor.url, "-c", "500", "-z", "500ms", "--settle", "300ms",
    ];
    // The system opens connections, and the server may take longer than that to accept them.
    let is_zero = |outcome: &Outcome| outcome.0 == 0 && outcome.1["server"]["cpu_us"] == 0.0;
    let summary = assert_clean(bench_until(&load(&args, &floor.pid), is_zero));
    assert_eq!(summary["server"]["cpu_us"], 0.0, "{summary:#}");
    assert_eq!(summary["connections"]["count"], 500);
}

#[test]
fn connections_that_end_are_lost() {
    if !ring_available() {
        return;
    }
    const CONNECTIONS: usize = 5;
    let address = serve(|number, peer| {
        if number % CONNECTIONS == 0 {
            thread::sleep(time_of(number, CONNECTIONS) * 3 / 5);
        } else {
            echo(peer);
        }
    });
    let (url, pid) = (url(address), own_pid());
    let args = ["idle", &url, "-c", "5", "-z", "1s", "--settle", "100ms"];
    let in_time = |outcome: &Outcome| outcome.1["connections"]["lost"] == 1;
    let attempt = |times| bench_stretched(&load(&args, &pid), times);
    let (code, summary, _) = lengthen(attempt, in_time);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["connections"]["lost"], 1);
}

/// Every field is in the schema, and every field of the schema is in some summary.
#[test]
fn the_schema_describes_the_summaries() {
    if !ring_available() {
        return;
    }
    let schema: Value = serde_json::from_str(include_str!("../summary.schema.json")).unwrap();
    let summaries = one_of_each_kind();
    let (mut described, mut found) = (Vec::new(), Vec::new());
    paths(&schema, &schema, String::new(), &mut described);
    summaries
        .iter()
        .for_each(|summary| fields(summary, String::new(), &mut found));
    for list in [&mut described, &mut found] {
        list.sort();
        list.dedup();
    }
    // Not every system lets them be counted.
    let counted = "/server/syscalls".to_owned();
    if !found.contains(&counted) {
        described.retain(|path| !path.starts_with(&counted));
    }
    assert_eq!(found, described);
    for summary in &summaries {
        assert_eq!(summary["schema"], schema["properties"]["schema"]["const"]);
        for name in schema["required"].as_array().unwrap() {
            assert!(
                summary.get(name.as_str().unwrap()).is_some(),
                "{name} is required"
            );
        }
    }
}

fn one_of_each_kind() -> Vec<Value> {
    let floor = Floor::start("epoll");
    let good = echo_url();
    let also = good.split('/').nth(2);
    // Drops its first connection, for the reasons.
    let bad = serve(|number, peer| {
        if number > 0 {
            echo(peer)
        }
    });
    let bad = url(bad);
    let closing = hub::serve(|subscribers, _| {
        for stream in &mut subscribers.streams {
            stream.write_all(&hub::CLOSE_1013).unwrap();
        }
        subscribers.streams.clear();
    });
    let cutting = hub::serve(|subscribers, _| {
        for stream in subscribers.streams.drain(..) {
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    let deflating = deflating::serve(Some(deflating::YES), |mut conn| {
        while let Some((first, payload)) = conn.read() {
            conn.write(first, &payload);
        }
    });
    let scenario = scenario_file();
    let choosing = serve_asked(|_, response| choose(response, "chat"), echo);
    let commands = [
        format!("scenario {} {bad}", scenario.path().display()),
        format!(
            "broadcast ws://{closing}/ --publish-url ws://{closing}/?pub -c 3 --slow 1 -z 200ms"
        ),
        format!("broadcast ws://{cutting}/ -c 3 --slow 1 --burst 2 -z 200ms"),
        format!("broadcast {} -c 3 --all-publish -z 200ms", hub_url()),
        format!(
            "echo {good} -c 4 --active 2 -r 500..1k --ramp 100ms --tick 2ms -z 400ms --warmup 100ms"
        ),
        format!(
            "echo {} -c 1 -z 200ms --warmup 100ms --expect p99<1m",
            floor.url
        ),
        format!("echo ws://{deflating}/ --deflate -c 1 -z 200ms --warmup 100ms"),
        format!(
            "echo {good} -c 4 -s 64,128 --think 1ms --connect-rate 1k --origin http://a -H X-A:b -z 200ms --warmup 0ms"
        ),
        format!(
            "echo ws://{choosing}/ -c 2 --subprotocol chat --hello hi --skip 1 --answer 2=3 --ignore 4 --payload lines:Cargo.toml -z 200ms --warmup 0ms"
        ),
        format!("connect {good} -c 5 --connect-rate 1k"),
        format!("connect {good} --churn -z 200ms --messages 1 --syscalls auto"),
        format!("idle {good} -c 5 -z 200ms"),
        format!(
            "idle {good} -c 5 -z 200ms --processes 2 --also {}",
            also.unwrap()
        ),
        format!("idle {bad} -c 3 -z 100ms"),
    ];
    let pid = own_pid();
    let arguments = |command: &str| -> Vec<String> {
        let line = format!("{command} --server-pid {pid}");
        line.split(' ').map(str::to_owned).collect()
    };
    let run = |command: &String| bench_long_enough(&strs(&arguments(command))).1;
    let search = format!(
        "echo {good} -c 1 -z 300ms --warmup 50ms -r 1k --find-max rate<3k --find-max-precision 50% --find-max-confirm 1"
    );
    // On a busy machine it may be that no rate holds.
    let found = |outcome: &Outcome| outcome.1["find_max"]["rate"].is_u64();
    let search = bench_until(&strs(&arguments(&search)), found);
    commands.iter().map(run).chain([search.1]).collect()
}

/// A scenario, in a file that is removed in the end.
fn scenario_file() -> NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let role = "[[role]]\nname = 'a'\nkind = 'echo'\nconnections = 3\nrate = 200\n";
    let phase = "[[phase]]\nname = 'p'\nduration = '200ms'\n";
    write!(file, "title = 'x'\n{role}{phase}").unwrap();
    file
}

fn hub_url() -> String {
    url(hub::serve(hub::Subscribers::send_to_all))
}

/// Paths of all properties; `[]` stands for the items of a list.
fn paths(root: &Value, node: &Value, at: String, out: &mut Vec<String>) {
    let node = match node["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    };
    if !node["items"].is_null() {
        paths(root, &node["items"], format!("{at}[]"), out);
    }
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        let path = format!("{at}/{name}");
        out.push(path.clone());
        paths(root, child, path, out);
    }
}

fn fields(node: &Value, at: String, out: &mut Vec<String>) {
    match node {
        Value::Array(items) => items
            .iter()
            .for_each(|item| fields(item, format!("{at}[]"), out)),
        Value::Object(map) => {
            for (name, child) in map {
                let path = format!("{at}/{name}");
                out.push(path.clone());
                fields(child, path, out);
            }
        }
        _ => {}
    }
}

#[test]
fn connections_that_are_due_during_a_stall_have_waited() {
    if !ring_available() {
        return;
    }
    const STALL: Duration = Duration::from_millis(400);
    // One after the other, with a stall in the middle.
    let handshakes = Mutex::new(0_u64);
    let address = accept_on(listener(), move |_, stream| {
        let mut count = handshakes.lock().unwrap();
        *count += 1;
        if *count == 50 {
            thread::sleep(STALL);
        }
        let accepted = tungstenite::accept(stream);
        drop(count);
        if let Ok(peer) = accepted {
            echo(peer);
        }
    });
    let (code, summary, errors) = bench(&[
        "connect",
        &url(address),
        "-c",
        "400",
        "--connect-rate",
        "1k",
        "--concurrency",
        "4",
        "--server-pid",
        &own_pid(),
    ]);
    assert!(matches!(code, 0 | 5), "{errors}");
    let of = |phase: &str, percentile: &str| {
        let phase = &summary["connect_us"][phase];
        phase[percentile].as_f64().unwrap() / 1e6
    };
    // Four waited for their upgrade, and all that were due then for a place.
    assert!(of("upgrade", "max") >= STALL.as_secs_f64(), "{summary:#}");
    assert!(
        of("open", "p50") >= STALL.as_secs_f64() / 8.0,
        "{summary:#}"
    );
    assert!(of("open", "p50") > of("upgrade", "p50"), "{summary:#}");
}
