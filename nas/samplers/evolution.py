"""Regularized evolution: the youngest networks breed, the best of a few at a time.

Source: Real et al., Regularized Evolution for Image Classifier Architecture Search, AAAI 2019,
algorithm 1; here a child that breaks the budget or was measured is drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator

from nas.samplers.contract import (
    CandidateSpace,
    Configuration,
    OverBudget,
    ProposalRequest,
    trained_within,
)
from nas.samplers.random import UniformProposer

NUM_STARTUP_TRIALS = 20
POPULATION_SIZE = 50
SAMPLE_SIZE = 10


class EvolutionProposer:
    """Mutate the best of a random sample of the youngest trials.

    A pruned or diverged trial, or one of a larger budget, takes a place among the youngest and
    never breeds.

    Args:
        space: The candidates.
        over_budget: What happens to choices over the budget.
    """

    def __init__(self, space: CandidateSpace, over_budget: OverBudget = "resample") -> None:
        self._space = space
        self._uniform = UniformProposer(space, over_budget)

    def draws(self, request: ProposalRequest) -> Iterator[tuple[str, Configuration]]:
        """Yield children without end, each of its own tournament; uniform draws at the start."""
        observations = request.history.observations
        breeding = trained_within(self._space, observations[-POPULATION_SIZE:])
        if len(observations) < NUM_STARTUP_TRIALS or not breeding:
            yield from self._uniform.draws(request)
        size = min(SAMPLE_SIZE, len(breeding))
        while True:
            sample = request.rng.choice(len(breeding), size=size, replace=False)
            parent = max((breeding[index] for index in sample), key=lambda item: item.score)
            yield "evolution", self._space.mutate(parent.choices, request.rng)
