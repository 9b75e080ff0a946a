"""A training, put together: what the loop, the probes, the range test and the bench all open."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor

from nas.errors import StorageError
from nas.training.batches import Batches, feed_epoch
from nas.training.cuda_graph import with_graph
from nas.training.engine import Engine
from nas.training.evaluate import Evaluation, evaluate
from nas.training.optimizer import set_learning_rate, set_momentum
from nas.training.state import TrainSpec, TrainState, make_state
from nas.training.step import EpochTotals, Step, balanced_weights, make_step

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is ready for its next step; used inside `Engine.applied`.

    Args:
        spec: What is trained and how.
        batches: The data; None where the caller brings its own images.
        engine: What it runs on.
        state: Everything that its steps and epochs change.
        totals: Loss and hits of the steps since the last reset.
        step: Trains on one batch; captured where engine and recipe allow it.
    """

    spec: TrainSpec
    batches: Batches | None
    engine: Engine
    state: TrainState
    totals: EpochTotals
    step: Step

    def feed(self, epoch: int) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield images, labels and progress of an epoch, from 0; see `feed_epoch`."""
        assert self.batches is not None
        spec = self.spec
        return feed_epoch(self.batches.train, spec.recipe, epoch, spec.epochs, spec.seed)

    def feed_on(self) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Yield what `feed` does, epoch after epoch without an end."""
        for epoch in count():
            yield from self.feed(epoch)

    def take_step(self, images: Tensor, labels: Tensor, progress: float) -> float:
        """Train on a batch at the rate that the recipe has there; return the rate."""
        recipe = self.spec.recipe
        if recipe.momentum_dip:
            set_momentum(self.state.optimizer, recipe.momentum_at(progress))
        learning_rate = recipe.learning_rate_at(progress)
        self.step_at(images, labels, learning_rate)
        return learning_rate

    def step_at(self, images: Tensor, labels: Tensor, learning_rate: float) -> None:
        """Train on a batch at a rate of the caller's; no host sync."""
        set_learning_rate(self.state.optimizer, learning_rate)
        self.step(images.contiguous(memory_format=self.engine.memory_format), labels)

    def validate(self) -> Evaluation | None:
        """Measure the network on the validation images; None where there are none."""
        if self.batches is None or self.batches.val is None:
            return None
        precision = self.spec.recipe.precision
        return evaluate(self.state.result_model, self.batches.val, self.engine, precision)  # sync


def open_training(
    spec: TrainSpec,
    batches: Batches | None,
    engine: Engine,
    micro_batch: int,
    checkpoint: Path | None = None,
) -> Training:
    """Return a training before its next step; moves PyTorch's global random state.

    Args:
        spec: What is trained and how.
        batches: The data; None where the caller brings its own images, one step an epoch.
        engine: What it runs on.
        micro_batch: Images a forward pass.
        checkpoint: Go on from this file where it exists; one that cannot be used is said.
    """
    steps_per_epoch = len(batches.train) if batches is not None else 1
    state = make_state(spec, engine, steps_per_epoch, micro_batch)
    if checkpoint is not None and checkpoint.exists():
        try:
            state.load(checkpoint, spec, engine.device)
        except StorageError as error:
            logger.warning("%s; the training begins anew", error)
            state = make_state(spec, engine, steps_per_epoch, micro_batch)
    totals = EpochTotals(engine.device)
    weights = None
    if batches is not None and spec.recipe.class_weights == "balanced":
        weights = balanced_weights(batches.train.split.labels, spec.input_spec.num_classes)
    step = make_step(
        state.model,
        state.optimizer,
        state.average,
        totals,
        spec.recipe,
        engine,
        state.micro_batch,  # of the checkpoint's, if that is smaller
        weights,
    )
    return Training(spec, batches, engine, state, totals, with_graph(step, engine, spec.recipe))
