"""A soak can tell flat from growing. Run as the other tests beside it."""

import random
import unittest

from .soak.trend import thinned, trend


def series(value, count=300):
    return [(second, value(second)) for second in range(count)]


class TrendTest(unittest.TestCase):
    def test_noise_is_flat(self):
        noise = random.Random(1)
        flat = trend(series(lambda _: 1000 + noise.randrange(100)))
        self.assertLess(abs(flat.growth), 20)
        self.assertLess(abs(flat.last - flat.first), 60)

    def test_a_slow_leak_in_noise_is_growth(self):
        noise = random.Random(2)
        leak = trend(series(lambda second: 1000 + second + noise.randrange(100)))
        self.assertAlmostEqual(leak.growth, 240, delta=30)

    def test_the_warm_up_does_not_count(self):
        self.assertEqual(trend(series(lambda second: min(second, 50) * 1000)).growth, 0)

    def test_a_late_step_shows_in_the_ends(self):
        stepped = trend(series(lambda second: 1000 if second < 260 else 5000))
        self.assertEqual((stepped.first, stepped.last), (1000, 5000))

    def test_too_few_samples_are_no_trend(self):
        with self.assertRaises(ValueError):
            trend(series(float, 10))

    def test_thinning_keeps_the_first_and_at_most_so_many(self):
        rows = thinned(list(range(1000)), 240)
        self.assertLessEqual(len(rows), 240)
        self.assertEqual(rows[0], 0)


if __name__ == "__main__":
    unittest.main()
