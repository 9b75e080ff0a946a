"""Which number format trains faster on this machine, measured; chosen once, then recorded."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch

from nas.device import Engine
from nas.graph import Launch
from nas.recipe import Recipe
from nas.state import Job, make_state
from nas.step import EpochTotals, make_step

MIN_SPEEDUP = 1.15  # bfloat16 rounds: it has to be worth it


def choose_precision(job: Job, engine: Engine, batch_size: int = 32, num_pairs: int = 3) -> str:
    """Return ``bfloat16`` where training steps measure faster with it, else ``float32``.

    CPUs differ: some have instructions for bfloat16 and some emulate it. A GPU is not measured;
    it gets bfloat16. The choice changes results in the last digits, so a study makes it once and
    records it in its recipe. It costs `2 * (num_pairs + 1)` steps on one thread, in that thread's
    own time, so that other work on the machine does not disturb it.

    Args:
        job: A network of the kind that will be trained, and its recipe.
        engine: The device.
        batch_size: Images a step; fewer than in the training cost less and tell the same.
        num_pairs: Steps timed in each format, in turn; the median of the ratios decides.
    """
    if job.recipe.precision != "auto":
        return job.recipe.precision
    if engine.is_cuda:
        return "bfloat16"
    with replace(engine, num_threads=1).applied():
        steps = [
            _bound_step(job, replace(job.recipe, precision=precision), engine, batch_size)
            for precision in ("float32", "bfloat16")
        ]
        for step in steps:
            step()  # kernels are chosen and memory is taken
        pairs = [[_seconds(step) for step in steps] for _ in range(num_pairs)]
    speedup = statistics.median(full / half for full, half in pairs)
    return "bfloat16" if speedup >= MIN_SPEEDUP else "float32"


def _bound_step(job: Job, recipe: Recipe, engine: Engine, batch_size: int) -> Launch:
    """Return a training step bound to a batch of noise."""
    state = make_state(job, engine, steps_per_epoch=1, micro_batch=batch_size)
    step = make_step(
        state.model,
        state.optimizer,
        state.average,
        EpochTotals(engine.device),
        recipe,
        engine,
        batch_size,
    )
    spec = job.input_spec
    images = torch.randn(batch_size, spec.channels, spec.image_size, spec.image_size)
    images = images.contiguous(memory_format=engine.memory_format)
    targets = torch.arange(batch_size) % spec.num_classes
    return lambda: step(images, targets)


def _seconds(launch: Launch) -> float:
    started = time.process_time()
    launch()
    return time.process_time() - started
