"""What the plan of a new study rests on: a few of its networks, timed on this machine."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nas.architecture import Architecture
from nas.data.records import TrainingData
from nas.data.split import train_and_val
from nas.device import Engine
from nas.forecast import cost_units
from nas.plan import choose_plan, typical_speed
from nas.probe import Speed, choose_bfloat16, choose_threads, measure_speed
from nas.recipe import Recipe
from nas.request import Request
from nas.space import BudgetedSpace
from nas.study import Plan

NUM_PROBES = 4  # sampled networks that are timed, beside the known ones
NUM_DRAWS = 256  # sampled networks whose costs are counted
NUM_SHALLOW_OF = (
    32  # of which the two shallowest choose the threads: one layer tells as much as 50
)


@dataclass(frozen=True)
class Sizing:
    """The plan of a new study and what it was chosen from.

    Args:
        plan: How its trials train.
        typical_units: Mean `nas.forecast.cost_units` of networks drawn uniformly.
        speed: How long a network of that cost takes.
        known_speeds: How long the known networks take.
    """

    plan: Plan
    typical_units: float
    speed: Speed
    known_speeds: tuple[Speed, ...]


def size_trials(
    request: Request,
    device: str,
    recipe: Recipe,
    space: BudgetedSpace,
    data: TrainingData,
    known: Mapping[str, Architecture],
) -> Sizing:
    """Time a few networks and choose the plan of a new study; some seconds.

    Args:
        request: Seed, epochs and workers.
        device: Where the trials train.
        recipe: How.
        space: Where the sampled networks come from.
        data: Their input, and how many images there are.
        known: The networks that are trained first.
    """
    seed, spec = request.seed or 0, data.input_spec
    rng = np.random.default_rng(seed)
    drawn = [space.decode(space.sample(rng)) for _ in range(NUM_DRAWS)]
    most = max(1, (os.cpu_count() or 1) // request.workers)
    shallow = sorted(drawn[:NUM_SHALLOW_OF], key=_depth)[:2]
    units = [cost_units(network, spec, device != "cpu") for network in drawn]
    typical_units = statistics.fmean(units)
    typical = min(zip(drawn, units, strict=True), key=lambda pair: abs(pair[1] - typical_units))[0]
    engine = Engine(
        device,
        choose_threads(shallow, spec, recipe, device, most),
        bfloat16=choose_bfloat16(typical, spec, recipe, Engine(device)),
    )
    timed = (*drawn[:NUM_PROBES], *known.values())
    speeds = tuple(measure_speed(network, spec, recipe, engine) for network in timed)
    timed_units = [cost_units(network, spec, device != "cpu") for network in timed]
    speed = typical_speed(speeds, timed_units, typical_units)
    train, val = train_and_val(data, seed)
    plan = choose_plan(engine, speed, len(train), len(val), spec.num_classes, request.epochs)
    return Sizing(plan, typical_units, speed, speeds[NUM_PROBES:])


def _depth(network: Architecture) -> int:
    return sum(stage.depth for stage in network.stages)
