"""Whether a series of samples grows: one statistic for memory, descriptors, threads and response times."""

import itertools
import math
import statistics
from dataclasses import dataclass

# A trend counts only if chance makes one as clear in less than one of a thousand series without a trend.
CHANCE_MAX = 0.001
# Pairs of samples grow with the square of their number. This many samples are compared.
SAMPLES_MAX = 400


@dataclass(frozen=True)
class Trend:
    """`median` is that of all samples. `growth` is the Theil-Sen slope times the length of the series. `chance` is the
    probability of such an order of the samples without growth (the Mann-Kendall test, one-sided)."""

    median: float
    growth: float
    chance: float

    def is_flat(self, share, least):
        """Whether there is no clear growth by more than this share of the median and more than `least`."""
        return self.chance > CHANCE_MAX or self.growth <= max(share * self.median, least)


def trend(samples):
    """The trend of pairs (time, value), without the first half: a program reaches its steady state in it."""
    later = samples[len(samples) // 2 :]
    step = max(1, math.ceil(len(later) / SAMPLES_MAX))
    # A value of a longer step is the median of the samples in it.
    points = [middle(later[at : at + step]) for at in range(0, len(later), step)]
    if len(points) < 2:
        return None
    pairs = list(itertools.combinations(points, 2))
    slope = statistics.median((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs)
    score = sum((b[1] > a[1]) - (b[1] < a[1]) for a, b in pairs)
    values = [value for _, value in points]
    return Trend(statistics.median(values), slope * (points[-1][0] - points[0][0]), chance_of(score, values))


def middle(points):
    return statistics.mean(at for at, _ in points), statistics.median(value for _, value in points)


def chance_of(score, values):
    """The normal approximation of the score's distribution, with the correction for equal values."""
    count = len(values)
    variance = count * (count - 1) * (2 * count + 5)
    for value in set(values):
        ties = values.count(value)
        variance -= ties * (ties - 1) * (2 * ties + 5)
    if variance <= 0:
        return 1.0
    return 0.5 * math.erfc((score - 1) / math.sqrt(variance / 18) / math.sqrt(2))
