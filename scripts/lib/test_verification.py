"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import contextlib
import io
import sys
import unittest

from . import verification
from .common import Failure
from .verification import Run, TestsFailed, Unavailable


def quietly(function, *arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        return function(*arguments)


def printing(text, code=0):
    return [sys.executable, "-c", f"import sys; print({text!r}); sys.exit({code})"]


class Tests(unittest.TestCase):
    def test_counts_what_passed(self):
        text = "test result: ok. 3 passed; 0 failed; 0 ignored\ntest result: ok. 4 passed; 0 failed; 1 ignored"
        self.assertEqual(quietly(verification.tests, printing(text), {}, 60), 7)

    def test_fails_when_a_test_fails_or_none_runs(self):
        failed = "test result: FAILED. 3 passed; 2 failed; 0 ignored"
        for command, error in (
            (printing(failed, 101), TestsFailed),
            (printing(failed, 0), TestsFailed),
            (printing("error: could not compile", 101), Failure),
            (printing("test result: ok. 0 passed; 0 failed; 0 ignored"), Failure),
            (printing("test result: ok. 3 passed; 0 failed; 0 ignored", 1), Failure),
        ):
            with self.assertRaises(error):
                quietly(verification.tests, command, {}, 60)

    def test_ends_what_takes_too_long(self):
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        with self.assertRaisesRegex(Failure, "no end within 1 s"):
            quietly(verification.tests, command, {}, 1)


class Conclusions(unittest.TestCase):
    def test_a_failure_counts_more_than_what_was_skipped(self):
        passed, failed, skipped = (Run("t", "o", result) for result in ("passed", "failed", "skipped"))
        for runs, code in (
            ([passed], 0),
            ([passed, skipped], verification.SKIPPED),
            ([skipped, failed], 1),
        ):
            self.assertEqual(quietly(verification.conclude, runs, False), code)

    def test_attempts_say_why(self):
        def unavailable():
            raise Unavailable("not here")

        def failing():
            raise Failure("wrong")

        self.assertEqual(quietly(verification.attempt, "t", "o", lambda: 5).tests, 5)
        for run, result, reason in ((unavailable, "skipped", "not here"), (failing, "failed", "wrong")):
            outcome = quietly(verification.attempt, "t", "o", run)
            self.assertEqual((outcome.result, outcome.reason), (result, reason))


class Table(unittest.TestCase):
    def test_only_the_table_is_replaced(self):
        run = {"tool": "t", "over": "o", "result": "passed", "reason": "", "tests": 5, "seconds": 6}
        text = f"before\n{verification.TABLE_BEGIN}\nold\n{verification.TABLE_END}\nafter\n"
        once = verification.with_table(text, [run])
        self.assertIn("| t | o | passed | 5 | 6 |", once)
        self.assertNotIn("old", once)
        self.assertTrue(once.startswith("before\n") and once.endswith("\nafter\n"))
        self.assertEqual(verification.with_table(once, [run]), once)
