"""Uniform sampling: what every other sampler is compared with, and begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.samplers.contract import CandidateSpace, Configuration, OverBudget, ProposalRequest


class UniformProposer:
    """Draw uniformly among the distinct feasible networks.

    Under `prune` the draws are uniform over the choices instead, over budget or not, as plain
    Optuna draws them.

    Args:
        space: The candidates.
        over_budget: What happens to choices over the budget.
    """

    def __init__(self, space: CandidateSpace, over_budget: OverBudget = "resample") -> None:
        self._space = space
        self._over_budget = over_budget

    def draws(self, request: ProposalRequest) -> Iterator[tuple[str, Configuration]]:
        """Yield uniform draws without end."""
        while True:
            if self._over_budget == "prune":
                yield "uniform", draw_choices(self._space.distributions, request.rng)
            else:
                yield "uniform", self._space.sample(request.rng)


def draw_choices(
    distributions: Mapping[str, BaseDistribution], rng: np.random.Generator
) -> Configuration:
    """Draw every value on its own and uniformly; the budget is not looked at."""
    return {name: _draw_value(distributions[name], rng) for name in distributions}


def _draw_value(distribution: BaseDistribution, rng: np.random.Generator) -> object:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    assert isinstance(distribution, IntDistribution)  # a space is finite
    steps = (distribution.high - distribution.low) // distribution.step
    return distribution.low + distribution.step * int(rng.integers(steps + 1))
