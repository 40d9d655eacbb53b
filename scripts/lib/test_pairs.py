"""Agreement is told from difference."""

import random
import unittest

from lib.pairs import agreement


def around(centre, noise, count, seed):
    chance = random.Random(seed)
    return [centre * (1 + chance.uniform(-noise, noise)) for _ in range(count)]


class Pairs(unittest.TestCase):
    def test_noise_agrees(self):
        found = agreement(around(100, 0.1, 12, 1), around(100, 0.1, 12, 2))
        self.assertTrue(found.low < 1 < found.high, found)
        self.assertTrue(found.agrees(0.0))

    def test_a_difference_beyond_the_margin_does_not(self):
        found = agreement(around(110, 0.02, 12, 1), around(100, 0.02, 12, 2))
        self.assertTrue(found.low > 1.05, found)
        self.assertFalse(found.agrees(0.02))

    def test_a_sure_difference_within_the_margin_does(self):
        found = agreement(around(101, 0.001, 12, 1), around(100, 0.001, 12, 2))
        self.assertTrue(found.low > 1, found)
        self.assertTrue(found.agrees(0.02))
        self.assertFalse(found.agrees(0.001))

    def test_many_comparisons_ask_for_more(self):
        one, other = around(104, 0.05, 12, 3), around(100, 0.05, 12, 4)
        alone, among_ten = agreement(one, other), agreement(one, other, comparisons=10)
        self.assertTrue(among_ten.low < alone.low and alone.high < among_ten.high, (alone, among_ten))

    def test_a_slow_phase_of_the_machine_is_no_difference(self):
        slow = [1.0] * 6 + [0.5] * 6
        self.assertEqual(agreement(slow, slow).ratio, 1)


if __name__ == "__main__":
    unittest.main()
