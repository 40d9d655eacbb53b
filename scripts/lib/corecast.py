"""Builds the release programs of this repository, and runs the server on a free port."""

import contextlib
import re
import resource
import subprocess
import tempfile
import time

from .common import ROOT, Failure, need, release_directory, run

# It listens within milliseconds; this is for a busy machine.
START_LIMIT_S = 15

POLL_S = 0.02

# What `--io` takes, and what the server then says that it runs on.
TRANSPORTS = {
    "ring": "io_uring (data ring)",
    "monoio": "monoio over io_uring",
    "epoll": "monoio over epoll",
}


def build(*packages):
    """Builds the packages for release; quick when they are built already."""
    need("cargo", "to build the programs; see rustup.rs")
    run(["cargo", "build", "--release", "--locked", *(f"--package={name}" for name in packages)])


def build_example(package, name):
    """Builds an example for release, and returns its path."""
    need("cargo", "to build the programs; see rustup.rs")
    run(["cargo", "build", "--release", "--locked", f"--package={package}", f"--example={name}"])
    return release_directory(ROOT) / "examples" / name


def program(name):
    """The path of a program that `build` has built."""
    return release_directory(ROOT) / name


def build_victim():
    """Builds the server that misbehaves on demand; its path."""
    run(["cargo", "build", "--release", "--locked", "--package=corecast-server", "--example=victim"])
    return release_directory(ROOT) / "examples" / "victim"


@contextlib.contextmanager
def serving(binary, *flags, **how):
    """A server with these flags on a free port; it is gone when the block ends. See `Server`."""
    with Server(binary, flags, **how) as server:
        server.wait_until_it_listens()
        yield server


class Server:
    """A server process. `host` is HOST:PORT once it listens.

    `address` is where it listens, on any free port unless `port` is given; `wrap` makes of its command one that runs it elsewhere; it may open
    at most `descriptors`.
    """

    def __init__(self, binary, flags, address="127.0.0.1", port=0, wrap=list, descriptors=None):
        self._log = tempfile.TemporaryFile()
        command = [str(word) for word in [binary, "--listen", f"{address}:{port}", *flags]]
        limits = (descriptors, descriptors)
        try:
            self._process = subprocess.Popen(
                wrap(command),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                preexec_fn=descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)),
            )
        except OSError as error:
            raise Failure(f"{binary} cannot be started: {error.strerror}") from None
        self.pid = self._process.pid
        self.host = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def wait_until_it_listens(self):
        """It was told to take any port, and prints the one that it got."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            code = self._process.poll()
            if code is not None:
                raise Failure(f"the server ended with {code}: {self._printed_in_one_line()}")
            found = re.search(r"^listening +(?:on )?(\S+)$", self.output(), re.MULTILINE)
            if found:
                self.host = found[1]
                return
            time.sleep(POLL_S)
        raise Failure(f"the server printed no address: {self._printed_in_one_line()}")

    def io(self):
        """What it says that it moves bytes with."""
        found = re.search(r"^running .*I/O: (.*)$", self.output(), re.MULTILINE)
        return found[1] if found else "nothing"

    def terminate(self):
        """Asks it to close its connections and to end."""
        self._process.terminate()

    def exit_code(self, limit_s):
        """The exit code, or None when it still runs after so many seconds."""
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return None

    def output(self):
        """What it has printed and logged."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def _printed_in_one_line(self):
        return " | ".join(self.output().splitlines()) or "(it printed nothing)"
