"""Starts a server on a core of its own, waits until it listens, and always stops it."""

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .common import Failure

HOST = "127.0.0.1"

# A debug-free server listens within milliseconds; this is for a busy machine.
START_DEADLINE = 15.0

# A server that drains its connections may take a moment after SIGTERM.
STOP_DEADLINE = 10.0

POLL = 0.02


@dataclass(frozen=True)
class Server:
    """A server that can be measured."""

    name: str
    # (mode, port) -> argv. The mode is "echo" or "broadcast".
    command: Callable[[str, int], list]
    # What a client opens: "tcp" for the floors, which speak no WebSocket.
    scheme: str = "ws"

    def url(self, port):
        return f"{self.scheme}://{HOST}:{port}/" if self.scheme == "ws" else f"tcp://{HOST}:{port}"


class Running:
    """A server process that listens."""

    def __init__(self, server, mode, port, cpus, extra=()):
        _refuse_taken(port)
        argv = [str(argument) for argument in [*server.command(mode, port), *extra]]
        self.server, self.port, self._log = server, port, tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # Ctrl-C ends the script, which then ends the server.
                preexec_fn=lambda: prepare(cpus),
            )
        except FileNotFoundError:
            raise Failure(f"{argv[0]} is not there; build {server.name} first") from None
        self.pid = self._process.pid
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """Ends the process: SIGTERM, and SIGKILL when that is not heeded."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_DEADLINE)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def output(self):
        """What the server has printed."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def anonymous_memory(self):
        """Resident anonymous memory, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s*(\d+) kB$", status, re.MULTILINE).group(1)) * 1024

    def _wait_until_it_listens(self):
        deadline = time.monotonic() + START_DEADLINE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise Failure(
                    f"{self.server.name} ended with status {self._process.returncode}"
                    f" instead of listening:\n{self.output()}"
                )
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            time.sleep(POLL)
        raise Failure(f"{self.server.name} does not listen after {START_DEADLINE:.0f} s")


@contextlib.contextmanager
def running(server, mode, port, cpus, extra=()):
    """A running server, stopped at the end whatever happens."""
    process = Running(server, mode, port, cpus, extra)
    try:
        yield process
    finally:
        process.stop()


def prepare(cpus):
    """In a child, before its program starts: its cores (None: any), and as many descriptors as allowed."""
    if cpus is not None:
        os.sched_setaffinity(0, cpus)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    """A port nobody listens on, outside the range that clients get theirs from."""
    for port in _ports:
        if not _taken(port):
            return port
    raise Failure("no free port between 20000 and 29999")


# Every server gets a fresh one, so that connections of the last in TIME_WAIT do no harm.
_ports = iter(range(20000 + os.getpid() % 5000, 30000))


def _refuse_taken(port):
    if _taken(port):
        raise Failure(f"port {port} is in use; choose another, or stop what listens there")


def _taken(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False
