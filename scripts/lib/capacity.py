"""What many connections take: descriptors, ports, memory; measured here, and reckoned for more."""

import math
from dataclasses import dataclass
from pathlib import Path

# Descriptors of a process beside its connections: what the harness keeps back, and a server's listeners and files.
SPARE = 100

# Connections from one source address to one address of a server that the harness asks for at most.
PER_SOURCE = 16_000

MIB, GIB = 1 << 20, 1 << 30

PAGE = 4096


@dataclass(frozen=True)
class Kernel:
    """What the kernel holds at one moment, in bytes, and sockets."""

    slab: int
    buffers: int
    sockets: int

    @staticmethod
    def now():
        meminfo = _table(Path("/proc/meminfo").read_text())
        tcp = Path("/proc/net/sockstat").read_text().split("TCP:", 1)[1].split("\n", 1)[0].split()
        words = dict(zip(tcp[::2], map(int, tcp[1::2]), strict=True))
        return Kernel(meminfo["Slab"] << 10, words["mem"] * PAGE, words["inuse"])


@dataclass(frozen=True)
class Each:
    """Bytes that one connection takes, with both of its ends on one machine."""

    server: float
    client: float
    kernel: float

    def total(self):
        return self.server + self.client + self.kernel


def processes(connections, descriptors):
    """Processes that hold so many connections when each may have so many descriptors."""
    return math.ceil(connections / (descriptors - SPARE))


def sources(connections, server_addresses):
    """Source addresses that the harness takes for so many connections, to one address of a server or to several."""
    return math.ceil(connections / server_addresses / PER_SOURCE)


def children(pid):
    """The processes that a process has started."""
    found = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:
            continue
    return found


def resident(pids):
    """Resident memory of processes, in bytes; those that have ended have none."""
    return sum(_resident(pid) for pid in pids)


def _resident(pid):
    try:
        return _table(Path(f"/proc/{pid}/status").read_text()).get("VmRSS", 0) << 10
    except OSError:
        return 0


def setting(name):
    """A kernel setting, or None where there is no such thing."""
    try:
        return " ".join(Path("/proc/sys", *name.split(".")).read_text().split())
    except OSError:
        return None


def _table(text):
    """The numbers of lines such as `Slab:  123 kB`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
