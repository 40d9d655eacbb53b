"""Everything that can be measured, by name: Corecast, its variants, the floors, the peers."""

from . import peers
from .common import ROOT, Failure, need, release_directory, run
from .servers import HOST, Server

# Corecast's variants: what is added to `corecast serve`.
CORECAST = {
    "corecast": (),
    "corecast-monoio": ("--io", "monoio"),
    "corecast-epoll": ("--io", "epoll"),
    "corecast-busy-poll": ("--busy-poll", "50us"),
}

# The physical limit: bytes echoed with no WebSocket at all.
FLOORS = {"floor-ring": "ring", "floor-epoll": "epoll"}

NAMES = (*CORECAST, *FLOORS, *peers.NAMES)


def server(name):
    """How to start a contestant that has been built."""
    if name in CORECAST:
        return Server(name, lambda mode, port: _corecast(name, mode, port))
    if name in FLOORS:
        return Server(name, lambda mode, port: _floor(name, mode, port), scheme="tcp")
    if name in peers.NAMES:
        return peers.server(name)
    raise Failure(f"there is no contestant {name!r}; there are {', '.join(NAMES)}")


def build(names):
    """Builds the named contestants, and the harness that measures them."""
    need("cargo", "to build the servers; see rustup.rs")
    packages = ["--package=corecast-bench"]
    if any(name in CORECAST for name in names):
        packages.append("--package=corecast-server")
    run(["cargo", "build", "--release", "--locked", "--quiet", *packages])
    peers.build([name for name in names if name in peers.NAMES])


def bench_binary():
    """The harness."""
    return release_directory(ROOT) / "corecast-bench"


def _corecast(name, mode, port):
    app = {"echo": "echo", "broadcast": "topics"}[mode]
    binary = release_directory(ROOT) / "corecast"
    address = f"{HOST}:{port}"
    return [binary, "serve", "-l", address, "--cores", "1", "--app", app, *CORECAST[name]]


def _floor(name, mode, port):
    if mode != "echo":
        raise Failure(f"{name} only echoes")
    return [bench_binary(), "floor", "--mode", FLOORS[name], "-l", f"{HOST}:{port}"]
