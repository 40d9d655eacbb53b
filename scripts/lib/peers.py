"""The servers that Corecast is measured against: how each is built and started.

All come from package registries: Bun and node's `ws` from npm, the Rust ones from the workspace
`bench-harness/peers`. Versions are pinned by the lock files there.
"""

import json
import shutil
import tomllib

from .common import CACHE, ROOT, Failure, need, output, release_directory, run
from .servers import HOST, Server

SOURCES = ROOT / "bench-harness" / "peers"
NPM_CACHE = CACHE / "peers"

RUST = ("fastwebsockets", "sockudo-ws", "tokio-tungstenite", "tokio-websockets")

# By peer: the folder with its sources, and the npm package whose version counts. The variants with compression are
# peers of their own, beside those that do not compress.
NPM = {"bun": ("bun", "bun"), "bun-deflate": ("bun", "bun"), "ws-deflate": ("node-ws", "ws")}

PLAIN = ("bun", *RUST)
DEFLATING = ("bun-deflate", "ws-deflate")
NAMES = (*PLAIN, *DEFLATING)


def chosen(names):
    """`names`, or all peers when there are none."""
    for name in names:
        if name not in NAMES:
            raise Failure(f"there is no peer {name!r}; the peers are {', '.join(NAMES)}")
    return names or NAMES


def build(names):
    """Installs and builds what the named peers need; quick when it is there already."""
    for folder in sorted({NPM[name][0] for name in names if name in NPM}):
        _install_npm(folder)
    packages = [f"--package=peer-{name}" for name in names if name in RUST]
    if packages:
        need("cargo", "to build the Rust peers; see rustup.rs")
        # In its own folder, where cargo finds the peers' compiler flags.
        run(["cargo", "build", "--release", "--locked", "--quiet", *packages], cwd=SOURCES)


def server(name):
    """How to start a peer that has been built."""
    return Server(name, lambda mode, port: _command(name, mode, port))


def version(name):
    """The pinned version of a peer."""
    if name in NPM:
        folder, package = NPM[name]
        return json.loads((SOURCES / folder / "package.json").read_text())["dependencies"][package]
    lock = tomllib.loads((SOURCES / "Cargo.lock").read_text())
    return next(package["version"] for package in lock["package"] if package["name"] == name)


def versions():
    """What is measured, by the name of the library, and of what runs it."""
    libraries = {name: version(name) for name in PLAIN} | {"ws": version("ws-deflate")}
    node = output(["node", "--version"]).removeprefix("v")
    return libraries | ({"node": node} if node else {})


def _command(name, mode, port):
    flags = ["--port", str(port), "--mode", mode]
    if name == "ws-deflate":
        node = need("node", "to run ws; Debian: apt-get install nodejs")
        return [node, SOURCES / "node-ws" / "server.mjs", "--modules", NPM_CACHE / "node-ws", *flags]
    if name in NPM:
        deflate = ["--deflate"] if name in DEFLATING else []
        return [_bun(), SOURCES / "bun" / "server.ts", *flags, *deflate]
    binary = release_directory(SOURCES) / f"peer-{name}"
    return [binary, "--listen", f"{HOST}:{port}", "--mode", mode]


def _install_npm(folder):
    sources, target = SOURCES / folder, NPM_CACHE / folder
    lock = sources / "package-lock.json"
    installed = target / lock.name
    if installed.exists() and installed.read_bytes() == lock.read_bytes() and _main_file(folder):
        return
    npm = need("npm", f"to install {folder}; it comes with Node.js")
    target.mkdir(parents=True, exist_ok=True)
    installed.unlink(missing_ok=True)
    for name in ("package.json", ".npmrc"):
        shutil.copy(sources / name, target)
    shutil.copy(lock, installed)
    # Without scripts: Bun's only moves the binary to where `npx bun` looks for it, and bufferutil's would compile what it
    # brings compiled.
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], target)
    if not _main_file(folder):
        installed.unlink()
        raise Failure(f"npm has installed nothing that fits this machine in {target}")


def _main_file(folder):
    """What a finished installation has: of Bun, the binary in the platform's package, which npm chooses."""
    found = {"bun": "node_modules/@oven/*/bin/bun", "node-ws": "node_modules/ws/package.json"}
    return next((NPM_CACHE / folder).glob(found[folder]), None)


def _bun():
    found = _main_file("bun")
    if not found:
        raise Failure("Bun is not installed here; run `scripts/peers build bun`")
    return found
