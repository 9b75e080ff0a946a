"""Which networks a rung trains again: the best of the rung below, and the best baseline."""

from __future__ import annotations

from collections.abc import Sequence

from nas.study.attributes import KNOWN
from nas.study.trials import TrialRow, rank


def choose_candidates(rows: Sequence[TrialRow], count: int) -> list[TrialRow]:
    """Return the trials whose networks are trained again, the best first.

    So that the two can be compared, the best baseline is always there, as one more where it is
    not among the best; and where only baselines are, the best that was found.

    Args:
        rows: The trials of the rung below.
        count: How many of the best.
    """
    ranked = rank(rows)
    chosen = ranked[:count]
    for is_baseline in (True, False):
        kind = [row for row in ranked if (row.source == KNOWN) == is_baseline]
        if not any(row in kind for row in chosen):
            chosen += kind[:1]
    return chosen
