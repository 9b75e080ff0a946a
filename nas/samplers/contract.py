"""The contract between a search, a space and a sampler.

A sampler sees a candidate through `CandidateSpace` alone: choices, the identity of the network
they mean, its counts and its features. Real ResNet spaces and the tables of `benchmarks/` offer
the same methods, so that the same sampler classes drive both.

What the objective has to write, and what is read back (`nas.samplers.history`):

    suggest_*       every name of `CandidateSpace.distributions`, before anything else
    COMPLETE        value = the study's objective; user attribute `reason` where the trial broke
                    (diverged, out of memory) and the value is only the worst possible one
    PRUNED          with reported steps: stopped early, its curve is a partial result;
                    without a step: never trained (over budget under `prune`)
    FAIL            ignored: killed, to be trained again
    RUNNING         pending: not proposed a second time
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution

from nas.errors import NasError
from nas.training.result import Ending

GIVEN_BACK_ATTR = "given_back"  # of a FAIL trial whose network another trial trains again
REASON_ATTR = "reason"  # user attribute of a COMPLETE trial that broke; its value says nothing

Configuration = dict[str, Any]
# the rungs of a search's study that have begun: the fidelity of each, and its Optuna study
UpperRungs = Callable[[optuna.Study], Sequence[tuple[float, optuna.Study]]]
OverBudget = Literal["resample", "prune"]


class SpaceExhausted(NasError):
    """Every feasible network of the space has been measured or is being measured.

    Not a failure: the search ends well. `BudgetSampler.is_exhausted` tells it before a trial is
    made; raised by `study.ask` it means that another worker took the last network, or that the
    space cannot count its networks, and leaves a trial for the caller to tell FAIL.
    """

    exit_code = 0


class CandidateSpace(Protocol):
    """What a sampler may know of a space under its budget.

    Two choices with one `key` are one network. `features` has a fixed length; a column that never
    varies is allowed. All methods are pure; `rng` is the only source of chance.
    """

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Return every name with its distribution, the same for the whole study."""

    def canonical(self, choices: Mapping[str, Any]) -> Configuration:
        """Return the one form in which choices of this network are proposed."""

    def key(self, choices: Mapping[str, Any]) -> str:
        """Return the identity of the network."""

    def is_feasible(self, choices: Mapping[str, Any]) -> bool:
        """Tell whether the network can be built and fits the budget."""

    def features(self, choices: Mapping[str, Any]) -> np.ndarray:
        """Return what describes the network to a surrogate."""  # (d,) float64

    def sample(self, rng: np.random.Generator) -> Configuration:
        """Draw uniformly among the distinct feasible networks."""

    def mutate(self, choices: Mapping[str, Any], rng: np.random.Generator) -> Configuration:
        """Return choices that differ in one or few values; they may break the budget."""

    def repair(self, choices: Mapping[str, Any]) -> Configuration:
        """Return choices near these that fit the budget."""

    def num_feasible(self) -> int | None:
        """Return the number of distinct feasible networks, None where it is only estimated."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A finished trial, as a sampler sees it.

    Args:
        number: The trial's number.
        choices: Its choices, in canonical form.
        key: The identity of its network.
        score: What it reached, to be maximised whatever the study's direction; for a pruned trial
            the last reported value, for a diverged one the study's worst value.
        status: How it ended; the score of one that stopped is partial, that of a broken one says
            nothing.
        curve: The reported (step, score) pairs, in the order of the steps.
        fidelity: Of its training, by the logarithm of the images that it sees, repeats counted:
            0 is a training of the search, 1 one of the highest rung.
    """

    number: int
    choices: Configuration
    key: str
    score: float
    status: Ending
    curve: tuple[tuple[int, float], ...] = ()
    fidelity: float = 0.0


def trained_within(
    space: CandidateSpace, observations: Sequence[Observation]
) -> list[Observation]:
    """Return the complete trials whose network fits the space's budget, in their order."""
    return [
        o for o in observations if o.status is Ending.FINISHED and space.is_feasible(o.choices)
    ]


@dataclass(frozen=True, slots=True)
class History:
    """What is known when a proposal is made.

    Args:
        observations: Finished trials in the order of their numbers, without failed ones and
            without those rejected before training.
        pending: Choices of running trials by key.
        seen: Keys of the networks measured or running.
        rejected: Keys of the networks recorded as over budget, never trained.
        upper: Trainings in rungs above the search that ran to their end, by fidelity and number.
        climbing: Key, choices and fidelity of those that wait or run there.
    """

    observations: tuple[Observation, ...]
    pending: Mapping[str, Configuration]
    seen: frozenset[str]
    rejected: frozenset[str] = frozenset()
    upper: tuple[Observation, ...] = ()
    climbing: tuple[tuple[str, Configuration, float], ...] = ()

    @property
    def taken(self) -> frozenset[str]:
        """Return the keys that are not to be proposed again."""
        return self.seen | self.rejected


@dataclass(frozen=True, slots=True)
class ProposalRequest:
    """One proposal to be made.

    Args:
        study: The study, for samplers that read it through Optuna.
        trial: The trial that asks.
        history: What is known.
        seed: The study's seed.
        rng: Seeded from the study's seed and the trial's number.
    """

    study: optuna.Study
    trial: optuna.trial.FrozenTrial
    history: History
    seed: int
    rng: np.random.Generator


class Proposer(Protocol):
    """A strategy: `BudgetSampler` asks it and keeps the rules of the budget and of repeats."""

    def draws(self, request: ProposalRequest) -> Iterator[tuple[str, Configuration]]:
        """Yield (source, choices), best first; after a refused draw the next one is taken.

        The source says where the choices came from, for example `uniform` or `predictor`.
        Draws may break the budget and may repeat. An iterator that ends is followed by a uniform
        draw among unseen feasible networks.
        """


@dataclass(frozen=True, slots=True)
class Proposal:
    """How the choices of a trial came about; the objective writes it into the trial.

    Args:
        choices: The proposed choices, canonical.
        source: `uniform`, `tpe`, `evolution`, `predictor`, or `unseen` when every draw was refused
            and a uniform unseen feasible network took their place.
        over_budget: Draws that broke the budget, none of them trained.
        repeats: Draws that were already measured or running.
        arm: Index of the budget it was proposed for, where a study has several.
    """

    choices: Configuration
    source: str
    over_budget: int
    repeats: int
    arm: int = 0
