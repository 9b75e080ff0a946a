"""The learning-rate range test: an untrained network, a few hundred steps, a rate that rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nas.data.images import Dataset
from nas.errors import RunError
from nas.files import write_figure_atomically, write_table_atomically
from nas.training.batches import make_batches
from nas.training.engine import Engine, NoRoomError, halving
from nas.training.loop import SMALLEST_MICRO_BATCH
from nas.training.lr_suggestion import Suggestion, has_diverged, smooth, suggest
from nas.training.open_training import Training, open_training
from nas.training.state import TrainSpec

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
    data: Dataset,
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
        data: Training images, and validation images where `validate` is set, on the device.
        engine: Where.
        ramp: The rates.
        validate: Measure on the validation images `NUM_VALIDATIONS` times.
        on_step: Called after every step.

    Raises:
        RunError: Not even `SMALLEST_MICRO_BATCH` images fit in memory, or the loss is not finite
            before any step.
    """
    recipe = replace(spec.recipe, ema_half_life_share=0.0)
    spec = replace(spec, recipe=recipe, epochs=ENDLESS)
    engine = replace(engine, cuda_graph=False)  # each step is waited for: a capture wins little
    if not validate:
        data = data.with_splits(data.train, None)
    batches = make_batches(data, recipe, spec.seed)

    def attempt(micro_batch: int) -> RangeTest:
        with engine.applied():
            return _follow(open_training(spec, batches, engine, micro_batch), ramp, on_step)

    try:
        return halving(attempt, recipe.batch_size, SMALLEST_MICRO_BATCH, engine.device)
    except NoRoomError as error:
        raise RunError(error.reason) from error


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


def _follow(training: Training, ramp: Ramp, on_step: Callable[[RangeStep], None]) -> RangeTest:
    """Take the steps of a ramp, one batch each."""
    every = max(1, ramp.num_steps // NUM_VALIDATIONS)
    steps: list[RangeStep] = []
    for number, (images, labels, _) in enumerate(islice(training.feed_on(), ramp.num_steps)):
        rate = ramp.rate(number)
        training.totals.reset()
        training.step_at(images, labels, rate)
        loss, accuracy = training.totals.read(len(images))  # sync
        if not math.isfinite(loss):
            if not steps:
                raise RunError(f"the loss of the untrained network is {loss}, not finite")
            return RangeTest(tuple(steps), rate)
        val = training.validate() if (number + 1) % every == 0 else None
        steps.append(RangeStep(number + 1, rate, loss, accuracy, val.accuracy if val else None))
        on_step(steps[-1])
        if has_diverged([item.loss for item in steps], ramp.num_steps):
            return RangeTest(tuple(steps), rate)
    return RangeTest(tuple(steps), None)


def _smoothed(steps: Sequence[RangeStep], num_steps: int) -> tuple[list[float], list[float]]:
    return (
        smooth([step.loss for step in steps], num_steps),
        smooth([step.accuracy for step in steps], num_steps),
    )
