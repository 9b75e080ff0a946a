"""What a budget on a space means: baselines near it, and what a search would compute.

Standard library only, but for drawing networks, which imports NumPy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.errors import ArchitectureError
from nas.network.architecture import Architecture
from nas.network.complexity import count
from nas.network.identity import identify
from nas.network.presets import PRESETS
from nas.statistics import mean_error

if TYPE_CHECKING:
    from nas.space.budgeted import BudgetedSpace

NUM_NEAREST = 4  # baselines that are nearest to the budget, in the space or not
NUM_IN_SPACE = 3  # and those nearest to it that a search may find
NUM_DRAWS = 256  # networks that say what an average one computes
STEP_MACS = 3  # multiply-adds of a training step over those of its forward pass


@dataclass(frozen=True)
class Baseline:
    """A known network, to be compared with a budget.

    Args:
        name: A preset's name, or ``baseline`` for the space's own.
        num_params: Its parameters.
        macs: Its multiply-adds for one image.
        is_in_space: Whether the space has it.
    """

    name: str
    num_params: int
    macs: int
    is_in_space: bool


@dataclass(frozen=True)
class SearchCost:
    """What a search computes, nothing pruned.

    Args:
        mean_macs: Multiply-adds of an average network within the caps, for one image.
        standard_error: Of that mean, from `NUM_DRAWS` draws.
        total_macs: Of all trainings.
    """

    mean_macs: float
    standard_error: float
    total_macs: float


def nearest_baselines(space: BudgetedSpace, baseline: Architecture) -> list[Baseline]:
    """Return the baselines nearest to the budget, those of the space among them, by size.

    A network that cannot be built at the space's input is left out.
    """
    networks: Mapping[str, Architecture] = {
        **{name: preset.architecture for name, preset in PRESETS.items()},
        "baseline": baseline,
    }
    found: dict[str, Baseline] = {}
    for name, architecture in networks.items():
        try:
            cost = count(architecture, space.input_spec)
        except ArchitectureError:
            continue
        item = Baseline(name, cost.num_params, cost.macs, space.encode(architecture) is not None)
        found.setdefault(identify(architecture).id, item)

    def distance(item: Baseline) -> float:
        return abs(math.log(item.num_params / space.caps.budget))

    nearest = sorted(found.values(), key=distance)
    in_space = [item for item in nearest if item.is_in_space][:NUM_IN_SPACE]
    return sorted({*nearest[:NUM_NEAREST], *in_space}, key=lambda item: -item.num_params)


def search_cost(
    space: BudgetedSpace, num_trials: int, num_epochs: int, num_images: int
) -> SearchCost:
    """Return what so many trials compute that train average networks of the space to their end.

    Args:
        space: The space under its caps; `NUM_DRAWS` networks are drawn uniformly.
        num_trials: Trials.
        num_epochs: Epochs of each.
        num_images: Training images of an epoch.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    drawn = [float(space.complexity(space.sample(rng)).macs) for _ in range(NUM_DRAWS)]
    mean = statistics.fmean(drawn)
    return SearchCost(
        mean, mean_error(drawn), STEP_MACS * mean * num_images * num_epochs * num_trials
    )
