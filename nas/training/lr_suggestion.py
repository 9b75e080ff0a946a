"""What a learning-rate range test says: where the loss begins to fall, and where it stops.

Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

WINDOW_FRACTION = 1 / 40  # of the steps, to either side, that one smoothed value is the mean of
BEGUN, DONE = 0.1, 0.9  # fractions of the loss's whole fall
DIVERGED = 4.0  # times the lowest loss so far
FEW_ERRORS = 4.0  # a fall of fewer standard errors is noise: it is the largest of many
NARROW = 10.0  # the least distance of maximum and minimum that is proposed


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The bounds of a cyclic schedule, and why.

    Args:
        maximum: The highest rate.
        minimum: The lowest rate.
        edge: The rate at which the smoothed loss was lowest.
        reasons: One sentence each.
    """

    maximum: float
    minimum: float
    edge: float
    reasons: tuple[str, ...]


def smooth(values: Sequence[float], num_steps: int) -> list[float]:
    """Return centred means: a smoothed value stands where it is measured, not behind it.

    Args:
        values: One a step, finite.
        num_steps: Steps the test was to have; decides the window, which shrinks at both ends.
    """
    half = half_window(num_steps)
    means = []
    for index in range(len(values)):
        reach = min(half, index, len(values) - 1 - index)
        means.append(statistics.fmean(values[index - reach : index + reach + 1]))
    return means


def half_window(num_steps: int) -> int:
    """Return how many steps to either side of one its smoothed value takes in."""
    return max(1, round(WINDOW_FRACTION * num_steps))


def has_diverged(losses: Sequence[float], num_steps: int) -> bool:
    """Tell whether the loss stopped being finite, or is `DIVERGED` times its lowest again.

    Losses are compared as means of a few steps, so that one hard batch ends nothing.
    """
    if not math.isfinite(losses[-1]):
        return True
    size = half_window(num_steps)
    sums = [0.0, *accumulate(losses)]
    means = [(last - first) / size for first, last in zip(sums, sums[size:], strict=False)]
    return bool(means) and means[-1] > DIVERGED * min(means)


def suggest(
    rates: Sequence[float], losses: Sequence[float], num_steps: int, num_classes: int
) -> Suggestion | str:
    """Return the bounds that a range test suggests, or why it suggests none.

    The minimum is where the loss has begun to fall, the maximum where the fall slows down, still
    short of the rate at which it turns into a rise. Both are read off the curve: a fixed part of
    the maximum, a third or a fourth, is what made the paper's training unstable.

    Args:
        rates: The learning rate of each step, rising.
        losses: The loss of each step, finite.
        num_steps: Steps the test was to have.
        num_classes: Classes to tell apart. A loss that comes down to that of guessing, their
            logarithm, has learned nothing yet: the fall is measured from there on.

    Source: Smith 2017, Cyclical learning rates, section 3.3; Smith 2018, A disciplined approach
        to neural network hyper-parameters, section 4.1.
    """
    if len(losses) < 3 * half_window(num_steps):
        return "it ended before there was a curve; begin lower with --low"
    smoothed = smooth(losses, num_steps)
    window = 2 * half_window(num_steps) + 1
    guessing = math.log(num_classes)
    begin = min(statistics.fmean(losses[:window]), guessing)
    whole = range(window // 2, len(losses) - window // 2)  # of these the window is full
    lowest = min(whole, key=smoothed.__getitem__)
    fall = begin - smoothed[lowest]
    error = _noise(losses) * math.sqrt(2 / window)  # of a difference of two means
    if fall <= FEW_ERRORS * error:
        return (
            f"the loss never fell below {begin:.3g} by more than its noise (lowest "
            f"{smoothed[lowest]:.3g}, a difference's standard error {error:.2g}; guessing has "
            f"{guessing:.3g}): nothing was learned; try more --steps, or another range"
        )
    begun = _settled_below(smoothed, lowest, begin - BEGUN * fall)
    done = next(index for index in whole if smoothed[index] <= begin - DONE * fall)
    suggestion = _explain(rates, smoothed, lowest, begun, done)
    if lowest != whole[-1]:
        return suggestion
    reason = "the loss was still falling at the highest rate: test a higher --high for the maximum"
    return replace(suggestion, reasons=(*suggestion.reasons, reason))


def _explain(
    rates: Sequence[float], smoothed: Sequence[float], lowest: int, begun: int, done: int
) -> Suggestion:
    """Put the places on the curve into words."""
    maximum, minimum, edge = rates[done], rates[begun], rates[lowest]
    reasons = [
        f"maximum {maximum:.2g}: by then {DONE:.0%} of the loss's fall are done; it is lowest, "
        f"{smoothed[lowest]:.3g}, at {edge:.2g}"
    ]
    if minimum * NARROW <= maximum:
        reasons.append(f"minimum {minimum:.2g}: there the loss has begun to fall ({BEGUN:.0%})")
    else:
        reasons.append(
            f"minimum {maximum / NARROW:.2g}: the loss begins to fall only at {minimum:.2g}, less "
            f"than a factor of {NARROW:g} below the maximum; from there the rate never gets low"
        )
        minimum = maximum / NARROW
    reasons.append(
        f"a third of the maximum, {maximum / 3:.2g}, is the rule of thumb that made the paper's "
        "training unstable"
    )
    return Suggestion(maximum, minimum, edge, tuple(reasons))


def _noise(losses: Sequence[float]) -> float:
    """Return the standard deviation of one step's loss, from the differences of neighbours.

    Their median takes no notice of where the loss rises or falls, nor of how it explodes.
    """
    steps = [abs(after - before) for before, after in pairwise(losses)]
    return statistics.median(steps) / (math.sqrt(2) * statistics.NormalDist().inv_cdf(0.75))


def _settled_below(smoothed: Sequence[float], lowest: int, level: float) -> int:
    """Return the first step from which on, up to the lowest, the loss stays below a level."""
    above = [index for index in range(lowest) if smoothed[index] > level]
    return above[-1] + 1 if above else 0
