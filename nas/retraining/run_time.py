"""How long a full training will take, and with how many threads: timed on its own steps."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import torch

from nas.data.images import TrainingData
from nas.data.loader import EvalLoader
from nas.retraining.run import RunData, RunSpec, train_spec_of
from nas.training.batches import feed_epoch, make_batches
from nas.training.cuda_graph import WARMUP_STEPS, with_graph
from nas.training.engine import Engine, free_memory, is_out_of_memory
from nas.training.evaluate import evaluate
from nas.training.loop import SMALLEST_MICRO_BATCH
from nas.training.optimizer import set_learning_rate
from nas.training.state import make_state
from nas.training.step import EpochTotals, make_step
from nas.training.timing import choose_bfloat16, choose_threads

PROBE_STEPS, PROBE_SECONDS = 8, 3.0  # timed before a run, whichever ends first


def choose_engine(run: RunSpec, data: TrainingData) -> Engine:
    """Return the run's engine; on a CPU with what trains its network fastest."""
    if run.engine.is_cuda:
        return run.engine
    shared = (data.input_spec, run.recipe)
    most = torch.get_num_threads()
    return replace(
        run.engine,
        num_threads=choose_threads([run.architecture], *shared, run.engine.device, most),
        bfloat16=choose_bfloat16(run.architecture, *shared, run.engine),
    )


def estimate_seconds(run: RunSpec, run_data: RunData) -> float | None:
    """Return how long the epochs of a run will take, from a few of its own steps timed here.

    Costs about `PROBE_SECONDS`, or two steps where those take longer. None where not even
    `SMALLEST_MICRO_BATCH` images fit in memory.
    """
    micro_batch = run.recipe.batch_size
    while micro_batch >= SMALLEST_MICRO_BATCH:
        try:
            with run.engine.applied():
                return run.epochs * _time_epoch(run, run_data, micro_batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        finally:
            free_memory(run.engine.device)
        micro_batch //= 2
    return None


def _time_epoch(run: RunSpec, run_data: RunData, micro_batch: int) -> float:
    """Return the seconds of an epoch: the median of a few steps, and a batch of validation."""
    engine, recipe = run.engine, run.recipe
    batches = make_batches(run_data.splits, recipe, run.seed)
    state = make_state(train_spec_of(run, run_data.data), engine, len(batches.train), micro_batch)
    totals = EpochTotals(engine.device)
    step = with_graph(
        make_step(
            state.model, state.optimizer, state.average, totals, recipe, engine, micro_batch
        ),
        engine,
        recipe,
    )
    warm_steps = WARMUP_STEPS + 1 if engine.is_cuda else 1
    timings: list[float] = []
    started = lap = time.perf_counter()
    steps = feed_epoch(batches.train, recipe, 0, run.epochs, run.seed)
    for number, (images, labels, progress) in enumerate(steps, start=1):
        set_learning_rate(state.optimizer, recipe.learning_rate_at(progress))
        step(images.contiguous(memory_format=engine.memory_format), labels)
        float(totals.loss)  # sync
        now = time.perf_counter()
        timings, lap = [*timings, now - lap], now
        is_enough = number >= warm_steps + PROBE_STEPS or now - started > PROBE_SECONDS
        if number > warm_steps and is_enough:
            break
    seconds = len(batches.train) * statistics.median(timings[warm_steps:] or timings)
    if run_data.splits.val is not None:
        few = next(iter(EvalLoader(run_data.splits.val, recipe.batch_size)))
        lap = time.perf_counter()
        evaluate(state.result_model, [few], engine, recipe.precision)  # sync
        per_image = (time.perf_counter() - lap) / len(few.labels)
        seconds += per_image * len(run_data.splits.val)
    return seconds
