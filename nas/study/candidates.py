"""Which networks a rung trains again: the best of the rung below, and the best baseline."""

from __future__ import annotations

from collections.abc import Sequence

from nas.study.attributes import KNOWN
from nas.study.trials import TrialRow, rank


def choose_candidates(rows: Sequence[TrialRow], count: int) -> list[TrialRow]:
    """Return the trials whose networks are trained again, the best first.

    So that found networks and baselines can be compared, the best baseline is added where none is
    among the best, and the best found network where only baselines are.

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
