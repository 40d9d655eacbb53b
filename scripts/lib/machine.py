"""What the figures were measured on."""

import os
import platform
import re
import time
from pathlib import Path

from . import peers
from .common import ROOT, output


def describe():
    """The machine and the versions, without names, addresses or paths."""
    return {
        "cpu": _cpu(),
        "processors": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "rustc": output(["rustc", "--version"]).removeprefix("rustc ").split(" ")[0],
        "peers": peers.versions(),
    }


def commit():
    """The commit that is measured; `+` when the tree differs from it outside `results`."""
    head = output(["git", "rev-parse", "--short=12", "HEAD"])
    if not head:
        return "uncommitted"
    changed = output(["git", "status", "--porcelain", "--", ".", ":!results"], cwd=ROOT)
    return f"{head}+" if changed else head


def busy(seconds=1.0):
    """How much of the machine others use, 0 to 1, watched for so long while nothing runs."""
    idle, total = _ticks()
    time.sleep(seconds)
    idle_after, total_after = _ticks()
    return 1 - (idle_after - idle) / max(total_after - total, 1)


def _ticks():
    """Idle and all ticks since the start, of all processors (proc_stat(5))."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def _cpu():
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.machine()
