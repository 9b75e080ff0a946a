"""Standard errors, rank correlations and intervals, each with its source."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations

Z_95 = 1.959963984540054  # two-sided 95% quantile of the normal distribution
CONFIDENCE = 0.95


def standard_error(accuracy: float, num_images: int) -> float:
    """Return the standard error of an accuracy measured on independent images.

    Source: the binomial distribution, sqrt(p (1 - p) / n).
    """
    return math.sqrt(accuracy * (1.0 - accuracy) / num_images)


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
    z = math.atanh(max(min(tau, 1 - 1e-12), -1 + 1e-12))
    half = Z_95 * math.sqrt(0.437 / (num - 4))
    return math.tanh(z - half), math.tanh(z + half)


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None where one side does not vary."""
    return _pearson(_ranks(left), _ranks(right))


def spearman_interval(coefficient: float, num: int) -> tuple[float, float]:
    """Return the 95% interval of a rank correlation over `num` pairs, more than 3.

    Source: Bonett and Wright 2000, Psychometrika 65: Fisher's z with variance
    (1 + r^2 / 2) / (n - 3).
    """
    limited = max(min(coefficient, 1 - 1e-12), -1 + 1e-12)
    z = math.atanh(limited)
    half = Z_95 * math.sqrt((1 + limited**2 / 2) / (num - 3))
    return math.tanh(z - half), math.tanh(z + half)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return ranks from 1; equal values share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in order[start : end + 1]:
            ranks[position] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _pearson(left: Sequence[float], right: Sequence[float]) -> float | None:
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    cross = sum((a - mean_left) * (b - mean_right) for a, b in zip(left, right, strict=True))
    spread = math.sqrt(
        sum((a - mean_left) ** 2 for a in left) * sum((b - mean_right) ** 2 for b in right)
    )
    return cross / spread if spread else None


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


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95% interval of the mean by Student's t; at least two values."""
    from scipy.stats import t

    error = statistics.stdev(values) / math.sqrt(len(values))
    reach = float(t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)) * error
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach
