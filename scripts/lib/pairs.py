"""Whether two ways to do the same agree: ratios within rounds, with a confidence interval."""

import random
import statistics
from dataclasses import dataclass

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 6


@dataclass(frozen=True)
class Agreement:
    """How one way compares with another: the median over the rounds of the ratio within each, and where it surely lies."""

    ratio: float
    low: float
    high: float
    rounds: int

    def agrees(self, margin):
        """Whether chance explains the difference, or it is no larger than `margin` (0.02: 2 %) for sure."""
        chance = self.low <= 1 <= self.high
        return chance or (1 - margin <= self.low and self.high <= 1 + margin)

    def __str__(self):
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f})"


def agreement(subject, against, comparisons=1):
    """Compares figures of the same rounds. Ratios within rounds: what slows the machine for a while slows both.

    Of so many `comparisons` all are to be right with the confidence that one alone would have: each has to be surer.
    """
    ratios = [one / other for one, other in zip(subject, against, strict=True)]
    chance = random.Random(SEED)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    tail = round(RESAMPLES * (1 - CONFIDENCE) / comparisons / 2)
    return Agreement(statistics.median(ratios), medians[tail], medians[-1 - tail], len(ratios))
