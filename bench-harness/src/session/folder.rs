//! `--output`: what is there of another time must not be taken for what is made now.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::Common;
use crate::error::BenchError;
use crate::report::SUMMARY;

/// Where a search leaves its runs.
pub(crate) const STEPS: &str = "steps";

/// What a comparison with a baseline leaves, without the ending.
pub(super) const COMPARISON: &str = "comparison";

/// Makes sure that a folder will hold runs of now only. What this program left of an earlier search or comparison is removed; a run
/// in the place of another replaces it.
///
/// # Errors
/// When other runs are there, which would be taken for some of these or hide them.
pub(super) fn prepare(common: &Common) -> Result<(), BenchError> {
    let Some(folder) = &common.output else {
        return Ok(());
    };
    let repeat = common.gates.repeat;
    if in_the_way(folder, repeat) {
        return Err(BenchError::usage(format!(
            "--output {}: there are other runs, which would be taken for some of these, or hide them; name another folder, or empty it",
            folder.display()
        )));
    }
    let runs = (repeat > 1).then_some(1..=repeat).into_iter().flatten();
    let folders = runs.map(|number| folder.join(number.to_string()));
    let cleared = folders
        .chain([folder.clone()])
        .try_for_each(|folder| clear(&folder));
    cleared.map_err(|error| BenchError::runtime(format!("--output {}: {error}", folder.display())))
}

/// Where a run leaves its files: with `--repeat` each in a folder of its own.
pub(super) fn of_run(common: &Common, number: u64) -> Option<PathBuf> {
    let folder = common.output.clone()?;
    Some(if common.gates.repeat > 1 {
        folder.join(number.to_string())
    } else {
        folder
    })
}

/// A single run would hide those of a set, and be taken for them; a set would lie beside those that a larger one left.
fn in_the_way(folder: &Path, repeat: u64) -> bool {
    let kept = if repeat > 1 { repeat } else { 0 };
    let is_run = |folder: &Path| folder.join(SUMMARY).exists();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
    let others = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut others = others.map(|entry| entry.path());
    (repeat > 1 && is_run(folder))
        || others.any(|path| number(&path).is_some_and(|number| number > kept) && is_run(&path))
}

/// Removes what a run does not write again.
fn clear(folder: &Path) -> io::Result<()> {
    for ending in ["json", "md"] {
        absent(fs::remove_file(
            folder.join(COMPARISON).with_extension(ending),
        ))?;
    }
    let steps = folder.join(STEPS);
    for entry in fs::read_dir(&steps).into_iter().flatten() {
        let step = entry?.path();
        // Nobody else's folder has a name and a file like this.
        let named = step.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.contains('-') && name.chars().all(|c| c.is_ascii_digit() || c == '-')
        });
        if named && step.join(SUMMARY).exists() {
            fs::remove_dir_all(step)?;
        }
    }
    Ok(())
}

fn absent(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leave(folder: PathBuf) {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(SUMMARY), "{}").unwrap();
    }

    #[test]
    fn runs_of_another_time_are_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        leave(at("single"));
        leave(at("set/1"));
        leave(at("set/3"));
        fs::create_dir_all(at("set/7")).unwrap();
        for (folder, repeat, expected) in [
            ("single", 1, false),
            ("single", 4, true),
            ("set", 1, true),
            ("set", 2, true),
            ("set", 3, false),
            ("nothing", 8, false),
        ] {
            let found = in_the_way(&at(folder), repeat);
            assert_eq!(found, expected, "{folder} {repeat}");
        }
    }

    #[test]
    fn only_what_this_program_left_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        leave(root.path().to_owned());
        leave(at("steps/01-200"));
        leave(at("steps/of the user"));
        fs::create_dir_all(at("steps/02-400")).unwrap();
        fs::write(at("comparison.json"), "{}").unwrap();
        clear(root.path()).unwrap();
        clear(root.path()).unwrap();
        let there = |path: &str| at(path).exists();
        assert!(there(SUMMARY) && there("steps/of the user") && there("steps/02-400"));
        assert!(!there("steps/01-200") && !there("comparison.json"));
    }
}
