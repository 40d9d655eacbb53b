"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from . import results
from .runs import Outcome, Run


def entry(behavior="OK", close="OK", code=1000):
    return {"behavior": behavior, "behaviorClose": close, "remoteCloseCode": code}


def outcome(entries, transport="ring", bytewise=False, problems=(), findings=None):
    run = Run("server", transport, bytewise, tuple(entries))
    return Outcome(run, entries, list(problems), findings or {}, {}, 12.34)


def compressed(way, counted, **entries):
    """An outcome of sections 12 and 13 (`_12_1_4` for 12.1.4)."""
    entries = {name[1:].replace("_", "."): verdict for name, verdict in entries.items()}
    run = Run("server", "ring", False, tuple(entries), way, 1000)
    return Outcome(run, entries, [], {}, counted, 12.34)


@mock.patch.object(results.machine, "commit", lambda: "abc")
class Results(unittest.TestCase):
    def saved(self, *outcomes, before=()):
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "new", "folder")
            if before:
                results.save(target, before)
            results.save(target, outcomes)
            return json.loads((target / "summary.json").read_text()), (target / "README.md").read_text()

    def test_keep_every_verdict_in_the_order_of_the_suite(self):
        summary, _ = self.saved(outcome({"6.4.1": entry(code=1007), "1.1.1": entry()}))
        self.assertEqual(list(summary["runs"][0]["cases"].items()),
                         [("1.1.1", "OK, OK, 1000"), ("6.4.1", "OK, OK, 1007")])

    def test_count_by_section(self):
        entries = {"1.1.1": entry(), "1.2.1": entry(), "6.4.1": entry("NON-STRICT"), "6.4.2": entry()}
        _, readme = self.saved(outcome(entries), outcome({"1.1.1": entry()}, "epoll", bytewise=True))
        self.assertIn("| role | transport | bytes arrive | 1 framing | 6 UTF-8 | all | seconds | commit |", readme)
        self.assertIn("| server | ring | as sent | 2 of 2 | 1 of 2 | 3 of 4 | 12 | abc |", readme)
        self.assertIn("| server | epoll | one by one | 1 of 1 | — | 1 of 1 | 12 | abc |", readme)

    def test_give_the_reason_of_what_is_not_ok_once(self):
        entries = {"7.13.1": entry("INFORMATIONAL", "INFORMATIONAL", 1002)}
        findings = {"7.13.1": "Undefined."}
        runs = [outcome(entries, transport, findings=findings) for transport in ("ring", "epoll")]
        _, readme = self.saved(*runs)
        reasons = [line for line in readme.splitlines() if line.startswith("- 7.13.1")]
        self.assertEqual(len(reasons), 1)
        self.assertIn("Reason: RFC 6455 does not say", reasons[0])
        self.assertIn("“Undefined.”", reasons[0])
        self.assertIn("(server/ring, server/epoll)", reasons[0])

    def test_a_bad_close_is_not_ok_and_a_problem_is_told(self):
        entries = {"5.1": entry("OK", "WRONG CODE", 1002)}
        problem = "5.1: behaviorClose is WRONG CODE"
        _, readme = self.saved(outcome(entries, problems=[problem], findings={"5.1": "The code."}))
        self.assertIn("| 0 of 1 | 0 of 1 |", readme)
        self.assertIn(f"- **Failed:** {problem}. (server/ring)", readme)

    def test_tell_of_compression_apart(self):
        counted = {"12.1.4": (100, 1000), "12.1.5": (200, 1000), "13.1.1": (16, 16)}
        shared = compressed("shared", counted, _12_1_4=entry(), _12_1_5=entry("FAILED"), _13_1_1=entry())
        dedicated = compressed("dedicated:9", {"12.1.4": (20, 1000)}, _12_1_4=entry("FAILED"), _12_1_5=entry())
        summary, readme = self.saved(outcome({"1.1.1": entry()}), shared, dedicated)
        self.assertEqual(summary["runs"][1]["compressed_to"], {"12.1": 0.15, "13.1": 1.0})
        for row in (
            "| server | ring | as sent | 1 of 1 | 1 of 1 | 12 | abc |",
            "| server | ring | shared | 1000 | 1 of 2 | 1 of 1 | 2 of 3 | 12 | abc |",
            "| server | ring | dedicated:9 | 1000 | 1 of 2 | — | 1 of 2 | 12 | abc |",
            "| server | ring | shared | 0.15 | 1.0 |",
            "| server | ring | dedicated:9 | 0.02 | — |",
        ):
            self.assertIn(row, readme.splitlines())

    def test_stay_until_the_same_run_is_recorded_again(self):
        before = [
            outcome({"1.1.1": entry(code=1)}, "ring"), outcome({"1.1.1": entry(code=2)}, "epoll"),
            compressed("shared", {}, _12_1_4=entry(code=3)), compressed("off", {}, _12_1_4=entry(code=4)),
        ]
        again = [outcome({"1.1.1": entry(code=5)}, "ring"), compressed("shared", {}, _12_1_5=entry(code=6))]
        summary, _ = self.saved(*again, before=before)
        self.assertEqual([run["cases"] for run in summary["runs"]], [
            {"1.1.1": "OK, OK, 5"}, {"1.1.1": "OK, OK, 2"}, {"12.1.5": "OK, OK, 6"}, {"12.1.4": "OK, OK, 4"},
        ])

    def test_say_so_when_everything_is_ok(self):
        _, readme = self.saved(outcome({"1.1.1": entry()}))
        self.assertTrue(readme.endswith("## Not OK\n\nNothing.\n"))


if __name__ == "__main__":
    unittest.main()
