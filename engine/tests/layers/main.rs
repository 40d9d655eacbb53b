//! Who may import whom: the table in `ARCHITECTURE.md`, checked on the source tree.
//!
//! Every Rust file is read as tokens, so comments and strings do not count; `use` trees, renames,
//! `self` and `super` are resolved to full paths. What a manifest lists is checked as well.
//! `planted.rs` breaks every rule and expects it to be noticed.

mod paths;
mod planted;
mod tokens;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use paths::PathRef;
use tokens::{Token, tokenize, without_attributes, without_test_modules};

/// A crate, or a module folder of one, that has rules of its own.
struct Layer {
    name: &'static str,
    /// Its folder, from the top of the repository.
    folder: &'static str,
    /// Whether `folder` is a whole crate, with a manifest.
    is_crate: bool,
    /// Crates of ours that it may name, itself aside.
    ours: &'static [&'static str],
    /// Modules of its own crate that it may name; empty: all.
    siblings: &'static [&'static str],
    /// Neither socket nor clock, randomness, thread, file nor runtime. Its examples may have them: they
    /// show how whoever owns a socket uses the layer.
    sans_io: bool,
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "simd",
        folder: "engine/simd",
        is_crate: true,
        ours: &[],
        siblings: &[],
        sans_io: false,
    },
    Layer {
        name: "protocol",
        folder: "engine/protocol",
        is_crate: true,
        ours: &["corecast_simd"],
        siblings: &[],
        sans_io: true,
    },
    Layer {
        name: "topics",
        folder: "engine/topics",
        is_crate: true,
        ours: &[],
        siblings: &[],
        sans_io: true,
    },
    Layer {
        name: "transport",
        folder: "engine/src/transport",
        is_crate: false,
        ours: &[],
        siblings: &["transport"],
        sans_io: false,
    },
    Layer {
        name: "core",
        folder: "engine/src/core",
        is_crate: false,
        ours: &["corecast_protocol", "corecast_topics"],
        siblings: &["core", "transport"],
        sans_io: false,
    },
    Layer {
        name: "server",
        folder: "engine/server",
        is_crate: true,
        ours: &["corecast"],
        siblings: &[],
        sans_io: false,
    },
    Layer {
        name: "bench-harness",
        folder: "bench-harness",
        is_crate: true,
        ours: &["corecast_protocol"],
        siblings: &[],
        sans_io: false,
    },
    Layer {
        name: "fuzz",
        folder: "engine/fuzz",
        is_crate: true,
        ours: &["corecast_simd", "corecast_protocol", "corecast_topics"],
        siblings: &[],
        sans_io: false,
    },
    // Last, because its folder holds others: the first layer whose folder matches counts.
    Layer {
        name: "façade",
        folder: "engine",
        is_crate: true,
        ours: &["corecast_simd", "corecast_protocol", "corecast_topics"],
        siblings: &[],
        sans_io: false,
    },
];

/// Paths that a layer without I/O must not name. Hash maps may draw their own seed.
const IO_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "core::net",
    "core::time",
];

/// Crates that a layer without I/O must neither name nor depend on.
const IO_CRATES: &[&str] = &[
    "async_io",
    "chrono",
    "fastrand",
    "getrandom",
    "io_uring",
    "libc",
    "mio",
    "monoio",
    "nix",
    "rand",
    "rand_core",
    "rustix",
    "smol",
    "socket2",
    "time",
    "tokio",
];

/// The server's half of `corecast-protocol`, which the harness must not use: a mistake made on
/// both sides would cancel out.
const SERVER_SIDE: &[&str] = &[
    "Role::Server",
    "Refusal",
    "HeaderSlots",
    "check_upgrade",
    "choose_subprotocol",
    "deflate::Acceptance",
    "deflate::Agreement",
    "encode_close_server",
    "encode_http",
    "encode_server",
    "encode_switching",
    "handshake::server",
    "parse_request",
    "server_header_len",
];

/// Where `unsafe` may stand: path prefixes.
const UNSAFE_LEAVES: &[&str] = &[
    "engine/simd/",
    "engine/src/transport/ring",
    // One borrow of a descriptor that monoio owns, which has no safe form.
    "engine/src/transport/socket.rs",
    // One socket option that no library has.
    "engine/src/transport/listener.rs",
    // One call of the allocator's.
    "engine/server/src/allocator.rs",
    "bench-harness/src/ring",
];

/// Crates whose every root says `#![forbid(unsafe_code)]`.
const FORBIDS_UNSAFE: &[&str] = &["engine/protocol", "engine/topics", "engine/fuzz"];

#[test]
fn the_tree_keeps_the_layers() {
    let tree = Tree::read(&repository());
    for layer in LAYERS {
        let files = tree.sources.iter().filter(|file| layer.holds(&file.path));
        assert!(files.count() > 0, "{} has no sources", layer.name);
    }
    let violations = tree.violations();
    let lines: Vec<String> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[derive(Debug)]
struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// The files that the rules speak of.
struct Tree {
    sources: Vec<File>,
    manifests: Vec<File>,
}

struct File {
    /// From the top of the repository, with `/`.
    path: String,
    text: String,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut tree = Self {
            sources: Vec::new(),
            manifests: Vec::new(),
        };
        for folder in ["engine", "bench-harness"] {
            tree.add(root, &root.join(folder));
        }
        tree
    }

    fn add(&mut self, root: &Path, folder: &Path) {
        let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or("");
            if path.is_dir() {
                // The peers are competitors' code in a workspace of their own.
                if !matches!(name, "target" | "peers" | "node_modules") && !name.starts_with('.') {
                    self.add(root, &path);
                }
                continue;
            }
            let list = match name {
                "Cargo.toml" => &mut self.manifests,
                _ if name.ends_with(".rs") => &mut self.sources,
                _ => continue,
            };
            let relative = path.strip_prefix(root).expect("below the root");
            list.push(File {
                path: relative.to_str().expect("UTF-8 paths").to_owned(),
                text: fs::read_to_string(&path).expect("a readable source"),
            });
        }
    }

    fn violations(&self) -> Vec<Violation> {
        let sources = self.sources.iter().flat_map(check_source);
        let manifests = self.manifests.iter().flat_map(check_manifest);
        sources
            .chain(manifests)
            .chain(self.missing_crates())
            .chain(self.roots_without_forbid())
            .collect()
    }

    /// A crate that the table does not know would escape it.
    fn missing_crates(&self) -> Vec<Violation> {
        let known = LAYERS.iter().filter(|layer| layer.is_crate);
        let known: BTreeSet<String> = known
            .map(|layer| format!("{}/Cargo.toml", layer.folder))
            .collect();
        let found: BTreeSet<String> = self.manifests.iter().map(|f| f.path.clone()).collect();
        known
            .symmetric_difference(&found)
            .map(|path| violation(path, 1, "the crates and the layer table differ".into()))
            .collect()
    }

    fn roots_without_forbid(&self) -> Vec<Violation> {
        let roots = FORBIDS_UNSAFE
            .iter()
            .flat_map(|folder| ["lib", "main"].map(|root| format!("{folder}/src/{root}.rs")));
        let mut lacking = Vec::new();
        for root in roots {
            let file = self.sources.iter().find(|file| file.path == root);
            if file.is_some_and(|file| !squeeze(&file.text).contains("#![forbid(unsafe_code)]")) {
                let what = "#![forbid(unsafe_code)] is missing".into();
                lacking.push(violation(&root, 1, what));
            }
        }
        lacking
    }
}

impl Layer {
    fn of(path: &str) -> &'static Self {
        LAYERS
            .iter()
            .find(|layer| layer.holds(path))
            .unwrap_or_else(|| panic!("{path} belongs to no layer"))
    }

    fn holds(&self, path: &str) -> bool {
        path.strip_prefix(self.folder)
            .is_some_and(|rest| rest.starts_with('/') || rest.starts_with(".rs"))
    }

    /// The crate's own name, as its binaries, tests and examples use it.
    fn own_name(&self) -> &'static str {
        match self.name {
            "simd" => "corecast_simd",
            "protocol" => "corecast_protocol",
            "topics" => "corecast_topics",
            "bench-harness" => "corecast_bench",
            "server" => "corecast_server",
            "fuzz" => "corecast_fuzz",
            _ => "corecast",
        }
    }

    fn may_name_ours(&self, root: &str) -> bool {
        !root.starts_with("corecast") || root == self.own_name() || self.ours.contains(&root)
    }
}

fn check_source(file: &File) -> Vec<Violation> {
    let layer = Layer::of(&file.path);
    let tokens = tokenize(&file.text);
    let mut found = check_unsafe(&file.path, &tokens);
    let tokens = without_attributes(&tokens);
    let everything = paths::collect(&file.path, &tokens);
    if layer.name == "bench-harness" {
        found.extend(everything.iter().filter_map(|path| {
            let what = server_side(path)?;
            Some(violation(&file.path, path.line, what))
        }));
    }
    if !is_test(&file.path) {
        let shipped = paths::collect(&file.path, &without_test_modules(&tokens));
        found.extend(shipped.iter().filter_map(|path| {
            let what = forbidden(layer, path, layer.sans_io && !is_example(&file.path))?;
            Some(violation(&file.path, path.line, what))
        }));
    }
    found
}

fn is_example(path: &str) -> bool {
    path.contains("/examples/")
}

/// Tests may use clocks and threads, and the crates that they compare with.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.contains("/benches/")
}

fn check_unsafe(path: &str, tokens: &[Token]) -> Vec<Violation> {
    if UNSAFE_LEAVES.iter().any(|leaf| path.starts_with(leaf)) {
        return Vec::new();
    }
    let allows = tokens.windows(3).filter_map(|three| {
        let [level, paren, lint] = three else {
            return None;
        };
        let allows = matches!(&*level.text, "allow" | "expect");
        (allows && paren.text == "(" && lint.text == "unsafe_code").then_some(level.line)
    });
    tokens
        .iter()
        .filter(|token| token.text == "unsafe")
        .map(|token| token.line)
        .chain(allows)
        .map(|line| violation(path, line, "unsafe outside the leaves".into()))
        .collect()
}

fn forbidden(layer: &Layer, path: &PathRef, sans_io: bool) -> Option<String> {
    let name = path.segments.join("::");
    let root = path.segments[0].as_str();
    // Alone it is a local name, or a visibility such as `pub(crate)`.
    let names_crate = path.segments.len() > 1 || path.imported;
    if names_crate && !layer.may_name_ours(root) {
        return Some(format!("{} must not import {name}", layer.name));
    }
    if root == "crate" && names_crate && !layer.siblings.is_empty() {
        let sibling = path.segments.get(1).map_or("*", String::as_str);
        if !layer.siblings.contains(&sibling) {
            return Some(format!("{} must not import {name}", layer.name));
        }
    }
    if sans_io && names_crate {
        let std_io = IO_PATHS.iter().any(|io| starts_with(&path.segments, io));
        let glob = matches!(name.as_str(), "std" | "std::*" | "core" | "core::*");
        if std_io || glob || IO_CRATES.contains(&root) {
            return Some(format!("{} is sans-I/O, but names {name}", layer.name));
        }
    }
    None
}

/// Server-side names count wherever they stand in a path, and globs could hide them. A server of other make in the tests is
/// none of ours.
fn server_side(path: &PathRef) -> Option<String> {
    if path.segments[0] == "tungstenite" {
        return None;
    }
    let name = path.segments.join("::");
    let hit = SERVER_SIDE.iter().any(|item| {
        let item: Vec<&str> = item.split("::").collect();
        path.segments.windows(item.len()).any(|part| part == item)
    });
    let glob = path.segments[0] == "corecast_protocol" && name.ends_with("::*");
    (hit || glob).then(|| format!("the harness must not use the server side: {name}"))
}

fn check_manifest(file: &File) -> Vec<Violation> {
    let layer = Layer::of(&file.path);
    let mut found = Vec::new();
    for (line, name) in dependencies(&file.text) {
        let crate_name = name.replace('-', "_");
        if !layer.may_name_ours(&crate_name) {
            let what = format!("{} must not depend on {name}", layer.name);
            found.push(violation(&file.path, line, what));
        }
        if layer.sans_io && IO_CRATES.contains(&crate_name.as_str()) {
            let what = format!("{} is sans-I/O, but depends on {name}", layer.name);
            found.push(violation(&file.path, line, what));
        }
    }
    if !squeeze(&file.text).contains("[lints]workspace=true") {
        let what = "the workspace's lints are not inherited".into();
        found.push(violation(&file.path, 1, what));
    }
    found
}

/// Line and name of each dependency that is built into the crate; those of tests are free.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // In a table of built dependencies, and whether its keys are their names.
    let (mut built, mut keys_are_names) = (false, false);
    for (index, line) in manifest.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut add = |name: &str| {
            let name = name.trim().trim_matches(['"', '\'']);
            found.push((index + 1, name.to_owned()));
        };
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            // `[dependencies]`, or `[dependencies.name]`.
            let (table, name) = match header.rsplit_once('.') {
                Some((table, name)) if table.ends_with("dependencies") => (table, Some(name)),
                _ => (header, None),
            };
            built = table.ends_with("dependencies") && !table.ends_with("dev-dependencies");
            keys_are_names = built && name.is_none();
            name.filter(|_| built).into_iter().for_each(&mut add);
        } else if keys_are_names && line.contains('=') {
            line.split(['=', '.']).take(1).for_each(&mut add);
        }
        // A renamed dependency goes by its real name.
        if let Some((_, renamed)) = squeeze(line).split_once("package=\"").filter(|_| built) {
            renamed.split('"').take(1).for_each(&mut add);
        }
    }
    found
}

fn starts_with(segments: &[String], path: &str) -> bool {
    let mut segments = segments.iter();
    path.split("::")
        .all(|part| segments.next().is_some_and(|segment| segment == part))
}

fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn violation(path: &str, line: usize, what: String) -> Violation {
    Violation {
        path: path.to_owned(),
        line,
        what,
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("engine lies in the repository")
        .to_owned()
}
