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
from nas.training.batches import Batches
from nas.training.engine import Engine, NoRoomError, halving
from nas.training.open_training import Training, open_training
from nas.training.result import Ending, EpochRecord, TrainResult
from nas.training.state import CheckpointPace, TrainSpec, TrainState

__all__ = ["Batches", "OnEpoch", "TrainSpec", "train"]

SMALLEST_MICRO_BATCH = 8

OnEpoch = Callable[[EpochRecord], bool | None]


def train(
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    *,
    on_epoch: OnEpoch | None = None,
    on_resumed: OnEpoch | None = None,
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
            to stop there.
        on_resumed: Called first, for the epochs that a checkpoint has; None is `on_epoch`.
        checkpoint_path: Where the state is written at `pace` and at every stop; None writes none.
        resume: Go on from `checkpoint_path` if there is such a file. One that is damaged or does
            not fit is said in a line, and the training begins anew.
        pace: How often; None is after every epoch on a CPU and by time on a GPU.

    Raises:
        StorageError: The checkpoint cannot be written.
    """
    pace = pace or CheckpointPace(by_time=engine.is_cuda)
    checkpoint = checkpoint_path if resume else None

    def attempt(micro_batch: int) -> TrainResult:
        with engine.applied():
            training = open_training(spec, batches, engine, micro_batch, checkpoint)
            return _run(training, on_resumed or on_epoch, on_epoch, checkpoint_path, pace)

    batch_size = spec.recipe.batch_size
    try:
        return halving(attempt, batch_size, SMALLEST_MICRO_BATCH, engine.device, logging.WARNING)
    except NoRoomError as error:
        threads = engine.num_threads or torch.get_num_threads()
        return TrainResult(Ending.OUT_OF_MEMORY, error.reason, (), 0.0, 0.0, error.size, threads)


def _run(
    training: Training,
    on_resumed: OnEpoch | None,
    on_epoch: OnEpoch | None,
    checkpoint_path: Path | None,
    pace: CheckpointPace,
) -> TrainResult:
    """Run the epochs that are not done yet."""
    spec, state = training.spec, training.state
    clock, written = Clock(state.elapsed_seconds), state.epoch

    def keep(is_stop: bool = False) -> None:
        nonlocal written
        if checkpoint_path is not None and written < state.epoch and (is_stop or pace.is_due()):
            with pace.writing():
                state.save(checkpoint_path, spec)
            written = state.epoch

    stop = _report(on_resumed, state.curve)
    while not (status := _ending(state, spec, stop)):
        record = _train_epoch(training, clock)
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
        state.result_model.eval() if status is Ending.FINISHED else None,
    )


def _train_epoch(training: Training, clock: Clock) -> EpochRecord:
    """Train one epoch and measure it; waits for the device at its end alone."""
    spec, state = training.spec, training.state
    num_images, num_passes, learning_rate = 0, 0, 0.0
    training.engine.seed_generators(derive_seed(spec.seed, "dropout", state.epoch))
    training.totals.reset()
    for images, labels, progress in training.feed(state.epoch):
        learning_rate = training.take_step(images, labels, progress)
        num_images += len(images)
        num_passes += -(-len(images) // state.micro_batch)
    for model in (state.model, *([state.average.shadow] if state.average else [])):
        count_batches(model, num_passes)
    train_loss, train_accuracy = training.totals.read(num_images)  # sync
    clock.count_training(num_images)
    val = training.validate()  # sync
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


def _ending(state: TrainState, spec: TrainSpec, stop: bool) -> Ending | None:
    """Return how the training ended, or None while it goes on."""
    last = state.curve[-1] if state.curve else None
    if last and not all(math.isfinite(loss) for loss in _losses(last)):
        return Ending.DIVERGED
    if state.epoch >= spec.epochs:
        return Ending.FINISHED
    return Ending.STOPPED if stop else None


def _reason(status: Ending, state: TrainState, spec: TrainSpec) -> str | None:
    if status is Ending.DIVERGED:
        losses = ", ".join(f"{loss:g}" for loss in _losses(state.curve[-1]))
        return f"diverged in epoch {state.epoch} of {spec.epochs}: loss {losses}"
    if status is Ending.STOPPED:
        return f"stopped on request after epoch {state.epoch} of {spec.epochs}"
    return None


def _losses(record: EpochRecord) -> list[float]:
    return [loss for loss in (record.train_loss, record.val_loss) if loss is not None]
