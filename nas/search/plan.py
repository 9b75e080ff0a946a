"""How each candidate of a new study is trained, sized for the machine; and what that will take.

On a GPU a candidate sees the whole training split. On a CPU it sees as many images as its seconds
hold twice: for the same time many images few times rank networks better than few images often, as
they leave as many to validate on (`benchmarks/fidelity_plans.py`), and once leaves nothing to
prune. Where there are no more images, it sees them more often; where there are so few that one
split cannot tell networks apart, it is trained on several (`benchmarks/folds.py`). The plan is
chosen once, from the measured speed of a few networks of the space (`nas.training.timing`), and
kept in `study.json`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch

from nas.confusion import names_a_best
from nas.study.definition import GPU_EPOCHS, Plan
from nas.study.rungs import RungSpec
from nas.training.engine import Engine
from nas.training.timing import Speed

MIN_CPU_EPOCHS, MAX_CPU_EPOCHS = 2, 10
CPU_TRIAL_SECONDS = 40.0  # at least, where there are images and epochs for it
MANY_TRIALS = 200  # after so many the sampler gains little
MIN_CPU_IMAGES, MIN_CPU_VAL_IMAGES = 500, 200
# where one split resolves no less than this near that accuracy, a new study has so many folds, of
# so many epochs where there is time: of 10 on 180 images, more images to validate on ranked no
# better, of 50 they did (LOG.md, 2026-11-27)
FOLDS, FOLD_EPOCHS = 5, 50
RUNG_FACTOR = 3  # between two rungs: in the number of networks, and at least in the cost of each
MOST_FACTOR = 5  # in the cost, where it takes more to reach `GOOD_IMAGES`
FIRST_FRACTION = 6  # one in so many of the search climbs: each rung takes half its time
MIN_TOP_COUNT, MOST_RUNGS = 3, 3  # networks in the top rung; rungs above the search
# trials from which there is one rung more
MORE_RUNGS = [MIN_TOP_COUNT * FIRST_FRACTION * RUNG_FACTOR**index for index in range(MOST_RUNGS)]
# Kendall's tau of short trainings with long ones that see 150,000 images, by the images that a
# short one sees: 18 networks of 100,000 parameters, CIFAR-10 at 16x16, 5,000 validation images
# (benchmarks/results/fidelity-cifar10-16x16-100k.json)
TAUS = {10_000: 0.49, 30_000: 0.58, 45_000: 0.63}
GOOD_TAU, GOOD_IMAGES = 0.7, 100_000  # what the highest rung is to see: the line through these
GPU_BATCH = 512  # of a search: below, kernel launches take the time


def trial_seconds(speed: Speed, plan: Plan) -> float:
    """Return the seconds of a trial that runs to its end."""
    num_trained = plan.folds * plan.train_images  # the folds share the validation images
    per_epoch = num_trained * speed.train_seconds + plan.val_images * speed.val_seconds
    return plan.epochs * per_epoch


def choose_folds(metric: str, class_counts: Collection[int], num_images: int) -> int:
    """Return the folds of a new study, by the images that a single split validates on, and all."""
    return 1 if names_a_best(metric, class_counts) else min(FOLDS, num_images)


def choose_plan(
    engine: Engine,
    speed: Speed,
    num_train: int,
    num_val: int,
    num_classes: int,
    epochs: int | None = None,
    seconds: float = CPU_TRIAL_SECONDS,
    folds: int = 1,
) -> Plan:
    """Return the plan of a new study.

    Args:
        engine: The device.
        speed: Mean speed of a few networks of the space.
        num_train: Images of the training split, of every fold.
        num_val: Images of the validation split, of all folds.
        num_classes: Classes; a slice has an image of each.
        epochs: Epochs a trial, where the user gave them.
        seconds: What a trial is to take on a CPU.
        folds: Splits that it is trained on.
    """
    train_images, val_images = num_train, num_val
    if not engine.is_cuda:
        least, most = MIN_CPU_EPOCHS, MAX_CPU_EPOCHS
        if folds > 1:
            least, most = MAX_CPU_EPOCHS, FOLD_EPOCHS
        # an epoch validates on half as many images as it trains on
        passes = seconds / folds / (speed.train_seconds + speed.val_seconds / 2)
        affordable = _round_down(passes / (epochs or least))
        train_images = min(num_train, max(affordable, MIN_CPU_IMAGES, 2 * num_classes))
        if folds == 1:
            val_images = min(num_val, max(train_images // 2, MIN_CPU_VAL_IMAGES, num_classes))
        epochs = epochs or min(max(int(passes / train_images), least), most)
    return Plan(
        engine.device,
        engine.num_threads or torch.get_num_threads(),
        train_images,
        val_images,
        epochs or (GPU_EPOCHS if folds == 1 else FOLD_EPOCHS),
        engine.prefers_bfloat16,
        folds,
    )


def expected_tau(images_seen: int) -> float:
    """Return how well trainings that see so many images rank networks: the line through `TAUS`.

    It is linear in the logarithm; from 0 to `GOOD_TAU`, as nothing longer was measured.
    """
    slope, start = np.polyfit([math.log(number) for number in TAUS], list(TAUS.values()), 1)
    return min(max(float(start + slope * math.log(images_seen)), 0.0), GOOD_TAU)


def seconds_a_trial(
    device_seconds: float, num_trials: int | None = None, num_rungs: int | None = None
) -> float:
    """Return what a trial is to take, so that the time of a search with rungs is well spent.

    More time goes into more trials first, from `MANY_TRIALS` on into longer ones.

    Args:
        device_seconds: Of the search and its rungs, over all devices.
        num_trials: Of the search, where the user gave it.
        num_rungs: The same of its rungs; each is taken to cost half as much as the search.
    """
    num_rungs = MOST_RUNGS if num_rungs is None else num_rungs
    share = 1 / (1 + num_rungs * RUNG_FACTOR / FIRST_FRACTION)
    return max(CPU_TRIAL_SECONDS, share * device_seconds / (num_trials or MANY_TRIALS))


def default_rungs(plan: Plan, num_train: int, num_trials: int) -> tuple[RungSpec, ...]:
    """Return the rungs of a new study that is given none.

    Each trains a third as many networks as the one below, the first a sixth, at least 3. A
    training costs three times as much as one below, or up to five times where trainings of a
    slice would otherwise see less than `GOOD_IMAGES` in the highest rung: more images first, then
    more epochs. With the search they are at most 4.

    Args:
        plan: How the trials of the search itself train.
        num_train: Images of the training split.
        num_trials: Trials of the search itself.
    """
    counts = _counts(num_trials)
    images, epochs, factor = plan.train_images, plan.epochs, float(RUNG_FACTOR)
    if counts and is_measured(images, num_train):
        wanted = (GOOD_IMAGES / (images * epochs)) ** (1 / len(counts))
        factor = min(max(wanted, RUNG_FACTOR), MOST_FACTOR)
    rungs: list[RungSpec] = []
    for count in counts:
        cost = factor * images * epochs
        images = min(num_train, int(float(f"{factor * images:.2g}")))  # a round number
        epochs = max(1, round(cost / images))
        rungs.append(RungSpec(count, epochs, images if images != plan.train_images else None))
    return tuple(rungs)


def grow_rungs(
    rungs: tuple[RungSpec, ...], plan: Plan, num_train: int, before: int, now: int
) -> tuple[RungSpec, ...]:
    """Return the rungs of a study that is to have more trials.

    Rungs with the plan's numbers of networks get those for more trials, and more rungs on top; the
    lengths of their trainings stay, as some are done. Others are the user's, and stay.

    Args:
        rungs: As they are.
        plan: As in `default_rungs`.
        num_train: As there.
        before: Trials that the study was to have.
        now: Trials that it is to have.
    """
    if now <= before or [rung.count for rung in rungs] != _counts(before):
        return rungs
    fresh = default_rungs(plan, num_train, now)
    pairs = zip(rungs, fresh, strict=False)
    kept = tuple(replace(rung, count=longer.count) for rung, longer in pairs)

    def seen(rung: RungSpec) -> int:
        return rung.epochs * (rung.images or plan.train_images)

    return kept + tuple(r for r in fresh[len(kept) :] if not kept or seen(r) > seen(kept[-1]))


def _counts(num_trials: int) -> list[int]:
    counts = [num_trials // FIRST_FRACTION // RUNG_FACTOR**index for index in range(MOST_RUNGS)]
    return [count for count in counts if count >= MIN_TOP_COUNT]


def is_measured(train_images: int, num_train: int) -> bool:
    """Tell whether `TAUS` say something of a plan: of slices of data sets that are not small."""
    return train_images < num_train >= min(TAUS)


def seconds_to_rank(speed: Speed) -> float:
    """Return the device seconds of a CPU search whose highest rung sees `GOOD_IMAGES`.

    Infinity where no number of rungs gets there.

    Args:
        speed: Of a network of typical cost.
    """
    first, found = CPU_TRIAL_SECONDS / (speed.train_seconds + speed.val_seconds / 2), math.inf
    for num_rungs in range(1, MOST_RUNGS + 1):
        factor = max((GOOD_IMAGES / first) ** (1 / num_rungs), RUNG_FACTOR)
        num_trials = MIN_TOP_COUNT * FIRST_FRACTION * RUNG_FACTOR ** (num_rungs - 1)
        rungs = sum((factor / RUNG_FACTOR) ** number for number in range(1, num_rungs + 1))
        whole = num_trials * CPU_TRIAL_SECONDS * (1 + rungs * RUNG_FACTOR / FIRST_FRACTION)
        if factor <= MOST_FACTOR:
            found = min(found, whole)
    return found


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
