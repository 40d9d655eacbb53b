"""A connection that nobody does anything to, and that must not notice what is done to the others."""

import contextlib
import multiprocessing
import os
import time

from .. import ws
from ..common import Failure

# A message every so often, in seconds.
PACE_S = 0.005

# How long a single reply may take before the witness gives up, in seconds.
PATIENCE_S = 20.0

# The kernel spreads connections evenly over the cores: far more than it takes to meet one of a few.
ATTEMPTS = 200

# In a process of its own: what the attack does in Python must not delay it.
_fork = multiprocessing.get_context("fork")


class Witness:
    """Echoes messages from its making until `verdict`; on a certain core of the victim, if it is told one."""

    def __init__(self, host, port, core=None):
        self._pipe, theirs = _fork.Pipe()
        self._process = _fork.Process(target=_testify, args=(host, port, core, theirs), daemon=True)
        self._process.start()
        theirs.close()
        if self._hear("connect") != "ready":
            raise Failure("the witness could not connect")

    def verdict(self, worst_s=None):
        """Messages, and percentiles of their round trips in milliseconds.

        Raises `Failure` when a reply was wrong, or later than `worst_s`.
        """
        # One that was harmed has said so and ended.
        with contextlib.suppress(BrokenPipeError):
            self._pipe.send("enough")
        told = self._hear("finish")
        self._process.join(PATIENCE_S)
        if isinstance(told, str):
            raise Failure(f"another connection was harmed: {told}")
        times = sorted(told)
        if len(times) < 10:
            raise Failure(f"the witness had only {len(times)} replies")
        if worst_s is not None and times[-1] > worst_s:
            raise Failure(f"another connection waited {times[-1]:.2f} s for a reply; {worst_s} s are allowed")
        return {
            "messages": len(times),
            "p50_ms": round(times[len(times) // 2] * 1e3, 3),
            "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 3),
            "max_ms": round(times[-1] * 1e3, 3),
        }

    def end(self):
        """Ends the process, if it has not ended."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()

    def _hear(self, what):
        if not self._pipe.poll(2 * PATIENCE_S):
            raise Failure(f"the witness did not {what}")
        try:
            return self._pipe.recv()
        except EOFError:
            raise Failure(f"the witness ended before it could {what}") from None


@contextlib.contextmanager
def watching(server, core=None):
    """A witness on a server, gone at the end whatever happens."""
    host, _, port = server.host.rpartition(":")
    witness = Witness(host, int(port), core)
    try:
        yield witness
    finally:
        witness.end()


def on_core(host, port, path, core):
    """A connection that lives on this core of the victim, or on any for None."""
    for _ in range(ATTEMPTS):
        socket = ws.WebSocket(host, port, path, timeout=PATIENCE_S)
        if core is None or socket.headers.get("x-core") == str(core):
            return socket
        socket.close()
    raise Failure(f"none of {ATTEMPTS} connections came to core {core}")


def _testify(host, port, core, pipe):
    try:
        with on_core(host, port, "/echo", core) as socket:
            pipe.send("ready")
            pipe.send(_times(socket, pipe))
    except (OSError, ws.ProtocolError, Failure, _Wrong) as error:
        pipe.send(f"{type(error).__name__}: {error}")


class _Wrong(Exception):
    """A reply that is not what was sent."""


def _times(socket, pipe):
    times = []
    while not pipe.poll(PACE_S):
        payload = os.urandom(32)
        start = time.monotonic()
        socket.send(ws.BINARY, payload)
        reply = socket.receive()
        while reply[0] == ws.PING:
            socket.send(ws.PONG, reply[1])
            reply = socket.receive()
        times.append(time.monotonic() - start)
        if reply != (ws.BINARY, payload):
            raise _Wrong(f"opcode {reply[0]:#x} and {len(reply[1])} bytes")
    pipe.recv()
    return times
