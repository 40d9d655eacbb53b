"""One run of `corecast-bench` against a running server, and its figures."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import syscalls
from .common import Failure
from .contestants import bench_binary
from .servers import prepare

# Seconds for everything around the measured window: opening 15,000 connections, closing them.
OVERHEAD = 120

# The harness's exit codes for a run that counts and for one that it calls invalid.
OK, INVALID = 0, 5

MIB = 1 << 20


@dataclass(frozen=True)
class Run:
    """A finished run: its figures by metric key, and the harness's own summary."""

    valid: bool
    reasons: list
    figures: dict
    summary: dict


def run(case, entrant, process, cpu, duration, empty_memory=None):
    """Loads the server `process` as the case says, from processor `cpu`.

    `empty_memory` is the anonymous memory, in bytes, that is not due to connections; without
    it, it is what the server has before the first one.
    """
    argv = _command(case, entrant, process, cpu, duration)
    limit = case.warmup + duration + OVERHEAD
    if not case.count_syscalls:
        code, summary = _bench(argv, cpu, limit)
        if empty_memory is not None:
            summary["empty_anonymous"] = empty_memory
        return _judged(code, summary, FIGURES[case.command])
    # Without a warm-up every message is counted, as every system call is; the opening and
    # closing of the connections is in the count, but lost among so many messages.
    with syscalls.counting(process.pid) as count:
        code, summary = _bench([*argv, "--warmup", "0s"], cpu, limit)
    return _judged(code, summary, lambda it: {"syscalls": count.value / it["messages"]["count"]})


def _command(case, entrant, process, cpu, duration):
    # Only the cost is compared: on one processor each, the client is often the slower side.
    # `idle` knows no messages, and so no cost of one.
    judged = [] if case.command == "idle" or case.by_latency else ["--cost"]
    return [
        bench_binary(),
        case.command,
        *_where(case, process.server.url(process.port)),
        *case.bench,
        *entrant.bench,
        *judged,
        *("--duration", f"{round(duration * 1000)}ms"),
        *(("--warmup", f"{round(case.warmup * 1000)}ms") if case.command == "broadcast" else ()),
        *("--server-pid", str(process.pid)),
        *("--cores", str(cpu)),
    ]


def _where(case, url):
    """Publishers that are no subscribers connect elsewhere, by a query that every contestant knows."""
    if case.command != "broadcast" or "--all-publish" in case.bench:
        return [url]
    return [f"{url}?sub=a", "--publish-url", f"{url}?pub=a"]


def _bench(argv, cpu, limit):
    """The harness's exit code and its summary, within `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*argv, "--output", folder],
                capture_output=True,
                text=True,
                timeout=limit,
                preexec_fn=lambda: prepare([cpu]),
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"corecast-bench did not end within {limit:.0f} s") from None
        if done.returncode not in (OK, INVALID):
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise Failure(f"corecast-bench ended with status {done.returncode}: {last}")
        return done.returncode, json.loads((Path(folder) / "summary.json").read_text())


def _judged(code, summary, figures):
    if code == INVALID:
        reasons = [reason["text"] for reason in summary["reasons"]]
        reasons += [f"{why['reason']} ({why['count']}×)" for why in summary["errors"]["reasons"]]
        return Run(False, reasons, {}, summary)
    return Run(True, [], figures(summary), summary)


def _echo(summary):
    return {
        "cost": summary["server"]["cpu_us_per_message"],
        "p50": summary["latency_us"]["corrected"]["p50"],
        **_compression(summary),
    }


def _compression(summary):
    """What came on the wire, when compression was asked for."""
    part = summary.get("compression")
    return {"wire": part["wire_bytes_per_message"], "ratio": part["ratio"]} if part else {}


def _connect(summary):
    return {"connect_cost": summary["server"]["cpu_us_per_message"]}


def _idle(summary):
    memory, server = summary["memory"], summary["server"]
    empty = summary.get("empty_anonymous", memory["before"]["anonymous"])
    connections = summary["parameters"]["connections"]
    return {
        "idle_memory": (memory["after"]["anonymous"] - empty) / connections,
        "total_memory": memory["after"]["resident"] / MIB,
        "idle_cpu": server["cpu_us"] / summary["window_s"],
    }


def _broadcast(summary):
    part = summary["broadcast"]
    memory = part["memory"]
    figures = {
        "delivery_cost": summary["server"]["cpu_us_per_message"],
        "deliveries": summary["messages"]["per_second"] / 1000,
        "last": part["last_us"]["p50"] / 1000,
        "p99": summary["latency_us"]["corrected"]["p99"] / 1000,
        "most_memory": memory["most_resident"] / MIB,
        "growth": (memory["most_resident"] - memory["joined"]["resident"]) / MIB,
        **_compression(summary),
    }
    if "stalled" in part:
        stalled = part["stalled"]
        figures["kept"] = stalled["open"] / stalled["count"]
        figures["read_late"] = stalled["messages_read_at_the_end"] / stalled["count"]
    return figures


# By command of the harness: its summary -> figures by metric key.
FIGURES = {"echo": _echo, "broadcast": _broadcast, "connect": _connect, "idle": _idle}
