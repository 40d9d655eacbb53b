//! Runs from several processes.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::agent::{Agent, TOKEN, until, with_token};
use common::{bench, command, echo, hub, ring_available, run_bounded, serve};
use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};

/// A short run on an agent, whose coordinator knows this token.
fn echo_at(agent: &Agent, token: &str) -> (i32, Value, String) {
    let url = echo_url();
    let args = [
        "echo", &url, "-c", "4", "-r", "500", "-z", "200ms", "--warmup", "50ms",
    ];
    with_token(
        &[&args[..], &["--agents", &agent.address, "--json"]].concat(),
        token,
    )
}

fn echo_url() -> String {
    format!("ws://{}/", serve(|_, peer| echo(peer)))
}

fn own_pid() -> String {
    std::process::id().to_string()
}

/// The run has been made, and nothing went wrong in it. A busy machine may have spoiled its figures.
fn assert_ran(code: i32, summary: &Value, errors: &str) {
    assert!(matches!(code, 0 | 5), "{errors}\n{summary:#}");
    for kind in ["refused", "broken", "lost"] {
        assert_eq!(summary["errors"][kind], 0, "{errors}\n{summary:#}");
    }
}

/// Processes of this program that another one has started.
fn children_of(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = &stat[stat.rfind(')')? + 1..];
        let fields: Vec<&str> = rest.split_whitespace().collect();
        (fields[0] != "Z").then(|| fields[1].parse::<u32>().ok())?
    };
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| parent_of(pid) == Some(parent))
        .collect()
}

fn send(stream: &mut TcpStream, message: &Value) {
    let text = message.to_string();
    let len = u32::try_from(text.len()).unwrap();
    stream.write_all(&len.to_be_bytes()).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
}

fn receive(stream: &mut TcpStream) -> Value {
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut text = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn two_processes_make_one_run() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let args = [
        "echo", &url, "-c", "10", "-r", "500", "-z", "400ms", "--warmup", "100ms",
    ];
    let flags = ["--processes", "2", "--cost", "--server-pid", &own_pid()];
    let (code, summary, errors) = bench(&[&args[..], &flags].concat());
    assert_ran(code, &summary, &errors);
    assert_eq!(summary["agents"].as_array().unwrap().len(), 2);
    assert_eq!(summary["client"]["threads"], 2);
    assert_eq!(summary["connect_us"]["tcp"]["count"], 10);
    // What was due in the window, in both processes' histograms.
    assert_eq!(summary["latency_us"]["corrected"]["count"], 200);
    assert_eq!(summary["latency_us"]["uncorrected"]["count"], 200);
    assert!(summary["client"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
}

#[test]
fn no_two_processes_draw_the_same_nonces() {
    if !ring_available() {
        return;
    }
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let seen = Arc::clone(&keys);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = Arc::clone(&seen);
            #[allow(clippy::result_large_err)]
            let note = move |request: &Request, response: Response| {
                let key = request.headers()["sec-websocket-key"].to_str().unwrap();
                seen.lock().unwrap().push(key.to_owned());
                Ok(response)
            };
            thread::spawn(move || {
                if let Ok(peer) = tungstenite::accept_hdr(stream, note) {
                    echo(peer);
                }
            });
        }
    });
    let args = ["connect", &url, "-c", "20", "--processes", "4"];
    let (code, summary, errors) =
        bench(&[&args[..], &["--cost", "--server-pid", &own_pid()]].concat());
    assert_ran(code, &summary, &errors);
    let times = &summary["connections"];
    for phase in ["tcp_us", "upgrade_us", "close_us"] {
        assert_eq!(times[phase]["count"], 20, "{phase}");
    }
    let mut keys = keys.lock().unwrap().clone();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 20);
}

#[test]
fn idle_connections_are_those_of_all_processes() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let args = ["idle", &url, "-c", "21", "-z", "200ms", "--settle", "100ms"];
    let flags = ["--processes", "3", "--server-pid", &own_pid()];
    let (code, summary, errors) = bench(&[&args[..], &flags].concat());
    assert_ran(code, &summary, &errors);
    assert_eq!(summary["connections"]["count"], 21);
    assert_eq!(summary["connections"]["tcp_us"]["count"], 21);
}

#[test]
fn threads_take_the_addresses_of_a_server_in_turn() {
    if !ring_available() {
        return;
    }
    let (first, second) = (counting_url(), counting_url());
    let also = second.0.trim_start_matches("ws://").trim_end_matches('/');
    let args = ["connect", &first.0, "-c", "7", "--also", also];
    let (code, _, errors) = bench(&[&args[..], &["--processes", "2"]].concat());
    assert_ne!(code, 1, "{errors}");
    let count = |server: &(String, Arc<AtomicUsize>)| server.1.load(Ordering::Relaxed);
    until("opening", || count(&first) + count(&second) == 7);
    assert_eq!((count(&first), count(&second)), (4, 3));
    let (code, _, errors) = bench(&args);
    assert_eq!(code, 2, "{errors}");
}

/// An agent whose monotonic clock is so many seconds ahead, as on another machine.
fn agent_in_the_future(seconds: &str) -> Option<Agent> {
    let ahead = ["--time", "--monotonic", seconds];
    let possible = Command::new("unshare").args(ahead).arg("true").output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: a time namespace cannot be had here");
        return None;
    }
    let program = command(&[]).get_program().to_owned();
    let mut wrapped = Command::new("unshare");
    wrapped.args(ahead).arg(program);
    wrapped.args(["agent", "-l", "127.0.0.1:0"]).env(TOKEN, "");
    Some(Agent::start_by(&mut wrapped))
}

/// Publishers and subscribers in processes whose clocks differ by an hour: every latency is that of the others' clock.
#[test]
fn clocks_of_other_machines_are_read() {
    if !ring_available() {
        return;
    }
    let Some(future) = agent_in_the_future("3600") else {
        return;
    };
    let agent = Agent::start("");
    let address = hub::serve(hub::Subscribers::send_to_all);
    let url = format!("ws://{address}/");
    let publish = format!("ws://{address}/?pub");
    let list = format!("{},{}", agent.address, future.address);
    let args = [
        "broadcast",
        &url,
        "--publish-url",
        &publish,
        "-c",
        "4",
        "--publishers",
        "2",
    ];
    let flags = [
        "-r", "200", "-z", "400ms", "--warmup", "100ms", "--agents", &list, "--json",
    ];
    let (code, summary, errors) = with_token(&[&args[..], &flags].concat(), "");
    assert_ran(code, &summary, &errors);
    let clock_error = |agent: usize| {
        let error = &summary["agents"][agent]["clock_error_us"];
        error.as_f64().unwrap()
    };
    assert_eq!(clock_error(0), 0.0);
    assert!(clock_error(1) > 0.0);
    let latency = &summary["latency_us"]["uncorrected"];
    assert_eq!(latency["count"], 320);
    // Less than the way of one message takes, and no hours.
    assert!(latency["max"].as_f64().unwrap() < 30e6, "{latency}");
    assert!(clock_error(1) < 1e6, "{summary:#}");
}

/// A run with publishers and subscribers in two processes, at a server that forgets this delivery.
fn broadcast(forgotten: Option<(u64, usize)>) -> (i32, Value, String) {
    let address = hub::serve(move |subscribers, payload| {
        for place in 0..subscribers.streams.len() {
            if forgotten != Some((subscribers.published, place)) {
                subscribers.send_to(place, payload);
            }
        }
    });
    let url = format!("ws://{address}/");
    let publish = format!("ws://{address}/?pub");
    let args = [
        "broadcast",
        &url,
        "--publish-url",
        &publish,
        "-c",
        "6",
        "--publishers",
        "2",
    ];
    let flags = [
        "-r",
        "200",
        "-z",
        "400ms",
        "--warmup",
        "100ms",
        "--processes",
        "2",
    ];
    let cost = ["--cost", "--server-pid", &own_pid()];
    bench(&[&args[..], &flags, &cost].concat())
}

#[test]
fn everybody_hears_the_publishers_of_other_processes() {
    if !ring_available() {
        return;
    }
    let (code, summary, errors) = broadcast(None);
    assert_ran(code, &summary, &errors);
    assert_eq!(summary["broadcast"]["listening"], 6);
    assert_eq!(summary["broadcast"]["lost"], 0);
    // 80 messages were due in the window, and came to 6.
    assert_eq!(summary["latency_us"]["corrected"]["count"], 480);
}

#[test]
fn the_last_message_is_missed_when_it_is_lost() {
    if !ring_available() {
        return;
    }
    // Only what the other process has published tells that there was one.
    let (code, summary, errors) = broadcast(Some((100, 5)));
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert_eq!(summary["broadcast"]["lost"], 1);
    assert_eq!(summary["broadcast"]["duplicated"], 0);
    assert_eq!(summary["broadcast"]["reordered"], 0);
}

/// An echo server, and how many connections it has had.
fn counting_url() -> (String, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = serve(move |_, peer| {
        counted.fetch_add(1, Ordering::Relaxed);
        echo(peer);
    });
    (format!("ws://{address}/"), count)
}

/// A run of 30 s at this server, once it is under way.
fn long_run(flags: &[&str]) -> Child {
    let (url, count) = counting_url();
    let args = ["echo", &url, "-c", "4", "-z", "30s"];
    let child = command(&[&args[..], flags].concat())
        .env(TOKEN, "")
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("opening", || count.load(Ordering::Relaxed) == 4);
    child
}

#[test]
fn an_agent_that_dies_is_named() {
    if !ring_available() {
        return;
    }
    let (mut agent, other) = (Agent::start(""), Agent::start(""));
    let list = format!("{},{}", other.address, agent.address);
    let run = long_run(&["--agents", &list]);
    agent.child.kill().unwrap();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&agent.address), "{errors}");
    assert!(errors.contains("was lost during the run"), "{errors}");
    until("the other one's end", || echo_at(&other, "").0 != 1);
}

#[test]
fn agents_outlive_a_coordinator_and_children_do_not() {
    if !ring_available() {
        return;
    }
    let agent = Agent::start("");
    let mut run = long_run(&["--agents", &agent.address]);
    assert!(children_of(run.id()).is_empty());
    run.kill().unwrap();
    run.wait().unwrap();
    until("the run's end", || echo_at(&agent, "").0 != 1);

    let mut run = long_run(&["--processes", "3"]);
    let children = children_of(run.id());
    assert_eq!(children.len(), 3);
    run.kill().unwrap();
    run.wait().unwrap();
    let gone = |pid: &u32| !is_harness(*pid);
    until("the children's end", || children.iter().all(gone));
}

/// A terminal sends SIGINT to all processes of a group. The children are not among them, and the run says that it was stopped.
#[test]
fn an_interrupt_is_the_coordinators_alone() {
    if !ring_available() {
        return;
    }
    let run = long_run(&["--processes", "2"]);
    let children = children_of(run.id());
    assert_eq!(children.len(), 2);
    let group = nix::unistd::Pid::from_raw(run.id() as i32);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = run.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{errors}");
    until("the children's end", || {
        !children.iter().any(|pid| is_harness(*pid))
    });
}

/// A process of this number runs, is not a zombie, and is the harness.
fn is_harness(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    name.contains("\0agent\0")
}

#[test]
fn only_who_knows_the_token_has_a_run() {
    if !ring_available() {
        return;
    }
    let agent = Agent::start("open sesame");
    for wrong in ["", "open sesamé"] {
        let (code, _, errors) = echo_at(&agent, wrong);
        assert_eq!(code, 1, "{errors}");
        assert!(errors.contains("wrong token"), "{errors}");
        assert!(!errors.contains("open"), "{errors}");
    }
    let (code, _, errors) = echo_at(&agent, "open sesame");
    assert_ne!(code, 1, "{errors}");
    let args = ["agent", "-l", "0.0.0.0:0"];
    let output = run_bounded(command(&args).env_remove(TOKEN));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--token"));
}

#[test]
fn one_run_at_a_time() {
    if !ring_available() {
        return;
    }
    let agent = Agent::start("");
    let mut run = long_run(&["--agents", &agent.address]);
    let (code, _, errors) = echo_at(&agent, "");
    assert_eq!(code, 1);
    assert!(errors.contains("serves another run"), "{errors}");
    run.kill().unwrap();
    run.wait().unwrap();
}

#[test]
fn both_sides_tell_of_another_version() {
    let agent = Agent::start("");
    // Another version, and another build of the same.
    for version in ["0.0.1", env!("CARGO_PKG_VERSION")] {
        let mut stream = agent.connect();
        let hello = receive(&mut stream);
        let own = hello["hello"]["version"].as_str().unwrap();
        assert!(own.starts_with(&format!("{}+", env!("CARGO_PKG_VERSION"))));
        let protocol = &hello["hello"]["protocol"];
        send(
            &mut stream,
            &json!({ "join": { "protocol": protocol, "version": version, "signature": "" } }),
        );
        let answer = receive(&mut stream);
        let text = answer["failed"]["text"].as_str().unwrap();
        assert!(text.contains("both must be the same"), "{text}");
    }

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let hello = json!({ "protocol": 1, "version": "9.9.9", "boot": "", "connections": 9, "challenge": "" });
            send(&mut stream, &json!({ "hello": hello }));
        }
    });
    let args = ["echo", "ws://127.0.0.1:1/", "--agents", &address];
    let (code, _, errors) = with_token(&args, "");
    assert_eq!(code, 1);
    assert!(
        errors.contains("9.9.9") && errors.contains(&address),
        "{errors}"
    );
}

/// Strangers of all kinds come one after the other, and some stay; the agent serves whoever has a run for it.
#[test]
fn strangers_do_not_disturb() {
    if !ring_available() {
        return;
    }
    let agent = Agent::start("");
    let mut slow = agent.connect();
    receive(&mut slow);
    slow.write_all(&[0]).unwrap();
    // SplitMix64, so that the same bytes come every time.
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 27)
    };
    for round in 0..200 {
        let mut stream = agent.connect();
        let mut bytes: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
        match round % 4 {
            // A length that fits what follows.
            0 => {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes.splice(0..0, len.to_be_bytes());
            }
            // JSON that is no message, or is one out of turn.
            1 => {
                let texts = ["\"look\"", "{\"join\":{}}", "[[[[", "{\"go\":{\"at\":-1}}"];
                let text = texts[(random() % 4) as usize];
                bytes = u32::try_from(text.len()).unwrap().to_be_bytes().into();
                bytes.extend(text.as_bytes());
            }
            // A message that is longer than any may be.
            2 => bytes.splice(0..0, u32::MAX.to_be_bytes()).for_each(drop),
            _ => {}
        }
        // The agent may have ended the connection.
        let _ = stream.write_all(&bytes);
    }
    // As long as many of them are there, a coordinator is sent away as they are.
    until("a run", || echo_at(&agent, "").0 != 1);
    // Who says nothing is sent away.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.contains("timed out"), "{text}");
    assert_eq!(agent.end(), "");
}
