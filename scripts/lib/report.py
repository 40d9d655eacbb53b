"""Keeps the runs, and writes what they come to: `runs.jsonl`, `summary.json`, `README.md`.

`runs.jsonl` is the source: a line for every case that was measured, then one for every
run. Measuring a case again replaces its lines, and the other two files are made anew.
"""

import dataclasses
import json

from .figures import Results

SCHEMA = 1
RUNS = "runs.jsonl"


def load(folder):
    """What the folder holds: case name -> (header, records)."""
    kept = {}
    path = folder / RUNS
    if path.exists():
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["kind"] == "case":
                kept[entry["case"]] = (entry, [])
            else:
                kept[entry["case"]][1].append(entry)
    return kept


def save(folder, kept, cases, intro="", compared=True):
    """Writes all three files, in the order of `cases`; `intro` is for the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = [(case, *kept[case.name]) for case in cases if case.name in kept]
    with open(folder / RUNS, "w") as file:
        for _, header, records in measured:
            for entry in (header, *records):
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
    summary = _summary(measured, compared)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "README.md").write_text(_readme(summary, intro))
    return summary


def verdict_lines(cases):
    """One line per bar of these cases of a summary, for the terminal."""
    for case in cases:
        for bar in case["bars"]:
            yield f"{bar['outcome']:12} {case['name']:15} {bar['text']}: {bar['shown']}"


def _summary(measured, compared):
    return {
        "schema": SCHEMA,
        "compared": compared,
        "cases": [_case(case, header, records, compared) for case, header, records in measured],
    }


def _case(case, header, records, compared):
    results = Results(case, records)
    present = {record["entrant"] for record in records}
    return {
        "name": case.name,
        "title": case.title,
        **{key: value for key, value in header.items() if key not in ("kind", "case")},
        "metrics": [dataclasses.asdict(metric) for metric in case.metrics],
        "entrants": [
            _entrant(entrant.label, case, results, compared)
            for entrant in case.entrants
            if entrant.label in present
        ],
        "bars": [_bar(verdict) for verdict in results.verdicts()] if compared else [],
        "invalid": [
            {key: record[key] for key in ("entrant", "round", "reasons")}
            for record in results.invalid
        ],
    }


def _entrant(label, case, results, compared):
    subject, primary = case.entrants[0].label, case.metrics[0]
    figures = {metric.key: results.figure(label, metric) for metric in case.metrics}
    ratio = results.ratio(subject, label, primary) if compared else None
    return {
        "label": label,
        "figures": {key: _plain(figure) for key, figure in figures.items()},
        "subject_ratio": _plain(ratio),
    }


def _plain(figure):
    return dataclasses.asdict(figure) if figure else None


def _bar(verdict):
    bar, figure = verdict.bar, verdict.figure
    unit = f" {bar.metric.unit}".rstrip() if bar.against is None or bar.difference else "×"
    of = "" if bar.against is None else f" {bar.against}'s"
    of = f" more than{of}" if bar.difference else of
    return {
        "text": f"{bar.subject}: {bar.metric.title} ≤ {_short(bar.limit)}{unit}{of}",
        "shown": f"{_short(figure.median)}{unit}" if figure else "—",
        "limit": bar.limit,
        "figure": _plain(figure),
        "outcome": verdict.outcome,
    }


def _short(value):
    """Three digits, and no exponent."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.4f}"


def _readme(summary, intro):
    lines = ["# Figures", ""]
    if not summary["compared"]:
        lines += ["A quick run: it shows that everything works, and compares nothing.", ""]
    lines += [
        "Server on processor 0, client on processor 1, a fresh server for every run. Within a",
        "round every server runs once; the order rotates. Figures are medians over the rounds,",
        "ratios are taken within each round and their median is quoted, with the lowest and",
        "highest in parentheses. The raw runs are in `runs.jsonl`.",
        "",
    ]
    lines += [intro, ""] if intro else []
    lines += _bars_table(summary)
    for case in summary["cases"]:
        lines += _case_section(case, summary["compared"])
    lines += _machines(summary)
    return "\n".join(lines) + "\n"


def _bars_table(summary):
    rows = [(case, bar) for case in summary["cases"] for bar in case["bars"]]
    if not rows:
        return []
    lines = ["| case | bar | measured | |", "|---|---|---|---|"]
    for case, bar in rows:
        lines.append(f"| {case['name']} | {bar['text']} | {bar['shown']} | {bar['outcome']} |")
    return [*lines, ""]


def _case_section(case, compared):
    subject = case["entrants"][0]["label"]
    titles = [f"{metric['title']}, {metric['unit']}".rstrip(", ") for metric in case["metrics"]]
    titles += [f"{subject} against it"] if compared else []
    lines = [
        f"## {case['name']}: {case['title']}",
        "",
        f"`{case['command']}`, {case['rounds']} rounds of {case['duration']:g} s,"
        f" {case['started']}, commit {case['commit']}; others kept the machine"
        f" {case['busy_before']:.0%} busy before.",
        "",
        f"| server | {' | '.join(titles)} |",
        "|---" * (len(titles) + 1) + "|",
    ]
    for entrant in case["entrants"]:
        cells = [_cell(entrant["figures"][metric["key"]]) for metric in case["metrics"]]
        if compared:
            same = entrant["label"] == subject
            cells.append("" if same else _cell(entrant["subject_ratio"], "×"))
        lines.append(f"| {entrant['label']} | {' | '.join(cells)} |")
    lines.append("")
    for run in case["invalid"]:
        reasons = "; ".join(run["reasons"])
        lines.append(f"- invalid: {run['entrant']}, round {run['round'] + 1}: {reasons}")
    return [*lines, ""] if case["invalid"] else lines


def _cell(figure, unit=""):
    if figure is None:
        return "—"
    spread = f"{_short(figure['lowest'])}–{_short(figure['highest'])}"
    return f"{_short(figure['median'])}{unit} ({spread})"


def _machines(summary):
    machines = []
    for case in summary["cases"]:
        if case["machine"] not in machines:
            machines.append(case["machine"])
    lines = ["## Machine" if len(machines) == 1 else "## Machines", ""]
    for machine in machines:
        versions = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
        lines.append(
            f"- {machine['cpu']}, {machine['processors']} processors, {machine['memory_gib']} GiB,"
            f" Linux {machine['kernel']}, rustc {machine['rustc']}; {versions}"
        )
    return lines
