"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import os
import signal
import tempfile
import time
import unittest
from pathlib import Path

from . import common, jobs

LIMIT_S = 60


def late_at_first(number):
    time.sleep(0.2 / (number + 1))
    return number * number


class Traced:
    """Work that leaves a trace when it unwinds."""

    def __init__(self, folder):
        self._folder = Path(folder)

    def __call__(self, number):
        if number == 0:
            while not (self._folder / "begun").exists():
                time.sleep(0.01)
            return number
        common.unwind_on_sigterm()
        try:
            (self._folder / "begun").touch()
            time.sleep(LIMIT_S)
        finally:
            (self._folder / "unwound").touch()


class Each(unittest.TestCase):
    def test_keeps_the_order(self):
        self.assertEqual(list(jobs.each(late_at_first, range(5), 3)), [0, 1, 4, 9, 16])

    def test_passes_on_what_is_raised(self):
        with self.assertRaises(ValueError):
            list(jobs.each(int, ["1", "no number"], 2))

    def test_notices_a_process_that_is_killed(self):
        with self.assertRaisesRegex(common.Failure, "ended with -9"):
            list(jobs.each(lambda number: number and os.kill(os.getpid(), signal.SIGKILL), range(4), 2))

    def test_runs_no_more_than_so_many_at_a_time(self):
        with tempfile.TemporaryDirectory() as folder:
            def work(number):
                mark = Path(folder, str(number))
                mark.touch()
                time.sleep(0.05)
                seen = len(os.listdir(folder))
                mark.unlink()
                return seen

            self.assertLessEqual(max(jobs.each(work, range(9), 3)), 3)

    def test_ends_what_runs_when_it_is_left(self):
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            results = jobs.each(Traced(folder), range(2), 2)
            self.assertEqual(next(results), 0)
            results.close()
            self.assertLess(time.monotonic() - started, LIMIT_S)
            self.assertTrue(Path(folder, "unwound").exists())


if __name__ == "__main__":
    unittest.main()
