"""Runs of the suite: against the server on a transport, or against the protocol's client."""

import collections
import contextlib
import json
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .. import bounded, corecast, netns
from ..common import ROOT, Failure
from ..dribble import Proxy
from . import gate, ratios, suite
from .cases import is_about_compression
from .play import AGENT

# A run takes about 30 s here, or 8 minutes with all of the suite's messages; this is for a busy machine.
RUN_LIMIT_S = 600
WHOLE_RUN_LIMIT_S = 3600
SERVER_END_LIMIT_S = 15

# Within the namespace that a fuzzing server has for itself.
NAMESPACE_PORT = 9001

# The client has no transport of the engine: it is the protocol over a blocking socket.
STD = "std"

# Ways to compress. The client offers and does as the fuzzing server says, which differs by case.
OFF = "off"
OFFERED = "offered"

# Lines of a program's output that are shown when it fails.
SHOWN_LINES = 20


@dataclass(frozen=True)
class Run:
    """What to run: the role that is checked, on which transport, and which cases.

    `deflate` is the server's flag of that name, and `OFFERED` for the client, which always offers it. Each case about
    compression sends so many `messages`.
    """

    role: str
    transport: str
    bytewise: bool
    cases: tuple
    deflate: str = OFF
    messages: int = suite.MESSAGES

    @property
    def name(self):
        parts = [self.role, self.transport]
        parts += ["bytes"] if self.bytewise else []
        parts += [f"deflate {self.deflate}"] if self.deflate != OFF else []
        return "/".join(parts)

    @property
    def limit_s(self):
        """How long it may take."""
        return WHOLE_RUN_LIMIT_S if self.deflate != OFF and self.messages == suite.MESSAGES else RUN_LIMIT_S


@dataclass(frozen=True)
class Outcome:
    """A finished run: the suite's entries by case, what is wrong with them, and why the suite found what
    is not OK, by case. `counted` is of `ratios.read`."""

    run: Run
    entries: dict
    problems: list
    findings: dict
    counted: dict
    seconds: float


def perform(run, found_suite, program):
    """Runs it; `program` is the server or the client to check."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="corecast-autobahn-")))
        log = stack.enter_context(open(folder / "log", "wb"))
        check = check_server if run.role == "server" else check_client
        started = time.monotonic()
        try:
            report = check(run, found_suite, program, folder, log)
            seconds = time.monotonic() - started
            entries = gate.read_index(report, AGENT)
        except Failure:
            for line in (folder / "log").read_text(errors="replace").splitlines()[-SHOWN_LINES:]:
                print(f"    {line}", file=sys.stderr, flush=True)
            raise
        counted = ratios.read(report, entries)
        problems = [*gate.problems(entries, run.cases), *ratios.problems(counted)]
        return Outcome(run, entries, problems, _findings(report, entries), counted, seconds)


def check_server(run, found_suite, program, folder, log):
    """The fuzzing client against our server."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(corecast.serving(program, "--io", run.transport, "--deflate", run.deflate))
        if server.io() != corecast.TRANSPORTS[run.transport]:
            raise Failure(f"the server runs on {server.io()}, not on {corecast.TRANSPORTS[run.transport]}")
        host = server.host
        if run.bytewise:
            address, port = host.rsplit(":", 1)
            host = "%s:%d" % stack.enter_context(Proxy((address, int(port)))).address
        url = f"ws://{host}/echo"
        report = suite.write_specification(folder, run.cases, servers=[{"agent": AGENT, "url": url}])
        command = found_suite.command(suite.CLIENT, folder, messages=run.messages)
        bounded.run(command, run.limit_s, log)
        server.terminate()
        if (code := server.exit_code(SERVER_END_LIMIT_S)) != 0:
            raise Failure(f"the server ended with {code} (None: not at all): {server.output()}")
    return report


def check_client(run, found_suite, program, folder, log):
    """Our client against the fuzzing server, which listens on every address."""
    port = _free_port() if found_suite.isolated else NAMESPACE_PORT
    report = suite.write_specification(folder, run.cases, url=f"ws://127.0.0.1:{port}")
    isolation = [] if found_suite.isolated else netns.prefix()
    options = [] if found_suite.isolated else ["--loopback"]
    options += ["--bytes"] if run.bytewise else []
    play = [sys.executable, "-B", "-m", "lib.autobahn.play", *options, port, run.limit_s, program]
    command = [*isolation, *play, *found_suite.command(suite.SERVER, folder, port, run.messages)]
    # The program's own limits come first, and say more.
    bounded.run(command, 2 * run.limit_s, log, cwd=ROOT / "scripts")
    return report


def _free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _findings(report, entries):
    """What the suite says about each case that is not OK."""
    found = {}
    for case, entry in entries.items():
        if entry.get("behavior") == entry.get("behaviorClose") == "OK":
            continue
        details = json.loads((report / entry["reportfile"]).read_text())
        found[case] = f"{details['result']} {details['resultClose']}."
        if is_about_compression(case):
            # It notes no messages in these.
            continue
        counts = collections.Counter(event[0] for event in details["received"])
        received = ", ".join(f"{count} × {kind}" for kind, count in counts.items()) or "nothing"
        found[case] += f" It received {received}, and close code {entry['remoteCloseCode']}."
    return found
