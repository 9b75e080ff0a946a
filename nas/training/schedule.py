"""Learning-rate schedules: pure functions of the progress of a training in [0, 1].

`nas.training.recipe.Recipe` puts them between its floor and its peak, after its warm-up.

To add a schedule, write one function `(progress, cycles) -> factor` and add one row to
`SCHEDULES`. Progress counts steps, not epochs, so one recipe fits a training of any length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

Shape = Callable[[float, int], float]

ONE_CYCLE_RISE = 0.3  # fraction of the training that the rate rises
ONE_CYCLE_START = 1 / 25  # of the peak


class Schedule(NamedTuple):
    """The shape of a schedule.

    Args:
        rate: The learning rate's place between floor and peak, in [0, 1].
        momentum: How far the momentum has moved from its usual to its lowest value, in [0, 1];
            None where it stays.
    """

    rate: Shape
    momentum: Shape | None = None


def cosine(progress: float, cycles: int = 1) -> float:
    """Return half a cosine, from 1 to exactly 0; `cycles` has no effect.

    Source: Loshchilov and Hutter 2017, SGDR, equation 5, without restarts.
    """
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def linear(progress: float, cycles: int = 1) -> float:
    """Return a straight line from 1 to exactly 0; `cycles` has no effect."""
    return 1.0 - progress


def constant(progress: float, cycles: int = 1) -> float:
    """Return 1."""
    return 1.0


def cyclic(progress: float, cycles: int = 1) -> float:
    """Return `cycles` equal triangles, each from 0 up to 1 and back to 0.

    Source: Smith 2017, Cyclical learning rates, policy "triangular".
    """
    position = progress * cycles
    return 1.0 - abs(2.0 * (position - math.floor(position)) - 1.0)


def one_cycle(progress: float, cycles: int = 1) -> float:
    """Return one rise from 1/25 to 1 and one fall to exactly 0; `cycles` has no effect.

    Source: Smith and Topin 2018, Super-convergence; with the constants and the half cosines of
        `torch.optim.lr_scheduler.OneCycleLR`.
    """
    hump = one_cycle_hump(progress)
    if progress < ONE_CYCLE_RISE:
        return ONE_CYCLE_START + (1.0 - ONE_CYCLE_START) * hump
    return hump


def one_cycle_hump(progress: float, cycles: int = 1) -> float:
    """Return half a cosine from 0 to 1 over the rise and one back to 0 over the rest."""
    if progress < ONE_CYCLE_RISE:
        return 1.0 - cosine(progress / ONE_CYCLE_RISE)
    return cosine((progress - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))


SCHEDULES: dict[str, Schedule] = {
    "cosine": Schedule(cosine),
    "linear": Schedule(linear),
    "constant": Schedule(constant),
    "cyclic": Schedule(cyclic, momentum=cyclic),
    "one_cycle": Schedule(one_cycle, momentum=one_cycle_hump),
}
