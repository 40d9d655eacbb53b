"""What a process has: descriptors, memory, processor time."""

import os
import re
import time
from pathlib import Path

from ..common import Failure

POLL_S = 0.05

# It starts within milliseconds; this is for a busy machine.
START_LIMIT_S = 15

# So many looks in a row must find every thread asleep: one may wait for another for an instant.
LOOKS = 3

MIB = 1 << 20

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Account:
    """A process's descriptors and anonymous memory, against what they were when this was made."""

    def __init__(self, pid):
        self.pid = pid
        self.descriptors = descriptors(pid)
        self.memory = anonymous(pid)

    def settle(self, limit_s, spare):
        """Waits until the descriptors are as few as before, and memory is within `spare` bytes.

        Returns the seconds it took.
        """
        start = time.monotonic()
        while True:
            open_now, memory = descriptors(self.pid), anonymous(self.pid)
            took = time.monotonic() - start
            if open_now <= self.descriptors and memory <= self.memory + spare:
                return took
            if took > limit_s:
                raise Failure(
                    f"after {limit_s} s: {open_now} descriptors, {self.descriptors} before;"
                    f" {memory / MIB:.1f} MiB, {self.memory / MIB:.1f} before, {spare / MIB:.0f} to spare"
                )
            time.sleep(POLL_S)


def wait_until_asleep(pid, limit_s=START_LIMIT_S):
    """Waits until all threads of a process sleep: whatever it does at its start, it has done."""
    deadline = time.monotonic() + limit_s
    looks = 0
    while looks < LOOKS:
        looks = looks + 1 if _asleep(pid) else 0
        if time.monotonic() > deadline:
            raise Failure(f"process {pid} does not come to rest within {limit_s} s")
        time.sleep(POLL_S)


def _asleep(pid):
    try:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        # A thread ended meanwhile.
        return False
    return all(stat.rpartition(")")[2].split()[0] == "S" for stat in stats)


def descriptors(pid):
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def anonymous(pid):
    """Resident anonymous memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"^RssAnon:\s*(\d+) kB$", status, re.MULTILINE).group(1)) * 1024


def processor_seconds(pid):
    """User and system time so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def waiting_input(port):
    """Bytes that the sockets of a local IPv4 port have received and nobody has read (proc_net_tcp(5))."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port:
            total += int(fields[4].partition(":")[2], 16)
    return total
