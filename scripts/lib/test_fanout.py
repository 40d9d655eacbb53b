"""Run with `python3 -m unittest discover -s scripts/lib -t scripts`."""

import unittest

from . import bench, contestants, fanout, measuring
from .rounds import Settings
from .servers import Server


class Process:
    """Stands for a running server."""

    pid = 42
    port = 9000

    def __init__(self, scheme):
        self.server = Server("a server", lambda mode, port: [], scheme)


def distribution(p50, p99):
    return {"p50": p50, "p99": p99}


SUMMARY = {
    "server": {"cpu_us_per_message": 3.5},
    "messages": {"per_second": 250_000.0},
    "latency_us": {"corrected": distribution(900.0, 2_000.0)},
    "broadcast": {
        "last_us": distribution(1_500.0, 3_000.0),
        "memory": {"joined": {"resident": 10 << 20}, "most_resident": 12 << 20},
    },
}


class Cases(unittest.TestCase):
    def test_bars_name_only_entrants_and_metrics_of_their_case(self):
        for case in fanout.CASES:
            labels = {entrant.label for entrant in case.entrants}
            self.assertEqual(len(labels), len(case.entrants), case.name)
            self.assertTrue(case.bars, case.name)
            for bar in case.bars:
                self.assertIn(bar.subject, labels, case.name)
                self.assertIn(bar.against, {*labels, None}, case.name)
                self.assertIn(bar.metric, case.metrics, case.name)

    def test_have_the_figures_that_they_show(self):
        stalled = {"count": 100, "open": 50, "messages_read_at_the_end": 2_000}
        figures = bench.FIGURES["broadcast"](SUMMARY)
        part = SUMMARY["broadcast"] | {"stalled": stalled}
        with_stalled = bench.FIGURES["broadcast"](SUMMARY | {"broadcast": part})
        for case in fanout.CASES:
            self.assertTrue({metric.key for metric in case.metrics} <= set(with_stalled))
        self.assertEqual(figures["delivery_cost"], 3.5)
        self.assertEqual((figures["last"], figures["p99"]), (1.5, 2.0))
        self.assertEqual((figures["most_memory"], figures["growth"]), (12.0, 2.0))
        self.assertNotIn("kept", figures)
        self.assertEqual((with_stalled["kept"], with_stalled["read_late"]), (0.5, 20.0))

    def test_floors_are_told_the_size_that_publishers_send(self):
        for case in fanout.CASES:
            size = case.bench[case.bench.index("-s") + 1] if "-s" in case.bench else None
            for entrant in case.entrants:
                if entrant.contestant in contestants.FLOORS:
                    self.assertEqual(entrant.server, ("--broadcast", size), case.name)


class Commands(unittest.TestCase):
    def command(self, name):
        case = next(case for case in fanout.CASES if case.name == name)
        argv = bench._command(case, case.entrants[0], Process("ws"), 1, 5.0)
        return [str(argument) for argument in argv[1:]]

    def test_publishers_have_an_address_of_their_own(self):
        command = self.command("one-publisher")
        self.assertEqual(command[:2], ["broadcast", "ws://127.0.0.1:9000/?sub=a"])
        self.assertEqual(command[2:4], ["--publish-url", "ws://127.0.0.1:9000/?pub=a"])
        self.assertIn("--cost", command)

    def test_unless_everybody_publishes(self):
        command = self.command("chat-200")
        self.assertEqual(command[:2], ["broadcast", "ws://127.0.0.1:9000/"])
        self.assertNotIn("--publish-url", command)

    def test_latencies_are_compared_only_when_the_client_kept_up(self):
        command = self.command("stalled")
        self.assertNotIn("--cost", command)
        self.assertEqual(command[command.index("--warmup") + 1], "8000ms")

    def test_a_server_gets_the_cores_that_it_is_told(self):
        server = contestants.server("corecast", "broadcast", 2)
        argv = [str(argument) for argument in server.command("broadcast", 9000)]
        self.assertEqual(argv[argv.index("--cores") + 1], "2")
        self.assertEqual(argv[argv.index("--app") + 1], "topics")


class Script(unittest.TestCase):
    def test_narrows_a_case_to_the_contestants_asked_for(self):
        case = measuring.narrowed(fanout.LARGE, ["bun"])
        self.assertEqual([entrant.label for entrant in case.entrants], ["bun"])

    def test_guesses_its_time_with_the_warm_up(self):
        guess = measuring.minutes([fanout.SLOW], Settings(rounds=6, duration=5.0))
        self.assertEqual(guess, 6 * 5 * (5 + 8 + 2) / 60)


if __name__ == "__main__":
    unittest.main()
