"""Interleaved timings: two contenders in turn, and the median of the ratios with its interval.

The machine's speed drifts and other work comes and goes; both timings of a pair meet it alike.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from nas.statistics import median_interval

MIN_TIMED_PAIRS = 7


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
    """
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), *median_interval(ratios))
