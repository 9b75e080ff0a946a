"""The one adapter between Optuna and the samplers of this project.

    proposer draws -> over budget? redrawn, at last repaired -> repeat? redrawn -> proposal
                                                    every draw refused -> uniform unseen feasible

Public API of Optuna only. A proposal depends on the study's seed, the trial's number and the
history, on nothing else: a resume, or another process, proposes the same. A trial that was given
back counts to no number, for the one that goes on in its place does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.samplers.contract import (
    GIVEN_BACK_ATTR,
    CandidateSpace,
    Configuration,
    History,
    OverBudget,
    Proposal,
    ProposalRequest,
    Proposer,
    SpaceExhausted,
    UpperRungs,
)
from nas.samplers.history import HistoryReader

MAX_DRAWS = 16  # draws of a proposer before a uniform unseen network takes their place
MAX_REDRAWS = 2  # draws over budget before one is repaired
MAX_UNCOUNTED_DRAWS = 10_000  # uniform draws without an unseen one, where no count is known


@dataclass(frozen=True)
class BudgetArm:
    """A budget that trials are proposed for.

    Args:
        space: The candidates under that budget.
        proposer: The strategy on them.
    """

    space: CandidateSpace
    proposer: Proposer

    def is_exhausted(self, history: History) -> bool:
        """Tell whether every network within the budget is measured or running."""
        count = self.space.num_feasible()
        if count is None or len(history.seen) < count:
            return False
        known = {item.key: item.choices for item in history.observations} | dict(history.pending)
        return sum(map(self.space.is_feasible, known.values())) >= count


class BudgetSampler(BaseSampler):
    """Propose only networks that fit the budget and were not measured before.

    Args:
        arms: One budget, or several that take turns by the trial's number; all of one space, so
            that names, keys and features are the same. An exhausted one leaves its turn to the
            next.
        seed: The study's seed.
        over_budget: `resample` redraws what breaks the budget and at last repairs it;
            `prune` proposes it as it is, for the objective to record as a pruned trial.
        upper: Says which rungs the study has.
    """

    def __init__(
        self,
        arms: Sequence[BudgetArm],
        seed: int,
        over_budget: OverBudget = "resample",
        upper: UpperRungs = lambda study: (),
    ) -> None:
        self._arms = tuple(arms)
        self._space = self._arms[0].space
        self._seed = seed
        self._over_budget = over_budget
        self._reader = HistoryReader(self._space, upper)
        self._proposals: dict[int, Proposal] = {}

    def proposal(self, number: int) -> Proposal | None:
        """Return how the trial's choices came about; None for an enqueued trial."""
        return self._proposals.get(number)

    def history(self, study: optuna.Study) -> History:
        """Return what the samplers know of the study."""
        return self._reader.read(study, self._asked())

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Tell whether every network within the largest budget is measured or running.

        False where the space cannot count its feasible networks; `SpaceExhausted` tells it then.
        """
        history = self.history(study)
        return all(arm.is_exhausted(history) for arm in self._arms)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the whole space, the same from the first trial on."""
        return dict(self._space.distributions)

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        """Return the choices that were proposed when the trial was made."""
        if trial.number not in self._proposals:  # an enqueued trial that leaves names open
            self._prepare(study, trial)
        return dict(self._proposals[trial.number].choices)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse: a name outside the space would be drawn without the budget.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"every suggested name must be in the space, but got {param_name!r}; "
            f"known: {', '.join(self._space.distributions)}"
        )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Propose the trial's network, unless it was enqueued; this is a part of `study.ask`.

        Raises:
            SpaceExhausted: Every feasible network is measured or running. The trial exists by
                then: whoever asked tells it FAIL.
        """
        if not trial.system_attrs.get("fixed_params"):
            self._prepare(study, trial)

    def _prepare(self, study: optuna.Study, trial: FrozenTrial) -> None:
        history = self._reader.read(study, self._asked(), asking=trial.number)
        trials = study.get_trials(deepcopy=False)[: trial.number]
        number = sum(not item.user_attrs.get(GIVEN_BACK_ATTR) for item in trials)
        rng = np.random.default_rng([self._seed, number])
        request = ProposalRequest(study, trial, history, self._seed, rng)
        for turn in range(len(self._arms)):
            index = (number + turn) % len(self._arms)
            if self._arms[index].is_exhausted(history):
                continue
            try:
                proposal = self._propose(self._arms[index], request)
            except SpaceExhausted:  # of a budget whose networks are not counted
                continue
            self._proposals[trial.number] = replace(proposal, arm=index)
            return
        raise SpaceExhausted(_exhausted_text(len(history.seen)))

    def _asked(self) -> dict[int, Configuration]:
        return {number: proposal.choices for number, proposal in self._proposals.items()}

    def _propose(self, arm: BudgetArm, request: ProposalRequest) -> Proposal:
        """Take the first draw that may be trained, or a uniform unseen network."""
        space, taken = arm.space, request.history.taken
        over_budget = repeats = 0
        for source, drawn in islice(arm.proposer.draws(request), MAX_DRAWS):
            choices = space.canonical(drawn)
            if not space.is_feasible(choices):
                over_budget += 1
                if self._over_budget == "resample":
                    if over_budget <= MAX_REDRAWS:
                        continue
                    choices = space.canonical(space.repair(choices))
            if space.key(choices) not in taken:
                return Proposal(choices, source, over_budget, repeats)
            repeats += 1
        unseen = draw_unseen(space, taken, request.rng)
        return Proposal(unseen, "unseen", over_budget, repeats)


def draw_unseen(
    space: CandidateSpace, seen: frozenset[str], rng: np.random.Generator
) -> Configuration:
    """Draw uniformly among the feasible networks whose key is not in `seen`.

    Where the feasible networks are counted, the draws go on until missing a network that is
    there has a chance below e^-50.

    Raises:
        SpaceExhausted: None was found.
    """
    count = space.num_feasible()
    for _ in range(MAX_UNCOUNTED_DRAWS if count is None else 50 * count):
        choices = space.canonical(space.sample(rng))
        if space.key(choices) not in seen:
            return choices
    raise SpaceExhausted(_exhausted_text(len(seen)))


def _exhausted_text(num_seen: int) -> str:
    return (
        f"every architecture within the budget was tried: {num_seen} are measured or running; "
        "a larger budget or space has more"
    )
