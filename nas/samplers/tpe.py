"""Optuna's TPE, kept inside the budget.

Each proposal asks a fresh `TPESampler` seeded from the study's seed and the trial's number, so
that redraws leave no trace and a resume proposes the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from optuna.samplers import TPESampler

from nas.samplers.contract import CandidateSpace, Configuration, OverBudget, ProposalRequest
from nas.samplers.random import UniformProposer, draw_choices

NUM_STARTUP_TRIALS = 10
NUM_EI_CANDIDATES = 24


class TpeProposer:
    """Draw from the joint density of the best tenth of the trials over that of the rest.

    TPE ranks diverged trials last among the complete ones, and pruned trials behind all of these:
    both belong to the rest, and move the proposals equally.

    Args:
        space: The candidates.
        over_budget: What happens to choices over the budget.
    """

    def __init__(self, space: CandidateSpace, over_budget: OverBudget = "resample") -> None:
        self._space = space
        self._uniform = UniformProposer(space, over_budget)

    def draws(self, request: ProposalRequest) -> Iterator[tuple[str, Configuration]]:
        """Yield draws of one TPE without end; uniform ones during start-up."""
        if len(request.history.observations) < NUM_STARTUP_TRIALS:
            yield from self._uniform.draws(request)
        # NOTE: constant_liar would write each redraw into the trial; the adapter knows what runs.
        sampler = TPESampler(
            n_startup_trials=1,
            n_ei_candidates=NUM_EI_CANDIDATES,
            seed=int(request.rng.integers(2**31)),
            multivariate=True,
            group=False,
            constant_liar=False,
        )
        given = self._space.distributions
        varying = {name: item for name, item in given.items() if not item.single()}
        constant = {name: item for name, item in given.items() if item.single()}
        fixed = draw_choices(constant, request.rng)
        while True:
            drawn = sampler.sample_relative(request.study, request.trial, varying)
            yield "tpe", {**drawn, **fixed}
