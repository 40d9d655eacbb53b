"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import json
import tempfile
import unittest
from pathlib import Path

from . import ratios


class Ratios(unittest.TestCase):
    def test_are_read_of_the_cases_about_compression_that_ended(self):
        traffic = {"incomingOctetsWebSocketLevel": 10, "incomingOctetsAppLevel": 100}
        with tempfile.TemporaryDirectory() as folder:
            entries = {}
            for case, stats in (("12.1.1", traffic), ("13.1.1", None), ("1.1.1", traffic)):
                entries[case] = {"reportfile": f"{case}.json"}
                Path(folder, f"{case}.json").write_text(json.dumps({"trafficStats": stats}))
            self.assertEqual(ratios.read(Path(folder), entries), {"12.1.1": (10, 100)})

    def test_find_what_should_have_been_compressed(self):
        for case in ("12.1.4", "12.3.18", "12.4.9", "13.1.4", "13.7.18"):
            self.assertEqual(len(ratios.problems({case: (1024, 1024)})), 1, case)
            self.assertEqual(ratios.problems({case: (500, 1024)}), [], case)

    def test_let_pass_what_need_not_get_smaller(self):
        for case in ("12.1.3", "13.7.1", "12.2.18", "12.5.18"):
            self.assertEqual(ratios.problems({case: (1024, 1024)}), [], case)

    def test_sum_the_bytes_of_a_subsection(self):
        counted = {"12.1.4": (100, 100), "12.1.5": (100, 900), "13.2.1": (1, 4)}
        self.assertEqual(ratios.by_part(counted), {"12.1": 0.2, "13.2": 0.25})


if __name__ == "__main__":
    unittest.main()
