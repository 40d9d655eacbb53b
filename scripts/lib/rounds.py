"""Runs the cases: A B A B, a fresh server for every run, and every run judged."""

import dataclasses
import os
import time
from dataclasses import dataclass

from . import bench, check, contestants, servers
from .common import Failure
from .ws import ProtocolError

# The server's processor and the client's, whatever else the machine has.
SERVER_CPU, CLIENT_CPU = 0, 1

# Seconds until a server that listens has all the memory that it starts with.
SETTLE = 0.5

# A run that the harness calls invalid is repeated once: a neighbour may have been loud.
ATTEMPTS = 2


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int
    duration: float  # Seconds of every run, after its warm-up.


@dataclass(frozen=True)
class Record:
    """One run, as it is kept."""

    case: str
    entrant: str
    round: int
    attempt: int
    valid: bool
    reasons: list
    figures: dict
    summary: dict


def two_processors():
    """Refuses a machine on which server and client would share a processor."""
    allowed = os.sched_getaffinity(0)
    if not {SERVER_CPU, CLIENT_CPU} <= allowed:
        raise Failure(
            f"the server needs processor {SERVER_CPU} and the client {CLIENT_CPU};"
            f" this process may use {sorted(allowed)}"
        )


def verify(names):
    """Checks that each contestant really echoes, before anything is measured."""
    for name in names:
        server = contestants.server(name)
        checked = check.raw if server.scheme == "tcp" else check.echo
        with servers.running(server, "echo", servers.free_port(), [SERVER_CPU]) as process:
            try:
                checked(servers.HOST, process.port)
            except (check.Mismatch, ProtocolError, OSError) as error:
                raise Failure(f"{name} does not echo: {error}") from error


def play(case, settings, show):
    """All rounds of a case. Yields a record of every run; `show` gets a line for each."""
    for number in range(settings.rounds):
        turn = number % len(case.entrants)
        for entrant in case.entrants[turn:] + case.entrants[:turn]:
            for attempt in range(ATTEMPTS):
                record = _one(case, entrant, number, attempt, settings)
                show(_line(case, record))
                yield record
                if record.valid:
                    break


def _one(case, entrant, number, attempt, settings):
    try:
        run = _run(case, entrant, settings)
    except Failure as failure:
        run = bench.Run(valid=False, reasons=[str(failure)], figures={}, summary={})
    return Record(case.name, entrant.label, number, attempt, **dataclasses.asdict(run))


def _run(case, entrant, settings):
    server = contestants.server(entrant.contestant, case.mode, entrant.cores)
    empty = _empty_memory(server, entrant.empty) if entrant.empty else None
    port, cpus = servers.free_port(), range(SERVER_CPU, SERVER_CPU + entrant.cores)
    with servers.running(server, case.mode, port, cpus, entrant.server) as process:
        return bench.run(case, entrant, process, CLIENT_CPU, settings.duration, empty)


def _empty_memory(server, flags):
    with servers.running(server, "echo", servers.free_port(), [SERVER_CPU], flags) as process:
        time.sleep(SETTLE)
        return process.anonymous_memory()


def _line(case, record):
    if not record.valid:
        return f"{_prefix(record)} INVALID: {'; '.join(record.reasons)}"
    shown = ", ".join(
        f"{metric.title} {record.figures[metric.key]:.4g} {metric.unit}".rstrip()
        for metric in case.metrics
        if metric.key in record.figures
    )
    return f"{_prefix(record)} {shown}"


def _prefix(record):
    clock = time.strftime("%H:%M:%S")
    return f"{clock} {record.case:15} round {record.round + 1} {record.entrant:22}"
