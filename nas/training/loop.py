"""Train one network and measure it after every epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nas.network.model import count_batches
from nas.seeds import derive_seed
from nas.training.batches import Batches, feed_epoch
from nas.training.cuda_graph import with_graph
from nas.training.engine import Engine, free_memory, is_out_of_memory
from nas.training.evaluate import evaluate
from nas.training.optimizer import set_learning_rate, set_momentum
from nas.training.result import EpochRecord, Status, TrainResult
from nas.training.state import CheckpointPace, TrainSpec, TrainState, make_state
from nas.training.step import EpochTotals, Step, make_step

__all__ = ["Batches", "OnEpoch", "TrainSpec", "train"]

logger = logging.getLogger(__name__)

SMALLEST_MICRO_BATCH = 8

OnEpoch = Callable[[EpochRecord], bool | None]


def train(
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    *,
    on_epoch: OnEpoch | None = None,
    checkpoint_path: Path | None = None,
    resume: bool = False,
    pace: CheckpointPace | None = None,
) -> TrainResult:
    """Train a network and measure it after every epoch; the last epoch's figures are the result.

    On a CPU, at an equal number of threads, the result is a function of the spec and the
    batches, bit for bit, however often it was interrupted and resumed. PyTorch's global random
    state and thread count are as before on return.

    A training that diverges is a result with its reason, not an error. So is one that does not
    fit in memory, once gradients have been accumulated over pieces down to
    `SMALLEST_MICRO_BATCH` images; each halving starts the training again.

    Args:
        spec: What is trained and how.
        batches: The data.
        engine: What it runs on.
        on_epoch: Called after every epoch, once a checkpoint that is due is written; returns True
            to stop there. After a resume it sees the epochs that were done, again, first.
        checkpoint_path: Where the state is written at `pace` and at every stop; None writes none.
        resume: Go on from `checkpoint_path` if there is such a file.
        pace: How often; None is after every epoch on a CPU and by time on a GPU.

    Raises:
        StorageError: The checkpoint cannot be written, or is damaged.
        StudyMismatchError: The checkpoint is of another training.
    """
    micro_batch = spec.recipe.batch_size
    pace = pace or CheckpointPace(by_time=engine.is_cuda)
    while True:
        try:
            with engine.applied():
                return _attempt(
                    spec, batches, engine, micro_batch, on_epoch, checkpoint_path, resume, pace
                )
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).partition("\n")[0]
        free_memory(engine.device)  # not earlier: the error's traceback holds the tensors
        reason = f"out of memory at {micro_batch} images a forward pass: {message}"
        if micro_batch // 2 < SMALLEST_MICRO_BATCH:
            threads = engine.num_threads or torch.get_num_threads()
            return TrainResult("out_of_memory", reason, (), 0.0, 0.0, micro_batch, threads)
        logger.warning("%s; starting again with %d", reason, micro_batch // 2)
        micro_batch //= 2


def _attempt(
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    micro_batch: int,
    on_epoch: OnEpoch | None,
    checkpoint_path: Path | None,
    resume: bool,
    pace: CheckpointPace,
) -> TrainResult:
    """Run the epochs that are not done yet."""
    state = make_state(spec, engine, len(batches.train), micro_batch)
    if resume and checkpoint_path is not None and checkpoint_path.exists():
        state.load(checkpoint_path, spec, engine.device)
    totals = EpochTotals(engine.device)
    step = make_step(
        state.model,
        state.optimizer,
        state.average,
        totals,
        spec.recipe,
        engine,
        state.micro_batch,
    )
    step = with_graph(step, engine, spec.recipe)
    clock, written = Clock(state.elapsed_seconds), state.epoch

    def keep(is_stop: bool = False) -> None:
        nonlocal written
        if checkpoint_path is not None and written < state.epoch and (is_stop or pace.is_due()):
            with pace.writing():
                state.save(checkpoint_path, spec)
            written = state.epoch

    stop = _report(on_epoch, state.curve)
    while not (status := _ending(state, spec, stop)):
        record = _train_epoch(state, spec, batches, engine, step, totals, clock)
        state.curve.append(record)
        keep()
        try:
            stop = _report(on_epoch, [record])
        except KeyboardInterrupt:
            keep(is_stop=True)
            raise
    keep(is_stop=True)
    return TrainResult(
        status,
        _reason(status, state, spec),
        tuple(state.curve),
        state.elapsed_seconds,
        clock.images_per_second,
        state.micro_batch,
        torch.get_num_threads(),
        state.result_model.eval() if status == "finished" else None,
    )


def _train_epoch(
    state: TrainState,
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    step: Step,
    totals: EpochTotals,
    clock: Clock,
) -> EpochRecord:
    """Train one epoch and measure it; waits for the device at its end alone."""
    recipe, num_images, num_passes, learning_rate = spec.recipe, 0, 0, 0.0
    engine.seed_generators(derive_seed(spec.seed, "dropout", state.epoch))
    totals.reset()
    for images, labels, progress in feed_epoch(
        batches.train, recipe, state.epoch, spec.epochs, spec.seed
    ):
        learning_rate = recipe.learning_rate_at(progress)
        set_learning_rate(state.optimizer, learning_rate)
        if recipe.momentum_dip:
            set_momentum(state.optimizer, recipe.momentum_at(progress))
        step(images.contiguous(memory_format=engine.memory_format), labels)
        num_images += len(images)
        num_passes += -(-len(images) // state.micro_batch)
    for model in (state.model, *([state.average.shadow] if state.average else [])):
        count_batches(model, num_passes)
    train_loss, train_accuracy = totals.read(num_images)  # sync
    clock.count_training(num_images)
    val = None
    if batches.val is not None:
        val = evaluate(state.result_model, batches.val, engine, recipe.precision)  # sync
    return EpochRecord(
        epoch=state.epoch + 1,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        val_loss=val.loss if val else None,
        val_accuracy=val.accuracy if val else None,
        learning_rate=learning_rate,
        elapsed_seconds=clock.lap(),
    )


class Clock:
    """The time a training took, over all the processes it ran in."""

    def __init__(self, before_seconds: float) -> None:
        self._start = time.perf_counter() - before_seconds
        self._mark = time.perf_counter()
        self._training_seconds = 0.0
        self._num_images = 0

    def count_training(self, num_images: int) -> None:
        """Count images trained on since the last lap."""
        self._num_images += num_images
        self._training_seconds += time.perf_counter() - self._mark

    def lap(self) -> float:
        """Return the seconds since the training began, and start a new lap."""
        self._mark = time.perf_counter()
        return self._mark - self._start

    @property
    def images_per_second(self) -> float:
        """Return training images over the time of training steps; 0 before the first."""
        return self._num_images / self._training_seconds if self._num_images else 0.0


def _report(on_epoch: OnEpoch | None, records: list[EpochRecord]) -> bool:
    """Call back for each record up to one that is told to stop."""
    return on_epoch is not None and any(on_epoch(record) for record in records)


def _ending(state: TrainState, spec: TrainSpec, stop: bool) -> Status | None:
    """Return how the training ended, or None while it goes on."""
    last = state.curve[-1] if state.curve else None
    if last and not all(math.isfinite(loss) for loss in _losses(last)):
        return "diverged"
    if state.epoch >= spec.epochs:
        return "finished"
    return "stopped" if stop else None


def _reason(status: Status, state: TrainState, spec: TrainSpec) -> str | None:
    if status == "diverged":
        losses = ", ".join(f"{loss:g}" for loss in _losses(state.curve[-1]))
        return f"diverged in epoch {state.epoch} of {spec.epochs}: loss {losses}"
    if status == "stopped":
        return f"stopped on request after epoch {state.epoch} of {spec.epochs}"
    return None


def _losses(record: EpochRecord) -> list[float]:
    return [loss for loss in (record.train_loss, record.val_loss) if loss is not None]
