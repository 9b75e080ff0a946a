"""What a surrogate is taught: complete trials as measured, the others by an estimate.

complete    its score
pruned      its last score plus what complete trials gained from that step on (median), at most
            the median of the complete scores, since that is why it was pruned; a score with
            `PARTIAL_NOISE` times the noise
diverged    the median of the pruned trials' values, or where none was pruned the lower quartile of
            the complete scores; with the same noise

With rungs above the search, log odds take the place of accuracies: networks that differ at 50%
then differ about as much at 80%, and accuracy rises by about as much with each doubling of the
images seen. All rungs have one zero and one scale, those of the search.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.samplers.contract import Observation
from nas.training.result import Ending

CLIP = 2.5  # scales below the median at which scores are cut: how bad a bad net is says little
LEAST_ODDS = 1e-3  # accuracies are this far from 0 and 1 where their log odds are taken
PARTIAL_NOISE = 4.0  # noise variance of a partial result in units of a complete one's


@dataclass(frozen=True)
class ScaledScores:
    """Scores made ready for a surrogate; zero is the median of the search's complete ones.

    Args:
        values: (score - centre) / scale, clipped below each rung's median.  # (n,)
        noise_ratios: Noise variance of each in units of a complete one's.  # (n,)
        centre: Median of the search's complete scores.
        scale: Their upper quartile less the median.
        are_log_odds: Whether these are of the log odds of the scores.
    """

    values: np.ndarray
    noise_ratios: np.ndarray
    centre: float
    scale: float
    are_log_odds: bool = False


def scale_scores(observations: Sequence[Observation]) -> ScaledScores:
    """Return the scaled scores of observations, in their order.

    At least one of the search must be complete, and all that are of the rungs above it.
    """
    are_log_odds = any(item.fidelity for item in observations)
    if are_log_odds:
        observations = [_in_log_odds(item) for item in observations]
    finished = [item for item in observations if item.status is Ending.FINISHED]
    complete = [item for item in finished if not item.fidelity]
    scores = np.array([item.score for item in complete])
    centre = float(np.median(scores))
    scale = float(np.quantile(scores, 0.75)) - centre
    if scale <= 0:
        scale = float(scores.std()) or 1.0
    gains = _median_gains(complete)
    pruned = {
        item.number: min(item.score + gains.get(item.curve[-1][0], 0.0), centre)
        for item in observations
        if item.status is Ending.STOPPED
    }
    low = np.median(list(pruned.values())) if pruned else np.quantile(scores, 0.25)
    is_partial = np.array([item.status is not Ending.FINISHED for item in observations])
    filled = [
        pruned.get(item.number, low) if partial else item.score
        for item, partial in zip(observations, is_partial, strict=True)
    ]
    medians = {
        fidelity: np.median([item.score for item in finished if item.fidelity == fidelity])
        for fidelity in {item.fidelity for item in finished}
    }
    floors = np.array([medians[item.fidelity] for item in observations])
    return ScaledScores(
        values=np.maximum((np.array(filled) - centre) / scale, (floors - centre) / scale - CLIP),
        noise_ratios=np.where(is_partial, PARTIAL_NOISE, 1.0),
        centre=centre,
        scale=scale,
        are_log_odds=are_log_odds,
    )


def log_odds(score: float) -> float:
    """Return the logarithm of accuracy over error."""
    limited = min(max(score, LEAST_ODDS), 1.0 - LEAST_ODDS)
    return math.log(limited / (1.0 - limited))


def accuracy_of(odds: float) -> float:
    """Return the accuracy of so many log odds."""
    return 0.5 + 0.5 * math.tanh(odds / 2.0)


def _in_log_odds(item: Observation) -> Observation:
    curve = tuple((step, log_odds(score)) for step, score in item.curve)
    return replace(item, score=log_odds(item.score), curve=curve)


def _median_gains(complete: Sequence[Observation]) -> dict[int, float]:
    """Return what complete trials gained from a step to their end, by step."""
    gains: dict[int, list[float]] = defaultdict(list)
    for item in complete:
        for step, score in item.curve:
            gains[step].append(item.score - score)
    return {step: float(np.median(values)) for step, values in gains.items()}
