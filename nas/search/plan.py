"""How each candidate of a new study is trained, sized for the machine; and what that will take.

On a GPU a candidate sees the whole training split. On a CPU it sees a stratified slice for a few
epochs, so that a trial takes about `CPU_TRIAL_SECONDS`. The plan is chosen once, from the measured
speed of a few networks of the space (`nas.training.timing`), and kept in `study.json`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import torch

from nas.study.definition import GPU_EPOCHS, Plan
from nas.study.rungs import RungSpec
from nas.training.engine import Engine
from nas.training.timing import Speed

CPU_EPOCHS = (10, 6, 4)  # the most that leaves the slice large enough
CPU_TRIAL_SECONDS = 40.0
MIN_CPU_IMAGES = 500
MAX_CPU_VAL_IMAGES = 1_000
RUNG_FACTOR = 3  # between two rungs: in the cost of a training, and in the number of networks
FIRST_FRACTION = 6  # one in so many of the search climbs: each rung takes half its time
MIN_TOP_COUNT, MOST_RUNGS = 3, 3  # networks in the top rung; rungs above the search
GPU_BATCH = 512  # of a search: below, kernel launches take the time


def trial_seconds(speed: Speed, plan: Plan) -> float:
    """Return the seconds of a trial that runs to its end."""
    per_epoch = plan.train_images * speed.train_seconds + plan.val_images * speed.val_seconds
    return plan.epochs * per_epoch


def choose_plan(
    engine: Engine,
    speed: Speed,
    num_train: int,
    num_val: int,
    num_classes: int,
    epochs: int | None = None,
) -> Plan:
    """Return the plan of a new study.

    Args:
        engine: The device.
        speed: Mean speed of a few networks of the space.
        num_train: Images of the training split.
        num_val: Images of the validation split.
        num_classes: Classes; a slice has an image of each.
        epochs: Epochs a trial, where the user gave them.
    """
    plan = Plan(
        engine.device,
        engine.num_threads or torch.get_num_threads(),
        num_train,
        num_val,
        epochs or (GPU_EPOCHS if engine.is_cuda else CPU_EPOCHS[0]),
        engine.prefers_bfloat16,
    )
    if engine.is_cuda:
        return plan
    for candidate in (epochs,) if epochs else CPU_EPOCHS:
        affordable = CPU_TRIAL_SECONDS / candidate / (speed.train_seconds + speed.val_seconds / 2)
        least = max(MIN_CPU_IMAGES, 2 * num_classes)
        train_images = min(num_train, max(_round_down(affordable), least))
        most_val = max(MAX_CPU_VAL_IMAGES, num_classes)
        val_images = min(num_val, max(train_images // 2, 200), most_val)
        plan = replace(plan, train_images=train_images, val_images=val_images, epochs=candidate)
        if affordable >= min(num_train, MIN_CPU_IMAGES):
            break
    return plan


def default_rungs(plan: Plan, num_train: int, num_trials: int) -> tuple[RungSpec, ...]:
    """Return the rungs of a new study that is given none.

    Each costs about three times as much a training as the one below: more images first, then more
    epochs; and trains a third as many networks, the first a sixth, at least 3. With the search
    they are at most 4.

    Args:
        plan: How the trials of the search itself train.
        num_train: Images of the training split.
        num_trials: Trials of the search itself.
    """
    rungs: list[RungSpec] = []
    images, epochs, count = plan.train_images, plan.epochs, num_trials // FIRST_FRACTION
    while count >= MIN_TOP_COUNT and len(rungs) < MOST_RUNGS:
        cost = RUNG_FACTOR * images * epochs
        images = min(num_train, RUNG_FACTOR * images)
        epochs = max(1, round(cost / images))
        rungs.append(RungSpec(count, epochs, images if images != plan.train_images else None))
        count //= RUNG_FACTOR
    return tuple(rungs)


def typical_speed(speeds: Sequence[Speed], units: Sequence[float], typical_units: float) -> Speed:
    """Return the speed of a network of typical cost, from a few timed ones.

    A few networks of a space differ tenfold; their speeds in relation to their costs do not.

    Args:
        speeds: Of the timed networks.
        units: Their `nas.results.forecast.cost_units`.
        typical_units: The mean over the space.
    """
    scale = typical_units / statistics.fmean(units)
    return Speed(
        scale * statistics.fmean(speed.train_seconds for speed in speeds),
        scale * statistics.fmean(speed.val_seconds for speed in speeds),
    )


def _round_down(images: float) -> int:
    """Return a round number of images: 1,000, 1,500, 2,000, 3,000, 5,000, 7,000, 10,000, ..."""
    if images < MIN_CPU_IMAGES:
        return 0
    power = 10 ** int(math.log10(images))
    return max(int(step * power) for step in (1, 1.5, 2, 3, 5, 7) if step * power <= images)
