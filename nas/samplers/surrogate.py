"""A model of the score over the features of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from nas.samplers.contract import CandidateSpace, Configuration, Observation
from nas.samplers.gp import (
    GaussianProcess,
    Hyperparameters,
    choose_hyperparameters,
    condition,
)
from nas.samplers.scaled_scores import ScaledScores, scale_scores
from nas.training.result import Ending

MIN_COMPLETE = 4  # complete trials below which a model says nothing
REFIT_EVERY = 5  # observations; in between the hyperparameters stay
MAX_FIT_SIZE = 300  # observations that choose the hyperparameters
REFERENCE_SIZE = 512  # uniform feasible networks that say how far a feature spreads


@dataclass(frozen=True)
class Surrogate:
    """The process, and the scores it was taught.

    Args:
        process: The process given observations and pending networks.
        y: Scaled scores of the observations.
        highest: The highest fidelity of an observation.
    """

    process: GaussianProcess
    y: ScaledScores
    highest: float = 0.0

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the scaled score of a full training.

        That is one of the highest rung once a rung above the search has trained a network, else
        one of the search. Until the highest has, the deviation is that of the highest which has:
        beyond it nobody knows what all networks gain, and that is the same for all.

        Args:
            z: Standardised features.  # (m, d)
        """
        mean, deviation = self.process.predict(z, np.full(len(z), float(self.highest > 0)))
        if 0 < self.highest < 1:
            deviation = self.process.predict(z, np.full(len(z), self.highest))[1]
        return mean, deviation


@dataclass(frozen=True)
class Scaling:
    """How features are standardised.

    Args:
        columns: Indices of the features that are used.
        mean: Of each of these.
        spread: Standard deviation of each.
    """

    columns: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Return the standardised columns of features."""
        standardised: np.ndarray = (rows[:, list(self.columns)] - self.mean) / self.spread
        return standardised


class SurrogateFitter:
    """Fit surrogates to the growing history of one study.

    A fit depends on the observations and the pending networks alone; what is kept between fits
    (features, hyperparameters) saves time and changes nothing.

    Args:
        features: What describes the network of some choices.
        scaling: How that is standardised; called once, at the first fit.
    """

    def __init__(
        self,
        features: Callable[[Mapping[str, Any]], np.ndarray],
        scaling: Callable[[], Scaling],
    ) -> None:
        self._features = features
        self._scaling = cache(scaling)
        self._rows: dict[str, np.ndarray] = {}
        self._fitted: tuple[tuple[object, ...], Hyperparameters] | None = None

    def features(self, candidates: Sequence[Mapping[str, object]]) -> np.ndarray:
        """Return the standardised features that vary, one row each."""
        return self._scaling().apply(np.array([self._features(item) for item in candidates]))

    def features_at(self, keyed: Sequence[tuple[str, Configuration]]) -> np.ndarray:
        """Return `features` of (key, choices) pairs, each network computed once."""
        for key, choices in keyed:
            if key not in self._rows:
                self._rows[key] = self._features(choices)
        return self._scaling().apply(np.array([self._rows[key] for key, _ in keyed]))

    def fit(
        self,
        observations: Sequence[Observation],
        pending: Mapping[str, Configuration],
        climbing: Sequence[tuple[str, Configuration, float]] = (),
    ) -> Surrogate | None:
        """Return the surrogate, or None while too few trials of the search are complete.

        These are `MIN_COMPLETE`. A pending network counts as measured at its own predicted mean:
        the model gets surer there, and no better or worse ("kriging believer").

        Args:
            observations: Finished trials of the search, then of the rungs above it.
            pending: Choices of running trials of the search, by key.
            climbing: Key, choices and fidelity of those in the rungs above.
        """
        if _num_complete(observations) < MIN_COMPLETE:
            return None
        y = scale_scores(observations)
        x = self.features_at([(item.key, item.choices) for item in observations])  # (n, d)
        fidelities = np.array([item.fidelity for item in observations])  # (n,)
        hyperparameters = self._choose_hyperparameters(observations, x)
        process = condition(x, y.values, y.noise_ratios, hyperparameters, fidelities)
        running = [(*item, 0.0) for item in pending.items()] + list(climbing)
        if running:  # z (m, d): their means come from the process without them
            z = self.features_at([(key, choices) for key, choices, _ in running])
            own = np.array([fidelity for *_, fidelity in running])  # (m,)
            process = condition(
                np.concatenate([x, z]),
                np.concatenate([y.values, process.predict(z, own)[0]]),
                np.concatenate([y.noise_ratios, np.ones(len(z))]),
                hyperparameters,
                np.concatenate([fidelities, own]),
            )
        return Surrogate(process, y, float(fidelities.max()))

    def _choose_hyperparameters(
        self, observations: Sequence[Observation], x: np.ndarray
    ) -> Hyperparameters:
        """Return those of the search's observations up to the last full five, and of all above it.

            observations   1 ... 5   6 ... 10   11 12 13
            chosen from    |--------------- |   used with the same length scale and noise

        Which ones are chosen from depends on the number of observations alone, so that a resumed
        search, which fits once, and one that ran through choose the same.
        """
        rows = _full_fives(observations)
        if _num_complete([observations[row] for row in rows]) < MIN_COMPLETE:
            rows = list(range(len(observations)))
        prefix = [observations[row] for row in rows]
        # a trial that other workers overtook comes in late, before the last: then chosen anew
        signature = tuple((item.number, item.status, item.score, item.fidelity) for item in prefix)
        if self._fitted is None or self._fitted[0] != signature:
            y = scale_scores(prefix)
            chosen = _spread(y.values, MAX_FIT_SIZE)
            fidelities = np.array([item.fidelity for item in prefix])
            self._fitted = (
                signature,
                choose_hyperparameters(
                    x[rows][chosen], y.values[chosen], y.noise_ratios[chosen], fidelities[chosen]
                ),
            )
        return self._fitted[1]


def make_fitter(space: CandidateSpace) -> SurrogateFitter:
    """Return a fitter for the networks of a space."""
    return SurrogateFitter(space.features, lambda: measure_scaling(space))


def measure_scaling(space: CandidateSpace) -> Scaling:
    """Return the columns that vary among feasible networks, their mean and their spread."""
    rng = np.random.default_rng(0)
    drawn = [space.features(space.sample(rng)) for _ in range(REFERENCE_SIZE)]
    reference = np.array(drawn)
    spread = reference.std(axis=0)
    columns = np.flatnonzero(spread > 1e-9)
    if not len(columns):  # one network alone, or features that tell nothing
        columns, spread = np.arange(1), np.ones(1)
    mean = reference[:, columns].mean(axis=0)
    return Scaling(tuple(columns.tolist()), tuple(mean.tolist()), tuple(spread[columns].tolist()))


def _num_complete(observations: Sequence[Observation]) -> int:
    """Return how many trials of the search itself are complete."""
    return sum(item.status is Ending.FINISHED and not item.fidelity for item in observations)


def _full_fives(observations: Sequence[Observation]) -> list[int]:
    """Return the indices of the search's observations up to the last full five, and the rungs'."""
    own = [index for index, item in enumerate(observations) if not item.fidelity]
    above = [index for index, item in enumerate(observations) if item.fidelity]
    return own[: len(own) - len(own) % REFIT_EVERY] + above


def _spread(values: np.ndarray, size: int) -> np.ndarray:
    """Return at most `size` indices: the better half by value, the rest evenly among the others.

    The order of the observations is kept.
    """
    if len(values) <= size:
        return np.arange(len(values))
    order = np.argsort(-values, kind="stable")
    best, others = order[: size // 2], order[size // 2 :]
    evenly = others[np.linspace(0, len(others) - 1, size - len(best)).astype(int)]
    return np.sort(np.concatenate([best, evenly]))
