//! The peers, as `scripts/peers` builds and installs them: where each is, and what it is started with.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// All of them. Those that end in `-deflate` compress, and are measured only where that is asked for.
pub(crate) const NAMES: [&str; 8] = [
    "bun",
    "fastwebsockets",
    "sockudo-ws",
    "tokio-tungstenite",
    "tokio-websockets",
    "ws",
    "bun-deflate",
    "ws-deflate",
];

/// A peer, whether it is there or not.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) version: Option<String>,
    /// Program and arguments, with the placeholders of a user's own server; or what to do to have them.
    pub(crate) command: Result<Vec<String>, String>,
}

/// Looks for all of them.
pub(crate) fn find() -> Vec<Peer> {
    let root = checkout();
    NAMES.map(|name| look(name, root.as_deref())).into()
}

fn look(name: &'static str, root: Option<&Path>) -> Peer {
    let found = root.and_then(|root| match name {
        "bun" | "bun-deflate" => bun(root, name == "bun-deflate"),
        "ws" | "ws-deflate" => ws(root),
        _ => rust(root, name),
    });
    let (version, command) = match found {
        Some((version, command)) => (version, Ok(command)),
        None => (None, Err(how_to_install(name, root.is_some()))),
    };
    Peer {
        name,
        version,
        command,
    }
}

/// The command that installs it.
fn how_to_install(name: &str, in_checkout: bool) -> String {
    // `ws` is the same program, with clients that do not offer compression.
    let package = if name == "ws" { "ws-deflate" } else { name };
    let place = if in_checkout {
        ""
    } else {
        "in a checkout of Corecast: "
    };
    format!("it is not installed; {place}scripts/peers build {package}")
}

/// The checkout that this program was built in, or is called in: the peers' sources are part of it.
fn checkout() -> Option<PathBuf> {
    let starts = [env::current_dir(), env::current_exe()];
    let has_peers = |folder: &&Path| sources(folder).join("Cargo.toml").is_file();
    starts
        .iter()
        .flatten()
        .find_map(|start| start.ancestors().find(has_peers).map(Path::to_owned))
}

fn sources(root: &Path) -> PathBuf {
    root.join("bench-harness/peers")
}

type Found = (Option<String>, Vec<String>);

fn bun(root: &Path, deflate: bool) -> Option<Found> {
    let installed = root.join(".cache/peers/bun/node_modules");
    // npm chooses the platform's package.
    let packages = fs::read_dir(installed.join("@oven")).ok()?.flatten();
    let binary = packages
        .map(|entry| entry.path().join("bin/bun"))
        .find(|path| path.is_file())?;
    let mut command = vec![text(&binary), text(&sources(root).join("bun/server.ts"))];
    command.extend(FLAGS.map(str::to_owned));
    if deflate {
        command.push("--deflate".to_owned());
    }
    Some((npm_version(&installed.join("bun")), command))
}

fn ws(root: &Path) -> Option<Found> {
    let installed = root.join(".cache/peers/node-ws");
    let package = installed.join("node_modules/ws");
    let node = on_path("node")?;
    if !package.is_dir() {
        return None;
    }
    let mut command = vec![text(&node), text(&sources(root).join("node-ws/server.mjs"))];
    command.extend(["--modules".to_owned(), text(&installed)]);
    command.extend(FLAGS.map(str::to_owned));
    Some((npm_version(&package), command))
}

/// How the peers of npm are told what to do.
const FLAGS: [&str; 4] = ["--port", "{port}", "--mode", "{mode}"];

fn rust(root: &Path, name: &str) -> Option<Found> {
    let binary = format!("peer-{name}");
    let own = sources(root);
    let target = env::var_os("CARGO_TARGET_DIR").map_or(own.join("target"), PathBuf::from);
    let beside = env::current_exe().ok()?.with_file_name(&binary);
    let built = [target.join("release").join(&binary), beside];
    let found = built.iter().find(|path| path.is_file())?;
    let flags = ["--listen", "127.0.0.1:{port}", "--mode", "{mode}"];
    let command = [text(found)].into_iter().chain(flags.map(str::to_owned));
    Some((
        cargo_version(&own.join("Cargo.lock"), name),
        command.collect(),
    ))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn npm_version(package: &Path) -> Option<String> {
    let text = fs::read_to_string(package.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(package["version"].as_str()?.to_owned())
}

fn cargo_version(lock: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(lock).ok()?;
    version_in(&text, name)
}

fn version_in(lock: &str, name: &str) -> Option<String> {
    let mut lines = lock.lines();
    lines.find(|line| *line == format!("name = \"{name}\""))?;
    let version = lines.next()?.strip_prefix("version = \"")?;
    Some(version.strip_suffix('"')?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_there_or_says_what_to_do() {
        for peer in find() {
            match peer.command {
                Ok(command) => {
                    assert!(Path::new(&command[0]).is_file(), "{command:?}");
                    assert!(command.iter().any(|word| word.contains("{port}")));
                }
                Err(install) => assert!(install.contains("scripts/peers build"), "{install}"),
            }
        }
    }

    #[test]
    fn the_lock_file_tells_versions() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"2.0.0\"\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n";
        assert_eq!(version_in(lock, "a").as_deref(), Some("1.2.3"));
        assert_eq!(version_in(lock, "b"), None);
    }

    #[test]
    fn the_checkouts_lock_file_has_every_rust_peer() {
        let lock = sources(&checkout().expect("tests run in a checkout")).join("Cargo.lock");
        for name in [
            "fastwebsockets",
            "sockudo-ws",
            "tokio-tungstenite",
            "tokio-websockets",
        ] {
            assert!(cargo_version(&lock, name).is_some(), "{name}");
        }
    }
}
