"""Which trials count, which continue which, and which are to be continued."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import takewhile

from optuna.trial import FrozenTrial, TrialState

from nas.study.attributes import GIVEN_BACK, NUM_PARAMS, REASON, RESUMES
from nas.study.trials import is_counted

KILLED, INTERRUPTED = "killed", "interrupted"
STARVED = "killed: the system ran out of memory"
MACHINE = "machine: "  # what the reason of its failure begins with


def num_claimed(trials: Sequence[FrozenTrial]) -> int:
    """Return how many trials count or are running."""
    return sum(is_counted(trial) or trial.state == TrialState.RUNNING for trial in trials)


def list_requeued(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the given-back trials that no trial continues yet."""
    continued = {trial.user_attrs.get(RESUMES) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state == TrialState.FAIL
        and trial.user_attrs.get(GIVEN_BACK)
        and trial.number not in continued
    ]


def ancestors(trials: Sequence[FrozenTrial], number: int) -> list[int]:
    """Return the trials that one continues, the nearest first."""
    found: list[int] = []
    # each continues an earlier one; what the store has else would lead round in a circle
    while (older := trials[number].user_attrs.get(RESUMES, -1)) in range(number):
        found.append(number := older)
    return found


def is_machines(reason: str) -> bool:
    """Tell whether a trial failed by its machine's doing: a kill, a GPU, a disk, a database."""
    return reason.startswith((KILLED, MACHINE))


def count_equal_failures(trials: Iterable[FrozenTrial], reason: str) -> int:
    """Return how many of the trials that ended last, in a row, failed with a machine's reason.

    Their reasons may differ in numbers, as of the trial in a path. Trials that were interrupted
    or withdrawn say nothing of the machine and are passed over.
    """

    def text(trial: FrozenTrial) -> str:
        return re.sub(r"\d+", "", trial.user_attrs.get(REASON, ""))

    telling = [trial for trial in trials if is_counted(trial) or is_machines(text(trial))]
    telling.sort(key=lambda trial: trial.datetime_complete or datetime.min, reverse=True)
    wanted = re.sub(r"\d+", "", reason)
    return len(list(takewhile(lambda trial: text(trial) == wanted, telling)))


def count_failed_attempts(
    trials: Sequence[FrozenTrial], number: int, reason: str, *, with_kills: bool = False
) -> int:
    """Return how often in a row a network's training died without finishing an epoch.

    A death is an error of the training, or a kill for want of memory. Other kills, interrupts,
    errors of the machine and whatever happened before the training began are not deaths.

    Args:
        trials: All trials.
        number: The trial that is being requeued.
        reason: Why.
        with_kills: Whether any kill is a death.
    """
    chain = [number, *ancestors(trials, number)]
    reasons = [reason, *(trials[item].user_attrs.get(REASON, "") for item in chain[1:])]
    lengths = [*(len(trials[item].intermediate_values) for item in chain), 0]
    deaths = 0
    for index, text in enumerate(reasons):
        has_begun = NUM_PARAMS in trials[chain[index]].user_attrs
        is_death = text == STARVED or text.startswith("error") or (with_kills and text == KILLED)
        if not (has_begun and is_death) or lengths[index] > lengths[index + 1]:
            break
        deaths += 1
    return deaths
