"""A few networks timed on this machine: what a new study, or a full training, is sized by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.complexity import count
from nas.training.cuda_graph import WARMUP_STEPS
from nas.training.engine import Engine, free_memory, halving, now_of
from nas.training.open_training import open_training
from nas.training.recipe import Recipe
from nas.training.state import TrainSpec

PROBE_MACS = 5 * 10**8  # multiply-adds of a timed forward pass on a CPU
THREADS_PROBE_IMAGES = 8
NUM_TIMINGS = 2  # the fastest counts: the machine may be busy for a moment
LONG_SECONDS = 0.2  # a launch that takes longer is timed once
MIN_SPEEDUP = 1.15  # of bfloat16 on a CPU: it rounds, so it has to be worth it
MIN_BFLOAT16_MACS = 10**7  # multiply-adds for one image
REFERENCE = Architecture(Stem("conv3x3", 64), (Stage("basic", 1, 64, 1),))
REFERENCE_IMAGES = 32


@dataclass(frozen=True)
class Speed:
    """How long one network takes.

    Args:
        train_seconds: Seconds a training image.
        val_seconds: Seconds a validation image.
    """

    train_seconds: float
    val_seconds: float


def measure_speed(
    architecture: Architecture, input_spec: InputSpec, recipe: Recipe, engine: Engine
) -> Speed:
    """Time a training step and an evaluation of a network on random images.

    The steps of a GPU are those of a training: replayed, with the recipe's batch. A step on a
    smaller batch, on a GPU the steps up to the capture, come first and are not timed. Where the
    images do not fit in memory fewer are taken.
    """

    def attempt(num_images: int) -> Speed:
        with engine.applied():
            probe = _make_probe(spec, engine, num_images)
            train_seconds = _time(probe.train, engine)
            val_seconds = _time(probe.evaluate, engine)
        return Speed(train_seconds / num_images, val_seconds / num_images)

    spec, num_images = _probe_spec(architecture, input_spec, recipe), recipe.batch_size
    if not engine.is_cuda:
        num_images = max(4, min(64, PROBE_MACS // count(architecture, input_spec).macs))
    try:
        return halving(attempt, num_images, 1, engine.device)
    finally:
        if engine.is_cuda:
            free_memory(engine.device)  # a captured step keeps its memory


def choose_threads(
    architectures: Sequence[Architecture],
    input_spec: InputSpec,
    recipe: Recipe,
    device: str,
    most: int,
    at_once: Callable[[int], int] = lambda threads: 1,
) -> int:
    """Return the CPU threads with which the most is trained in sum: 1, 2, 4, ..., or `most`.

    Small nets lose more time when threads wait for each other than they gain. Sums in floating
    point depend on the number, so a study chooses once.

    It is assumed that trainings which run at once do not slow each other, and that n threads are
    at most n times as fast as one. So where one training per core may run, each gets one thread
    and nothing is measured; where memory or the number of trials allows fewer, more threads are
    tried.

    Args:
        architectures: Networks of the kind that will be trained.
        input_spec: Their input.
        recipe: How they are trained.
        device: A GPU is not measured.
        most: Threads that there are.
        at_once: How many trainings run at once, given the threads of each.
    """
    if device != "cpu":
        return most
    chosen, rate = 1, float(at_once(1))  # in trainings by one thread
    one: float | None = None
    for threads in [2**power for power in range(1, most.bit_length()) if 2**power < most] + [most]:
        if at_once(threads) * threads <= rate:
            continue
        one = one or _time_steps(architectures, input_spec, recipe, 1)
        limit = one * at_once(threads) / rate
        seconds = _time_steps(architectures, input_spec, recipe, threads, limit)
        if seconds < limit:
            chosen, rate = threads, at_once(threads) * min(one / seconds, threads)
    return chosen


def choose_bfloat16(
    architecture: Architecture, input_spec: InputSpec, recipe: Recipe, engine: Engine
) -> bool:
    """Tell whether to train in bfloat16: what the recipe says, else what is faster here.

    Some CPUs have instructions for bfloat16 and some emulate it, so a training step of
    `REFERENCE` is measured, in the processor time of one thread, which other work on the machine
    disturbs little. There the two kinds of CPU are far apart; a small network would gain next to
    nothing, and noise would decide, so that the same command did not give the same weights.

    Args:
        architecture: A network of the kind that will be trained; below `MIN_BFLOAT16_MACS` it is
            trained in float32.
        input_spec: Its input.
        recipe: How it is trained.
        engine: The device; a GPU is not measured.
    """
    if recipe.precision != "auto" or engine.is_cuda:
        return recipe.precision != "float32"
    if count(architecture, input_spec).macs < MIN_BFLOAT16_MACS:
        return False
    spec = _probe_spec(REFERENCE, InputSpec(), recipe)
    engines = [replace(engine, num_threads=1, bfloat16=choice) for choice in (False, True)]
    with engines[0].applied():
        probes = [_make_probe(spec, item, REFERENCE_IMAGES) for item in engines]
        for probe in probes:
            probe.train()  # kernels are chosen and memory is taken
        pairs = [[_processor_seconds(probe.train) for probe in probes] for _ in range(NUM_TIMINGS)]
    full, half = (min(column) for column in zip(*pairs, strict=True))
    return bool(full / half >= MIN_SPEEDUP)


@dataclass(frozen=True)
class _Probe:
    """A network that is ready to be timed, on a fixed batch."""

    train: Callable[[], None]
    evaluate: Callable[[], object]


def _probe_spec(architecture: Architecture, input_spec: InputSpec, recipe: Recipe) -> TrainSpec:
    return TrainSpec(architecture, input_spec, recipe, epochs=1, seed=0)


def _make_probe(spec: TrainSpec, engine: Engine, num_images: int) -> _Probe:
    """Build a network and take the steps with it that are not timed; inside `engine.applied`."""
    training = open_training(spec, None, engine, num_images)
    model, step = training.state.model, training.step
    given = spec.input_spec
    shape = (num_images, given.channels, given.image_size, given.image_size)
    images = torch.rand(shape, device=engine.device)
    images = images.contiguous(memory_format=engine.memory_format)
    labels = torch.arange(num_images, device=engine.device) % given.num_classes
    num_steps, num_first = (WARMUP_STEPS + 1, num_images) if engine.is_cuda else (1, 2)
    for _ in range(num_steps):  # the last of a GPU is captured, what follows is replayed
        step(images[:num_first], labels[:num_first])

    def evaluate() -> object:
        model.eval()
        with torch.inference_mode(), engine.autocast(spec.recipe.precision):
            return model(images)

    return _Probe(lambda: step(images, labels), evaluate)


def _time_steps(
    architectures: Sequence[Architecture],
    input_spec: InputSpec,
    recipe: Recipe,
    num_threads: int,
    limit: float = math.inf,
) -> float:
    """Return the seconds of one step of each network, or more than `limit`."""
    engine, seconds = Engine("cpu", num_threads), 0.0
    for architecture in architectures:
        with engine.applied():
            spec = _probe_spec(architecture, input_spec, recipe)
            probe = _make_probe(spec, engine, THREADS_PROBE_IMAGES)
            seconds += _time(probe.train, engine, num_timings=1)
        if seconds > limit:  # on a busy machine threads that wait for each other take ten times
            break  # as long
    return seconds


def _time(launch: Callable[[], object], engine: Engine, num_timings: int = NUM_TIMINGS) -> float:
    """Return the seconds of the fastest of a few launches."""
    timings = []
    for _ in range(num_timings):
        started = now_of(engine)
        launch()
        timings.append(now_of(engine) - started)
        if timings[-1] > LONG_SECONDS:
            break
    return min(timings)


def _processor_seconds(launch: Callable[[], object]) -> float:
    started = time.process_time()
    launch()
    return time.process_time() - started
