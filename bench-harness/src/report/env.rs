//! Where a run was made: `env.json`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;

use super::secrets;

/// The machine and the command.
#[derive(Debug, Serialize)]
pub(crate) struct Env {
    schema: u32,
    harness_version: &'static str,
    /// `release` or `debug`: figures of a debug build say nothing about a server.
    build: &'static str,
    /// The command line, one string per argument. What headers and first messages say is left
    /// out, and what looks like a secret in addresses.
    command: Vec<String>,
    /// Commit of the folder the command ran in, with `-dirty` when files differ from it.
    commit: Option<String>,
    kernel: Option<String>,
    architecture: &'static str,
    cpu: Option<String>,
    /// Processors this process may use.
    processors: Vec<usize>,
    hypervisor: bool,
    memory_kib: Option<u64>,
    /// Soft and hard limit on descriptors.
    descriptors: Option<(u64, u64)>,
    /// Kernel settings that bear on the figures.
    sysctl: Vec<(&'static str, Option<String>)>,
}

const SYSCTLS: [&str; 8] = [
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.tcp_tw_reuse",
    "net.core.somaxconn",
    "net.core.busy_poll",
    "kernel.io_uring_disabled",
];

/// `release` or `debug`.
pub(crate) const BUILD: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// Looks around.
pub(crate) fn collect() -> Env {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    Env {
        schema: super::summary::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION"),
        build: BUILD,
        command: secrets::hide_in_command(called().chain(env::args().skip(1))),
        commit: commit(),
        kernel: trimmed("/proc/sys/kernel/osrelease"),
        architecture: env::consts::ARCH,
        cpu: value_of(&cpuinfo, "model name").map(str::to_owned),
        processors: cores.into_iter().map(|core| core.id).collect(),
        hypervisor: value_of(&cpuinfo, "flags")
            .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        memory_kib: value_of(&meminfo, "MemTotal")
            .and_then(|value| value.trim_end_matches(" kB").parse().ok()),
        descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok(),
        sysctl: SYSCTLS
            .map(|name| {
                (
                    name,
                    trimmed(&format!("/proc/sys/{}", name.replace('.', "/"))),
                )
            })
            .to_vec(),
    }
}

/// The program as it is called, without the folder it lies in: that says nothing of the run.
fn called() -> impl Iterator<Item = String> {
    let path = env::args().next().map(PathBuf::from);
    path.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .into_iter()
}

fn trimmed(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().replace('\t', " "))
}

/// The value of the first line `name : value`.
fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// None without git, or outside of a repository.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if clean { commit } else { commit + "-dirty" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_known() {
        let env = collect();
        assert!(!env.processors.is_empty() && env.kernel.is_some() && env.descriptors.is_some());
        assert_eq!(value_of("a b\t: c: d\n", "a b"), Some("c: d"));
    }
}
