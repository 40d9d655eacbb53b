"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import unittest

from . import bench, contestants, deflate, report
from .figures import Results
from .servers import Server


class Process:
    """Stands for a running server."""

    pid = 42
    port = 9000
    server = Server("a server", lambda mode, port: [])


MEMORY = {"joined": {"resident": 10 << 20}, "most_resident": 12 << 20}

# What a run of each command brings.
SUMMARIES = {
    "echo": {
        "server": {"cpu_us_per_message": 20.0},
        "latency_us": {"corrected": {"p50": 900.0}},
        "compression": {"wire_bytes_per_message": 1_281.9, "ratio": 3.2},
    },
    "broadcast": {
        "server": {"cpu_us_per_message": 4.0},
        "messages": {"per_second": 250_000.0},
        "latency_us": {"corrected": {"p99": 2_000.0}},
        "broadcast": {"last_us": {"p50": 1_500.0}, "memory": MEMORY},
        "compression": {"wire_bytes_per_message": 1_300.0, "ratio": 3.15},
    },
    "idle": {
        "server": {"cpu_us": 0.0},
        "window_s": 5.0,
        "parameters": {"connections": 5_000},
        "memory": {"before": {"anonymous": 0}, "after": {"anonymous": 1_000_000, "resident": 5 << 20}},
    },
}


def idle_records(differences, plain=200.0):
    """Rounds in which a negotiated connection costs so much more than an uncompressed one."""
    for number, more in enumerate(differences):
        for label, value in ((deflate.PLAIN, plain), (deflate.NEGOTIATED, plain + more)):
            yield {"entrant": label, "round": number, "valid": True, "figures": {"idle_memory": value}}


class Cases(unittest.TestCase):
    def test_bars_name_only_entrants_and_metrics_of_their_case(self):
        for case in deflate.CASES:
            labels = {entrant.label for entrant in case.entrants}
            self.assertEqual(len(labels), len(case.entrants), case.name)
            self.assertTrue(case.bars, case.name)
            for bar in case.bars:
                self.assertIn(bar.subject, labels, case.name)
                self.assertIn(bar.against, labels, case.name)
                self.assertIn(bar.metric, case.metrics, case.name)

    def test_have_the_figures_that_they_show(self):
        for case in deflate.CASES:
            figures = bench.FIGURES[case.command](SUMMARIES[case.command])
            self.assertLessEqual({metric.key for metric in case.metrics}, set(figures), case.name)
        echo = bench.FIGURES["echo"](SUMMARIES["echo"])
        self.assertEqual((echo["cost"], echo["wire"], echo["ratio"]), (20.0, 1_281.9, 3.2))

    def test_without_compression_nothing_is_said_of_it(self):
        plain = {name: part for name, part in SUMMARIES["echo"].items() if name != "compression"}
        self.assertEqual(set(bench.FIGURES["echo"](plain)), {"cost", "p50"})

    def test_every_contestant_is_known(self):
        for case in deflate.CASES:
            for entrant in case.entrants:
                self.assertEqual(contestants.server(entrant.contestant, case.mode).scheme, "ws")


class Commands(unittest.TestCase):
    def test_compression_is_asked_for_where_the_server_has_it(self):
        for case in deflate.CASES:
            for entrant in case.entrants:
                argv = [str(word) for word in bench._command(case, entrant, Process(), 1, 5.0)]
                compresses = entrant.contestant.endswith("-deflate") or "--deflate" in entrant.server
                self.assertEqual("--deflate" in argv, compresses, entrant.label)
                if case.command != "idle":
                    self.assertEqual(argv[argv.index("--payload") + 1], "json")

    def test_what_an_empty_server_has_is_weighed_with_the_same_compression(self):
        for entrant in deflate.IDLE.entrants:
            self.assertEqual("--deflate" in entrant.empty, "--deflate" in entrant.server)


class Difference(unittest.TestCase):
    def judged(self, differences):
        (verdict,) = Results(deflate.IDLE, list(idle_records(differences))).verdicts()
        return verdict

    def test_is_taken_within_each_round(self):
        verdict = self.judged([0.0, 15.0, 16.0, 300.0, -3.0])
        self.assertEqual((verdict.figure.median, verdict.outcome), (15.0, "met"))
        self.assertEqual((verdict.figure.lowest, verdict.figure.highest), (-3.0, 300.0))

    def test_is_missed_by_more_and_not_judged_by_few_rounds(self):
        self.assertEqual(self.judged([16.5] * 5).outcome, "missed")
        self.assertEqual(self.judged([0.0] * 4).outcome, "not judged: 4 valid rounds")

    def test_counts_rounds_in_which_both_are_valid(self):
        records = list(idle_records([1.0] * 6))
        records[0]["valid"] = False
        (verdict,) = Results(deflate.IDLE, records).verdicts()
        self.assertEqual(verdict.figure.rounds, 5)

    def test_is_worded_as_one(self):
        shown = report._bar(self.judged([-3.25] * 5))
        self.assertEqual(
            shown["text"],
            "corecast, negotiated: anonymous memory per idle connection ≤ 16 B more than corecast, uncompressed's",
        )
        self.assertEqual(shown["shown"], "-3.25 B")


if __name__ == "__main__":
    unittest.main()
