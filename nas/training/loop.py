"""Train one network and measure it after every epoch."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nas.confusion import other_scores
from nas.network.model import count_batches
from nas.seeds import derive_seed
from nas.training.batches import Batches
from nas.training.engine import Engine, NoRoomError, halving
from nas.training.open_training import Training, open_training
from nas.training.result import Ending, EpochRecord, TrainResult
from nas.training.state import CheckpointPace, TrainSpec

__all__ = ["Batches", "OnEpoch", "TrainSpec", "train"]

SMALLEST_MICRO_BATCH = 8

OnEpoch = Callable[[EpochRecord], bool | None]


def train(
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    *,
    folds: Sequence[Batches] = (),
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

    With folds the network is trained from the same weights on each split by itself, epoch by
    epoch in turn, and the figures of an epoch are the means over the splits; metrics other than
    the accuracy are those of the splits' summed confusion matrix.

    Args:
        spec: What is trained and how.
        batches: The data.
        engine: What it runs on.
        folds: Further splits of the data.
        on_epoch: Called after every epoch, once a checkpoint that is due is written; returns True
            to stop there.
        on_resumed: Called first, for the epochs that a checkpoint has; None is `on_epoch`.
        checkpoint_path: Where the state is written at `pace` and at every stop; None writes none.
            That of the folds is written beside it, see `fold_path`.
        resume: Go on from `checkpoint_path` if there is such a file. One that is damaged or does
            not fit is said in a line, and the training begins anew.
        pace: How often; None is after every epoch on a CPU and by time on a GPU.

    Raises:
        StorageError: The checkpoint cannot be written.
    """
    pace = pace or CheckpointPace(by_time=engine.is_cuda)
    data = [batches, *folds]
    paths = [checkpoint_path and fold_path(checkpoint_path, fold) for fold in range(len(data))]

    def attempt(micro_batch: int) -> TrainResult:
        with engine.applied():
            trainings = [
                open_training(spec, item, engine, micro_batch, path if resume else None)
                for item, path in zip(data, paths, strict=True)
            ]
            return _run(trainings, on_resumed or on_epoch, on_epoch, paths, pace)

    batch_size = spec.recipe.batch_size
    try:
        return halving(attempt, batch_size, SMALLEST_MICRO_BATCH, engine.device, logging.WARNING)
    except NoRoomError as error:
        threads = engine.num_threads or torch.get_num_threads()
        return TrainResult(Ending.OUT_OF_MEMORY, error.reason, (), 0.0, 0.0, error.size, threads)


def fold_path(path: Path, fold: int) -> Path:
    """Return where the checkpoint of a fold lies, from 0, beside that of the first."""
    return path.with_stem(f"{path.stem}-{fold}") if fold else path


def _run(
    trainings: Sequence[Training],
    on_resumed: OnEpoch | None,
    on_epoch: OnEpoch | None,
    paths: Sequence[Path | None],
    pace: CheckpointPace,
) -> TrainResult:
    """Run the epochs that are not done yet, each on every fold."""
    spec, states = trainings[0].spec, [training.state for training in trainings]
    clock = Clock(max(state.elapsed_seconds for state in states))
    written = [state.epoch for state in states]

    def keep(first: int = 0, end: int = len(states)) -> None:
        with pace.writing():
            for fold in range(first, end):
                path, state = paths[fold], states[fold]
                if path is not None and written[fold] < state.epoch:
                    state.save(path, spec)
                    written[fold] = state.epoch

    batches = (training.batches for training in trainings)
    sizes = [getattr(item.val if item else None, "num_images", 1) for item in batches]
    # a kill may have left some folds an epoch behind
    curve = [
        _mean(records, sizes) for records in zip(*(state.curve for state in states), strict=False)
    ]
    stop = _report(on_resumed, curve)
    while not (status := _ending(curve, spec, stop)):
        for fold, training in enumerate(trainings):
            if training.state.epoch == len(curve):
                record = _train_epoch(training, clock)
                if len(trainings) == 1:
                    record = replace(record, val_confusion=None)
                training.state.curve.append(record)
                if not pace.by_time:
                    keep(fold, fold + 1)
        if pace.by_time and pace.is_due():  # one by one, the same fold would always be the due one
            keep()
        curve.append(_mean([state.curve[len(curve)] for state in states], sizes))
        try:
            stop = _report(on_epoch, curve[-1:])
        except KeyboardInterrupt:
            keep()
            raise
    keep()
    return TrainResult(
        status,
        _reason(status, curve, spec),
        tuple(curve),
        curve[-1].elapsed_seconds,
        clock.images_per_second,
        min(state.micro_batch for state in states),
        torch.get_num_threads(),
        states[0].result_model.eval() if status is Ending.FINISHED else None,
    )


def _mean(records: Sequence[EpochRecord], sizes: Sequence[int]) -> EpochRecord:
    """Return one epoch's means over the folds; rate and time are the last fold's.

    Those of the validation are weighed by its images: an accuracy is the fraction that is right.
    """
    if len(records) == 1:
        return records[0]
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    means: dict[str, Any] = {
        name: statistics.fmean(
            [getattr(item, name) for item in records], sizes if name.startswith("val") else None
        )
        for name in names
    }
    matrices = [item.val_confusion for item in records if item.val_confusion is not None]
    is_whole = len(matrices) == len(records)  # not of an older checkpoint
    scores = _scores(np.sum(matrices, axis=0)) if is_whole else None
    return replace(records[-1], **means, val_scores=scores, val_confusion=None)


def _scores(confusion: Any) -> dict[str, list[float]]:
    """Return the metrics beside the accuracy as a checkpoint may hold them: plain lists."""
    return {name: list(found) for name, found in other_scores(confusion).items()}


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
        val_scores=_scores(val.confusion.numpy()) if val else None,
        val_confusion=tuple(val.confusion.tolist()) if val else None,
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


def _report(on_epoch: OnEpoch | None, records: Sequence[EpochRecord]) -> bool:
    """Call back for each record up to one that is told to stop."""
    return on_epoch is not None and any(on_epoch(record) for record in records)


def _ending(curve: Sequence[EpochRecord], spec: TrainSpec, stop: bool) -> Ending | None:
    """Return how the training ended, or None while it goes on."""
    last = curve[-1] if curve else None
    if last and not all(math.isfinite(loss) for loss in _losses(last)):
        return Ending.DIVERGED
    if len(curve) >= spec.epochs:
        return Ending.FINISHED
    return Ending.STOPPED if stop else None


def _reason(status: Ending, curve: Sequence[EpochRecord], spec: TrainSpec) -> str | None:
    if status is Ending.DIVERGED:
        losses = ", ".join(f"{loss:g}" for loss in _losses(curve[-1]))
        return f"diverged in epoch {len(curve)} of {spec.epochs}: loss {losses}"
    if status is Ending.STOPPED:
        return f"stopped on request after epoch {len(curve)} of {spec.epochs}"
    return None


def _losses(record: EpochRecord) -> list[float]:
    return [loss for loss in (record.train_loss, record.val_loss) if loss is not None]
