"""What paired differences say of a claim: it holds, it does not hold, or they cannot tell."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nas.statistics import t_interval

MIN_PAIRS = 3
MIN_SPREAD = 1e-9  # differences that lie closer are equal but for rounding

Direction = Literal["higher", "lower", "same"]
Word = Literal["holds", "does not hold", "cannot tell"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict with its uncertainty.

    Args:
        word: ``holds``, ``does not hold`` or ``cannot tell``.
        mean: Mean difference; None where nothing could be measured.
        low: Lower end of the 95% interval of the mean; None with fewer than two pairs, or where
            all differ by as much.
        high: Its upper end.
        num_pairs: Pairs that were measured.
        reason: Why it cannot tell, where that is not the interval; else empty.
    """

    word: Word
    mean: float | None
    low: float | None
    high: float | None
    num_pairs: int
    reason: str = ""


def judge(
    differences: Sequence[float | None], direction: Direction, margin: float = 0.0
) -> Verdict:
    """Judge a claim by the 95% interval of a mean paired difference.

    ``higher`` holds where the whole interval is above 0, does not hold where it is below;
    ``lower`` the other way round. ``same`` holds where the whole interval lies within the margin
    to either side of 0, and does not hold where it lies wholly outside: without a margin nothing
    could ever be shown to make no difference.

    Args:
        differences: One a pair, first arm minus second; None is a pair that could not be measured.
        direction: What is claimed of the first arm.
        margin: For ``same``: the largest difference that counts as none.

    Source: Student 1908, The probable error of a mean; for ``same`` Schuirmann 1987, two one-sided
        tests, here at 2.5% each.
    """
    known = [value for value in differences if value is not None]
    mean = statistics.fmean(known) if known else None
    # NOTE: accuracies on few images are often equal; a spread of 0 is no certainty
    has_spread = bool(known) and max(known) - min(known) > MIN_SPREAD
    low, high = t_interval(known) if has_spread else (None, None)
    lost = len(differences) - len(known)
    reason = f"all {len(known)} pairs differ by as much, which gives no interval"
    if lost:
        reason = f"{lost} of {len(differences)} pairs could not be measured"
    elif len(known) < MIN_PAIRS:
        reason = f"a verdict needs at least {MIN_PAIRS} pairs, but there are {len(known)}"
    if lost or len(known) < MIN_PAIRS or low is None or high is None:
        return Verdict("cannot tell", mean, low, high, len(known), reason)
    return Verdict(_word(low, high, direction, margin), mean, low, high, len(known))


def _word(low: float, high: float, direction: Direction, margin: float) -> Word:
    if direction == "same":
        if -margin <= low and high <= margin:
            return "holds"
        return "does not hold" if low > margin or high < -margin else "cannot tell"
    if low > 0:
        return "holds" if direction == "higher" else "does not hold"
    if high < 0:
        return "holds" if direction == "lower" else "does not hold"
    return "cannot tell"
