"""The servers that Corecast is measured against: how each is built and started.

All come from package registries: Bun from npm, the Rust ones from the workspace
`bench-harness/peers`. Versions are pinned by the two lock files there.
"""

import json
import shutil
import tomllib

from .common import CACHE, ROOT, Failure, need, release_directory, run
from .servers import HOST, Server

SOURCES = ROOT / "bench-harness" / "peers"
BUN_SOURCES = SOURCES / "bun"
BUN_CACHE = CACHE / "peers" / "bun"

RUST = ("fastwebsockets", "sockudo-ws", "tokio-tungstenite", "tokio-websockets")
NAMES = ("bun", *RUST)


def chosen(names):
    """`names`, or all peers when there are none."""
    for name in names:
        if name not in NAMES:
            raise Failure(f"there is no peer {name!r}; the peers are {', '.join(NAMES)}")
    return names or NAMES


def build(names):
    """Installs and builds what the named peers need; quick when it is there already."""
    if "bun" in names:
        _install_bun()
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
    if name == "bun":
        return json.loads((BUN_SOURCES / "package.json").read_text())["dependencies"]["bun"]
    lock = tomllib.loads((SOURCES / "Cargo.lock").read_text())
    return next(package["version"] for package in lock["package"] if package["name"] == name)


def _command(name, mode, port):
    if name == "bun":
        return [_bun(), BUN_SOURCES / "server.ts", "--port", str(port), "--mode", mode]
    binary = release_directory(SOURCES) / f"peer-{name}"
    return [binary, "--listen", f"{HOST}:{port}", "--mode", mode]


def _install_bun():
    lock = BUN_SOURCES / "package-lock.json"
    installed = BUN_CACHE / lock.name
    if installed.exists() and installed.read_bytes() == lock.read_bytes() and _bun_found():
        return
    npm = need("npm", "to install Bun; it comes with Node.js")
    BUN_CACHE.mkdir(parents=True, exist_ok=True)
    installed.unlink(missing_ok=True)
    for name in ("package.json", ".npmrc"):
        shutil.copy(BUN_SOURCES / name, BUN_CACHE)
    shutil.copy(lock, BUN_CACHE / "package-lock.json")
    # Without scripts: Bun's only moves the binary to where `npx bun` looks for it.
    run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], BUN_CACHE)
    _bun()


def _bun():
    found = _bun_found()
    if not found:
        raise Failure("Bun is not installed here; run `scripts/peers build bun`")
    return found


def _bun_found():
    """The binary in the platform's package: npm installs the one that fits this machine."""
    return next(BUN_CACHE.glob("node_modules/@oven/*/bin/bun"), None)
