"""A program in a terminal: what it writes there, what is typed, and how the terminal is left."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time

from .common import Failure

POLL_S = 0.05

# What a program sends to use a screen of its own, and to give back the one that was there.
ENTERS, LEAVES = b"\x1b[?1049h", b"\x1b[?1049l"
HIDES_CURSOR, SHOWS_CURSOR = b"\x1b[?25l", b"\x1b[?25h"

LOCAL_FLAGS = 3


class Terminal:
    """A pseudo-terminal with a program in the foreground. `output` is all that it has written."""

    def __init__(self, argv, size=(80, 24), environment=None):
        self._master, slave = os.openpty()
        self._before = termios.tcgetattr(slave)[LOCAL_FLAGS]
        columns, rows = size
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        known = {"TERM": "xterm-256color", **(environment or {})}
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self._process = subprocess.Popen(
            [str(word) for word in argv], stdin=slave, stdout=slave, stderr=slave,
            env={**kept, **known}, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.pid, self.output = self._process.pid, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def wait_for(self, text, limit_s):
        """Waits until the program has written this."""
        deadline = time.monotonic() + limit_s
        while text not in self.output:
            if time.monotonic() > deadline or not self._read():
                raise Failure(f"the terminal never showed {text!r}: {self.output[-300:]!r}")

    def type(self, keys):
        """Types."""
        os.write(self._master, keys)

    def signal(self, number):
        """Sends the program a signal."""
        self._process.send_signal(number)

    def end(self, limit_s, meanwhile=lambda: None):
        """Waits for the program's end, and calls `meanwhile` now and then; the exit code, of a signal as shells have it."""
        deadline = time.monotonic() + limit_s
        while self._read():
            meanwhile()
            if time.monotonic() > deadline:
                raise Failure(f"no end within {limit_s:.0f} s: {self.output[-300:]!r}")
        code = self._process.wait(max(deadline - time.monotonic(), 1))
        return code if code >= 0 else 128 - code

    def used_the_full_screen(self):
        """Whether it switched to a screen of its own."""
        return ENTERS in self.output

    def problem(self):
        """How the terminal differs from what it was before, or None."""
        if self.output.rfind(LEAVES) < self.output.rfind(ENTERS):
            return "the other screen is still there"
        if self.output.rfind(SHOWS_CURSOR) < self.output.rfind(HIDES_CURSOR):
            return "the cursor is hidden"
        with contextlib.suppress(termios.error):
            if termios.tcgetattr(self._master)[LOCAL_FLAGS] != self._before:
                return "the terminal is raw"
        return None

    def _read(self):
        """Takes in what is there; false when nobody has the terminal open any more."""
        ready, _, _ = select.select([self._master], [], [], POLL_S)
        if not ready:
            return True
        try:
            piece = os.read(self._master, 1 << 16)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.output += piece
        return bool(piece)


def stops(argv, limit_s, sign):
    """Starts a program, waits for `sign`, and stops it in every way that there is; yields (way, exit code, problem)."""
    ways = {
        "q": lambda terminal: terminal.type(b"q"),
        "Ctrl-C": lambda terminal: terminal.type(b"\x03"),
        "SIGTERM": lambda terminal: terminal.signal(signal.SIGTERM),
    }
    for name, stop in ways.items():
        with Terminal(argv) as terminal:
            terminal.wait_for(sign, limit_s)
            stop(terminal)
            yield name, terminal.end(limit_s), terminal.problem()
