"""Samplers: which network is trained next.

`make_sampler` gives an Optuna sampler that keeps the budget and never repeats a network. A new
sampler is one file with a `Proposer` (`nas.samplers.contract`) and one row in `SAMPLERS`; it is
made of a `CandidateSpace` and of what happens to draws over the budget.
Optuna is imported when a sampler is made, not when the names are listed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nas.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nas.samplers.adapter import BudgetSampler
    from nas.samplers.contract import CandidateSpace, OverBudget, UpperRungs

DEFAULT_SAMPLER = "predictor"


SAMPLERS = {  # the file in this folder, and the proposer in it
    "random": "UniformProposer",
    "tpe": "TpeProposer",
    "evolution": "EvolutionProposer",
    "predictor": "PredictorProposer",
}


def make_sampler(
    name: str,
    spaces: Sequence[CandidateSpace],
    seed: int,
    over_budget: OverBudget = "resample",
    upper: UpperRungs = lambda study: (),
) -> BudgetSampler:
    """Return the Optuna sampler of that name; its proposals take turns among budgets.

    Args:
        name: A key of `SAMPLERS`.
        spaces: One space under its budget, or under several.
        seed: The study's seed, at least 0.
        over_budget: `resample` redraws what breaks the budget, `prune` proposes it as it is.
        upper: Says which rungs a study has; what they measured guides `predictor`.

    Raises:
        UnknownNameError: No sampler has that name.
    """
    from nas.samplers.adapter import BudgetArm, BudgetSampler

    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    proposer = getattr(import_module(f"nas.samplers.{name}"), SAMPLERS[name])
    arms = [BudgetArm(space, proposer(space, over_budget)) for space in spaces]
    return BudgetSampler(arms, seed, over_budget, upper)
