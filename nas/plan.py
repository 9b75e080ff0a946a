"""How each candidate of a new study is trained, sized for the machine; and what that will take.

On a GPU a candidate sees the whole training split. On a CPU it sees a stratified slice for a few
epochs, so that a trial takes about `CPU_TRIAL_SECONDS`. The plan is chosen once, from the measured
speed of a few networks of the space, and kept in `study.json`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from nas.architecture import Architecture, InputSpec
from nas.complexity import count
from nas.device import Engine, is_out_of_memory
from nas.recipe import Recipe
from nas.state import Job, make_state
from nas.step import EpochTotals, make_step
from nas.study import Plan

GPU_EPOCHS = 10
CPU_EPOCHS = (10, 6, 4)  # the most that leaves the slice large enough
CPU_TRIAL_SECONDS = 40.0
MIN_CPU_IMAGES = 500
MAX_CPU_VAL_IMAGES = 1_000
MIN_STEPS_PER_EPOCH = 30  # below, the batch is made smaller, and with it the learning rate
MIN_BATCH = 16
PROBE_MACS = 5 * 10**8  # multiply-adds of a timed forward pass on a CPU
PROBE_IMAGES_CUDA = 512
THREADS_PROBE_IMAGES = 8
NUM_TIMINGS = 2  # the fastest counts: the machine may be busy for a moment
LONG_SECONDS = 0.2  # a launch that takes longer is timed once


@dataclass(frozen=True)
class Speed:
    """How long one network takes.

    Args:
        train_seconds: Seconds a training image.
        val_seconds: Seconds a validation image.
    """

    train_seconds: float
    val_seconds: float

    def trial_seconds(self, plan: Plan) -> float:
        """Return the seconds of a trial that runs to its end."""
        per_epoch = plan.train_images * self.train_seconds + plan.val_images * self.val_seconds
        return plan.epochs * per_epoch


def measure_speed(
    architecture: Architecture, input_spec: InputSpec, recipe: Recipe, engine: Engine
) -> Speed:
    """Time a training step and an evaluation of a network on random images.

    A step on a smaller batch comes first and is not timed. Where the images do not fit in memory
    fewer are taken.
    """
    num_images = PROBE_IMAGES_CUDA
    if not engine.is_cuda:
        num_images = max(4, min(64, PROBE_MACS // count(architecture, input_spec).macs))
    while True:
        try:
            with engine.applied():
                probe = _make_probe(architecture, input_spec, recipe, engine, num_images)
                train_seconds = _time(probe.train, engine)
                val_seconds = _time(probe.evaluate, engine)
            return Speed(train_seconds / num_images, val_seconds / num_images)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or num_images == 1:
                raise
        num_images //= 2


def choose_threads(
    architectures: Sequence[Architecture],
    input_spec: InputSpec,
    recipe: Recipe,
    device: str,
    most: int,
) -> int:
    """Return the CPU threads with which a few networks train fastest in sum: 1, or `most`.

    Small nets lose more to the threads' meeting than they win. Sums in floating point depend on
    the number, so a study chooses once.
    """
    if most == 1 or device != "cpu":
        return most
    one, many = 0.0, 0.0
    for architecture in architectures:
        one += _time_one_step(architecture, input_spec, recipe, Engine(device, 1))
    for architecture in architectures:
        many += _time_one_step(architecture, input_spec, recipe, Engine(device, most))
        if many > one:  # on a busy machine threads that wait for each other take ten times as long
            break
    return 1 if one <= many else most


@dataclass(frozen=True)
class _Probe:
    """A network that is ready to be timed, on a fixed batch."""

    train: Callable[[], None]
    evaluate: Callable[[], object]


def _make_probe(
    architecture: Architecture,
    input_spec: InputSpec,
    recipe: Recipe,
    engine: Engine,
    num_images: int,
) -> _Probe:
    """Build a network and take one small step with it; inside `engine.applied`."""
    job = Job(architecture, input_spec, recipe, epochs=1, seed=0)
    state = make_state(job, engine, steps_per_epoch=1, micro_batch=num_images)
    model, totals = state.model, EpochTotals(engine.device)
    step = make_step(model, state.optimizer, state.average, totals, recipe, engine, num_images)
    side = input_spec.image_size
    images = torch.rand(num_images, input_spec.channels, side, side, device=engine.device)
    images = images.contiguous(memory_format=engine.memory_format)
    targets = torch.arange(num_images, device=engine.device) % input_spec.num_classes
    step(images[:2], targets[:2])

    def evaluate() -> object:
        model.eval()
        with torch.inference_mode(), engine.autocast(recipe.precision):
            return model(images)

    return _Probe(lambda: step(images, targets), evaluate)


def _time_one_step(
    architecture: Architecture, input_spec: InputSpec, recipe: Recipe, engine: Engine
) -> float:
    with engine.applied():
        probe = _make_probe(architecture, input_spec, recipe, engine, THREADS_PROBE_IMAGES)
        return _time(probe.train, engine, num_timings=1)


def mean_speed(speeds: Sequence[Speed]) -> Speed:
    """Return the mean over networks."""
    return Speed(
        statistics.fmean(speed.train_seconds for speed in speeds),
        statistics.fmean(speed.val_seconds for speed in speeds),
    )


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
    threads = engine.num_threads or torch.get_num_threads()
    if engine.is_cuda:
        return Plan(engine.device, threads, num_train, num_val, epochs or GPU_EPOCHS)
    plan = Plan(engine.device, threads, num_train, num_val, epochs or CPU_EPOCHS[0])
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


def fit_batch(recipe: Recipe, train_images: int) -> Recipe:
    """Return the recipe with a batch that leaves enough steps in an epoch of a small slice.

    The learning rate shrinks with the square root of the batch. In proportion to it was too low
    for trainings this short (LOG.md, 2026-11-23).

    Source: Krizhevsky 2014, One weird trick for parallelizing CNNs, section 5.
    """
    batch_size = recipe.batch_size
    while batch_size > MIN_BATCH and train_images // batch_size < MIN_STEPS_PER_EPOCH:
        batch_size //= 2
    scale = math.sqrt(batch_size / recipe.batch_size)
    return replace(
        recipe,
        batch_size=batch_size,
        learning_rate=recipe.learning_rate * scale,
        floor_learning_rate=recipe.floor_learning_rate * scale,
    )


def typical_speed(speeds: Sequence[Speed], units: Sequence[float], typical_units: float) -> Speed:
    """Return the speed of a network of typical cost, from a few timed ones.

    A few networks of a space differ tenfold; their speeds in relation to their costs do not.

    Args:
        speeds: Of the timed networks.
        units: Their `nas.forecast.cost_units`.
        typical_units: The mean over the space.
    """
    mean = mean_speed(speeds)
    scale = typical_units / statistics.fmean(units)
    return Speed(mean.train_seconds * scale, mean.val_seconds * scale)


def _time(launch: Callable[[], object], engine: Engine, num_timings: int = NUM_TIMINGS) -> float:
    """Return the seconds of the fastest of a few launches."""
    timings = []
    for _ in range(num_timings):
        if engine.is_cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        launch()
        if engine.is_cuda:
            torch.cuda.synchronize()
        timings.append(time.perf_counter() - started)
        if timings[-1] > LONG_SECONDS:
            break
    return min(timings)


def _round_down(images: float) -> int:
    """Return a round number of images: 1,000, 1,500, 2,000, 3,000, 5,000, 7,000, 10,000, ..."""
    if images < MIN_CPU_IMAGES:
        return 0
    power = 10 ** int(math.log10(images))
    return max(int(step * power) for step in (1, 1.5, 2, 3, 5, 7) if step * power <= images)
