"""Whether two ways to do the same agree: ratios within rounds, and the interval in which their median lies."""

import enum
import math
import statistics
from dataclasses import dataclass

CONFIDENCE = 0.95


class Verdict(enum.Enum):
    """What can be said of a difference that nobody would mind."""

    AGREES = "yes"
    DIFFERS = "NO"
    # It may be larger, and may be none: more rounds would tell.
    NOT_TOLD = "not told"


@dataclass(frozen=True)
class Agreement:
    """How one way compares with another: the median over the rounds of the ratio within each, and where it surely lies."""

    ratio: float
    low: float
    high: float
    rounds: int

    def verdict(self, margin):
        """Agrees when the whole interval lies within `margin` (0.05: 1.05 times as much or as little), differs when all of it
        lies beyond. An interval that noise has made wide shows neither."""
        least, most = 1 / (1 + margin), 1 + margin
        if least <= self.low and self.high <= most:
            return Verdict.AGREES
        if self.high < least or most < self.low:
            return Verdict.DIFFERS
        return Verdict.NOT_TOLD

    def __str__(self):
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f})"


def agreement(subject, against):
    """Compares figures of the same rounds. Ratios within rounds: what slows the machine for a while slows both."""
    ratios = sorted(one / other for one, other in zip(subject, against, strict=True))
    cut = outside(len(ratios))
    # Six rounds are the fewest whose range holds the median so surely.
    low, high = (ratios[cut], ratios[-1 - cut]) if cut is not None else (0.0, math.inf)
    return Agreement(statistics.median(ratios), low, high, len(ratios))


def outside(rounds):
    """How many of the ratios, in order, the interval leaves out at each end: the median of what they are drawn from lies beyond
    that many as seldom as so many tosses of a coin all but that many fall on one side. None when even the range is too narrow."""
    share, cut = 0.0, None
    for heads in range(rounds // 2):
        share += math.comb(rounds, heads) / 2**rounds
        if 2 * share > 1 - CONFIDENCE:
            break
        cut = heads
    return cut
