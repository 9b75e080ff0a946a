"""Learning-rate schedules: pure functions of the progress of a training in [0, 1].

To add a schedule, write one function `(progress, cycles) -> factor` and add one row to
`SCHEDULES`. Progress counts steps, not epochs, so one recipe fits a training of any length.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Shape = Callable[[float, int], float]


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


SCHEDULES: dict[str, Shape] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
    "cyclic": cyclic,
}


def learning_rate_at(
    progress: float,
    *,
    schedule: str,
    peak: float,
    floor: float = 0.0,
    warmup_share: float = 0.0,
    cycles: int = 1,
) -> float:
    """Return the learning rate at a point of the training.

    Over the first `warmup_share` of the training it rises on a straight line from 0 to what the
    schedule starts from; over the rest the schedule runs once from its beginning to its end,
    between `floor` and `peak`. At progress 1 the annealing schedules are exactly at `floor`.

    Args:
        progress: Share of the training that is done, in [0, 1].
        schedule: A key of `SCHEDULES`.
        peak: The highest rate.
        floor: The lowest rate of the schedule; the warm-up starts from 0 all the same.
        warmup_share: Share of the training spent on warm-up, in [0, 1).
        cycles: Number of triangles of `cyclic`; no other schedule reads it.
    """
    shape = SCHEDULES[schedule]
    if progress < warmup_share:
        start = floor + (peak - floor) * shape(0.0, cycles)
        return start * progress / warmup_share
    annealed = (progress - warmup_share) / (1.0 - warmup_share)
    return floor + (peak - floor) * shape(annealed, cycles)
