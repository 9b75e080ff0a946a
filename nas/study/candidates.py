"""Which networks a rung trains again: the best of the rung below, and the best known one."""

from __future__ import annotations

from collections.abc import Sequence

from nas.study.trials import KNOWN, TrialRow, rank


def choose_candidates(rows: Sequence[TrialRow], count: int) -> list[TrialRow]:
    """Return the trials whose networks are trained again, the best first.

    So that found and known can be compared, the best known network is always there, as one more
    where it is not among the best; and where only known ones are, the best that was found.

    Args:
        rows: The trials of the rung below.
        count: How many of the best.
    """
    ranked = rank(rows)
    chosen = ranked[:count]
    for is_known in (True, False):
        kind = [row for row in ranked if (row.source == KNOWN) == is_known]
        if not any(row in kind for row in chosen):
            chosen += kind[:1]
    return chosen
