"""The pruning audit: what became of trials that pruning would have stopped.

A random fraction of the trials that the pruner wants to stop runs on to its end, marked. What they
reach says how often pruning would have cost one of the best. No PyTorch needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.seeds import derive_seed
from nas.statistics import wilson_interval
from nas.study.trials import TrialRow, rank
from nas.units import plural

TOP = 5  # the best that pruning must not cost


@dataclass(frozen=True)
class Audit:
    """What the audited trials of a study say.

    Args:
        num_audited: Trials that pruning would have stopped and that ran to their end.
        num_top: Those of them that are among the `TOP` best of the study.
        low: Lower end of the 95% interval of their fraction; None where none was audited.
        high: Upper end.
    """

    num_audited: int
    num_top: int
    low: float | None
    high: float | None


def is_audited(seed: int, number: int, fraction: float) -> bool:
    """Tell whether a trial runs on where the pruner would stop it.

    Args:
        seed: The study's seed.
        number: The trial's number; of one that continues a killed one, the first one's.
        fraction: Of the trials, in [0, 1].
    """
    return derive_seed(seed, "audit", number) < fraction * 2**63


def audit(rows: Sequence[TrialRow]) -> Audit:
    """Return what the audited trials of a study say."""
    ended = [row for row in rows if row.audited_epoch is not None and row.is_counted]
    best = {row.number for row in rank(rows)[:TOP]}
    num_top = sum(row.number in best for row in ended)
    interval = wilson_interval(num_top, len(ended)) if ended else (None, None)
    return Audit(len(ended), num_top, *interval)


def describe_audit(found: Audit) -> str:
    """Return the audit in one sentence."""
    if found.low is None or found.high is None:
        return (
            "cannot tell how often pruning costs one of the best "
            f"{TOP}: no trial that it would have stopped has run on to its end yet"
        )
    return (
        f"of {plural(found.num_audited, 'trial')} that pruning would have stopped "
        f"{found.num_top} ended among the best {TOP}: {found.num_top / found.num_audited:.0%}, "
        f"95% interval {found.low:.0%} to {found.high:.0%}"
    )
