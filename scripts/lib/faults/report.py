"""What is kept of a run: summary.json, and README.md for people."""

import json
import time

from .. import machine


def save(folder, outcomes, commit, command):
    """Writes both files."""
    folder.mkdir(parents=True, exist_ok=True)
    summary = {
        "schema": 1,
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "machine": machine.describe(),
        "outcomes": outcomes,
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "README.md").write_text(_page(summary))


def in_words(figures):
    """Figures in one line."""
    return ", ".join(f"{name}: {_shown(value)}" for name, value in figures.items())


def _page(summary):
    machine_now = summary["machine"]
    lines = [
        "# Faults",
        "",
        f"`{summary['command']}`, {summary['date']}, commit {summary['commit']}; {machine_now['processors']} processors"
        f" ({machine_now['cpu']}), kernel {machine_now['kernel']}.",
        "",
        "Each fault is done to a release server of its own. A *witness* is a connection that echoes all the while; its round",
        "trips are those of a busy machine on which the attack itself is a Python program. Descriptors have come back to what they",
        "were, memory to what is stated in `scripts/lib/faults`, and the server has ended by itself with 0.",
    ]
    for title in dict.fromkeys(outcome["title"] for outcome in summary["outcomes"]):
        lines += ["", f"## {title[0].upper()}{title[1:]}", "", "| transport | result | figures |", "|---|---|---|"]
        for outcome in summary["outcomes"]:
            if outcome["title"] == title:
                result = "passed" if outcome["failure"] is None else f"FAILED: {outcome['failure']}"
                lines.append(f"| {outcome['io']} | {result} | {in_words(outcome['figures'])} |")
    return "\n".join(lines) + "\n"


def _shown(value):
    if isinstance(value, dict):
        return " ".join(f"{name.replace('_ms', '')} {_shown(part)}{' ms' if name.endswith('_ms') else ''}"
                        for name, part in value.items())
    if isinstance(value, list):
        return " ".join(map(_shown, value))
    return f"{value:,}" if isinstance(value, int) else f"{value}"
