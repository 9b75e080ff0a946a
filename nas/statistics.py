"""Standard errors, rank correlations and intervals, each with its source.

What `status` shows is computed here: importing scipy.stats takes longer than it may.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import combinations

Z_95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution
TYPICAL_ACCURACY, WORST_RESOLUTION = 0.9, 0.1  # what resolves worse names no best
CONFIDENCE = 0.95


def standard_error(accuracy: float, num_images: int) -> float:
    """Return the standard error of an accuracy measured on independent images, never 0.

    That of a binomial fraction, but at the centre of Wilson's 95% interval, as if z^2 = 3.84 more
    images had been seen, half of them right: sqrt(p (1 - p) / n) is 0 where all are right.

    Source: Agresti and Coull 1998, Approximate is better than "exact" for interval estimation of
    binomial proportions, The American Statistician 52.
    """
    seen = num_images + Z_95**2
    centre = (accuracy * num_images + Z_95**2 / 2) / seen
    return math.sqrt(centre * (1.0 - centre) / seen)


def resolvable_difference(accuracy: float, num_images: int) -> float:
    """Return the difference of two accuracies that 95% of the noise stays below."""
    return Z_95 * math.sqrt(2.0) * standard_error(accuracy, num_images)


def kendall_tau(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return tau-b, which corrects for ties; None where one side does not vary.

    Source: Kendall 1945, The treatment of ties in ranking problems, Biometrika 33.
    """
    concordant_less_discordant = untied_left = untied_right = 0
    for (a, b), (c, d) in combinations(zip(left, right, strict=True), 2):
        sign_left, sign_right = (a > c) - (a < c), (b > d) - (b < d)
        concordant_less_discordant += sign_left * sign_right
        untied_left += abs(sign_left)
        untied_right += abs(sign_right)
    if not untied_left or not untied_right:
        return None
    return concordant_less_discordant / math.sqrt(untied_left * untied_right)


def tau_interval(tau: float, num: int) -> tuple[float, float]:
    """Return the 95% interval of a tau over `num` pairs, more than 4.

    Source: Fieller, Hartley and Pearson 1957, Biometrika 44: Fisher's z with variance
    0.437 / (n - 4).
    """
    return _fisher_interval(tau, 1 - 2 / (num * (num - 1)), 0.437 / (num - 4))


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None where one side does not vary."""
    try:
        return statistics.correlation(_ranks(left), _ranks(right))
    except statistics.StatisticsError:
        return None


def spearman_interval(coefficient: float, num: int) -> tuple[float, float]:
    """Return the 95% interval of a rank correlation over `num` pairs, more than 3.

    Source: Bonett and Wright 2000, Psychometrika 65: Fisher's z with variance
    (1 + r^2 / 2) / (n - 3).
    """
    variance = (1 + coefficient**2 / 2) / (num - 3)
    return _fisher_interval(coefficient, 1 - 6 / (num**3 - num), variance)


def _fisher_interval(coefficient: float, largest: float, variance: float) -> tuple[float, float]:
    """Return the 95% interval of a rank correlation by Fisher's z, of this variance.

    The z of two equal rankings is infinite, and their interval would have no width. They count as
    `largest`, half a step of the coefficient below 1.

    Source: Kendall 1970, Rank Correlation Methods, chapter 4: the correction for continuity.
    """
    z, half = math.atanh(max(min(coefficient, largest), -largest)), Z_95 * math.sqrt(variance)
    return min(math.tanh(z - half), coefficient), max(math.tanh(z + half), coefficient)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return ranks from 1; equal values share the mean of theirs."""
    ordered = sorted(values)
    return [(bisect_left(ordered, v) + bisect_right(ordered, v) + 1) / 2 for v in values]


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """Return the 95% interval of a fraction of which `count` of `total` were seen.

    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    fraction, weight = count / total, Z_95**2 / total
    centre = (fraction + weight / 2) / (1 + weight)
    half = (
        Z_95 / (1 + weight) * math.sqrt(fraction * (1 - fraction) / total + weight / (4 * total))
    )
    return max(centre - half, 0.0), min(centre + half, 1.0)


def mean_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of independent values; at least two."""
    return statistics.stdev(values) / math.sqrt(len(values))


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of the mean by Student's t; at least two values."""
    from scipy.stats import t

    mean, quantile = statistics.fmean(values), float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1))
    reach = quantile * mean_error(values)
    return mean - reach, mean + reach


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return an interval that holds the true median in at least 95% of the cases.

    Raises:
        ValueError: There are too few values for any such interval.

    Source: order statistics; the number of values below the median is binomial with p = 1/2.
    """
    from scipy.stats import binom

    skipped = int(binom.ppf((1 - CONFIDENCE) / 2, len(values), 0.5)) - 1  # off each end
    if skipped < 0:
        raise ValueError(f"an interval takes at least 6 values, but got {len(values)}")
    ordered = sorted(values)
    return ordered[skipped], ordered[-1 - skipped]
