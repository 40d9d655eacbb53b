"""Judges a report of the suite, whose exit code is 0 whatever it has found."""

import json

from ..common import Failure
from .cases import INFORMATIONAL


def read_index(folder, agent):
    """The entries of the report in `folder`, by case."""
    path = folder / "index.json"
    try:
        index = json.loads(path.read_text())
    except FileNotFoundError:
        raise Failure("the suite has written no report") from None
    except json.JSONDecodeError as error:
        raise Failure(f"the suite's report cannot be read: {error}") from None
    if list(index) != [agent]:
        raise Failure(f"the suite's report is about {list(index)}, not about {agent!r}")
    return index[agent]


def problems(entries, wanted):
    """What is wrong with a report: a line for every case that is missing or not as it must be."""
    found = [] if wanted else ["no case was asked for"]
    for case in wanted:
        if case not in entries:
            found.append(f"{case}: missing")
            continue
        for key in ("behavior", "behaviorClose"):
            value = entries[case].get(key)
            if value not in allowed(case):
                found.append(f"{case}: {key} is {value}")
    found += [f"{case}: was not asked for" for case in entries if case not in wanted]
    return found


def allowed(case):
    """The verdicts that a case may have."""
    return ("OK", "INFORMATIONAL") if case in INFORMATIONAL else ("OK",)
