"""Learning-rate schedules: pure functions of the progress of a training in [0, 1].

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
        progress: Fraction of the training that is done, in [0, 1].
        schedule: A key of `SCHEDULES`.
        peak: The highest rate.
        floor: The lowest rate of the schedule; the warm-up starts from 0 all the same.
        warmup_share: Fraction of the training spent on warm-up, in [0, 1).
        cycles: Number of triangles of `cyclic`; no other schedule reads it.
    """
    shape = SCHEDULES[schedule].rate
    if progress < warmup_share:
        start = floor + (peak - floor) * shape(0.0, cycles)
        return start * progress / warmup_share
    return floor + (peak - floor) * shape(_after(warmup_share, progress), cycles)


def momentum_at(
    progress: float,
    *,
    schedule: str,
    momentum: float,
    dip: float,
    warmup_share: float = 0.0,
    cycles: int = 1,
) -> float:
    """Return the momentum at a point of the training: the higher the rate, the lower it is.

    Args:
        progress: Fraction of the training that is done, in [0, 1].
        schedule: A key of `SCHEDULES`; where it moves no momentum, `momentum` holds throughout.
        momentum: At the lowest rate, and during the warm-up.
        dip: Cycled momentum: by how much it is lower at the highest rate.
        warmup_share: As for `learning_rate_at`.
        cycles: As for `learning_rate_at`.

    Source: Smith 2018, A disciplined approach to neural network hyper-parameters, section 4.3.
    """
    shape = SCHEDULES[schedule].momentum
    if shape is None or progress < warmup_share:
        return momentum
    return momentum - dip * shape(_after(warmup_share, progress), cycles)


def _after(warmup_share: float, progress: float) -> float:
    """Return the fraction of the schedule that is done when the warm-up is over."""
    return (progress - warmup_share) / (1.0 - warmup_share)
