//! The inputs in `corpus/`, through their targets, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use corecast_fuzz::TARGETS;

/// Files and bytes of a target's corpus at most: it lies in every checkout.
const MAX_FILES: usize = 200;
const MAX_BYTES: usize = 200 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Names of the entries of a folder, without `ending`.
fn names(folder: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries
        .map(|entry| {
            let name = entry.expect("a readable folder").file_name();
            let name = name.to_str().expect("UTF-8 names");
            name.strip_suffix(ending)
                .expect("the usual ending")
                .to_owned()
        })
        .collect()
}

#[test]
fn every_input_keeps_its_property() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let corpus = folder("corpus").join(target.name);
        let mut bytes = 0;
        let files = names(&corpus, "");
        assert!(!files.is_empty(), "{} has no corpus", target.name);
        for name in &files {
            let input = fs::read(corpus.join(name)).expect("a readable input");
            bytes += input.len();
            if panic::catch_unwind(|| (target.check)(&input)).is_err() {
                broken.push(format!("corpus/{}/{name}", target.name));
            }
        }
        assert!(
            files.len() <= MAX_FILES,
            "{}: {} files",
            target.name,
            files.len()
        );
        assert!(bytes <= MAX_BYTES, "{}: {bytes} bytes", target.name);
    }
    // Each has said why on its way.
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn targets_programs_and_corpora_are_the_same() {
    let targets: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(names(&folder("fuzz_targets"), ".rs"), targets);
    assert_eq!(names(&folder("corpus"), ""), targets);
}
