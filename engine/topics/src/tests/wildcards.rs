//! Filters and names: the rule, and the tries that follow it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::RandomState;

use proptest::prelude::*;

use super::*;
use crate::trie::Trie;

const MAX_STEPS: usize = if cfg!(miri) { 20 } else { 200 };

#[test]
fn the_rule_by_example() {
    let matching = [
        ("a", "a"),
        ("", ""),
        ("*", ""),
        ("*", "a"),
        ("#", ""),
        ("#", "a/b/c"),
        ("a/#", "a"),
        ("a/#", "a/"),
        ("a/#", "a/b/c"),
        ("/#", ""),
        ("/#", "/a"),
        ("*/#", "a"),
        ("*/b/*", "a/b/c"),
        ("a/*", "a/"),
        ("a/*", "a/*"),
        ("#general", "#general"),
        ("a*", "a*"),
        ("x/#/y", "x/#/y"),
        ("#/#", "#/y"),
        ("a/**", "a/**"),
    ];
    for (filter, name) in matching {
        assert!(matches(filter, name), "{filter:?} {name:?}");
    }
    let not_matching = [
        ("a", "b"),
        ("a", ""),
        ("", "a"),
        ("*", "a/b"),
        ("*", "/"),
        ("a/*", "a"),
        ("a/#", "ab"),
        ("a/#", "b"),
        ("a/#", ""),
        ("/#", "a"),
        ("*/#/b", "a/c/b"),
        ("#general", "general"),
        ("a*", "ab"),
        ("x/#/y", "x/z/y"),
        ("x/#/y", "x/y"),
        ("#/a", "b/a"),
        ("a/**", "a/b"),
        ("a", "*"),
        ("a/b", "a/#"),
    ];
    for (filter, name) in not_matching {
        assert!(!matches(filter, name), "{filter:?} {name:?}");
    }
}

/// Levels that are alike, wild, empty, or only look wild.
fn path() -> impl Strategy<Value = String> {
    let level = prop::sample::select(&["a", "b", "", "*", "#", "a*", "##", "ab"][..]);
    prop::collection::vec(level, 1..6).prop_map(|levels| levels.join("/"))
}

/// The rule once more, on lists of levels.
fn plainly_matches(filter: &str, name: &str) -> bool {
    let mut filter: Vec<&str> = filter.split('/').collect();
    let mut name: Vec<&str> = name.split('/').collect();
    if filter.last() == Some(&"#") {
        filter.pop();
        name.truncate(filter.len());
    }
    let same = |(f, n): (&&str, &&str)| *f == "*" || f == n;
    filter.len() == name.len() && filter.iter().zip(&name).all(same)
}

#[derive(Debug, Clone)]
enum Step {
    Toggle(String),
    Walk(String),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![path().prop_map(Step::Toggle), path().prop_map(Step::Walk)]
}

proptest! {
    #[test]
    fn the_rule_is_the_plain_one(filter in path(), name in path()) {
        prop_assert_eq!(matches(&filter, &name), plainly_matches(&filter, &name));
        let wild = filter.ends_with("/#") || filter == "#" || filter.split('/').any(|level| level == "*");
        prop_assert_eq!(is_pattern(&filter), wild);
    }

    #[test]
    fn filters_are_found_by_the_rule(steps in prop::collection::vec(step(), 1..MAX_STEPS)) {
        let mut pair = Pair::default();
        for step in steps {
            match step {
                Step::Toggle(filter) => pair.toggle(&filter, Trie::insert_filter, Trie::remove_filter),
                Step::Walk(name) => {
                    let mut found = Vec::new();
                    pair.trie.filters_matching(&pair.hasher, &name, |value| found.push(value));
                    pair.assert_found(found, |filter| matches(filter, &name));
                }
            }
        }
        pair.empty(Trie::remove_filter);
    }

    #[test]
    fn names_are_found_by_the_rule(steps in prop::collection::vec(step(), 1..MAX_STEPS)) {
        let mut pair = Pair::default();
        for step in steps {
            match step {
                Step::Toggle(name) => pair.toggle(&name, Trie::insert_name, Trie::remove_name),
                Step::Walk(filter) => {
                    let mut found = Vec::new();
                    pair.trie.names_matching(&pair.hasher, &filter, |value| found.push(value));
                    pair.assert_found(found, |name| matches(&filter, name));
                }
            }
        }
        pair.empty(Trie::remove_name);
    }
}

/// A trie and its obvious twin.
#[derive(Default)]
struct Pair {
    hasher: RandomState,
    trie: Trie,
    values: BTreeMap<String, u32>,
    last: u32,
}

impl Pair {
    fn toggle(
        &mut self,
        path: &str,
        insert: impl Fn(&mut Trie, &RandomState, &str, u32),
        remove: impl Fn(&mut Trie, &RandomState, &str),
    ) {
        if self.values.remove(path).is_some() {
            remove(&mut self.trie, &self.hasher, path);
        } else {
            self.last += 1;
            insert(&mut self.trie, &self.hasher, path, self.last);
            self.values.insert(path.to_owned(), self.last);
        }
        assert_eq!(self.trie.is_empty(), self.values.is_empty());
        assert!(self.trie.nodes() <= 2 * self.values.len());
    }

    fn assert_found(&self, mut found: Vec<u32>, fits: impl Fn(&str) -> bool) {
        let fitting = self.values.iter().filter(|(path, _)| fits(path));
        let mut expected: Vec<u32> = fitting.map(|(_, &value)| value).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }

    fn empty(mut self, remove: impl Fn(&mut Trie, &RandomState, &str)) {
        for path in self.values.keys() {
            remove(&mut self.trie, &self.hasher, path);
        }
        assert!(self.trie.is_empty());
        assert_eq!(self.trie.nodes(), 0);
    }
}

/// A peer chooses how deep its filters go.
#[test]
fn depth_costs_neither_stack_nor_nodes() {
    const DEPTH: usize = if cfg!(miri) { 1_000 } else { 200_000 };
    let name = "/".repeat(DEPTH);
    let filters = [format!("{name}#"), "*/".repeat(DEPTH), "#".to_owned()];
    let mut topics: Topics = Topics::new();
    for filter in &filters {
        topics.subscribe(1, filter);
    }
    assert!(topics.memory().topics < 20 * DEPTH);
    let mut found = Vec::new();
    topics.matching(&name, &mut found);
    assert_eq!(found.len(), 3);
    let id = topics.pin(&name).unwrap();
    for filter in &filters {
        found.clear();
        topics.pinned_matching(filter, &mut found);
        assert_eq!(found, [id]);
    }
    topics.remove(1, |_| {});
    assert!(!topics.has_patterns());
}

#[test]
fn a_pattern_is_not_the_name_of_its_spelling() {
    let mut topics: Topics = Topics::new();
    topics.subscribe(1, "a/#/b/*");
    let mut found = Vec::new();
    topics.matching("a/#/b/*", &mut found);
    assert_eq!(found, [topics.id("a/#/b/*").unwrap()]);
    found.clear();
    // As a name, `#` stands for itself, so the filter of that spelling matches it, once.
    topics.subscribe(1, "#");
    topics.matching("#", &mut found);
    assert_eq!(found, [topics.id("#").unwrap()]);
}

#[test]
fn topics_that_are_only_pinned_receive_nothing() {
    let mut topics: Topics = Topics::new();
    let mut found = Vec::new();
    let ids = ["a", "a/*"].map(|name| topics.pin(name).unwrap());
    assert!(!topics.has_patterns());
    topics.matching("a", &mut found);
    topics.matching("a/*", &mut found);
    assert_eq!(found, []);
    topics.pinned_matching("a/#", &mut found);
    found.sort_unstable();
    assert_eq!(found, ids);
    topics.subscribe(1, "a/*");
    topics.unpin(ids[1]);
    found.clear();
    topics.matching("a/b", &mut found);
    assert_eq!(found, [ids[1]]);
}

/// Counts how often something is looked up.
#[derive(Default)]
struct Counting {
    hasher: RandomState,
    hashed: Cell<usize>,
}

impl BuildHasher for Counting {
    type Hasher = <RandomState as BuildHasher>::Hasher;

    fn build_hasher(&self) -> Self::Hasher {
        self.hashed.set(self.hashed.get() + 1);
        self.hasher.build_hasher()
    }
}

#[test]
fn patterns_that_begin_otherwise_cost_nothing() {
    let mut topics = Topics::<(), Counting>::default();
    for number in 0..CROWD / 4 {
        topics.subscribe(1, &format!("room/{number}/*"));
        topics.subscribe(1, &format!("room/{number}/a/#"));
        topics.pin(&format!("room/{number}"));
    }
    topics.subscribe(1, "*/7/a");
    let mut found = Vec::new();
    topics.hasher.hashed.set(0);
    topics.matching("room/7/a", &mut found);
    assert_eq!(found.len(), 3);
    // The name itself, and at each node the next level and a wildcard.
    assert!(topics.hasher.hashed.get() <= 12);
    found.clear();
    topics.hasher.hashed.set(0);
    topics.pinned_matching("room/7/#", &mut found);
    assert_eq!(found.len(), 1);
    assert!(topics.hasher.hashed.get() <= 2);
}
