"""Counts the system calls of a process from outside: by `perf`, or by `strace` without it.

Only for runs that are not timed. perf counts a tracepoint and hardly disturbs the server;
strace stops it at every call, which makes batches larger and so flatters batching servers.
"""

import contextlib
import functools
import shutil
import signal
import subprocess
import tempfile
import time

from .common import Failure

EVENT = "raw_syscalls:sys_enter"

# Until the tracer is attached to every thread.
SETTLE = 0.5


class Count:
    """`value` is there once the `counting` block has ended."""

    value = None


@contextlib.contextmanager
def counting(pid):
    """Counts what `pid` calls inside the block, all threads."""
    count = Count()
    with tempfile.TemporaryFile() as report:
        tracer = subprocess.Popen(_command(pid), stdout=subprocess.DEVNULL, stderr=report)
        try:
            time.sleep(SETTLE)
            if tracer.poll() is not None:
                raise Failure(f"{tool()} cannot attach to the server: {_read(report)}")
            yield count
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        count.value = _parse(_read(report))


@functools.cache
def tool():
    """`perf` or `strace`, whichever works here."""
    if shutil.which("perf"):
        probe = subprocess.run(
            ["perf", "stat", "-x,", "-e", EVENT, "true"], capture_output=True, text=True
        )
        if probe.returncode == 0 and "not supported" not in probe.stderr:
            return "perf"
    if shutil.which("strace"):
        return "strace"
    raise Failure("counting system calls needs perf (and root) or strace; install one of them")


def _command(pid):
    if tool() == "perf":
        return ["perf", "stat", "-x,", "-e", EVENT, "-p", str(pid)]
    return ["strace", "-c", "-f", "-p", str(pid)]


def _read(report):
    report.seek(0)
    return report.read().decode(errors="replace")


def _parse(report):
    for line in reversed(report.splitlines()):
        if tool() == "perf" and EVENT in line:
            first = line.split(",")[0]
            return 0 if first == "<not counted>" else int(first)
        if tool() == "strace" and line.endswith(" total"):
            return int(line.split()[3])
    raise Failure(f"{tool()} reported no count:\n{report}")
