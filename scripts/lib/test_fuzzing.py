"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import argparse
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from . import common, fuzzing

LOG = """\
#2\tINITED cov: 180 ft: 181 corp: 1/1b exec/s: 0 rss: 36Mb
#4096\tNEW    cov: 448 ft: 1755 corp: 324/36Kb lim: 769 exec/s: 15763 rss: 647Mb L: 248/651
"""

FINDING = LOG + """\
thread '<unnamed>' panicked at engine/fuzz/src/frames.rs:80:5:
assertion `left == right` failed: we accept what they refuse
  left: Some(CloseCode(1009))
 right: None
stack backtrace:
   0: __rustc::rust_begin_unwind
==1== ERROR: libFuzzer: deadly signal
"""


def run(log, finding=None):
    return fuzzing.Run("frames", Path("frames"), log, 600, finding)


class Times(unittest.TestCase):
    def test_units(self):
        self.assertEqual([fuzzing.seconds(text) for text in ("30s", "10m", "1h")], [30, 600, 3600])

    def test_what_is_no_time(self):
        for text in ("", "10", "m", "0m", "-5s", "1.5m"):
            with self.assertRaises(argparse.ArgumentTypeError, msg=text):
                fuzzing.seconds(text)


class Figures(unittest.TestCase):
    def test_a_whole_run(self):
        done = run(LOG + "stat::number_of_executed_units: 190324\n")
        self.assertEqual((done.executions, done.edges), (190324, 448))
        self.assertTrue(done.line().startswith("ok frames"))

    def test_a_run_that_ended_early(self):
        done = run(FINDING, "crash-1")
        self.assertEqual((done.executions, done.edges), (4096, 448))
        self.assertTrue(done.line().startswith("FAIL frames"))
        self.assertIn("we accept what they refuse\n  left: Some", done.how_to_see())
        self.assertNotIn("rust_begin_unwind", done.how_to_see())
        self.assertIn("frames crash-1", done.how_to_see())

    def test_a_sanitizers_report(self):
        log = LOG + "==1==ERROR: AddressSanitizer: heap-buffer-overflow\n"
        self.assertIn("heap-buffer-overflow", run(log, "crash-2").how_to_see())

    def test_the_page_tells_of_a_finding(self):
        figures = {"date": "2026-01-02", "seconds": 600, "executions": 1000, "edges": 448,
                   "corpus_files": 3, "corpus_bytes": 99, "finding": "crash-1"}
        page = fuzzing.report({"targets": {"frames": figures}})
        self.assertIn("| frames | 600 | 1,000 | 448 | 3 | 99 | crash-1 | 2026-01-02 |", page)


class Programs(unittest.TestCase):
    """With shell scripts in libFuzzer's place."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="corecast-fuzz-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "corpus" / "frames").mkdir(parents=True)
        for name in ("SCRATCH", "CORPUS"):
            patch = mock.patch.object(fuzzing, name, self.folder / name.lower())
            patch.start()
            self.addCleanup(patch.stop)

    def fuzz(self, script, jobs=1, names=("frames",)):
        program = self.folder / "program"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return list(fuzzing.fuzz({name: program for name in names}, 1, jobs))

    def test_a_run_without_a_finding(self):
        (done,) = self.fuzz("echo 'stat::number_of_executed_units: 7'")
        self.assertEqual((done.executions, done.finding), (7, None))

    def test_a_finding_and_the_same_one_again(self):
        script = """for word; do case $word in -artifact_prefix=*) prefix=${word#*=};; esac; done
            printf x > ${prefix}crash-1; exit 77"""
        for _ in range(2):
            (done,) = self.fuzz(script)
            self.assertEqual(Path(done.finding).name, "crash-1")

    def test_a_slow_input_is_no_finding(self):
        script = """for word; do case $word in -artifact_prefix=*) prefix=${word#*=};; esac; done
            printf x > ${prefix}slow-unit-1"""
        (done,) = self.fuzz(script)
        self.assertIsNone(done.finding)

    def test_an_end_that_no_input_explains(self):
        with self.assertRaisesRegex(common.Failure, "status 3 without an input"):
            self.fuzz("exit 3")

    def test_several_at_once(self):
        done = self.fuzz("exit 0", jobs=2, names=("frames", "utf8", "topics"))
        self.assertEqual({run.name for run in done}, {"frames", "utf8", "topics"})


class Targets(unittest.TestCase):
    def test_every_target_has_a_corpus(self):
        names = fuzzing.targets()
        self.assertIn("frames", names)
        for name in names:
            self.assertTrue(any((fuzzing.CORPUS / name).iterdir()), name)

    def test_limits_and_dictionaries_are_those_of_targets(self):
        for name, dictionary in fuzzing.DICTIONARIES.items():
            self.assertIn(name, fuzzing.targets())
            self.assertTrue((fuzzing.CRATE / "dictionaries" / dictionary).is_file())
        self.assertLessEqual(set(fuzzing.MAX_LEN), set(fuzzing.targets()))


if __name__ == "__main__":
    unittest.main()
