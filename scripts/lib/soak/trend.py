"""Whether a series of samples grows."""

import statistics
from dataclasses import dataclass

# The beginning, in which pools fill for the first time, as a share of the whole.
WARM_UP = 0.2

# Pairs of samples that the slope is taken from, at most: their number grows with the square.
MOST = 240


@dataclass(frozen=True)
class Trend:
    """What a series did after its warm-up."""

    first: float
    last: float
    lowest: float
    highest: float
    # The median slope of all pairs (Theil–Sen), over the whole time: one spike does not make a trend.
    growth: float


def trend(samples):
    """The trend of `(time, value)` pairs, in order. At least ten of them."""
    begin, end = samples[0][0], samples[-1][0]
    warm = [sample for sample in samples if sample[0] >= begin + WARM_UP * (end - begin)]
    if len(warm) < 10:
        raise ValueError(f"{len(warm)} samples after the warm-up are too few for a trend")
    values = [value for _, value in warm]
    tenth = max(len(values) // 10, 1)
    return Trend(
        first=statistics.median(values[:tenth]),
        last=statistics.median(values[-tenth:]),
        lowest=min(values),
        highest=max(values),
        growth=_slope(thinned(warm, MOST)) * (warm[-1][0] - warm[0][0]),
    )


def thinned(samples, most):
    """At most so many of the samples, spread evenly."""
    step = max(1, -(-len(samples) // most))
    return samples[::step]


def _slope(samples):
    slopes = [
        (later[1] - earlier[1]) / (later[0] - earlier[0])
        for index, earlier in enumerate(samples)
        for later in samples[index + 1:]
    ]
    return statistics.median(slopes)
