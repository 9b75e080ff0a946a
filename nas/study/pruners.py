"""Pruners: which running trials are stopped early. To add one, add one row to `PRUNERS`.

Optuna is imported when a pruner is made, not when the names are listed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from nas.errors import unknown_name

if TYPE_CHECKING:
    from optuna.pruners import BasePruner

DEFAULT_PRUNER = "median"
STARTUP_TRIALS = 10
WARMUP_FRACTION = 0.2  # of the epochs; earlier, the best candidate is lost too often
MIN_TRIALS = 5


def warmup_epochs(epochs: int) -> int:
    """Return after how many epochs the median is not looked at yet; one before the last is."""
    return min(math.ceil(WARMUP_FRACTION * epochs), max(epochs - 2, 0))


def _median(epochs: int) -> BasePruner:
    from optuna.pruners import MedianPruner

    return MedianPruner(
        n_startup_trials=STARTUP_TRIALS,
        n_warmup_steps=warmup_epochs(epochs),
        n_min_trials=MIN_TRIALS,
    )


def _halving(epochs: int) -> BasePruner:
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(
        min_resource=max(1, math.ceil(WARMUP_FRACTION * epochs)), reduction_factor=3
    )


def _none(epochs: int) -> BasePruner:
    from optuna.pruners import NopPruner

    return NopPruner()


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "median": _median,
    "halving": _halving,
    "none": _none,
}


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Return the pruner of that name for trainings of that many epochs.

    `median` follows the project's measurements (10 start-up trials, nothing before 20% of the
    epochs, 5 trials to compare with); `halving` is asynchronous successive halving by thirds.

    Raises:
        UnknownNameError: No pruner has that name.
    """
    if name not in PRUNERS:
        raise unknown_name("pruner", name, PRUNERS)
    return PRUNERS[name](epochs)
