"""Records what the runs came to: `summary.json` and `README.md`."""

import collections
import json
import platform

from .. import machine
from .cases import CASES, INFORMATIONAL, TITLES, section
from .suite import NAME

SCHEMA = 1


def save(folder, outcomes):
    """Writes both files."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = summarise(outcomes)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "README.md").write_text(readme(summary))


def summarise(outcomes):
    """The outcomes as plain data: per run and case behaviour, behaviour on close, and close code."""
    return {
        "schema": SCHEMA,
        "suite": NAME,
        "commit": machine.commit(),
        "kernel": platform.release(),
        "runs": [_run(outcome) for outcome in outcomes],
    }


def _run(outcome):
    run = outcome.run
    return {
        "role": run.role,
        "transport": run.transport,
        "bytewise": run.bytewise,
        "seconds": round(outcome.seconds, 1),
        "problems": outcome.problems,
        "findings": outcome.findings,
        "cases": {
            case: "{behavior}, {behaviorClose}, {remoteCloseCode}".format_map(
                collections.defaultdict(lambda: None, outcome.entries[case])
            )
            for case in CASES
            if case in outcome.entries
        },
    }


def readme(summary):
    """The tables, made of a summary."""
    runs = summary["runs"]
    sections = [number for number in TITLES if any(_of_section(run, number) for run in runs)]
    titles = ["role", "transport", "bytes arrive", *(f"{it} {TITLES[it]}" for it in sections), "all", "seconds"]
    lines = [
        "# Conformance: Autobahn",
        "",
        f"`scripts/autobahn`: {summary['suite']}, commit {summary['commit']}, Linux {summary['kernel']}. A cell",
        "says how many cases of a section are OK, both in behaviour and in how the connection closed, out of how",
        "many were run. The verdicts of every case, and the close codes, are in `summary.json`.",
        "",
        f"| {' | '.join(titles)} |",
        "|---" * len(titles) + "|",
    ]
    lines += [_row(run, sections) for run in runs]
    lines += [
        "",
        "The client is the client role of `corecast-protocol` over a blocking socket (`std`): the engine has no",
        "transport for outgoing connections. `one by one`: through a proxy that sends every byte in a segment of its",
        "own, in both directions.",
        "",
        "## Not OK",
        "",
    ]
    lines += _not_ok(runs) or ["Nothing."]
    return "\n".join(lines) + "\n"


def _row(run, sections):
    cells = [_count(_of_section(run, number)) for number in sections]
    cells += [_count(run["cases"].values()), f"{run['seconds']:.0f}"]
    bytes_arrive = "one by one" if run["bytewise"] else "as sent"
    return f"| {run['role']} | {run['transport']} | {bytes_arrive} | {' | '.join(cells)} |"


def _of_section(run, number):
    return [verdict for case, verdict in run["cases"].items() if section(case) == number]


def _count(verdicts):
    verdicts = list(verdicts)
    if not verdicts:
        return "—"
    fine = sum(_is_ok(verdict) for verdict in verdicts)
    return f"{fine} of {len(verdicts)}"


def _is_ok(verdict):
    return verdict.startswith("OK, OK,")


def _not_ok(runs):
    """A line per case and what the suite found, with the runs in which it did."""
    found = collections.defaultdict(list)
    for run in runs:
        name = f"{run['role']}/{run['transport']}" + ("/bytes" if run["bytewise"] else "")
        for problem in run["problems"]:
            found[f"**Failed:** {problem}."].append(name)
        for case, finding in run["findings"].items():
            reason = f" Reason: {INFORMATIONAL[case]}." if case in INFORMATIONAL else ""
            verdict = run["cases"][case].rpartition(",")[0]
            found[f"{case}: {verdict}.{reason} The suite: “{finding}”"].append(name)
    return [f"- {what} ({', '.join(names)})" for what, names in found.items()]
