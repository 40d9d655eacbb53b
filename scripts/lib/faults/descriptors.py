"""Descriptors run out: accepting rests and resumes, and nobody who is connected notices."""

import time

from ..common import Failure
from .account import Account, processor_seconds
from .crowd import Crowd, echo
from .witness import watching

# The server's limit, and how many want to connect.
DESCRIPTORS, CALLERS = 200, 600

# Processor time per second while it cannot accept: it looks again ten times a second.
RESTING_LOAD = 0.1

TITLE = f"descriptors exhausted: {CALLERS} callers, {DESCRIPTORS} descriptors"
SERVER = {"flags": ["--cores", "1"], "descriptors": DESCRIPTORS}


def inflict(server, _quick):
    """All callers are served in the end, as the earlier ones leave."""
    host, _, port = server.host.rpartition(":")
    with watching(server) as witness, Crowd(host, int(port)) as crowd:
        account = Account(server.pid)
        crowd.ask(CALLERS)
        first = crowd.wait(CALLERS, limit_s=3)
        if not DESCRIPTORS // 2 < first < DESCRIPTORS:
            raise Failure(f"{first} callers were answered at first, with {DESCRIPTORS} descriptors")
        load = _load(server.pid, 2)
        if load > RESTING_LOAD:
            raise Failure(f"the server spins while it cannot accept: {load:.0%} of a processor")
        served = _serve_all(crowd)
        seen = witness.verdict(worst_s=2)
        settled = account.settle(limit_s=20, spare=8 << 20)
    said = [line for line in server.output().splitlines() if "descriptor" in line.lower()]
    if len(said) != 1:
        raise Failure(f"the log speaks of descriptors {len(said)} times; once a minute is right")
    return {"answered at first": first, "load while resting": round(load, 3), "served in the end": served,
            "log lines": len(said), "seconds to settle": round(settled, 2), "witness": seen}


def _serve_all(crowd):
    served, deadline = 0, time.monotonic() + 60
    while served < CALLERS:
        for connection in crowd.take(50):
            echo(connection, b"at last")
            connection.close()
            served += 1
        crowd.wait(1, limit_s=5)
        if time.monotonic() > deadline:
            raise Failure(f"only {served} of {CALLERS} callers were served")
    return served


def _load(pid, seconds):
    before = processor_seconds(pid)
    time.sleep(seconds)
    return (processor_seconds(pid) - before) / seconds
