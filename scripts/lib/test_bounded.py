"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import tempfile
import time
import unittest

from . import bounded
from .common import Failure

# Two processes that do not end by themselves; the shell prints the other's id.
FAMILY = ("sh", "-c", "sleep 1000 & echo $!; wait")

LIMIT_S = 60


def is_gone(pid):
    """Whether no such process runs; one that nobody has waited for yet counts as gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Bounded(unittest.TestCase):
    def setUp(self):
        self.log = self.enterContext(tempfile.TemporaryFile())

    def printed(self):
        self.log.seek(0)
        return self.log.read().decode()

    def wait_for(self, condition):
        deadline = time.monotonic() + LIMIT_S
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_a_success_is_a_success(self):
        bounded.run(["echo", "well"], LIMIT_S, self.log)
        self.assertEqual(self.printed(), "well\n")

    def test_a_failure_and_a_missing_program_are_told(self):
        with self.assertRaisesRegex(Failure, "false ended with 1"):
            bounded.run(["false"], LIMIT_S, self.log)
        with self.assertRaisesRegex(Failure, "nowhere/program cannot be started"):
            bounded.run(["nowhere/program"], LIMIT_S, self.log)

    def test_what_takes_too_long_is_ended_with_all_that_it_started(self):
        with self.assertRaisesRegex(Failure, "did not end within 1 s"):
            bounded.run(FAMILY, 1, self.log)
        self.wait_for(lambda: is_gone(int(self.printed())))

    def test_nothing_outlives_the_block(self):
        with bounded.running(FAMILY, self.log) as process:
            self.wait_for(lambda: self.printed().endswith("\n"))
        self.assertIsNotNone(process.poll())
        self.wait_for(lambda: is_gone(int(self.printed())))


if __name__ == "__main__":
    unittest.main()
