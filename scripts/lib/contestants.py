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

# The floor: bytes echoed with no WebSocket at all, or fanned out with just enough of it.
FLOORS = {"floor-ring": "ring", "floor-epoll": "epoll"}

NAMES = (*CORECAST, *FLOORS, *peers.NAMES)


def server(name, mode="echo", cores=1):
    """How to start a contestant that has been built. Only Corecast's own take several cores.

    A floor that broadcasts needs the payload size as well: `--broadcast SIZE`.
    """
    if name in CORECAST:
        return Server(name, lambda mode, port: _corecast(name, mode, port, cores))
    if name in FLOORS:
        scheme = "tcp" if mode == "echo" else "ws"
        return Server(name, lambda _, port: _floor(name, port), scheme=scheme)
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


def _corecast(name, mode, port, cores):
    app = {"echo": "echo", "broadcast": "topics"}[mode]
    binary = release_directory(ROOT) / "corecast"
    address = f"{HOST}:{port}"
    return [binary, "serve", "-l", address, "--cores", str(cores), "--app", app, *CORECAST[name]]


def _floor(name, port):
    return [bench_binary(), "floor", "--mode", FLOORS[name], "-l", f"{HOST}:{port}"]
