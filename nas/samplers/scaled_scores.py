"""What a surrogate is taught: complete trials as measured, the others by an estimate.

complete    its score
pruned      its last score plus what complete trials gained from that step on (median), at most
            the median of the complete scores, since that is why it was pruned; a score with
            `PARTIAL_NOISE` times the noise
diverged    the median of the pruned trials' values, or where none was pruned the lower quartile of
            the complete scores; with the same noise
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.samplers.contract import Observation
from nas.training.result import Ending

CLIP = 2.5  # scales below the median at which scores are cut: how bad a bad net is says little
PARTIAL_NOISE = 4.0  # noise variance of a partial result in units of a complete one's


@dataclass(frozen=True)
class ScaledScores:
    """Scores made ready for a surrogate; zero is the median of the complete ones.

    Args:
        values: (score - centre) / scale, clipped below.  # (n,)
        noise_ratios: Noise variance of each in units of a complete one's.  # (n,)
        centre: Median of the complete scores.
        scale: Their upper quartile less the median.
    """

    values: np.ndarray
    noise_ratios: np.ndarray
    centre: float
    scale: float


def scale_scores(observations: Sequence[Observation]) -> ScaledScores:
    """Return the scaled scores of observations, in their order; at least one must be complete."""
    complete = [item for item in observations if item.status is Ending.FINISHED]
    scores = np.array([item.score for item in complete])
    centre = float(np.median(scores))
    scale = float(np.quantile(scores, 0.75)) - centre
    if scale <= 0:
        scale = float(scores.std()) or 1.0
    measured = {item.number: item.score for item in complete}
    gains = _median_gains(complete)
    pruned = {
        item.number: min(item.score + gains.get(item.curve[-1][0], 0.0), centre)
        for item in observations
        if item.status is Ending.STOPPED
    }
    low = np.median(list(pruned.values())) if pruned else np.quantile(scores, 0.25)
    estimated = measured | pruned
    filled = np.array([estimated.get(item.number, low) for item in observations])
    is_partial = np.array([item.status is not Ending.FINISHED for item in observations])
    return ScaledScores(
        values=np.maximum((filled - centre) / scale, -CLIP),
        noise_ratios=np.where(is_partial, PARTIAL_NOISE, 1.0),
        centre=centre,
        scale=scale,
    )


def _median_gains(complete: Sequence[Observation]) -> dict[int, float]:
    """Return what complete trials gained from a step to their end, by step."""
    gains: dict[int, list[float]] = defaultdict(list)
    for item in complete:
        for step, score in item.curve:
            gains[step].append(item.score - score)
    return {step: float(np.median(values)) for step, values in gains.items()}
