"""How long a search will still take, from the trials it has behind it. No PyTorch needed.

A network's cost is estimated in relative units, from its multiply-adds and activations; the trials
that are done say how many seconds a unit takes. In this way the large baselines at the beginning
predict the small networks to come, and trials before the pruning sets in predict those after it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.network.architecture import Architecture, InputSpec
from nas.network.complexity import count
from nas.study.attributes import KNOWN, NUM_NETWORKS, SAMPLED_UNITS
from nas.study.definition import StudyDefinition
from nas.study.pruners import STARTUP_TRIALS, WARMUP_FRACTION
from nas.study.trials import TrialRow
from nas.training.result import Ending

# What an activation, and the launches of a block, cost on a CPU, in multiply-adds: over 43
# networks of 10,000 to 5 million parameters at 8 and 32 pixels, a step took 0.14 to 0.35 ns a unit
ACTIVATION_MACS, BLOCK_MACS = 130.0, 200_000.0
# Fraction of the epochs that a trial runs after the start-up trials, before any was seen. It was
# 0.5 for random networks (replayed curves), and 0.83 and 0.87 in two searches with the default
# sampler, whose proposals are seldom in the worse half
PRUNED_FRACTION = 0.75
# Weight of the space's mean cost, in trials, against the mean cost of the sampled trials: a
# sampler begins anywhere and ends near the budget, where most networks of a space are
UNITS_WEIGHT = 8.0
RECENT = 20  # the last sampled trials, whose mean cost stands for that of those to come
RECENCY = 0.9  # weight of a trial relative to the next one's; a half after seven trials
FRACTION_WEIGHT = 5.0  # of `PRUNED_FRACTION`, in trials, against what the pruner has done so far


@dataclass(frozen=True)
class Terms:
    """What the trials of a study have in common, for a forecast.

    Args:
        input_spec: The input of its networks.
        is_cuda: Whether they train on a GPU, where launches cost more than arithmetic.
        epochs: Epochs of a trial that runs to its end.
        num_startup: Trials that complete before the pruning sets in; None is no pruning.
        sampled_units: Mean `cost_units` of networks drawn uniformly; None where unknown.
        num_networks: Networks that there are within the budget; None where unknown.
    """

    input_spec: InputSpec
    is_cuda: bool
    epochs: int
    num_startup: int | None
    sampled_units: float | None = None
    num_networks: int | None = None


def terms_of(definition: StudyDefinition, attrs: Mapping[str, Any] | None = None) -> Terms:
    """Return the terms of a study.

    Args:
        definition: What defines it.
        attrs: The user attributes of the Optuna study; None before it exists.
    """
    attrs = attrs or {}
    return Terms(
        definition.input_spec,
        definition.plan.device != "cpu",
        definition.plan.epochs,
        None if definition.pruner == "none" else STARTUP_TRIALS,
        attrs.get(SAMPLED_UNITS),
        attrs.get(NUM_NETWORKS),
    )


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
    earliest = (math.ceil(WARMUP_FRACTION * epochs) + 1) / epochs
    return max(PRUNED_FRACTION, min(earliest, 1.0))


def expected_epochs(num_trials: int, num_complete: int, fraction: float, terms: Terms) -> float:
    """Return the epochs that the next trials run in sum.

    Args:
        num_trials: The next trials.
        num_complete: Trials that completed so far.
        fraction: Of the epochs, of a trial after the pruning set in.
        terms: The study's.
    """
    num_full = num_trials
    if terms.num_startup is not None:
        num_full = min(num_trials, max(terms.num_startup - num_complete, 0))
    return terms.epochs * (num_full + fraction * (num_trials - num_full))


def seconds_left(
    rows: Sequence[TrialRow], num_trials: int, terms: Terms, workers: int = 1
) -> float | None:
    """Return the expected seconds until a study has its trials, None before the first one ended.

    Args:
        rows: Every trial of the study, by number.
        num_trials: The trials it is to have in total.
        terms: What its trials have in common.
        workers: Trainings that run at once.
    """
    timed = [row for row in rows if row.is_counted and row.elapsed_seconds and row.num_epochs]
    costs = {row.number: _units(row, terms) for row in rows}
    rate = _seconds_per_unit(timed, costs)
    if rate is None:
        return None
    num_complete = sum(row.state is Ending.FINISHED or row.is_broken for row in rows)
    fraction = _pruned_fraction(rows, terms)
    open_rows = [row for row in rows if row.state in ("running", "waiting") and costs[row.number]]
    num_trials = min(num_trials, terms.num_networks or num_trials)
    num_left = max(num_trials - sum(row.is_counted for row in rows), 0)
    open_rows = open_rows[:num_left]
    epochs_each = expected_epochs(num_left, num_complete, fraction, terms) / max(num_left, 1)
    unit_epochs = sum(
        costs[row.number] * max(epochs_each - row.num_epochs, 0.0) for row in open_rows
    )
    sampled = [costs[row.number] for row in timed if row.source != KNOWN]
    prior = terms.sampled_units or statistics.fmean(costs[row.number] for row in timed)
    mean = _shrunk(sampled[-RECENT:], prior, UNITS_WEIGHT)
    unit_epochs += mean * epochs_each * (num_left - len(open_rows))
    return rate * unit_epochs / max(min(workers, num_left), 1)


def seconds_per_trial(rows: Sequence[TrialRow], terms: Terms) -> float | None:
    """Return the expected seconds of the next trial, None before the first one ended.

    It is what `seconds_left` says of a study that is to have one trial more. In a recorded search
    it was as near to the mean of the next ten trials as the mean of the sampled ones before: 32%.
    """
    counted = [row for row in rows if row.is_counted]
    return seconds_left(counted, len(counted) + 1, replace(terms, num_networks=None))


def _seconds_per_unit(timed: Sequence[TrialRow], costs: Mapping[int, float]) -> float | None:
    """Return the seconds of one cost unit; late trials weigh most, as a machine's load changes."""
    seconds = units = 0.0
    for row in timed:
        seconds = RECENCY * seconds + (row.elapsed_seconds or 0.0)
        units = RECENCY * units + costs[row.number] * row.num_epochs
    return seconds / units if units else None


def _units(row: TrialRow, terms: Terms) -> float:
    """Return the cost units of a trial's network, 0 while it is not known."""
    if row.architecture is None:
        return 0.0
    architecture = Architecture.from_dict(dict(row.architecture))
    return cost_units(architecture, terms.input_spec, terms.is_cuda)


def _pruned_fraction(rows: Sequence[TrialRow], terms: Terms) -> float:
    """Return the fraction of the epochs that trials run after the pruning set in."""
    if terms.num_startup is None:
        return 1.0
    num_complete, fractions = 0, []
    for row in rows:
        if num_complete >= terms.num_startup and row.is_counted and row.num_epochs:
            fractions.append(row.num_epochs / terms.epochs)
        num_complete += row.state is Ending.FINISHED or row.is_broken
    return _shrunk(fractions, pruned_fraction(terms.epochs), FRACTION_WEIGHT)


def _shrunk(values: Sequence[float], prior: float, weight: float) -> float:
    """Return the mean of the values and a prior that counts as `weight` of them."""
    return (prior * weight + sum(values)) / (weight + len(values))
