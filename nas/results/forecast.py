"""What the trainings of a study will still take, from those it has behind it. No PyTorch needed.

A network's cost is estimated in relative units, from its multiply-adds and activations; the
trainings that are done say how many seconds a unit takes. In this way the large baselines at the
beginning predict the small networks to come, and trials before the pruning sets in predict those
after it. Of a network that was trained before, its own seconds say what it takes in a rung.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from nas.network.architecture import Architecture, InputSpec
from nas.network.complexity import count
from nas.study.attributes import KNOWN
from nas.study.pruners import STARTUP_TRIALS, warmup_epochs
from nas.study.trials import TrialRow
from nas.training.result import Ending

if TYPE_CHECKING:
    from nas.results.study_rungs import Rung, StudyRungs

# What an activation, and the launches of a block, cost on a CPU, in multiply-adds: over 43
# networks of 10,000 to 5 million parameters at 8 and 32 pixels, a step took 0.14 to 0.35 ns a unit
ACTIVATION_MACS, BLOCK_MACS = 130.0, 200_000.0
# Fraction of the epochs that a trial runs after the start-up trials, before any was seen. It was
# 0.36, 0.50 and 0.58 in three searches on CIFAR-10 at 16x16 with the default sampler, 0.83 and
# 0.87 in two on other images, whose proposals were seldom in the worse half
PRUNED_FRACTION = 0.6
# Weight of the space's mean cost, in trials, against the mean cost of the sampled trials: a
# sampler begins anywhere and ends near the budget, where most networks of a space are
UNITS_WEIGHT = 8.0
RECENT = 20  # the last sampled trials, whose mean cost stands for that of those to come
RECENCY = 0.9  # weight of a trial relative to the next one's; a half after seven trials
FRACTION_WEIGHT = 3.0  # of `PRUNED_FRACTION`, in trials, against what the pruner has done so far


def cost_units(architecture: Architecture, input_spec: InputSpec, is_cuda: bool) -> float:
    """Return what an epoch of a network costs, relative to others on the same device.

    On a GPU, where launches cost more than arithmetic at these sizes, the number of blocks stands
    for it.
    """
    num_blocks = 2 + sum(stage.depth for stage in architecture.stages)
    if is_cuda:
        return float(num_blocks)
    cost = count(architecture, input_spec)
    return cost.macs + ACTIVATION_MACS * cost.activations + BLOCK_MACS * num_blocks


def pruned_fraction(epochs: int) -> float:
    """Return the fraction of the epochs that a trial is expected to run under pruning."""
    earliest = (warmup_epochs(epochs) + 1) / epochs
    return max(PRUNED_FRACTION, min(earliest, 1.0))


def num_unpruned(pruner: str, num_complete: int) -> float:
    """Return how many of the next trials run to their end, whatever they are.

    Args:
        pruner: A name of `nas.study.pruners`.
        num_complete: Trials that completed so far.
    """
    return math.inf if pruner == "none" else max(STARTUP_TRIALS - num_complete, 0)


def expected_epochs(epochs: int, num_trials: int, num_full: float, fraction: float) -> float:
    """Return the epochs that the next trials run in sum.

    Args:
        epochs: Of a trial that runs to its end.
        num_trials: The next trials.
        num_full: Of these, how many run to their end, at most all.
        fraction: Of the epochs, that the others run.
    """
    num_full = min(num_trials, num_full)
    return epochs * (num_full + fraction * (num_trials - num_full))


class Forecast:
    """What a study with its rungs still takes, as far as its trainings so far can tell.

    Args:
        study: The study as it stands.
    """

    def __init__(self, study: StudyRungs) -> None:
        self.study = study

    def seconds_left(self, workers: int = 1) -> float | None:
        """Return the seconds until the study has its trials; None before the first one ended."""
        own, by_rung = self.search_seconds(workers), self.rung_seconds(workers)
        return None if own is None or by_rung is None else own + sum(by_rung)

    def search_seconds(self, workers: int = 1) -> float | None:
        """Return the seconds until the search itself has its trials, without its rungs.

        Args:
            workers: Trainings that run at once.
        """
        own = self._own
        num_left = max((own.num_trials or 0) - own.num_trained, 0)
        unfinished = [row for row in own.unfinished if self._units.get(row.number)]
        begun = [(row.number, row.num_epochs) for row in unfinished][:num_left]
        unknown = [(-1, 0)] * (num_left - len(begun))
        return self._sum(0, self._epochs_each(num_left), begun + unknown, workers)

    def rung_seconds(self, workers: int = 1) -> list[float] | None:
        """Return the seconds of what each rung lacks, the lowest first."""
        found = []
        for index in range(1, len(self.study.rungs)):
            seconds = self._sum(
                index, self.study.rungs[index].epochs, self.study.lacks(index), workers
            )
            if seconds is None:
                return None
            found.append(seconds)
        return found

    def training_seconds(self, index: int = 0, number: int = -1) -> float | None:
        """Return the seconds of a training; None before the first one ended.

        Args:
            index: The rung.
            number: The network, as the search's trial; -1 while it is not known.
        """
        epochs = self._epochs_each(1) if index == 0 else self.study.rungs[index].epochs
        return self._sum(index, epochs, [(number, 0)])

    def climb_seconds(self) -> float | None:
        """Return the seconds of one more network from the search to the top, pruned nowhere."""
        seconds = [
            self._sum(index, rung.epochs, [(-1, 0)]) for index, rung in enumerate(self.study.rungs)
        ]
        return sum(filter(None, seconds)) or None

    def _sum(
        self, index: int, epochs: float, trainings: Sequence[tuple[int, int]], workers: int = 1
    ) -> float | None:
        """Return the seconds of trainings of a rung, each a network and the epochs it has."""
        cost = self.study.rungs[index].epoch_cost
        if not self._image_seconds:
            return None
        seconds = sum(
            max(epochs - num_epochs, 0.0) * cost * self._seconds_per_image(number)
            for number, num_epochs in trainings
        )
        return seconds / max(min(workers, len(trainings)), 1)

    def _seconds_per_image(self, number: int) -> float:
        """Return a network's own, where it was trained, else by its cost; -1 is not known."""
        if number in self._image_seconds:
            return self._image_seconds[number]
        return self._unit_seconds * (self._units.get(number) or self._sampled_mean)

    @property
    def _own(self) -> Rung:
        return self.study.rungs[0]

    @cached_property
    def _timed(self) -> list[tuple[Rung, TrialRow]]:
        """Return the trainings that tell the time, those of the search first."""
        return [
            (rung, row)
            for rung in self.study.rungs
            for row in rung.rows
            if row.is_counted and row.elapsed_seconds and row.num_epochs
        ]

    @cached_property
    def _image_seconds(self) -> dict[int, float]:
        """Return the seconds of an image in the longest training of each network."""
        return {
            row.number: (row.elapsed_seconds or 0.0) / row.num_epochs / rung.epoch_cost
            for rung, row in self._timed
        }

    @cached_property
    def _units(self) -> dict[int, float]:
        """Return the cost units of every network that is known, by trial."""
        definition = self.study.definition
        spec, is_cuda = definition.input_spec, definition.plan.device != "cpu"
        return {
            row.number: cost_units(Architecture.from_dict(dict(row.architecture)), spec, is_cuda)
            for row in self._own.rows
            if row.architecture is not None
        }

    @cached_property
    def _unit_seconds(self) -> float:
        """Return the seconds of an image and unit; late trials weigh most: the load changes."""
        seconds = units = 0.0
        for rung, row in self._timed:
            seconds = RECENCY * seconds + (row.elapsed_seconds or 0.0)
            cost = row.num_epochs * rung.epoch_cost
            units = RECENCY * units + self._units.get(row.number, 0.0) * cost
        return seconds / units if units else 0.0

    @cached_property
    def _sampled_mean(self) -> float:
        """Return the mean cost units of the networks to come."""
        timed = [row for rung, row in self._timed if rung is self._own]
        costs = {row.number: self._units.get(row.number, 0.0) for row in timed}
        sampled = [costs[row.number] for row in timed if row.source != KNOWN]
        known = list(costs.values()) or list(self._units.values()) or [0.0]
        prior = self.study.sampled_units or statistics.fmean(known)
        return _shrunk(sampled[-RECENT:], prior, UNITS_WEIGHT)

    def _epochs_each(self, num_trials: int) -> float:
        """Return the epochs that each of the next trials of the search runs, in the mean."""
        pruner, num_complete, fractions = self.study.definition.pruner, 0, []
        for row in self._own.rows:
            if not num_unpruned(pruner, num_complete) and row.is_counted and row.num_epochs:
                fractions.append(row.num_epochs / self._own.epochs)
            num_complete += row.state is Ending.FINISHED or row.is_broken
        fraction = _shrunk(fractions, pruned_fraction(self._own.epochs), FRACTION_WEIGHT)
        num_full = num_unpruned(pruner, num_complete)
        epochs = expected_epochs(self._own.epochs, num_trials, num_full, fraction)
        return epochs / max(num_trials, 1)


def _shrunk(values: Sequence[float], prior: float, weight: float) -> float:
    """Return the mean of the values and a prior that counts as `weight` of them."""
    return (prior * weight + sum(values)) / (weight + len(values))
