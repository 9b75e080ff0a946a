"""What the plan of a new study rests on: a few of its networks, timed on this machine."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from nas.data.images import Dataset
from nas.data.split import num_train, train_and_val
from nas.errors import DataError
from nas.machine import usable_cores
from nas.network.architecture import Architecture, InputSpec
from nas.network.complexity import count
from nas.results.forecast import cost_units, expected_epochs, num_unpruned, pruned_fraction
from nas.results.spending import SECONDS_PER_HOUR
from nas.search.plan import (
    GPU_BATCH,
    MORE_RUNGS,
    choose_folds,
    choose_plan,
    default_rungs,
    seconds_a_trial,
    trial_seconds,
    typical_speed,
)
from nas.search.request import Request
from nas.search.workers import pays_off, workers_in_memory
from nas.space import BudgetedSpace
from nas.study.definition import GPU_EPOCHS, Plan
from nas.study.rungs import RungSpec
from nas.training.engine import Engine
from nas.training.fitting import fit_recipe
from nas.training.recipe import Recipe, get_recipe
from nas.training.timing import Speed, choose_bfloat16, choose_threads, measure_speed

MOST_TRIALS = 10**6  # that a time budget is sized to
NUM_PROBES = 4  # sampled networks that are timed, beside the baselines
NUM_SIZING_DRAWS = 256  # sampled networks whose costs are counted
# sampled networks of which the two shallowest choose the threads: one layer tells as much as 50
NUM_SHALLOW_OF = 32


@dataclass(frozen=True)
class Sizing:
    """The plan of a new study and what it was chosen from.

    Args:
        plan: How its trials train.
        recipe: With what batch and rates.
        typical_units: Mean `nas.results.forecast.cost_units` of networks drawn uniformly.
        speed: How long a network of that cost takes.
        baseline_speeds: How long the baselines take.
        workers: Trainings at once.
        is_short: Whether there is one worker only because more would take longer to start than
            they save.
    """

    plan: Plan
    recipe: Recipe
    typical_units: float
    speed: Speed
    baseline_speeds: tuple[Speed, ...]
    workers: int
    is_short: bool = False

    def search_seconds(self, num_trials: int, pruner: str) -> float:
        """Return what the trials of the search take, one after the other."""
        baselines = self.baseline_speeds[:num_trials]
        num_sampled, num_full = num_trials - len(baselines), num_unpruned(pruner, len(baselines))
        epochs = self.plan.epochs
        fraction = expected_epochs(epochs, num_sampled, num_full, pruned_fraction(epochs)) / epochs
        typical = trial_seconds(self.speed, self.plan) * fraction
        return typical + sum(trial_seconds(item, self.plan) for item in baselines)

    def all_seconds(self, num_trials: int, rungs: Sequence[RungSpec], pruner: str) -> float:
        """Return what the search and its rungs take, one training after the other."""
        return self.search_seconds(num_trials, pruner) + sum(map(self.rung_seconds, rungs))

    def rung_seconds(self, rung: RungSpec) -> float:
        """Return what a rung takes with networks of typical cost, one after the other."""
        images = rung.images or self.plan.train_images
        plan = replace(self.plan, epochs=rung.epochs, train_images=images)
        return rung.count * trial_seconds(self.speed, plan)


def size_trials(
    request: Request,
    device: str,
    space: BudgetedSpace,
    data: Dataset,
    baselines: Mapping[str, Architecture],
) -> Sizing:
    """Time a few networks and choose plan and workers of a new study; some seconds.

    Args:
        request: Seed, recipe, epochs, workers, and how much is to be trained.
        device: Where the trials train.
        space: Where the sampled networks come from.
        data: Their input, and how many images there are.
        baselines: The networks that are trained first.
    """
    seed, spec, is_gpu = request.new["seed"], data.input_spec, device != "cpu"
    val, folds = train_and_val(data, seed)[1], request.folds or 1
    if request.folds is None and data.val is None:
        folds = choose_folds(request.new["metric"], val.class_counts, data.num_images)
        try:
            num_train(data, folds, seed)
        except DataError:  # groups of images that cannot be dealt to so many
            folds = 1
    num_val = len(val)
    most_val = num_val if folds == 1 else data.num_images
    sizes = num_train(data, folds, seed), most_val, spec.num_classes
    row, largest = get_recipe(request.new["recipe_name"]), GPU_BATCH if is_gpu else 0
    recipe = fit_recipe(row, request.overrides, sizes[0], largest, request.epochs or GPU_EPOCHS)
    rng = np.random.default_rng(seed)
    drawn = [space.decode(space.sample(rng)) for _ in range(NUM_SIZING_DRAWS)]
    units = [cost_units(network, spec, is_gpu) for network in drawn]
    typical_units = statistics.fmean(units)
    typical = min(zip(drawn, units, strict=True), key=lambda pair: abs(pair[1] - typical_units))[0]
    shallow = sorted(drawn[:NUM_SHALLOW_OF], key=lambda network: network.depth)[:2]
    most = max(1, usable_cores() // (request.workers or 1))
    at_once = _trainings_at_once(request, device, workers_for(drawn, spec, recipe.batch_size))
    engine = Engine(
        device,
        choose_threads(shallow, spec, recipe, device, most, at_once),
        bfloat16=choose_bfloat16(typical, spec, recipe, Engine(device)),
    )
    timed = (*drawn[:NUM_PROBES], *baselines.values())
    speeds = tuple(measure_speed(network, spec, recipe, engine) for network in timed)
    timed_units = [cost_units(network, spec, is_gpu) for network in timed]
    speed = typical_speed(speeds, timed_units, typical_units)
    workers = at_once(engine.num_threads or 1)
    num_rungs = len(request.rungs) if request.rungs is not None else None
    device_seconds = (request.hours or 0.0) * SECONDS_PER_HOUR * workers
    seconds = seconds_a_trial(device_seconds, request.trials, num_rungs)
    plan = choose_plan(engine, speed, *sizes, request.epochs, seconds, folds)
    sizing = Sizing(
        plan,
        fit_recipe(row, request.overrides, plan.train_images, largest, plan.epochs),
        typical_units,
        speed,
        speeds[NUM_PROBES:],
        workers,
    )
    if request.workers is None and not _do_workers_pay_off(sizing, request):
        alone = replace(request, workers=1)  # its threads may be others
        return replace(size_trials(alone, device, space, data, baselines), is_short=True)
    return sizing


def complete_request(
    request: Request, sizing: Sizing, num_train: int, num_networks: int | None
) -> Request:
    """Return the request of a new study with the rungs, and what its hours hold, where not given.

    Args:
        request: What it names stays.
        sizing: What the study's plan rests on.
        num_train: Images of the training split.
        num_networks: Networks that there are; None where unknown.
    """

    def rungs_of(num_trials: int) -> tuple[RungSpec, ...]:
        if request.rungs is not None:
            return request.rungs
        if "targets" in request.new:  # the largest budget alone would climb
            return ()
        return default_rungs(sizing.plan, num_train, num_trials)

    def seconds_of(num_trials: int) -> float:
        return sizing.all_seconds(num_trials, rungs_of(num_trials), request.new["pruner"])

    if request.hours is None or request.trials is not None:
        num_trials = min(request.num_trials(), num_networks or MOST_TRIALS)
        return replace(request, rungs=rungs_of(num_trials))
    limit, most = request.hours * SECONDS_PER_HOUR * sizing.workers, num_networks or MOST_TRIALS
    found = 1
    # between two of these the number of rungs stays, and the seconds rise with that of the trials
    for low, high in pairwise([1, *(n for n in MORE_RUNGS if n <= most), most + 1]):
        fitting = bisect_right(range(low, high), limit, key=seconds_of)
        found = low + fitting - 1 if fitting else found
    return replace(request, trials=found, rungs=rungs_of(found))


def workers_for(networks: Sequence[Architecture], spec: InputSpec, batch_size: int) -> int:
    """Return how many workers fit in memory that train networks like these.

    Args:
        networks: Some of the space.
        spec: Their input.
        batch_size: Images a step.
    """
    activations = statistics.fmean(count(network, spec).activations for network in networks)
    return workers_in_memory(activations, batch_size)


def _trainings_at_once(request: Request, device: str, most: int) -> Callable[[int], int]:
    """Return how many trainings run at once, given the threads of each.

    Args:
        request: May name the number; else how many trials there are bounds it.
        device: On a GPU it is one.
        most: As many as fit in memory.
    """
    if request.workers is not None or device != "cpu":
        return lambda threads: request.workers or 1
    cores, most = usable_cores(), min(most, request.num_trials())
    return lambda threads: max(1, min(cores // threads, most))


def _do_workers_pay_off(sizing: Sizing, request: Request) -> bool:
    """Tell whether the workers of a new study save more time than it takes to start them."""
    num_trials, rungs = request.num_trials(), request.rungs or ()
    seconds = sizing.all_seconds(num_trials, rungs, request.new["pruner"])
    return pays_off(sizing.workers, seconds, request.time_limit_seconds)
