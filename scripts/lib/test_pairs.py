"""Agreement is told from difference, and both from noise."""

import random
import unittest

from lib.pairs import Verdict, agreement, outside


def around(centre, noise, count, seed):
    chance = random.Random(seed)
    return [centre * (1 + chance.uniform(-noise, noise)) for _ in range(count)]


class Pairs(unittest.TestCase):
    def test_little_noise_agrees(self):
        found = agreement(around(100, 0.02, 12, 1), around(100, 0.02, 12, 2))
        self.assertTrue(found.low < 1 < found.high, found)
        self.assertIs(found.verdict(0.05), Verdict.AGREES)

    def test_noise_is_no_agreement(self):
        found = agreement(around(100, 0.5, 12, 1), around(100, 0.5, 12, 2))
        self.assertTrue(found.low < 1 < found.high, found)
        self.assertIs(found.verdict(0.05), Verdict.NOT_TOLD)

    def test_a_difference_beyond_the_margin_is_one(self):
        more = agreement(around(110, 0.02, 12, 1), around(100, 0.02, 12, 2))
        less = agreement(around(90, 0.02, 12, 1), around(100, 0.02, 12, 2))
        for found in (more, less):
            self.assertIs(found.verdict(0.05), Verdict.DIFFERS)
            self.assertIs(found.verdict(0.25), Verdict.AGREES)

    def test_a_difference_at_the_margin_is_not_told(self):
        found = agreement(around(105, 0.03, 12, 1), around(100, 0.03, 12, 2))
        self.assertIs(found.verdict(0.05), Verdict.NOT_TOLD, found)

    def test_a_sure_difference_within_the_margin_agrees(self):
        found = agreement(around(101, 0.001, 12, 1), around(100, 0.001, 12, 2))
        self.assertTrue(found.low > 1, found)
        self.assertIs(found.verdict(0.02), Verdict.AGREES)
        self.assertIs(found.verdict(0.005), Verdict.DIFFERS)

    def test_few_rounds_tell_nothing(self):
        found = agreement([1.0] * 5, [1.0] * 5)
        self.assertIs(found.verdict(0.05), Verdict.NOT_TOLD)
        self.assertIs(agreement([1.0] * 6, [1.0] * 6).verdict(0.05), Verdict.AGREES)
        # Tables of the sign test at 5 %, two-sided.
        self.assertEqual([outside(rounds) for rounds in (5, 6, 8, 9, 12, 20)], [None, 0, 0, 1, 2, 5])

    def test_the_interval_holds_the_median(self):
        chance = random.Random(9)
        held = 0
        for _ in range(400):
            ratios = [1.1 * chance.lognormvariate(0, 0.1) for _ in range(12)]
            found = agreement(ratios, [1.0] * 12)
            held += found.low <= 1.1 <= found.high
        # At least 95 % in the long run; three standard deviations are 13.
        self.assertGreaterEqual(held, 367)

    def test_a_slow_phase_of_the_machine_is_no_difference(self):
        slow = [1.0] * 6 + [0.5] * 6
        self.assertEqual(agreement(slow, slow).ratio, 1)


if __name__ == "__main__":
    unittest.main()
