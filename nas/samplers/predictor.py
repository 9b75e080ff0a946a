"""A surrogate of the network that ranks thousands of feasible candidates.

start       uniform feasible networks
then        pool = uniform feasible networks and changes of the best
            -> the best mean + `KAPPA` standard deviations, not yet measured or running
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nas.samplers.contract import (
    CandidateSpace,
    Configuration,
    OverBudget,
    ProposalRequest,
    trained_within,
)
from nas.samplers.random import UniformProposer
from nas.samplers.surrogate import Surrogate, make_fitter

NUM_STARTUP_TRIALS = 4
KAPPA = 0.7  # of the upper confidence bound: standard deviations added to the mean
POOL_SIZE = 1500  # uniform feasible networks, drawn anew for every `POOL_LIFE` trials
POOL_LIFE = 10
NUM_PARENTS = 8  # networks that are changed, in each of the rounds
NUM_CHANGES = 8  # changes of each
NUM_ROUNDS = 2


class PredictorProposer:
    """Rank a pool of feasible networks by a Gaussian process over their features.

    Several workers: what runs counts as measured at its predicted mean.

    Args:
        space: The candidates.
        over_budget: What happens to choices over the budget; it matters at the start only.
    """

    def __init__(self, space: CandidateSpace, over_budget: OverBudget = "resample") -> None:
        self._space = space
        self._uniform = UniformProposer(space, over_budget)
        self._fitter = make_fitter(space)
        self._pool: tuple[tuple[int, int], list[Configuration], np.ndarray] | None = None

    def draws(self, request: ProposalRequest) -> Iterator[tuple[str, Configuration]]:
        """Yield unmeasured candidates, best first; uniform draws at the start."""
        history = request.history
        surrogate = None
        if len(history.observations) >= NUM_STARTUP_TRIALS:
            surrogate = self._fitter.fit(
                history.observations + history.upper, history.pending, history.climbing
            )
        if surrogate is None:
            yield from self._uniform.draws(request)
            return
        for choices in self._rank(request, surrogate):
            if self._space.key(choices) not in history.taken:
                yield "predictor", choices

    def _rank(self, request: ProposalRequest, surrogate: Surrogate) -> Iterator[Configuration]:
        """Yield the pool, best first, after the best were changed and put among it."""
        pool, x = self._uniform_pool(request)
        values = _acquisition(surrogate, x)
        parents = self._best_trained(request, surrogate)
        for _ in range(NUM_ROUNDS):
            drawn = [
                self._space.canonical(self._space.mutate(parent, request.rng))
                for parent in parents
                for _ in range(NUM_CHANGES)
            ]
            changed = [choices for choices in drawn if self._space.is_feasible(choices)]
            if not changed:
                break
            pool = pool + changed
            values = np.concatenate(
                [values, _acquisition(surrogate, self._fitter.features(changed))]
            )
            parents = [pool[index] for index in np.argsort(-values)[:NUM_PARENTS]]
        for index in np.argsort(-values, kind="stable"):
            yield pool[index]

    def _best_trained(self, request: ProposalRequest, surrogate: Surrogate) -> list[Configuration]:
        """Return what the search trained best; once rungs have, what would be best in the top."""
        trained = trained_within(self._space, request.history.observations)
        scores = np.array([item.score for item in trained])
        if request.history.upper and trained:
            x = self._fitter.features_at([(item.key, item.choices) for item in trained])
            scores = surrogate.predict(x)[0]
        order = np.argsort(-scores, kind="stable")[:NUM_PARENTS]
        return [trained[index].choices for index in order]

    def _uniform_pool(self, request: ProposalRequest) -> tuple[list[Configuration], np.ndarray]:
        """Return uniform feasible networks and their features; the same for ten trials."""
        signature = (request.seed, request.trial.number // POOL_LIFE)
        if self._pool is None or self._pool[0] != signature:
            rng = np.random.default_rng([*signature, POOL_SIZE])
            pool = [self._space.canonical(self._space.sample(rng)) for _ in range(POOL_SIZE)]
            self._pool = signature, pool, self._fitter.features(pool)
        return self._pool[1], self._pool[2]


def _acquisition(surrogate: Surrogate, x: np.ndarray) -> np.ndarray:
    mean, deviation = surrogate.predict(x)
    value: np.ndarray = mean + KAPPA * deviation
    return value
