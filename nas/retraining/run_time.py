"""How long a full training will take, and with how many threads: timed on its own steps."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch

from nas.data.images import Dataset
from nas.data.loader import EvalLoader
from nas.machine import usable_cores
from nas.retraining.run import RunSpec, train_spec_of
from nas.training.batches import make_batches
from nas.training.cuda_graph import WARMUP_STEPS
from nas.training.engine import Engine, NoRoomError, free_memory, halving
from nas.training.evaluate import evaluate
from nas.training.loop import SMALLEST_MICRO_BATCH
from nas.training.open_training import open_training
from nas.training.timing import choose_bfloat16, choose_threads

PROBE_STEPS, PROBE_SECONDS = 6, 3.0  # timed before a run, whichever ends first


def choose_engine(run: RunSpec, data: Dataset) -> Engine:
    """Return the run's engine; on a CPU with what trains its network fastest."""
    if run.engine.is_cuda:
        return run.engine
    shared = (data.input_spec, run.recipe)
    most = min(torch.get_num_threads(), usable_cores())
    return replace(
        run.engine,
        num_threads=choose_threads([run.architecture], *shared, run.engine.device, most),
        bfloat16=choose_bfloat16(run.architecture, *shared, run.engine),
    )


def estimate_seconds(run: RunSpec, data: Dataset) -> float | None:
    """Return how long the epochs of a run will take, from a few of its own steps timed here.

    Costs about `PROBE_SECONDS`, or two steps where those take longer. None where not even
    `SMALLEST_MICRO_BATCH` images fit in memory.

    Args:
        run: The run.
        data: Its images on the device.
    """

    def attempt(micro_batch: int) -> float:
        with run.engine.applied():
            return run.epochs * _time_epoch(run, data, micro_batch)

    try:
        return halving(attempt, run.recipe.batch_size, SMALLEST_MICRO_BATCH, run.engine.device)
    except NoRoomError:
        return None
    finally:
        free_memory(run.engine.device)


def _time_epoch(run: RunSpec, data: Dataset, micro_batch: int) -> float:
    """Return the seconds of an epoch: the median of a few steps, and a batch of validation."""
    engine, recipe = run.engine, run.recipe
    batches = make_batches(data, recipe, run.seed)
    training = open_training(train_spec_of(run, data), batches, engine, micro_batch)
    warm_steps = WARMUP_STEPS + 1 if engine.is_cuda else 1
    timings: list[float] = []
    started = lap = time.perf_counter()
    for number, batch in enumerate(training.feed(0), start=1):
        training.take_step(*batch)
        float(training.totals.loss)  # sync
        now = time.perf_counter()
        timings, lap = [*timings, now - lap], now
        is_enough = number >= warm_steps + PROBE_STEPS or now - started > PROBE_SECONDS
        if number > warm_steps and is_enough:
            break
    seconds = len(batches.train) * statistics.median(timings[warm_steps:] or timings)
    if data.val is not None:
        few = next(iter(EvalLoader(data.val, data.normalisation, recipe.batch_size)))
        lap = time.perf_counter()
        evaluate(training.state.result_model, [few], engine, recipe.precision)  # sync
        seconds += (time.perf_counter() - lap) / len(few.labels) * len(data.val)
    return seconds
