//! `broadcast` against servers that deliver well and badly.

mod common;

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::hub::{self, CLOSE_1013, Subscribers, frame};
use common::patience::{bench_stretched, lengthen, until};
use common::{
    Floor, Outcome, assert_unharmed, bench, due, load, own_pid, ring_available, two_cores, url,
};
use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

/// A run with separate publishers.
fn measure(address: SocketAddr, args: &[&str]) -> Outcome {
    with_arguments(address, args, common::measure)
}

/// Calls `run` with the arguments of a run with separate publishers, unless all publish.
fn with_arguments<T>(address: SocketAddr, args: &[&str], run: impl Fn(&[&str]) -> T) -> T {
    let subscribe = format!("ws://{address}/?sub=a");
    let publish = format!("ws://{address}/?pub=a");
    let mut all = vec!["broadcast", &subscribe];
    if !args.contains(&"--all-publish") {
        all.extend(["--publish-url", &publish]);
    }
    all.extend(args);
    run(&all)
}

/// Runs, against a new server each time, until more messages than that were published in the window.
fn until_published(count: u64, serve: impl Fn() -> SocketAddr, args: &[&str]) -> Outcome {
    let pid = own_pid();
    let attempt = |times| {
        with_arguments(serve(), args, |args| {
            bench_stretched(&load(args, &pid), times)
        })
    };
    let published = |outcome: &Outcome| outcome.1["broadcast"]["published"].as_u64();
    lengthen(attempt, |outcome| published(outcome) > Some(count))
}

fn assert_clean(outcome: Outcome) -> Value {
    let summary = common::assert_clean(outcome);
    assert_eq!(faults(&summary), (0, 0, 0), "{summary:#}");
    summary
}

/// Lost, duplicated, reordered.
fn faults(summary: &Value) -> (u64, u64, u64) {
    let count = |name: &str| summary["broadcast"][name].as_u64().unwrap();
    (count("lost"), count("duplicated"), count("reordered"))
}

#[test]
fn everybody_receives_everything_in_every_kind_of_loop() {
    if !ring_available() {
        return;
    }
    let address = hub::serve(Subscribers::send_to_all);
    let cases: [&[&str]; 7] = [
        &["-c", "20"],
        &["-c", "20", "--in-flight", "8", "--publishers", "3"],
        &["-c", "20", "--burst", "5", "--publishers", "4"],
        &["-c", "20", "--all-publish"],
        &["-c", "20", "-r", "100", "-z", "1s"],
        &["-c", "40", "-s", "28", "--busy-poll"],
        &["-c", "20", "-s", "100k", "-z", "2s", "--verify", "full"],
    ];
    for args in cases {
        let summary = assert_clean(measure(address, args));
        let part = &summary["broadcast"];
        assert!(part["published"].as_u64().unwrap() > 0, "{args:?}");
        assert_eq!(part["to_publishers"], 0);
        let times = |name: &str| part[name]["p50"].as_f64().unwrap();
        assert!(
            0.0 < times("first_us") && times("first_us") <= times("last_us"),
            "{summary:#}"
        );
        assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
        assert!(part["memory"]["most_resident"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn publishers_that_hear_themselves_are_counted_apart() {
    if !ring_available() {
        return;
    }
    let address = hub::serve(Subscribers::send_to_all);
    // Without a path of its own for publishing, the server takes the publisher for a subscriber.
    let summary = assert_clean(common::measure(&["broadcast", &url(address), "-c", "10"]));
    let heard = summary["broadcast"]["to_publishers"].as_u64().unwrap();
    let all = summary["messages"]["count"].as_u64().unwrap();
    assert!(
        heard > 0 && (10..=12).contains(&(all / heard)),
        "{summary:#}"
    );
}

#[test]
fn several_threads_share_an_open_loop() {
    let Some(cores) = two_cores() else {
        return;
    };
    let address = hub::serve(Subscribers::send_to_all);
    let args = [
        "-c",
        "11",
        "--publishers",
        "3",
        "-r",
        "200",
        "--cores",
        &cores,
    ];
    let summary = assert_clean(measure(address, &args));
    assert_eq!(summary["client"]["threads"], 2);
    assert_eq!(summary["broadcast"]["listening"], 11);
    // 11 subscribers had each message that was due in the window.
    let count = &summary["latency_us"]["corrected"]["count"];
    assert_eq!(*count, 11.0 * due(&summary), "{summary:#}");
    let (code, _, errors) = measure(
        address,
        &["-c", "4", "--publishers", "2", "--cores", &cores],
    );
    assert_eq!(code, 2, "a closed loop takes one thread: {errors}");
}

/// What a server does wrong is counted exactly, and spoils the run.
#[test]
fn losses_duplicates_and_disorder_are_counted() {
    if !ring_available() {
        return;
    }
    let dropped = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&dropped);
    let lossy = hub::serve(move |subscribers, payload| {
        for subscriber in 0..subscribers.streams.len() {
            if subscriber == 2 && subscribers.published % 10 == 3 {
                count.fetch_add(1, Ordering::Relaxed);
            } else {
                subscribers.send_to(subscriber, payload);
            }
        }
    });
    let doubled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&doubled);
    let doubling = hub::serve(move |subscribers, payload| {
        subscribers.send_to_all(payload);
        if subscribers.published % 7 == 0 {
            count.fetch_add(1, Ordering::Relaxed);
            subscribers.send_to(1, payload);
        }
    });
    let swapped = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&swapped);
    let mut held: Option<Vec<u8>> = None;
    let swapping = hub::serve(move |subscribers, payload| {
        for subscriber in 1..subscribers.streams.len() {
            subscribers.send_to(subscriber, payload);
        }
        match held.take() {
            None if subscribers.published % 9 == 0 => held = Some(payload.to_vec()),
            held => {
                subscribers.send_to(0, payload);
                if let Some(earlier) = held {
                    count.fetch_add(1, Ordering::Relaxed);
                    subscribers.send_to(0, &earlier);
                }
            }
        }
    });
    // The last message of 120 is neither dropped nor held.
    let args = ["-c", "5", "-r", "200", "-z", "500ms"];
    let pid = own_pid();
    let spoilt = |address, what| {
        let once = |args: &[&str]| bench(&load(args, &pid));
        let (code, summary, errors) = with_arguments(address, &args, once);
        assert_eq!(code, 5, "{errors}\n{summary:#}");
        assert!(errors.contains(what), "{errors}");
        faults(&summary)
    };
    let seen = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(spoilt(lossy, "lost"), (seen(&dropped), 0, 0));
    assert_eq!(spoilt(doubling, "more than once"), (0, seen(&doubled), 0));
    assert_eq!(spoilt(swapping, "out of order"), (0, 0, seen(&swapped)));
    assert!(seen(&dropped) >= 10 && seen(&doubled) >= 10 && seen(&swapped) >= 10);
}

#[test]
fn a_closed_loop_goes_on_after_a_loss() {
    if !ring_available() {
        return;
    }
    let forgetful = || {
        hub::serve(|subscribers, payload| {
            if subscribers.published != 5 {
                subscribers.send_to_all(payload);
            }
        })
    };
    let (code, summary, _) = until_published(10, forgetful, &["-c", "3", "-z", "2s"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(
        faults(&summary),
        (3, 0, 0),
        "one message, three subscribers"
    );
    assert!(
        summary["broadcast"]["published"].as_u64().unwrap() > 10,
        "{summary:#}"
    );
}

#[test]
fn a_delay_is_seen_by_every_subscriber() {
    const DELAY: Duration = Duration::from_millis(30);
    if !ring_available() {
        return;
    }
    let address = hub::serve(|subscribers, payload| {
        thread::sleep(DELAY);
        subscribers.send_to_all(payload);
    });
    let summary = assert_clean(measure(address, &["-c", "20", "-r", "10", "-z", "1s"]));
    let shortest = summary["latency_us"]["corrected"]["min"].as_f64().unwrap();
    let median = summary["latency_us"]["corrected"]["p50"].as_f64().unwrap();
    assert!(shortest >= 29_900.0, "{summary:#}");
    assert!(median < 1_000_000.0, "{summary:#}");
    assert_eq!(
        summary["latency_us"]["corrected"]["count"],
        20.0 * due(&summary)
    );
}

/// Coordinated omission: while a server does not read, the publisher cannot send. What was due then must
/// count from when it was due.
#[test]
fn a_stall_shows_in_the_corrected_latency() {
    if !ring_available() {
        return;
    }
    let address = hub::serve_on(narrow_listener(), |subscribers, payload| {
        if subscribers.published == 20 {
            thread::sleep(Duration::from_millis(1_500));
        }
        subscribers.send_to_all(payload);
    });
    let args = ["-c", "2", "-r", "40", "-s", "512k", "-z", "3s"];
    let pid = own_pid();
    let once = |args: &[&str]| bench(&load(args, &pid));
    let summary = assert_unharmed(with_arguments(address, &args, once));
    let at = |which: &str| summary["latency_us"][which]["p90"].as_f64().unwrap();
    // 60 of 120 messages were due during the stall: 12 had to wait for more than a second.
    assert!(at("corrected") > 1_000_000.0, "{summary:#}");
    assert!(at("uncorrected") < at("corrected") / 2.0, "{summary:#}");
}

/// Takes little that it has not read.
fn narrow_listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket
        .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    socket.listen(128).unwrap();
    socket.into()
}

/// Subscribers whose socket is full are closed with 1013, which they see when they read on.
fn evict_with_close(subscribers: &mut Subscribers, payload: &[u8]) {
    let whole = frame(payload);
    subscribers.streams.retain_mut(|stream| {
        // Never waits, without a change to the socket: another thread reads from it.
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let sent = match SockRef::from(&*stream).send_with_flags(&whole, flags) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        if sent == whole.len() {
            return true;
        }
        let mut stream = stream.try_clone().unwrap();
        let mut rest = if sent == 0 {
            Vec::new()
        } else {
            whole[sent..].to_vec()
        };
        rest.extend(CLOSE_1013);
        thread::spawn(move || stream.write_all(&rest));
        false
    });
}

#[test]
fn what_becomes_of_stalled_subscribers_is_told() {
    if !ring_available() {
        return;
    }
    // A closed loop: those that read are never behind, so only the stalled ones' sockets fill.
    let flood = ["-c", "10", "--slow", "20%", "-s", "60000", "-z", "3s"];
    let trickle = ["-c", "10", "--slow", "2", "-r", "50"];
    let closing = assert_clean(measure(hub::serve(evict_with_close), &flood));
    let closed = &closing["broadcast"]["stalled"];
    assert_eq!(
        (&closed["count"], &closed["open"]),
        (&2.into(), &0.into()),
        "{closed:#}"
    );
    assert_eq!(closed["closed"][0]["reason"], "1013");
    assert_eq!(closed["closed"][0]["count"], 2);
    assert_eq!(closing["broadcast"]["listening"], 8);

    let cutting = hub::serve(|subscribers, payload| {
        subscribers.send_to_all(payload);
        // The first to join are not told apart from the others, so everybody joins before this.
        if subscribers.published == 20 {
            for stream in &subscribers.streams {
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
    });
    let (code, cut, _) = measure(cutting, &trickle);
    assert_eq!(code, 5, "the others were cut, too");
    assert_eq!(cut["broadcast"]["stalled"]["cut"][0]["count"], 2, "{cut:#}");
    assert_eq!(cut["errors"]["broken"], 8);

    let kept = assert_clean(measure(hub::serve(Subscribers::send_to_all), &trickle));
    let open = &kept["broadcast"]["stalled"];
    assert_eq!(
        (&open["count"], &open["open"]),
        (&2.into(), &2.into()),
        "{open:#}"
    );
    assert!(
        open["messages_read_at_the_end"].as_u64().unwrap() >= 50,
        "{open:#}"
    );
}

#[test]
fn a_server_that_dies_ends_the_run_in_time() {
    if !ring_available() {
        return;
    }
    for args in [
        &["-c", "10"][..],
        &["-c", "10", "-r", "100"],
        &["-c", "10", "--burst", "4"],
    ] {
        let address = hub::serve(|subscribers, payload| {
            if subscribers.published > 5 {
                subscribers
                    .streams
                    .drain(..)
                    .for_each(|stream| stream.shutdown(Shutdown::Both).unwrap());
            }
            subscribers.send_to_all(payload);
        });
        let begun = Instant::now();
        let (code, summary, errors) = measure(address, args);
        assert_eq!(code, 5, "{errors}\n{summary:#}");
        assert_eq!(summary["errors"]["broken"], 10, "{summary:#}");
        let reason = summary["errors"]["reasons"][0]["reason"].as_str().unwrap();
        assert!(
            reason.contains("ended the connection") || reason.contains("reset"),
            "{reason}"
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_watched_server_that_dies_is_named() {
    if !ring_available() {
        return;
    }
    let mut floor = Floor::start_with("epoll", &["--broadcast", "64"]);
    let url = format!("ws://{}/", floor.address());
    let args = ["broadcast", &url, "-c", "5", "-z", "10m"];
    let pid = floor.pid.clone();
    let (code, _, errors) = thread::scope(|scope| {
        let run = scope.spawn(|| bench(&load(&args, &pid)));
        let worked = || floor.worked() > Duration::from_millis(200);
        until("the load", || worked().then_some(()));
        floor.kill();
        run.join().unwrap()
    });
    assert_eq!(code, 1, "{errors}");
    assert!(
        errors.contains(&format!("server process {pid} cannot be read")),
        "{errors}"
    );
}

#[test]
fn missing_subscribers_spoil_the_run() {
    if !ring_available() {
        return;
    }
    let cutting = || {
        hub::serve(|subscribers, payload| {
            if subscribers.published == 1 {
                let _ = subscribers.streams[0].shutdown(Shutdown::Both);
            }
            subscribers.send_to_all(payload);
        })
    };
    let (code, summary, _) = until_published(10, cutting, &["-c", "4"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["errors"]["broken"], 1);
    // The other three have not missed anything, and were not kept waiting.
    assert_eq!(faults(&summary), (0, 0, 0), "{summary:#}");
    assert!(summary["broadcast"]["published"].as_u64().unwrap() > 10);
}

#[test]
fn bad_flags_are_told_apart() {
    for args in [
        &["ws://127.0.0.1:1/", "-s", "27"][..],
        &["tcp://127.0.0.1:1"],
        &["ws://127.0.0.1:1/", "--publish-url", "ws://127.0.0.1:2/"],
        &["ws://127.0.0.1:1/", "--all-publish", "--slow", "1%"],
        &["ws://127.0.0.1:1/", "--burst", "4", "-r", "10"],
        &["ws://127.0.0.1:1/", "--in-flight", "4", "-r", "10"],
        &["ws://127.0.0.1:1/", "-c", "5", "--slow", "100%"],
        &["ws://127.0.0.1:1/", "-c", "1k", "--publishers", "10m"],
        &["ws://127.0.0.1:1/", "--busy-poll"],
    ] {
        let (code, _, errors) = bench(&[&["broadcast"], args].concat());
        assert_eq!(code, 2, "{args:?}: {errors}");
    }
}
