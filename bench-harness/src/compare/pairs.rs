//! Which runs of two sets belong together: those that were asked for the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::set::Run;

/// What may differ between runs that are compared: it changes how well something is measured, not what. It is told.
const MAY_DIFFER: [&str; 6] = [
    "cores",
    "duration_s",
    "warmup_s",
    "verify",
    "processes",
    URL,
];

/// The parameter that [`super::set`] adds: what was asked for of the server, without the host.
pub(super) const URL: &str = "url";

/// What differs without being asked for otherwise: the seed, and the frames that are a little longer or shorter for it where
/// payloads are compressed.
const NEVER_TELLS: [&str; 2] = ["seed", "wire_bytes"];

/// What of `env.json` decides what a machine can do.
const MACHINE: [&str; 7] = [
    "cpu",
    "architecture",
    "processors",
    "memory_kib",
    "hypervisor",
    "kernel",
    "build",
];

/// Runs that were asked for the same.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    /// At least one.
    pub(crate) runs: Vec<&'a Run>,
}

/// Groups of both sets that belong together.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// What was asked for.
    pub(crate) title: String,
    pub(crate) before: Group<'a>,
    pub(crate) after: Group<'a>,
    /// How they differ all the same.
    pub(crate) warnings: Vec<String>,
}

/// Both sets, sorted.
#[derive(Debug)]
pub(crate) struct Pairs<'a> {
    pub(crate) pairs: Vec<Pair<'a>>,
    /// Titles of groups before that have no counterpart.
    pub(crate) only_before: Vec<String>,
    /// The same after.
    pub(crate) only_after: Vec<String>,
}

/// Sorts two sets. When each holds runs of one kind only, they are compared however they differ, unless by command.
pub(crate) fn pair<'a>(before: &'a [Run], after: &'a [Run]) -> Pairs<'a> {
    let labelled = share_labels(before, after);
    let (first, mut second) = (groups(before, labelled), groups(after, labelled));
    let alone = first.len() == 1 && second.len() == 1;
    let mut sorted = Pairs {
        pairs: Vec::new(),
        only_before: Vec::new(),
        only_after: Vec::new(),
    };
    for before in first {
        let nearest = second
            .iter()
            .enumerate()
            .filter(|(_, after)| before.fits(after, labelled, alone))
            .min_by_key(|(_, after)| differences(&before, after).len());
        let Some((nearest, _)) = nearest else {
            sorted.only_before.push(before.title(labelled));
            continue;
        };
        let after = second.remove(nearest);
        sorted.pairs.push(Pair {
            title: before.title(labelled),
            warnings: differences(&before, &after),
            before,
            after,
        });
    }
    sorted.only_after = second.iter().map(|group| group.title(labelled)).collect();
    sorted
}

impl Group<'_> {
    /// Command and parameters in a line, for people.
    fn title(&self, labelled: bool) -> String {
        let run = self.runs[0];
        let mut title = run.command().to_owned();
        for (name, value) in asked(run) {
            title += &format!(" {name}={}", shown(value));
        }
        if labelled && !run.label.is_empty() {
            title += &format!(" ({})", run.label);
        }
        title
    }

    fn fits(&self, other: &Self, labelled: bool, alone: bool) -> bool {
        let (one, other) = (self.runs[0], other.runs[0]);
        let same_label = !labelled || one.label == other.label;
        one.command() == other.command() && (alone || same_label && asked(one).eq(asked(other)))
    }
}

/// Whether folders tell kinds of runs apart: they do when both sets have some of the same names.
fn share_labels(before: &[Run], after: &[Run]) -> bool {
    let labels =
        |runs: &[Run]| -> BTreeSet<String> { runs.iter().map(|run| run.label.clone()).collect() };
    !labels(before).is_disjoint(&labels(after))
}

fn groups(runs: &[Run], labelled: bool) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
    for run in runs {
        let label = if labelled { run.label.as_str() } else { "" };
        let parameters = run.parameters().iter();
        let told: Vec<_> = parameters.filter(|(name, _)| tells(run, name)).collect();
        let key = format!("{} {label} {told:?}", run.command());
        groups.entry(key).or_default().runs.push(run);
    }
    groups.into_values().collect()
}

/// The parameters that tell kinds of runs apart, in order of their names. What is off or empty is as good as not there: versions
/// that do not know it leave it out.
fn asked(run: &Run) -> impl Iterator<Item = (&String, &Value)> {
    let parameters = run.parameters().iter();
    parameters.filter(|(name, value)| {
        tells(run, name) && !MAY_DIFFER.contains(&name.as_str()) && !blank(value)
    })
}

/// Whether a parameter was asked for: --find-max finds the rate.
fn tells(run: &Run, name: &str) -> bool {
    let found = !run.summary["find_max"].is_null();
    let by_search = found && ["rate", "connect_rate"].contains(&name);
    !by_search && !NEVER_TELLS.contains(&name)
}

fn blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// How two groups differ: parameters, and the machines that they ran on.
fn differences(before: &Group<'_>, after: &Group<'_>) -> Vec<String> {
    let (one, other) = (before.runs[0], after.runs[0]);
    let told = |run| {
        let parameters = Run::parameters(run).iter();
        parameters.filter(move |(name, value)| tells(run, name) && !blank(value))
    };
    let (one, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (told(one).collect(), told(other).collect());
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).copied().collect();
    let parameter = |name: &String| {
        let (one, other) = (one.get(name).copied(), other.get(name).copied());
        (one != other).then(|| differ(name, &optional(one), &optional(other)))
    };
    let machine = |name: &&str| {
        let (one, other) = (machines(before, name), machines(after, name));
        (one != other).then(|| differ(name, &one.join(" and "), &other.join(" and ")))
    };
    let parameters = names.into_iter().filter_map(parameter);
    let machines: Vec<String> = match (known(before), known(after)) {
        (true, true) => MACHINE.iter().filter_map(machine).collect(),
        (false, false) => Vec::new(),
        (known, _) => vec![format!(
            "the machine: it is not known on which one the runs {} were made (there is no env.json)",
            if known { "after" } else { "before" }
        )],
    };
    parameters.chain(machines).collect()
}

/// Whether it is known what any of the runs was made on.
fn known(group: &Group<'_>) -> bool {
    group.runs.iter().any(|run| run.env.is_some())
}

fn differ(name: &str, before: &str, after: &str) -> String {
    format!("{name}: {before} before, {after} after")
}

/// Every value that something of the machine had, in order.
fn machines(group: &Group<'_>, name: &str) -> Vec<String> {
    let of = |run: &&Run| optional(run.env.as_ref().and_then(|env| env.get(name)));
    let values: BTreeSet<String> = group.runs.iter().map(of).collect();
    values.into_iter().collect()
}

fn optional(value: Option<&Value>) -> String {
    value.map_or("not given".to_owned(), shown)
}

/// A value as people write it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(label: &str, parameters: Value) -> Run {
        Run {
            label: label.to_owned(),
            summary: json!({"command": "echo", "parameters": parameters}),
            env: Some(json!({"kernel": "6.18"})),
        }
    }

    #[test]
    fn runs_that_were_asked_for_the_same_belong_together() {
        let runs = |core: u64| {
            let with = |connections: u64, seed: u64| json!({"connections": connections, "seed": seed, "cores": [core]});
            vec![
                run("", with(1, 1)),
                run("", with(1, 2)),
                run("", with(2, 1)),
            ]
        };
        let (before, mut after) = (runs(1), runs(2));
        let other = json!({"connections": 2, "deflate": true, "cores": [2]});
        after.push(run("", other));
        let sorted = pair(&before, &after);
        let sizes: Vec<_> = sorted
            .pairs
            .iter()
            .map(|pair| (pair.before.runs.len(), pair.after.runs.len()))
            .collect();
        assert_eq!(sizes, [(2, 2), (1, 1)]);
        assert_eq!(sorted.pairs[0].warnings, ["cores: [1] before, [2] after"]);
        assert!(sorted.only_before.is_empty());
        assert_eq!(sorted.only_after, ["echo connections=2 deflate=true"]);
    }

    #[test]
    fn what_is_off_is_as_good_as_unknown() {
        let kinds = |extra: [Value; 2]| {
            let mut runs = Vec::new();
            for (connections, churn) in [1, 2].into_iter().zip(extra) {
                let parameters = json!({"connections": connections, "churn": churn});
                runs.push(run("", parameters));
            }
            runs
        };
        let before = kinds([Value::Null, Value::Null]);
        let after = kinds([false.into(), true.into()]);
        let sorted = pair(&before, &after);
        assert_eq!(sorted.pairs.len(), 1);
        assert!(sorted.pairs[0].warnings.is_empty());
    }

    #[test]
    fn two_kinds_are_compared_when_there_is_nothing_else() {
        let before = [run("", json!({"connections": 1}))];
        let mut after = [run("", json!({"connections": 2}))];
        after[0].env = None;
        let sorted = pair(&before, &after);
        let expected = [
            "connections: 1 before, 2 after",
            "the machine: it is not known on which one the runs after were made (there is no env.json)",
        ];
        assert_eq!(sorted.pairs[0].warnings, expected);
        after[0].summary["command"] = "idle".into();
        assert!(pair(&before, &after).pairs.is_empty());
    }

    #[test]
    fn a_rate_that_was_found_is_not_asked_for() {
        let found = |rate: u64| {
            let mut run = run("", json!({"connections": 1, "rate": rate}));
            run.summary["find_max"] = json!({"rate": rate});
            run
        };
        let (before, after) = ([found(100), found(105)], [found(200)]);
        let sorted = pair(&before, &after);
        assert_eq!(sorted.pairs.len(), 1);
        assert_eq!(sorted.pairs[0].before.runs.len(), 2);
    }

    #[test]
    fn paths_and_processes_may_differ_but_are_told() {
        let with = |path: &str, processes: u64| {
            run(
                "",
                json!({"connections": 1, "url": path, "processes": processes}),
            )
        };
        let before = [with("ws://…/a", 1), with("ws://…/b", 1)];
        let after = [with("ws://…/b", 2), with("ws://…/a", 1)];
        let sorted = pair(&before, &after);
        let warnings: Vec<&[String]> = sorted.pairs.iter().map(|pair| &pair.warnings[..]).collect();
        assert_eq!(warnings[0], [""; 0]);
        assert_eq!(warnings[1], ["processes: 1 before, 2 after"]);
    }

    #[test]
    fn folders_of_the_same_names_tell_runs_apart() {
        let one = |label: &str| run(label, json!({"connections": 1}));
        let before = [one("corecast"), one("floor")];
        let after = [one("floor"), one("corecast")];
        let sorted = pair(&before, &after);
        assert_eq!(sorted.pairs.len(), 2);
        for pair in sorted.pairs {
            assert_eq!(pair.before.runs[0].label, pair.after.runs[0].label);
        }
        // Without a common name they are where somebody happened to put them.
        assert_eq!(pair(&before[..1], &after[..1]).pairs.len(), 1);
    }
}
