"""The learning-rate range test: an untrained network, a few hundred steps, a rate that rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count as count_from
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from nas.errors import RunError
from nas.files import write_figure_atomically, write_table_atomically
from nas.training.batches import Batches, PlacedSplits, feed_epoch, make_batches
from nas.training.engine import Engine, free_memory, is_out_of_memory
from nas.training.evaluate import evaluate
from nas.training.loop import SMALLEST_MICRO_BATCH
from nas.training.lr_suggestion import Suggestion, has_diverged, smooth, suggest
from nas.training.optimizer import set_learning_rate
from nas.training.state import TrainSpec, make_state
from nas.training.step import EpochTotals, make_step

RAMPS = ("exponential", "linear")
NUM_VALIDATIONS = 20
ENDLESS = 10**6  # epochs of which the test sees the beginning: what a recipe does late is far off
TABLE, PICTURE = "lr_range.csv", "lr_range.png"


@dataclass(frozen=True, slots=True)
class Ramp:
    """How the rate rises.

    Args:
        low: Of the first step, above 0.
        high: Of the last step, above `low`.
        num_steps: Steps.
        kind: ``exponential`` (equal factors) or ``linear`` (equal differences).
    """

    low: float
    high: float
    num_steps: int
    kind: str = "exponential"

    def rate(self, step: int) -> float:
        """Return the rate of a step, from 0."""
        progress = step / (self.num_steps - 1)
        if self.kind == "linear":
            return self.low + (self.high - self.low) * progress
        return float(self.low * (self.high / self.low) ** progress)


@dataclass(frozen=True, slots=True)
class RangeStep:
    """What one step measured on its own batch, before it moved the weights.

    `val_accuracy` is that of the weights after the step; None where it was not measured.
    """

    step: int
    learning_rate: float
    loss: float
    accuracy: float
    val_accuracy: float | None = None


class RangeTest(NamedTuple):
    """The steps of a test, in order, and the rate at which the loss diverged, if it did."""

    steps: tuple[RangeStep, ...]
    diverged_at: float | None

    def suggest(self, num_steps: int, num_classes: int) -> Suggestion | str:
        """Return the bounds that the test suggests, or why it suggests none; see `suggest`."""
        rates = [step.learning_rate for step in self.steps]
        return suggest(rates, [step.loss for step in self.steps], num_steps, num_classes)


def run_range_test(
    spec: TrainSpec,
    splits: PlacedSplits,
    engine: Engine,
    ramp: Ramp,
    validate: bool = False,
    on_step: Callable[[RangeStep], None] = lambda step: None,
) -> RangeTest:
    """Train an untrained network while the rate rises; stop where the loss diverges.

    The recipe's schedule is replaced by the ramp, its momentum stays where it is, and no weights
    are averaged; all else is as in a training. A network that does not fit in memory is trained
    in smaller pieces. Costs the ramp's steps; waits for the device at each.

    Args:
        spec: What is trained; its epochs have no effect.
        splits: Training images, and validation images where `validate` is set.
        engine: Where.
        ramp: The rates.
        validate: Measure on the validation images `NUM_VALIDATIONS` times.
        on_step: Called after every step.

    Raises:
        RunError: Not even `SMALLEST_MICRO_BATCH` images fit in memory, or the loss is not finite
            before any step.
    """
    recipe = replace(spec.recipe, ema_half_life_share=0.0)
    spec = replace(spec, recipe=recipe)
    batches = make_batches(splits, recipe, spec.seed)
    if not validate:
        batches = replace(batches, val=None)
    micro_batch = recipe.batch_size
    while True:
        try:
            with engine.applied():
                return _attempt(spec, batches, engine, ramp, micro_batch, on_step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = str(error).partition("\n")[0]
        free_memory(engine.device)  # not earlier: the error's traceback holds the tensors
        if micro_batch // 2 < SMALLEST_MICRO_BATCH:
            raise RunError(f"out of memory at {micro_batch} images a forward pass: {message}")
        micro_batch //= 2


def write_range_table(folder: Path, steps: Sequence[RangeStep], num_steps: int) -> Path:
    """Write the steps, with loss and accuracy smoothed beside them.

    Raises:
        StorageError: The disk is full, or the folder is absent or not writable.
    """
    smoothed = zip(*_smoothed(steps, num_steps), strict=True)
    rows = [
        {**asdict(step), "smoothed_loss": loss, "smoothed_accuracy": accuracy}
        for step, (loss, accuracy) in zip(steps, smoothed, strict=True)
    ]
    write_table_atomically(folder / TABLE, list(rows[0]), rows)
    return folder / TABLE


def draw_picture(
    folder: Path,
    steps: Sequence[RangeStep],
    ramp: Ramp,
    suggestion: Suggestion | None,
    title: str,
) -> Path:
    """Draw loss and accuracy over the rate, the suggested range shaded.

    Raises:
        StorageError: The disk is full, or the folder is absent or not writable.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    rates = [step.learning_rate for step in steps]
    losses, accuracies = _smoothed(steps, ramp.num_steps)
    for axes, raw, line in (
        (upper, [step.loss for step in steps], losses),
        (lower, [step.accuracy for step in steps], accuracies),
    ):
        axes.plot(rates, raw, ".", color="tab:blue", alpha=0.25, markersize=4, label="each batch")
        axes.plot(rates, line, color="tab:blue", label="smoothed")
        axes.grid(alpha=0.3)
    measured = [(s.learning_rate, s.val_accuracy) for s in steps if s.val_accuracy is not None]
    if measured:
        lower.plot(*zip(*measured, strict=True), "s-", color="tab:orange", label="validation")
    if suggestion is not None:
        label = f"suggested: {suggestion.minimum:.2g} to {suggestion.maximum:.2g}"
        for axes in (upper, lower):
            axes.axvspan(
                suggestion.minimum, suggestion.maximum, color="tab:green", alpha=0.12, label=label
            )
        upper.axvline(
            suggestion.edge, color="tab:red", linestyle=":", label=f"lowest: {suggestion.edge:.2g}"
        )
    bottom, begin = min(losses), losses[0]
    upper.set_ylim(bottom - 0.15 * (begin - bottom) - 0.02, begin + 0.5 * (begin - bottom) + 0.1)
    upper.set_ylabel("loss")
    lower.set_ylabel("accuracy")
    lower.set_ylim(bottom=0)
    lower.set_xlabel("learning rate")
    if ramp.kind == "exponential":
        lower.set_xscale("log")
    upper.legend(loc="best", fontsize="small")
    if measured:
        lower.legend(loc="best", fontsize="small")
    figure.suptitle(title, fontsize="medium")
    write_figure_atomically(folder / PICTURE, figure)
    return folder / PICTURE


def _attempt(
    spec: TrainSpec,
    batches: Batches,
    engine: Engine,
    ramp: Ramp,
    micro_batch: int,
    on_step: Callable[[RangeStep], None],
) -> RangeTest:
    state = make_state(spec, engine, len(batches.train), micro_batch)
    totals = EpochTotals(engine.device)
    step = make_step(
        state.model, state.optimizer, None, totals, spec.recipe, engine, state.micro_batch
    )
    every = max(1, ramp.num_steps // NUM_VALIDATIONS)
    steps: list[RangeStep] = []
    for number, (images, labels) in zip(
        range(ramp.num_steps), _endless(spec, batches), strict=False
    ):
        rate = ramp.rate(number)
        set_learning_rate(state.optimizer, rate)
        totals.reset()
        step(images.contiguous(memory_format=engine.memory_format), labels)
        loss, accuracy = totals.read(len(images))  # sync
        if not math.isfinite(loss):
            if not steps:
                raise RunError(f"the loss of the untrained network is {loss}, not finite")
            return RangeTest(tuple(steps), rate)
        val = None
        if batches.val is not None and (number + 1) % every == 0:
            val = evaluate(state.model, batches.val, engine, spec.recipe.precision).accuracy
        steps.append(RangeStep(number + 1, rate, loss, accuracy, val))
        on_step(steps[-1])
        if has_diverged([item.loss for item in steps], ramp.num_steps):
            return RangeTest(tuple(steps), rate)
    return RangeTest(tuple(steps), None)


def _endless(spec: TrainSpec, batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    for epoch in count_from():
        for images, labels, _ in feed_epoch(batches.train, spec.recipe, epoch, ENDLESS, spec.seed):
            yield images, labels


def _smoothed(steps: Sequence[RangeStep], num_steps: int) -> tuple[list[float], list[float]]:
    return (
        smooth([step.loss for step in steps], num_steps),
        smooth([step.accuracy for step in steps], num_steps),
    )
