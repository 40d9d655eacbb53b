"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import json
import tempfile
import unittest
from pathlib import Path

from ..common import Failure
from .cases import CASES, INFORMATIONAL, select
from .gate import problems, read_index


def report(**changed):
    """A report in which everything is well, but for these entries (`_6_4_1` for 6.4.1)."""
    entries = {case: {"behavior": "OK", "behaviorClose": "OK"} for case in CASES}
    for case in INFORMATIONAL:
        entries[case] = {"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL"}
    for name, entry in changed.items():
        entries[name[1:].replace("_", ".")].update(entry)
    return entries


class Gate(unittest.TestCase):
    def test_passes_what_is_well(self):
        self.assertEqual(problems(report(), CASES), [])

    def test_passes_ok_where_informational_is_allowed(self):
        ok = {"behavior": "OK", "behaviorClose": "OK"}
        self.assertEqual(problems(report(_7_1_6=ok), CASES), [])

    def test_finds_a_planted_failure_in_every_case(self):
        for case in CASES:
            name = f"_{case.replace('.', '_')}"
            for key, verdict in (("behavior", "FAILED"), ("behaviorClose", "WRONG CODE")):
                found = problems(report(**{name: {key: verdict}}), CASES)
                self.assertEqual(found, [f"{case}: {key} is {verdict}"])

    def test_finds_every_verdict_that_is_not_ok(self):
        for verdict in ("FAILED", "NON-STRICT", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT",
                        "INFORMATIONAL", "UNIMPLEMENTED", "NO_CLOSE", "ok", "", None):
            with self.subTest(verdict):
                found = problems(report(_6_4_1={"behavior": verdict}), CASES)
                self.assertEqual(found, [f"6.4.1: behavior is {verdict}"])

    def test_allows_the_informational_cases_nothing_worse(self):
        for verdict in ("FAILED", "NON-STRICT", "UNCLEAN"):
            found = problems(report(_7_13_1={"behaviorClose": verdict}), CASES)
            self.assertEqual(found, [f"7.13.1: behaviorClose is {verdict}"])

    def test_finds_a_missing_case_and_a_missing_verdict(self):
        entries = report()
        del entries["9.3.1"], entries["1.1.1"]["behaviorClose"]
        self.assertEqual(problems(entries, CASES),
                         ["1.1.1: behaviorClose is None", "9.3.1: missing"])

    def test_finds_a_case_that_was_not_asked_for(self):
        self.assertEqual(problems(report(), CASES[1:]), ["1.1.1: was not asked for"])

    def test_fails_an_empty_report_and_an_empty_question(self):
        self.assertEqual(len(problems({}, CASES)), len(CASES))
        self.assertEqual(problems({}, []), ["no case was asked for"])


class Index(unittest.TestCase):
    def read(self, text):
        with tempfile.TemporaryDirectory() as folder:
            if text is not None:
                Path(folder, "index.json").write_text(text)
            return read_index(Path(folder), "corecast")

    def test_is_read(self):
        entries = {"1.1.1": {"behavior": "OK"}}
        self.assertEqual(self.read(json.dumps({"corecast": entries})), entries)

    def test_must_be_there_whole_and_about_us(self):
        for text in (None, "", '{"corecast": {', "{}", '{"other": {}}', '{"corecast": {}, "other": {}}'):
            with self.subTest(text), self.assertRaises(Failure):
                self.read(text)


class Selection(unittest.TestCase):
    def test_the_pinned_suite_has_as_many_cases_in_these_sections(self):
        self.assertEqual(len(CASES), 517)
        self.assertEqual(len(set(CASES)), 517)
        self.assertEqual(len(select(["12.*", "13.*"])), 216)

    def test_takes_sections_and_single_cases_in_order(self):
        self.assertEqual(select(["9.3.1", "4.1.*"]),
                         ["4.1.1", "4.1.2", "4.1.3", "4.1.4", "4.1.5", "9.3.1"])
        self.assertEqual(len(select(["1.*"])), 16)
        self.assertEqual(select(["*"]), list(CASES))

    def test_refuses_a_pattern_that_matches_nothing(self):
        for pattern in ("11.*", "14.*", "1", "", "6.4.9", "12.1.19"):
            with self.subTest(pattern), self.assertRaises(Failure):
                select(["1.*", pattern])


if __name__ == "__main__":
    unittest.main()
