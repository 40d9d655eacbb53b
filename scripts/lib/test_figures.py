"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import tempfile
import unittest
from pathlib import Path

from . import cases, report
from .cases import COST, Bar, Case, entrants
from .figures import Results

CASE = Case(
    "echo-512",
    "a case",
    "echo",
    (),
    entrants("corecast", "bun"),
    (Bar(0.75, against="bun"), Bar(3.0)),
)


def record(entrant, number, cost, valid=True, attempt=0):
    return {
        "kind": "run",
        "case": CASE.name,
        "entrant": entrant,
        "round": number,
        "attempt": attempt,
        "valid": valid,
        "reasons": [] if valid else ["connections missing"],
        "figures": {COST.key: cost} if valid else {},
        "summary": {},
    }


def rounds(*costs):
    """One round per pair of Corecast's cost and Bun's."""
    return [
        record(entrant, number, cost)
        for number, pair in enumerate(costs)
        for entrant, cost in zip(("corecast", "bun"), pair, strict=True)
    ]


class Ratios(unittest.TestCase):
    # A slow phase of the machine in the last rounds: the ratio of the medians would be 3 / 4.
    PHASES = rounds((1, 2), (1, 2), (3, 4), (10, 20), (10, 20))

    def test_are_taken_within_a_round(self):
        ratio = Results(CASE, self.PHASES).ratio("corecast", "bun", COST)
        self.assertEqual((ratio.median, ratio.highest, ratio.rounds), (0.5, 0.75, 5))

    def test_leave_out_a_round_with_an_invalid_run(self):
        records = [*self.PHASES[:-1], record("bun", 4, 0, valid=False)]
        results = Results(CASE, records)
        self.assertEqual(results.ratio("corecast", "bun", COST).rounds, 4)
        self.assertEqual([run["entrant"] for run in results.invalid], ["bun"])
        self.assertIn("not judged", results.verdicts()[0].outcome)

    def test_use_the_second_attempt_when_the_first_was_invalid(self):
        records = [record("bun", 0, 0, valid=False), *self.PHASES]
        self.assertEqual(Results(CASE, records).ratio("corecast", "bun", COST).rounds, 5)
        self.assertEqual(Results(CASE, records).invalid, [])


class Bars(unittest.TestCase):
    def outcomes(self, *costs):
        return [verdict.outcome for verdict in Results(CASE, rounds(*costs)).verdicts()]

    def test_relative_and_absolute(self):
        self.assertEqual(self.outcomes(*[(3, 4)] * 5), ["met", "met"])
        self.assertEqual(self.outcomes(*[(3.1, 4)] * 5), ["missed", "missed"])

    def test_name_only_entrants_and_metrics_of_their_case(self):
        for case in cases.CASES:
            labels = {entrant.label for entrant in case.entrants}
            for bar in case.bars:
                self.assertIn(bar.subject, labels, case.name)
                self.assertIn(bar.against, {*labels, None}, case.name)
                self.assertIn(bar.metric, case.metrics, case.name)


class Report(unittest.TestCase):
    HEADER = {
        "kind": "case",
        "case": CASE.name,
        "command": "scripts/measure",
        "commit": "abc",
        "started": "2000-01-01 00:00",
        "rounds": 5,
        "duration": 5,
        "busy_before": 0.01,
        "machine": {
            "cpu": "a processor",
            "processors": 2,
            "memory_gib": 1,
            "kernel": "6.18",
            "rustc": "1.89",
            "peers": {"bun": "1"},
        },
    }

    def test_is_made_again_from_the_kept_runs(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            records = rounds(*[(3, 8)] * 5)
            summary = report.save(folder, {CASE.name: (self.HEADER, records)}, [CASE], "An intro.")
            self.assertEqual(report.load(folder), {CASE.name: (self.HEADER, records)})
            bar = summary["cases"][0]["bars"][0]
            self.assertEqual((bar["shown"], bar["outcome"]), ("0.375×", "met"))
            page = (folder / "README.md").read_text()
            self.assertIn("0.375×", page)
            self.assertIn("An intro.", page)


if __name__ == "__main__":
    unittest.main()
