//! Names, what is known before a run, and where values lie.

use serde_json::json;

use super::*;

const ECHO: Outlook = Outlook {
    command: "echo",
    server: false,
    rate: false,
    search: false,
};

fn figure(name: &str) -> Figure {
    name.parse().unwrap()
}

#[test]
fn names_are_read_as_they_are_written() {
    for known in names() {
        assert_eq!(figure(&known.to_string()), known);
    }
    assert_eq!(figure("p99.99").to_string(), "p99.99");
    assert_eq!(figure("last.p12.5").to_string(), "last.p12.5");
}

#[test]
fn unknown_names_tell_the_nearest() {
    for (wrong, nearest) in [
        ("p9x", "p90"),
        ("rte", "rate"),
        ("rss/con", "rss/conn"),
        ("upgrade.p9x", "upgrade.p90"),
    ] {
        let error = wrong.parse::<Figure>().unwrap_err();
        let first = error.split("nearest are ").nth(1).unwrap();
        assert!(first.starts_with(nearest), "{error}");
        assert!(error.len() < 250, "{error}");
    }
    for bad in [
        "", "p0", "p100", "p-1", "pnan", "pinf", "p1e1", "P99", "tcp.",
    ] {
        assert!(bad.parse::<Figure>().is_err(), "{bad}");
    }
}

#[test]
fn what_will_not_be_measured_is_known_before() {
    let check = |name: &str, run: &Outlook| figure(name).check(run);
    assert_eq!(check("p99.99", &ECHO), Ok(()));
    let idle = Outlook {
        command: "idle",
        server: true,
        ..ECHO
    };
    assert_eq!(check("rss/conn", &idle), Ok(()));
    let search = Outlook {
        search: true,
        ..ECHO
    };
    assert_eq!(check("max-rate", &search), Ok(()));
    for (name, run, why) in [
        ("p99", &idle, "idle does not measure p99"),
        ("cpu", &ECHO, "--server-pid"),
        ("max-rate", &ECHO, "is what --find-max finds"),
        ("max-rate", &idle, "does not measure"),
        ("uncorrected.p99", &ECHO, "with -r only"),
        ("tcp.p99.99", &idle, "not tcp.p99.99"),
    ] {
        let error = check(name, run).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn values_lie_where_the_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../../summary.schema.json")).unwrap();
    let resolve = |node: &Value| match node.get("$ref").and_then(Value::as_str) {
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .unwrap()
            .clone(),
        None => node.clone(),
    };
    let exists = |path: &str| {
        let mut node = schema.clone();
        for name in path.split('.') {
            node = resolve(&node["properties"][name]);
            assert!(node.is_object(), "{path} is not in the schema");
        }
    };
    for scalar in SCALARS {
        match scalar.place {
            Place::First(paths) | Place::Sum(paths) => paths.iter().for_each(|path| exists(path)),
            Place::Growth(after, before, count) => {
                [after, before, count].into_iter().for_each(exists);
            }
        }
    }
    for family in FAMILIES {
        for (_, field) in SUMMARIZED {
            family
                .places
                .iter()
                .for_each(|place| exists(&format!("{place}.{field}")));
        }
    }
}

#[test]
fn values_are_found() {
    let summary = json!({
        "latency_us": {"corrected": {"p99": 10.0, "p99_9": 11.0}},
        "errors": {"refused": 1, "broken": 2, "lost": 4, "duplicated": 8, "reordered": 16},
        "parameters": {"connections": 10},
        "broadcast": {"memory": {"joined": {"resident": 3000}, "empty": {"resident": 1000}}},
    });
    let mut latency = Latency::new();
    (1..=10_000).for_each(|n| latency.record(n * 1_000));
    let run = Figures {
        summary: &summary,
        latencies: [Some(&latency), None],
    };
    let value = |name: &str| figure(name).value(&run);
    assert_eq!((value("p99"), value("p99.9")), (Some(10.0), Some(11.0)));
    assert_eq!((value("errors"), value("lost")), (Some(31.0), Some(4.0)));
    assert_eq!((value("rss/subscriber"), value("cpu")), (Some(200.0), None));
    let tail = value("p99.99").unwrap();
    assert!((tail / 9_999.0 - 1.0).abs() < 0.002, "{tail}");
    assert_eq!(value("uncorrected.p12"), None);
}
