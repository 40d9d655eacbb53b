"""What `scripts/measure` and `scripts/fanout` do: a list of cases, round by round, and the bars judged."""

import argparse
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from . import common, contestants, figures, machine, report, rounds

QUICK = rounds.Settings(rounds=2, duration=2.0)

# Share of the machine that others may use before figures of a shared processor suffer.
NOISY = 0.05

# As the harness's own exit codes: a bar was missed, a run stayed invalid.
MISSED, INVALID = 3, 5


@dataclass(frozen=True)
class Script:
    """A script that measures."""

    name: str  # Such as "measure": also the folder of what is not a full measurement.
    description: str
    cases: tuple
    results: Path  # Where full measurements are kept.
    intro: str  # What a reader of the results has to know beside how they were taken.
    verify: bool  # Check that the contestants echo, before anything is measured.


def main(script):
    """The script's work; its exit code."""
    by_name = {case.name: case for case in script.cases}
    arguments = _parse(script, by_name)
    settings = QUICK if arguments.quick else rounds.Settings(arguments.rounds, arguments.duration)
    chosen = [narrowed(by_name[name], arguments.contestants) for name in arguments.case]
    chosen = [case for case in chosen if case.entrants]
    if not chosen:
        raise common.Failure("none of these contestants is in any of these cases")
    # What is not a full measurement of a case does not replace one by default.
    partial = arguments.quick or arguments.contestants or settings.rounds < figures.ENOUGH_ROUNDS
    folder = arguments.out or (common.CACHE / script.name if partial else script.results)
    rounds.two_processors()
    names = list(dict.fromkeys(entrant.contestant for case in chosen for entrant in case.entrants))
    contestants.build(names)
    if script.verify:
        rounds.verify(names)
    show(f"{len(names)} contestants are ready; about {minutes(chosen, settings):.0f} minutes to go")
    kept = {} if arguments.quick else report.load(folder)
    described = machine.describe()
    for case in chosen:
        kept[case.name] = _measured(script, case, settings, described, arguments.contestants)
        # After every case: what has been measured is not lost when a later one fails.
        summary = report.save(folder, kept, script.cases, script.intro, compared=not arguments.quick)
    return _conclusion(summary, {case.name for case in chosen}, folder)


def narrowed(case, names):
    """The case with only the named contestants."""
    if names is None:
        return case
    kept = tuple(entrant for entrant in case.entrants if entrant.contestant in names)
    return dataclasses.replace(case, entrants=kept)


def minutes(chosen, settings):
    """A guess: a run takes its duration and its warm-up, and about 3 s to start and stop."""
    seconds = sum(
        len(case.entrants) * (settings.duration + case.warmup + 2) for case in chosen
    )
    return settings.rounds * seconds / 60


def _parse(script, by_name):
    in_case = {entrant.contestant for case in script.cases for entrant in case.entrants}
    names = [name for name in contestants.NAMES if name in in_case]
    parser = argparse.ArgumentParser(
        description=script.description,
        epilog=f"cases: {', '.join(by_name)}. contestants: {', '.join(names)}.",
    )
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 are compared")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of every run")
    parser.add_argument("--case", nargs="+", choices=by_name, default=list(by_name), metavar="NAME")
    parser.add_argument("--contestants", nargs="+", choices=names, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 2 s; compares nothing")
    where = script.results.relative_to(common.ROOT)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {where}")
    return parser.parse_args()


def _measured(script, case, settings, described, only):
    """All rounds of a case, as they are kept."""
    busy = machine.busy()
    if busy > NOISY:
        show(f"warning: others keep this machine {busy:.0%} busy; the figures will be rough")
    header = {
        "kind": "case",
        "case": case.name,
        "command": f"scripts/{script.name} --case {case.name} --rounds {settings.rounds}"
        f" --duration {settings.duration:g}" + (f" --contestants {' '.join(only)}" if only else ""),
        "commit": machine.commit(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "rounds": settings.rounds,
        "duration": settings.duration,
        "busy_before": round(busy, 3),
        "machine": described,
    }
    records = rounds.play(case, settings, show)
    return header, [{"kind": "run", **dataclasses.asdict(record)} for record in records]


def _conclusion(summary, names, folder):
    """Prints the bars of the cases just measured, and chooses the exit code."""
    cases_now = [case for case in summary["cases"] if case["name"] in names]
    for line in report.verdict_lines(cases_now):
        show(line)
    show(f"written to {folder}")
    if any(case["invalid"] for case in cases_now):
        return INVALID
    missed = any(bar["outcome"] == "missed" for case in cases_now for bar in case["bars"])
    return MISSED if missed else 0


def show(line):
    """A line of progress, at once."""
    print(line, flush=True)
