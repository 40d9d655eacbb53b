"""Child processes that cannot outlive their limit or leave anything behind."""

import contextlib
import os
import signal
import subprocess

from .common import Failure

# From the request to end until the end is made.
END_LIMIT_S = 10


@contextlib.contextmanager
def running(command, log, **options):
    """A process in a session of its own, which writes to the file `log`; it and what it has started
    are gone when the block ends."""
    try:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, **options,
        )
    except OSError as error:
        raise Failure(f"{command[0]} cannot be started: {error.strerror}") from None
    try:
        yield process
    finally:
        _end(process)


def run(command, limit_s, log, **options):
    """Runs a process to its end, which must come within the limit and be a success."""
    with running(command, log, **options) as process:
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{command[0]} did not end within {limit_s:.0f} s") from None
    if code != 0:
        raise Failure(f"{command[0]} ended with {code}")


def _end(process):
    # A container ends in order only when it is asked to.
    for request, limit_s in ((signal.SIGTERM, END_LIMIT_S), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, request)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(limit_s)
