"""Which measured network is the best: one noisy figure each, and a model of all of them.

The most accurate of many single measurements reads high; the model's mean alone overlooks what
makes one network better than its neighbours. A measurement is shrunk half-way towards the model
(`SHRINKAGE_WEIGHT`), chosen among 0, 1/4, 1/2, 3/4 and 1 on NAS-Bench-Macro and on 600 width-
and-depth-searched ResNets trained on digits: a compromise, since the best weight differs by budget
(there, at one budget 1/4 and at another 3/4 leave up to 0.2 accuracy points less regret).

With rungs above the search this is about a training of the highest: the model's mean there, plus
half of what the network's longest training was above or below the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.samplers.contract import Observation
from nas.samplers.scaled_scores import accuracy_of, log_odds
from nas.samplers.surrogate import SurrogateFitter
from nas.training.result import Ending

SHRINKAGE_WEIGHT = 0.5  # of the measurement; the model's mean has the rest
MIN_OBSERVATIONS = 10  # below, measurements are taken as they are


@dataclass(frozen=True)
class Estimate:
    """What a network would score on average.

    Args:
        score: At the fidelity of the highest rung, once a rung has trained a network.
        sd: Its standard deviation by the model; None where the score is a measurement.
    """

    score: float
    sd: float | None = None


def estimate_scores(
    fitter: SurrogateFitter, observations: Sequence[Observation]
) -> dict[str, Estimate]:
    """Return what each network trained to its end would score on average, by its key.

    Scores are to be maximised, whatever the study's direction (`Observation.score`).

    Args:
        fitter: A fitter of the space that the observations come from.
        observations: Finished trials of one study (`BudgetSampler.history`), then those of its
            rungs, by fidelity.
    """
    complete = [item for item in observations if item.status is Ending.FINISHED]
    longest = {item.key: item for item in complete}
    if sum(not item.fidelity for item in complete) < MIN_OBSERVATIONS:
        return {key: Estimate(item.score) for key, item in longest.items()}
    surrogate = fitter.fit(observations, {})
    assert surrogate is not None
    y = surrogate.y
    x = fitter.features_at([(item.key, item.choices) for item in longest.values()])
    fidelities = np.array([item.fidelity for item in longest.values()])
    measured = y.centre + y.scale * surrogate.process.predict(x, fidelities)[0]
    means, deviations = surrogate.predict(x)
    found = {}
    for item, fitted, mean, deviation in zip(
        longest.values(), measured, y.centre + y.scale * means, y.scale * deviations, strict=True
    ):
        score = log_odds(item.score) if y.are_log_odds else item.score
        estimate, sd = float(mean + SHRINKAGE_WEIGHT * (score - fitted)), float(deviation)
        if y.are_log_odds:
            low, estimate, high = map(accuracy_of, (estimate - sd, estimate, estimate + sd))
            sd = (high - low) / 2
        found[item.key] = Estimate(estimate, sd)
    return found
