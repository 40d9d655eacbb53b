"""Records what the runs came to: `summary.json` and `README.md`."""

import collections
import itertools
import json
import platform

from .. import machine
from . import ratios
from .cases import CASES, COMPRESSION_SECTIONS, INFORMATIONAL, TITLES, is_about_compression, section
from .suite import NAME

SCHEMA = 2


def save(folder, outcomes):
    """Writes both files. Runs that were recorded there before and are not among these stay."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    recorded = json.loads(path.read_text())["runs"] if path.exists() else []
    # In the order in which they were first recorded.
    runs = {_identity(run): run for run in [*recorded, *map(_run, outcomes)]}
    summary = {"schema": SCHEMA, "suite": NAME, "runs": list(runs.values())}
    path.write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "README.md").write_text(readme(summary))


def _identity(run):
    return run["role"], run["transport"], run["bytewise"], run["deflate"], _is_about_compression(run)


def _run(outcome):
    """An outcome as plain data: per case behaviour, behaviour on close, and close code."""
    run = outcome.run
    return {
        "role": run.role,
        "transport": run.transport,
        "bytewise": run.bytewise,
        "deflate": run.deflate,
        "messages": run.messages,
        "commit": machine.commit(),
        "kernel": platform.release(),
        "seconds": round(outcome.seconds, 1),
        "problems": outcome.problems,
        "findings": outcome.findings,
        "compressed_to": ratios.by_part(outcome.counted),
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
    compressed = list(filter(_is_about_compression, runs))
    others = list(itertools.filterfalse(_is_about_compression, runs))
    lines = [
        "# Conformance: Autobahn",
        "",
        f"`scripts/autobahn`: {summary['suite']}, Linux {', '.join(sorted({run['kernel'] for run in runs}))}. A cell says how",
        "many cases of a section are OK, both in behaviour and in how the connection closed, out of how many were run.",
        "The verdicts of every case, and the close codes, are in `summary.json`.",
        "",
        *_plain_table(others),
        "The client is the client role of `corecast-protocol` over a blocking socket (`std`): the engine has no",
        "transport for outgoing connections. `one by one`: through a proxy that sends every byte in a segment of its",
        "own, in both directions.",
        "",
        *_compression_table(compressed),
        "## Not OK",
        "",
    ]
    lines += _not_ok(runs) or ["Nothing."]
    return "\n".join(lines) + "\n"


def _plain_table(runs):
    sections = [number for number in TITLES if any(_of_section(run, number) for run in runs)]
    titles = ["role", "transport", "bytes arrive", *(f"{it} {TITLES[it]}" for it in sections), "all", "seconds", "commit"]
    rows = [
        [run["role"], run["transport"], "one by one" if run["bytewise"] else "as sent", *_cells(run, sections)]
        for run in runs
    ]
    return _table(titles, rows)


def _compression_table(runs):
    if not runs:
        return []
    sections = [number for number in COMPRESSION_SECTIONS if any(_of_section(run, number) for run in runs)]
    parts = sorted({part for run in runs for part in run["compressed_to"]}, key=_order)
    titles = ["role", "transport", "permessage-deflate", "messages per case"]
    titles += [*(f"{it} {TITLES[it]}" for it in sections), "all", "seconds", "commit"]
    rows = [[run["role"], run["transport"], run["deflate"], run["messages"], *_cells(run, sections)] for run in runs]
    shares = [
        [run["role"], run["transport"], run["deflate"], *(run["compressed_to"].get(part, "—") for part in parts)]
        for run in runs
    ]
    return [
        "## permessage-deflate",
        "",
        *_table(titles, rows),
        "The client (`offered`) does as the fuzzing server asks, which differs by case. What came back to the suite, on",
        "the wire, as a share of the messages, by subsection: JSON (12.1), a picture, a play, a web page, a PDF, and",
        "JSON with each of seven sets of parameters (13):",
        "",
        *_table(["role", "transport", "permessage-deflate", *parts], shares),
    ]


def _order(part):
    return [int(number) for number in part.split(".")]


def _table(titles, rows):
    if not rows:
        return []
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return [*lines, ""]


def _cells(run, sections):
    counts = [_count(_of_section(run, number)) for number in sections]
    return [*counts, _count(run["cases"].values()), f"{run['seconds']:.0f}", run["commit"]]


def _is_about_compression(run):
    return any(map(is_about_compression, run["cases"]))


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
        name += f"/{run['deflate']}" if _is_about_compression(run) else ""
        for problem in run["problems"]:
            found[f"**Failed:** {problem}."].append(name)
        for case, finding in run["findings"].items():
            reason = f" Reason: {INFORMATIONAL[case]}." if case in INFORMATIONAL else ""
            verdict = run["cases"][case].rpartition(",")[0]
            found[f"{case}: {verdict}.{reason} The suite: “{finding}”"].append(name)
    return [f"- {what} ({', '.join(names)})" for what, names in found.items()]
