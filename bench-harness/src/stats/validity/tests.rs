//! What spoils a run, and for what.

use super::*;

fn good() -> Evidence {
    Evidence {
        wanted_connections: 100,
        connections: 100,
        window: Some((Duration::from_secs(1), Duration::from_secs(1))),
        messages: 10_000,
        counts_messages: true,
        rate: None,
        client: running(0.6),
        busy_poll: false,
        lag: None,
        server: Some(running(0.99)),
        broken: 0,
        faults: Faults::default(),
        compressed: None,
    }
}

fn running(share: f64) -> Load {
    Load {
        running: share,
        busy: share,
    }
}

fn kinds(judgement: &Judgement) -> Vec<Kind> {
    let all = [
        &judgement.against_all,
        &judgement.against_throughput,
        &judgement.against_cost,
    ];
    all.into_iter()
        .flatten()
        .map(|reason| reason.kind)
        .collect()
}

#[test]
fn clocks_may_be_apart_by_little() {
    let latency = Distribution {
        p50: 1_000.0,
        ..Distribution::default()
    };
    let apart = |micros| clocks_apart(Duration::from_micros(micros), Some(&latency));
    assert_eq!(apart(0), None);
    assert_eq!(apart(95), None);
    assert_eq!(apart(120).unwrap().kind, Kind::ClocksApart);
    assert_eq!(clocks_apart(Duration::from_secs(1), None), None);
}

#[test]
fn a_good_run_is_good_for_everything() {
    let judgement = judge(&good());
    assert!(judgement.throughput_valid() && judgement.cost_valid());
    assert_eq!(judgement.limited_by, LimitedBy::Server);
}

#[test]
fn a_window_that_was_cut_short_spoils_everything() {
    let measured = |millis| {
        judge(&Evidence {
            window: Some((Duration::from_secs(1), Duration::from_millis(millis))),
            ..good()
        })
    };
    assert!(measured(960).cost_valid() && measured(1_200).cost_valid());
    let cut = measured(21);
    assert!(!cut.throughput_valid() && !cut.cost_valid());
    assert_eq!(kinds(&cut), [Kind::WindowCut]);
}

#[test]
fn a_saturated_client_spoils_throughput_but_not_cost() {
    let judgement = judge(&Evidence {
        client: running(0.98),
        server: Some(running(0.7)),
        ..good()
    });
    assert!(!judgement.throughput_valid() && judgement.cost_valid());
    assert!(!judgement.valid(JudgedBy::Throughput) && judgement.valid(JudgedBy::Cost));
    assert_eq!(kinds(&judgement), [Kind::ClientSaturated]);
    assert_eq!(judgement.limited_by, LimitedBy::Client);
}

#[test]
fn a_busy_client_is_fine_when_the_server_is_busy_too() {
    let judgement = judge(&Evidence {
        client: running(1.0),
        server: Some(running(0.96)),
        ..good()
    });
    assert!(judgement.throughput_valid());
    assert_eq!(judgement.limited_by, LimitedBy::Server);
}

#[test]
fn without_the_server_a_busy_client_is_suspected() {
    let judgement = judge(&Evidence {
        client: running(1.0),
        server: None,
        ..good()
    });
    assert_eq!(
        kinds(&judgement),
        [Kind::ClientSaturated, Kind::NoServerPid]
    );
    assert!(!judgement.throughput_valid() && !judgement.cost_valid());
}

#[test]
fn a_side_kept_from_running_has_no_throughput_of_its_own() {
    let held_up = Load {
        running: 0.3,
        busy: 0.5,
    };
    let server = judge(&Evidence {
        server: Some(held_up),
        ..good()
    });
    let half = Some(running(0.5));
    let client = judge(&Evidence {
        client: held_up,
        server: half,
        ..good()
    });
    for judgement in [server, client] {
        assert_eq!(kinds(&judgement), [Kind::Starved]);
        assert_eq!(judgement.limited_by, LimitedBy::Others);
        assert!(judgement.cost_valid() && !judgement.throughput_valid());
    }
}

#[test]
fn a_round_trip_of_idle_sides_is_valid() {
    let judgement = judge(&Evidence {
        client: running(0.4),
        server: Some(running(0.5)),
        ..good()
    });
    assert!(judgement.throughput_valid());
    assert_eq!(judgement.limited_by, LimitedBy::RoundTrip);
}

#[test]
fn one_compressed_message_shows_that_the_server_compresses() {
    let judgement = judge(&Evidence {
        compressed: Some(1),
        ..good()
    });
    assert_eq!(kinds(&judgement), []);
}

#[test]
fn a_missed_rate_spoils_throughput() {
    let near = judge(&Evidence {
        rate: Some((1000.0, 991.0)),
        server: Some(running(0.2)),
        ..good()
    });
    assert!(near.throughput_valid());
    assert_eq!(near.limited_by, LimitedBy::Rate);
    let short = judge(&Evidence {
        rate: Some((1000.0, 989.0)),
        ..good()
    });
    assert_eq!(kinds(&short), [Kind::RateMissed]);
}

#[test]
fn a_message_or_two_at_the_ends_of_the_window_are_no_missed_rate() {
    let seconds = Duration::from_secs(5);
    let of_40 = |done: u32| {
        judge(&Evidence {
            window: Some((seconds, seconds)),
            rate: Some((8.0, f64::from(done) / 5.0)),
            ..good()
        })
    };
    assert_eq!(kinds(&of_40(39)), []);
    assert_eq!(kinds(&of_40(38)), []);
    let missed = of_40(37);
    assert_eq!(kinds(&missed), [Kind::RateMissed]);
    let text = &missed.against_throughput[0].text;
    assert_eq!(text, "7 per second were reached of the 8 asked for");
    // Without a window, as long as the messages took.
    let counted = |wanted: f64| {
        judge(&Evidence {
            window: None,
            messages: 100,
            rate: Some((wanted, 50.0)),
            ..good()
        })
    };
    assert_eq!(kinds(&counted(50.9)), []);
    assert_eq!(kinds(&counted(51.1)), [Kind::RateMissed]);
    assert_eq!(
        told_apart(7.96, 8.0),
        ("7.96".to_owned(), "8.00".to_owned())
    );
}

#[test]
fn a_client_that_polls_is_judged_by_its_lateness() {
    let polling = |lag: Option<(f64, f64)>| {
        let p99 = |p99| Distribution {
            p99,
            ..Distribution::default()
        };
        judge(&Evidence {
            client: running(1.0),
            server: Some(running(0.4)),
            busy_poll: true,
            lag: lag.map(|(lag, latency)| (p99(lag), p99(latency))),
            ..good()
        })
    };
    assert!(polling(None).throughput_valid());
    assert_eq!(polling(None).limited_by, LimitedBy::RoundTrip);
    assert_eq!(kinds(&polling(Some((5e3, 6e3)))), [Kind::ClientLate]);
}

#[test]
fn a_client_that_is_late_itself_spoils_latency() {
    let times = |p50, p99| Distribution {
        p50,
        p99,
        ..Distribution::default()
    };
    let late = |lag, latency| {
        let seen = Evidence {
            lag: Some((lag, latency)),
            ..good()
        };
        let judgement = judge(&seen);
        assert!(judgement.cost_valid());
        kinds(&judgement)
    };
    let no: [Kind; 0] = [];
    // Timer slack, on a machine that is quiet: most of a short latency, and still nothing.
    assert_eq!(late(times(60.0, 150.0), times(120.0, 300.0)), no);
    // Held up now and then for 5 ms.
    assert_eq!(
        late(times(60.0, 5_000.0), times(120.0, 5_400.0)),
        [Kind::ClientLate]
    );
    // The same, at a server that takes a second.
    assert_eq!(late(times(60.0, 5_000.0), times(9e5, 1e6)), no);
    // A server that stalls for 200 ms: its latency is not the client's.
    assert_eq!(late(times(60.0, 900.0), times(120.0, 200_000.0)), no);
    assert_eq!(
        late(times(2_000.0, 2_500.0), times(15_000.0, 90_000.0)),
        [Kind::ClientLate],
        "at the median"
    );
}

#[test]
fn missing_connections_errors_and_too_little_spoil_everything() {
    for (spoilt, kind) in [
        (
            Evidence {
                connections: 99,
                ..good()
            },
            Kind::ConnectionsMissing,
        ),
        (
            Evidence {
                broken: 1,
                ..good()
            },
            Kind::Errors,
        ),
        (
            Evidence {
                faults: Faults {
                    reordered: 1,
                    ..Faults::default()
                },
                ..good()
            },
            Kind::Errors,
        ),
        (
            Evidence {
                messages: 99,
                ..good()
            },
            Kind::TooFewMessages,
        ),
        (
            Evidence {
                compressed: Some(0),
                ..good()
            },
            Kind::NothingCompressed,
        ),
    ] {
        let judgement = judge(&spoilt);
        assert_eq!(kinds(&judgement), [kind]);
        assert!(!judgement.throughput_valid() && !judgement.cost_valid());
    }
}
