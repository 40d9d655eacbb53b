"""What the figures were measured on."""

import os
import platform
import re
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
        "peers": {name: peers.version(name) for name in peers.NAMES},
    }


def commit():
    """The commit that is measured; `+` when the tree differs from it outside `results`."""
    head = output(["git", "rev-parse", "--short=12", "HEAD"])
    if not head:
        return "uncommitted"
    changed = output(["git", "status", "--porcelain", "--", ".", ":!results"], cwd=ROOT)
    return f"{head}+" if changed else head


def _cpu():
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.machine()
