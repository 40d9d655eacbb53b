"""Test runs under tools that watch the program: how they end, and the record of them."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass

from .common import ROOT, Failure, output
from .machine import commit

RESULTS = ROOT / "results" / "verification"
SCHEMA = 1

# What a script ends with when nothing failed, but something that it was asked for could not be had here.
SKIPPED = 77

TABLE_BEGIN = "<!-- table: written by the scripts with --record -->"
TABLE_END = "<!-- end of table -->"


@dataclass
class Run:
    """One tool over one set of tests."""

    tool: str
    over: str
    # "passed", "failed" or "skipped"
    result: str
    tests: int = 0
    seconds: int = 0
    # Why it was skipped, or what failed.
    reason: str = ""


class TestsFailed(Failure):
    """Tests ran, and some failed."""


class Unavailable(Exception):
    """A tool cannot be had on this machine; says why, and what would help."""


def attempt(tool, over, run):
    """Calls `run`, which gives the number of tests that passed."""
    print(f"\n== {tool}: {over}", flush=True)
    started = time.monotonic()
    try:
        result = Run(tool, over, "passed", tests=run())
    except Unavailable as error:
        result = Run(tool, over, "skipped", reason=str(error))
    except (Failure, subprocess.SubprocessError) as error:
        result = Run(tool, over, "failed", reason=str(error))
    result.seconds = round(time.monotonic() - started)
    return result


def conclude(runs, record):
    """Prints how the runs ended, records them if asked to, and gives the exit code."""
    print()
    for run in runs:
        what = {"passed": "ok", "failed": "FAIL", "skipped": "SKIPPED"}[run.result]
        detail = run.reason or f"{run.tests} tests, {run.seconds} s"
        print(f"{what} {run.tool}: {run.over}: {detail}")
    if record:
        _record(runs)
    if any(run.result == "failed" for run in runs):
        return 1
    return SKIPPED if any(run.result == "skipped" for run in runs) else 0


def tests(command, environment, limit_s):
    """Runs `cargo test` or its like, and gives how many tests passed; all of them must."""
    code, text = _watch(command, environment, limit_s)
    found = re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed;", text, re.MULTILINE)
    passed, failed = (sum(int(row[column]) for row in found) for column in (0, 1))
    if failed:
        raise TestsFailed(f"{failed} tests failed")
    if code != 0:
        raise Failure(f"`{command[0]}` ended with {code}")
    if passed == 0:
        raise Failure("no test ran")
    return passed


def _watch(command, environment, limit_s):
    """Runs a command in a process group of its own; shows its output and gives it back."""
    with subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, env=os.environ | environment, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:
        # Whoever bounds this script ends it so; its children are no part of its group.
        previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        # Ends the loop below, which lasts until nothing of the group has the pipe any more.
        timer = threading.Timer(limit_s, _end, [process])
        timer.start()
        lines = []
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        except BaseException:
            _end(process)
            raise
        finally:
            in_time = timer.is_alive()
            timer.cancel()
            signal.signal(signal.SIGTERM, previous)
    if not in_time:
        raise Failure(f"no end within {limit_s} s")
    return process.returncode, "".join(lines)


def _end(process):
    # Its number is its own as long as nobody has waited for it.
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)


def host():
    """The target that programs are built for: named, so that flags do not reach build scripts."""
    found = re.search(r"^host: (\S+)$", output(["rustc", "-vV"]), re.MULTILINE)
    if not found:
        raise Failure("`rustc -vV` does not work; install Rust (https://rustup.rs)")
    return found.group(1)


def nightly(component, library_path):
    """The arguments that choose a nightly toolchain with a component, which is there if the path below its
    sysroot is."""
    sysroot = output(["rustc", "+nightly", "--print", "sysroot"])
    if not sysroot:
        raise Unavailable(f"there is no nightly toolchain (rustup toolchain install nightly -c {component})")
    if not os.path.exists(os.path.join(sysroot, library_path)):
        raise Unavailable(
            f"nightly lacks {component} (rustup component add --toolchain nightly {component})"
        )
    return "+nightly"


def target_directory(name):
    """Where a tool's builds go: beside cargo's own, since flags that differ would undo each other's work."""
    metadata = output(["cargo", "metadata", "--no-deps", "--format-version", "1"])
    if not metadata:
        raise Failure("`cargo metadata` does not work; run it to see why")
    return os.path.join(json.loads(metadata)["target_directory"], name)


def _record(runs):
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "summary.json"
    known = json.loads(path.read_text())["runs"] if path.exists() else []
    mine = {(run.tool, run.over) for run in runs}
    kept = [run for run in known if (run["tool"], run["over"]) not in mine]
    where = {
        "commit": commit(),
        "kernel": platform.release(),
        "rustc": output(["rustc", "--version"]),
        "nightly": output(["rustc", "+nightly", "--version"]),
    }
    all_runs = sorted(kept + [asdict(run) | where for run in runs], key=lambda run: (run["tool"], run["over"]))
    path.write_text(json.dumps({"schema": SCHEMA, "runs": all_runs}, indent=1) + "\n")
    readme = RESULTS / "README.md"
    if readme.exists():
        readme.write_text(with_table(readme.read_text(), all_runs))


def with_table(text, runs):
    """The text with its table replaced by one of these runs."""
    rows = ["| tool | over | result | tests | seconds |", "|---|---|---|---|---|"]
    for run in runs:
        result = run["result"] + (f": {run['reason']}" if run["reason"] else "")
        rows.append(f"| {run['tool']} | {run['over']} | {result} | {run['tests']} | {run['seconds']} |")
    before, rest = text.split(TABLE_BEGIN)
    after = rest.split(TABLE_END)[1]
    return "\n".join([before + TABLE_BEGIN, "", *rows, "", TABLE_END + after])
