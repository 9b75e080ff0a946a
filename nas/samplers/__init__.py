"""Samplers: which network is trained next.

`make_sampler` gives an Optuna sampler that keeps the budget and never repeats a network. A new
sampler is one file with a `Proposer` (`nas.samplers.contract`) and one row in `SAMPLERS`.
Optuna is imported when a sampler is made, not when the names are listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.errors import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nas.samplers.adapter import BudgetSampler
    from nas.samplers.contract import CandidateSpace, OverBudget, Proposer

DEFAULT_SAMPLER = "predictor"


def _random(space: CandidateSpace, over_budget: OverBudget) -> Proposer:
    from nas.samplers.random import UniformProposer

    return UniformProposer(space, over_budget)


def _tpe(space: CandidateSpace, over_budget: OverBudget) -> Proposer:
    from nas.samplers.tpe import TpeProposer

    return TpeProposer(space, over_budget)


def _evolution(space: CandidateSpace, over_budget: OverBudget) -> Proposer:
    from nas.samplers.evolution import EvolutionProposer

    return EvolutionProposer(space, over_budget)


def _predictor(space: CandidateSpace, over_budget: OverBudget) -> Proposer:
    from nas.samplers.predictor import PredictorProposer

    return PredictorProposer(space, over_budget)


SAMPLERS: dict[str, Callable[[CandidateSpace, OverBudget], Proposer]] = {
    "random": _random,
    "tpe": _tpe,
    "evolution": _evolution,
    "predictor": _predictor,
}


def make_sampler(
    name: str, space: CandidateSpace, seed: int, over_budget: OverBudget = "resample"
) -> BudgetSampler:
    """Return the Optuna sampler of that name for a space under its budget.

    Args:
        name: A key of `SAMPLERS`.
        space: The candidates.
        seed: The study's seed, at least 0.
        over_budget: `resample` redraws what breaks the budget, `prune` proposes it as it is.

    Raises:
        UnknownNameError: No sampler has that name.
    """
    return make_rotation(name, [space], seed, over_budget)


def make_rotation(
    name: str, spaces: Sequence[CandidateSpace], seed: int, over_budget: OverBudget = "resample"
) -> BudgetSampler:
    """Return a sampler whose proposals take turns among budgets, each learning from all trials.

    Args:
        name: A key of `SAMPLERS`.
        spaces: One space under several budgets.
        seed: The study's seed, at least 0.
        over_budget: As of `make_sampler`.

    Raises:
        UnknownNameError: No sampler has that name.
    """
    from nas.samplers.adapter import Arm, BudgetSampler

    if name not in SAMPLERS:
        raise unknown_name("sampler", name, SAMPLERS)
    arms = [Arm(space, SAMPLERS[name](space, over_budget)) for space in spaces]
    return BudgetSampler(arms, seed, over_budget)
