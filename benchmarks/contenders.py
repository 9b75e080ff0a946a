"""One search on a table: the samplers of `nas.samplers`, and what people use without them.

random tpe evolution predictor     ours, through the same `BudgetSampler` as `search`; the best
                                   is named by `nas.samplers.incumbent`, as `search` names it
optuna-tpe                         plain Optuna: multivariate TPE, over-budget trials pruned
optuna-tpe-univariate              with a constraint and counted; the best is the most accurate
plain-random plain-evolution       feasible networks only, repeats counted; likewise
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import optuna
from optuna.samplers import TPESampler

from benchmarks.tables import TableSpace
from nas.samplers import SAMPLERS, make_sampler
from nas.samplers.contract import Observation, SpaceExhausted
from nas.samplers.incumbent import estimate_scores
from nas.samplers.surrogate import make_fitter

POPULATION_SIZE, SAMPLE_SIZE = 50, 10  # of plain evolution


@dataclass(frozen=True)
class Problem:
    """A table under a budget, one random training of each network.

    Args:
        space: The networks.
        values: What a search measures, by row of the table.  # (n,)
        seed: Seed of the search.
    """

    space: TableSpace
    values: np.ndarray
    seed: int


@dataclass(frozen=True)
class Step:
    """What is known after an evaluation.

    Args:
        chosen: Row of the network the method would name, None before a feasible one.
        most_accurate: Row of the most accurate measurement, None before a feasible one.
    """

    chosen: int | None
    most_accurate: int | None


Contender = Callable[[Problem, frozenset[int]], Iterator[Step]]


def make_problem(space: TableSpace, seed: int) -> Problem:
    """Return the problem of a seed: the same training of a network for every method."""
    accuracies = space.table.accuracies
    rng = np.random.default_rng([seed, 20231])
    trainings = rng.integers(accuracies.shape[1], size=len(accuracies))
    return Problem(space, accuracies[np.arange(len(accuracies)), trainings], seed)


def _ours(name: str, problem: Problem, checkpoints: frozenset[int]) -> Iterator[Step]:
    """Search with a sampler of the tool; the best is named at the checkpoints only."""
    space, best = problem.space, _Best()
    sampler = make_sampler(name, [space], problem.seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    fitter = make_fitter(space)
    for number in range(1, max(checkpoints) + 1):
        try:
            trial = study.ask(dict(space.distributions))
        except SpaceExhausted:
            return
        row = space.row(trial.params)
        assert row is not None
        study.tell(trial, float(problem.values[row]))
        best.add(row, problem.values[row])
        chosen: Observation | None = None
        if number in checkpoints:
            observations = sampler.history(study).observations
            estimates = estimate_scores(fitter, observations)
            chosen = max(
                (item for item in observations if item.key in estimates),
                key=lambda item: (estimates[item.key].score, -space.num_params(item.choices)),
                default=None,
            )
        yield Step(space.row(chosen.choices) if chosen else best.row, best.row)


def _plain_tpe(
    multivariate: bool, problem: Problem, checkpoints: frozenset[int]
) -> Iterator[Step]:
    """Search with Optuna alone."""
    space, best = problem.space, _Best()
    sampler = TPESampler(seed=problem.seed, multivariate=multivariate)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(max(checkpoints)):
        trial = study.ask(dict(space.distributions))
        violation = space.violation(trial.params)
        trial.set_constraint("budget", violation)
        row = space.row(trial.params)
        if row is None or violation > 0:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, float(problem.values[row]))
            best.add(row, problem.values[row])
        yield Step(best.row, best.row)


def _plain_random(problem: Problem, checkpoints: frozenset[int]) -> Iterator[Step]:
    """Draw feasible networks uniformly, with replacement."""
    rng, best = np.random.default_rng(problem.seed), _Best()
    for row in rng.choice(problem.space.feasible_rows, size=max(checkpoints)):
        best.add(int(row), problem.values[row])
        yield Step(best.row, best.row)


def _plain_evolution(problem: Problem, checkpoints: frozenset[int]) -> Iterator[Step]:
    """Run regularized evolution among feasible networks.

    Source: Real et al., AAAI 2019, algorithm 1.
    """
    space, best = problem.space, _Best()
    rng = np.random.default_rng(problem.seed)
    population: deque[int] = deque(maxlen=POPULATION_SIZE)
    for _ in range(max(checkpoints)):
        if len(population) < POPULATION_SIZE:
            row = int(rng.choice(space.feasible_rows))
        else:
            sample = rng.choice(population, size=SAMPLE_SIZE, replace=False)
            parent = space.choices(int(max(sample, key=lambda row: problem.values[row])))
            row = _feasible_child(space, parent, rng)
        population.append(row)
        best.add(row, problem.values[row])
        yield Step(best.row, best.row)


def _feasible_child(space: TableSpace, parent: dict[str, object], rng: np.random.Generator) -> int:
    while True:
        child = space.mutate(parent, rng)
        row = space.row(child)
        if row is not None and space.is_feasible(child):
            return row


class _Best:
    """The row of the highest value so far."""

    def __init__(self) -> None:
        self.row: int | None = None
        self._value = -np.inf

    def add(self, row: int, value: float) -> None:
        if value > self._value:
            self.row, self._value = row, value


BASELINES: dict[str, Contender] = {
    "optuna-tpe": partial(_plain_tpe, True),
    "optuna-tpe-univariate": partial(_plain_tpe, False),
    "plain-random": _plain_random,
    "plain-evolution": _plain_evolution,
}
CONTENDERS: dict[str, Contender] = {
    **{name: partial(_ours, name) for name in SAMPLERS},
    **BASELINES,
}
