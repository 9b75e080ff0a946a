"""Interleaved timings: two contenders in turn, and the median of the ratios with its interval.

The machine's speed drifts and other work comes and goes; both timings of a pair meet it alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from math import comb
from typing import NamedTuple

MIN_TIMED_PAIRS = 7
COVERAGE = 0.95


class Ratio(NamedTuple):
    """A median with an interval that holds the true median in at least 95% of the cases."""

    median: float
    low: float
    high: float


def interleaved(
    contenders: Sequence[Callable[[], float]], num_rounds: int
) -> list[tuple[float, ...]]:
    """Return the seconds of every contender, round by round.

    Args:
        contenders: Each does its work once and returns the seconds; all were warmed up before.
        num_rounds: Rounds; in every second one the order is reversed.
    """
    rounds = []
    for index in range(num_rounds):
        order = range(len(contenders))
        seconds = {i: contenders[i]() for i in (order if index % 2 == 0 else reversed(order))}
        rounds.append(tuple(seconds[i] for i in order))
    return rounds


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> Ratio:
    """Return the median of `slow / fast`, pair by pair, with its distribution-free interval.

    Args:
        slow: Seconds of one contender, at least `MIN_TIMED_PAIRS`.
        fast: Seconds of the other, in the same rounds.

    Source: order statistics; the number of values below the median is binomial with p = 1/2.
    """
    ratios = sorted(a / b for a, b in zip(slow, fast, strict=True))
    skipped = skippable(len(ratios))
    return Ratio(statistics.median(ratios), ratios[skipped], ratios[-1 - skipped])


def skippable(num_values: int) -> int:
    """Return how many values may be left off each end for an interval of 95% for the median.

    Raises:
        ValueError: There are too few values for any such interval.
    """
    below = 0.0
    for index in range(num_values // 2 + 1):
        below += comb(num_values, index) / 2**num_values
        if 1.0 - 2.0 * below < COVERAGE:
            if index == 0:
                raise ValueError(f"an interval takes at least 6 values, but got {num_values}")
            return index - 1
    return num_values // 2
