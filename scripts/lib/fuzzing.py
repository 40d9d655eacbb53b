"""Builds and runs the programs of `engine/fuzz`, and keeps their figures."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import re
import time
from pathlib import Path

from . import bounded, common

CRATE = common.ROOT / "engine" / "fuzz"
CORPUS = CRATE / "corpus"
RESULTS = common.ROOT / "results" / "fuzz"
SCRATCH = common.CACHE / "fuzz"

# What libFuzzer asks of the compiler, and AddressSanitizer for the crates with `unsafe`.
COMPILER_FLAGS = (
    "--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module"
    " -Cllvm-args=-sanitizer-coverage-level=4"
    " -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    " -Cllvm-args=-sanitizer-coverage-pc-table"
    " -Cllvm-args=-sanitizer-coverage-trace-compares"
)

# libdeflate compiles one file into two functions, with a constant in each: gcc gives both one name, and AddressSanitizer
# takes them for two definitions of one thing.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_odr_violation=0"}

# One input takes milliseconds; longer than this is a finding of its own.
INPUT_LIMIT_S = 10
MEMORY_LIMIT_MB = 2048

# Beyond the time asked for: the seeds at the start, and the last input.
END_LIMIT_S = 120
MERGE_LIMIT_S = 1800
POLL_S = 0.2

# Heads are judged up to 8 KiB. Elsewhere longer inputs only make the search slow.
MAX_LEN = {"request_head": 8400, "client_role": 8400}
USUAL_MAX_LEN = 2048
DICTIONARIES = {"request_head": "http.dict", "client_role": "http.dict"}

# Below the bounds of tests/replay.rs, so that people have room for theirs.
MAX_FILES = 160
MAX_BYTES = 160 << 10

# libFuzzer names what it finds by its SHA-1; people name inputs in words.
FOUND_NAME = re.compile(r"[0-9a-f]{40}")
ARTIFACTS = ("crash-", "timeout-", "oom-", "leak-")


def targets():
    """Names of all targets."""
    return sorted(path.stem for path in (CRATE / "fuzz_targets").glob("*.rs"))


def seconds(text):
    """`30s`, `10m` or `1h` in seconds."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if not match or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30s, 10m or 1h")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def build(names):
    """Builds the targets' programs; their paths by name."""
    common.need("cargo", "to build the targets; see rustup.rs")
    common.need("c++", "to build libFuzzer (Debian: apt-get install g++)")
    host = re.search(r"^host: (.+)$", common.output(["rustc", "-vV"]), re.MULTILINE)
    if host is None:
        raise common.Failure("`rustc -vV` does not work; run it to see why")
    # With --target the flags are not for build scripts, which must not be instrumented.
    argv = ["cargo", "build", "--package", "corecast-fuzz", "--features", "libfuzzer",
            "--profile", "fuzz", "--target", host[1], "--locked"]
    for name in names:
        argv += ["--bin", name]
    environment = {**os.environ, "RUSTFLAGS": COMPILER_FLAGS, "RUSTC_BOOTSTRAP": "1"}
    common.run(argv, env=environment)
    folder = common.release_directory(common.ROOT).parent / host[1] / "fuzz"
    return {name: folder / name for name in names}


@dataclasses.dataclass
class Run:
    """One target's run and its figures."""

    name: str
    program: Path
    log: str
    seconds: int
    finding: str | None

    @property
    def executions(self):
        return self._last(r"stat::number_of_executed_units: (\d+)", r"^#(\d+)\s")

    @property
    def edges(self):
        return self._last(r" cov: (\d+) ")

    def _last(self, *patterns):
        for pattern in patterns:
            found = re.findall(pattern, self.log, re.MULTILINE)
            if found:
                return int(found[-1])
        return 0

    def line(self):
        state = "FAIL" if self.finding else "ok"
        return f"{state} {self.name}: {self.executions:,} inputs in {self.seconds} s, {self.edges:,} edges"

    def how_to_see(self):
        panic = re.search(r"panicked at .*\n(?:.+\n)*?(?=stack backtrace|\s+\d+: |==|$)", self.log)
        shown = panic[0].rstrip() if panic else "\n".join(self.log.splitlines()[-15:])
        program = " ".join([*(f"{name}={value}" for name, value in ENVIRONMENT.items()), str(self.program)])
        return (
            f"{shown}\n\nto see it again:  {program} {self.finding}\n"
            f"to make it shorter: {program} -minimize_crash=1 -runs=100000 {self.finding}\n"
            f"then copy it to engine/fuzz/corpus/{self.name}/, under a name that tells what it is"
        )


def fuzz(programs, duration, jobs):
    """Runs the targets, so many at once, and yields each run as it ends; a finding ends it early."""
    waiting = list(programs.items())
    going = []
    with contextlib.ExitStack() as stack:
        while waiting or going:
            while waiting and len(going) < jobs:
                going.append(Going(stack, *waiting.pop(0), duration))
            time.sleep(POLL_S)
            for ended in [each for each in going if each.has_ended()]:
                going.remove(ended)
                yield ended.run()


class Going:
    """A run that has not ended yet."""

    def __init__(self, stack, name, program, duration):
        self.name, self.program, self.duration = name, program, duration
        self.log = SCRATCH / f"{name}.log"
        self.artifacts = SCRATCH / "findings" / name
        found = SCRATCH / "found" / name
        for folder in (found, self.artifacts):
            folder.mkdir(parents=True, exist_ok=True)
        self.before = times_of(self.artifacts)
        argv = ["nice", program, *self._options(), found, CORPUS / name]
        self.started = time.monotonic()
        output = stack.enter_context(self.log.open("w"))
        self.process = stack.enter_context(bounded.running(argv, output, env=os.environ | ENVIRONMENT))

    def _options(self):
        yield from (f"-max_total_time={self.duration}", "-print_final_stats=1",
                    f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}",
                    f"-max_len={MAX_LEN.get(self.name, USUAL_MAX_LEN)}", "-len_control=20",
                    f"-artifact_prefix={self.artifacts}/")
        if self.name in DICTIONARIES:
            yield f"-dict={CRATE / 'dictionaries' / DICTIONARIES[self.name]}"

    def has_ended(self):
        if self.process.poll() is not None:
            return True
        if self._elapsed() > self.duration + END_LIMIT_S:
            raise common.Failure(f"{self.program} does not end; see {self.log}")
        return False

    def run(self):
        """The run, once it has ended."""
        # The same input as the last time is written again, under the same name.
        written = times_of(self.artifacts).items() - self.before.items()
        findings = [path for path, _ in written if path.name.startswith(ARTIFACTS)]
        code = self.process.returncode
        if code != 0 and not findings:
            raise common.Failure(f"{self.program} ended with status {code} without an input to "
                                 f"blame; see {self.log}")
        return Run(self.name, self.program, self.log.read_text(errors="replace"),
                   round(self._elapsed()), str(findings[0]) if findings else None)

    def _elapsed(self):
        return time.monotonic() - self.started


def times_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def minimise(name, program):
    """Adds to the corpus as few of the inputs found as reach what the corpus does not, and drops the
    longest of them while there are too many."""
    found, corpus = SCRATCH / "found" / name, CORPUS / name
    if not found.is_dir():
        raise common.Failure(f"nothing was found yet: run `scripts/fuzz {name}` first")
    # Without counters: a loop that runs eight times instead of four is nothing new.
    argv = ["nice", program, "-set_cover_merge=1", "-use_counters=0", corpus, found]
    log = SCRATCH / f"{name}.merge.log"
    with log.open("w") as output:
        bounded.run(argv, MERGE_LIMIT_S, output, env=os.environ | ENVIRONMENT)
    files = sorted(corpus.iterdir(), key=lambda path: path.stat().st_size)
    while files and (len(files) > MAX_FILES or size(files) > MAX_BYTES):
        longest = max((path for path in files if FOUND_NAME.fullmatch(path.name)),
                      key=lambda path: path.stat().st_size, default=None)
        if longest is None:
            raise common.Failure(f"{corpus} is too large without anything found")
        files.remove(longest)
        longest.unlink()
    recount(name)
    return f"{len(files)} inputs, {size(files):,} bytes"


def size(files):
    return sum(path.stat().st_size for path in files)


def record(run):
    """Puts a run into results/fuzz in place of the target's last one."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else {"targets": {}}
    summary["targets"][run.name] = {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "seconds": run.seconds,
        "executions": run.executions,
        "edges": run.edges,
        **corpus_figures(run.name),
        "finding": Path(run.finding).name if run.finding else None,
    }
    write(summary)


def recount(name):
    """Puts the size of a changed corpus beside the target's last run."""
    path = RESULTS / "summary.json"
    summary = json.loads(path.read_text()) if path.exists() else {"targets": {}}
    if name in summary["targets"]:
        summary["targets"][name] |= corpus_figures(name)
        write(summary)


def corpus_figures(name):
    files = list((CORPUS / name).iterdir())
    return {"corpus_files": len(files), "corpus_bytes": size(files)}


def write(summary):
    summary["targets"] = dict(sorted(summary["targets"].items()))
    (RESULTS / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    (RESULTS / "README.md").write_text(report(summary))


def report(summary):
    """The figures as a page."""
    lines = [
        "# Fuzzing",
        "",
        "libFuzzer with AddressSanitizer, debug assertions and overflow checks;",
        "written by `scripts/fuzz --record`. What the targets check, and what they have found so far, is in",
        "[engine/fuzz](../../engine/fuzz/README.md). *Edges* are those of the instrumented program: the crate",
        "under test, the target, and the libraries it is compared with.",
        "",
        "| target | seconds | inputs | edges | corpus: files | bytes | finding | date |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for name, figures in summary["targets"].items():
        lines.append(
            f"| {name} | {figures['seconds']:,} | {figures['executions']:,} | {figures['edges']:,} "
            f"| {figures['corpus_files']} | {figures['corpus_bytes']:,} "
            f"| {figures['finding'] or 'none'} | {figures['date']} |"
        )
    return "\n".join(lines) + "\n"
