"""Which measured network is the best: one noisy figure each, and a model of all of them.

The most accurate of many single measurements reads high; the model's mean alone overlooks what
makes one network better than its neighbours. A measurement is shrunk half-way towards the model
(`SHRINKAGE_WEIGHT`), chosen among 0, 1/4, 1/2, 3/4 and 1 on NAS-Bench-Macro and on 600 width-
and-depth-searched ResNets trained on digits: a compromise, since the best weight differs by budget
(there, at one budget 1/4 and at another 3/4 leave up to 0.2 accuracy points less regret).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.samplers.contract import CandidateSpace, Observation
from nas.samplers.surrogate import SurrogateFitter, make_fitter

SHRINKAGE_WEIGHT = 0.5  # of the measurement; the model's mean has the rest
MIN_OBSERVATIONS = 10  # below, measurements are taken as they are


def estimate_scores(
    fitter: SurrogateFitter, observations: Sequence[Observation]
) -> dict[int, float]:
    """Return what each complete trial would score on average, by trial number.

    Scores are to be maximised, whatever the study's direction (`Observation.score`).

    Args:
        fitter: A fitter of the space that the observations come from.
        observations: Finished trials of one study (`BudgetSampler.history`).
    """
    complete = [item for item in observations if item.status == "complete"]
    if len(complete) < MIN_OBSERVATIONS:
        return {item.number: item.score for item in complete}
    surrogate = fitter.fit(observations, {})
    assert surrogate is not None
    y = surrogate.y
    x = fitter.features_at([(item.key, item.choices) for item in complete])
    means = y.centre + y.scale * surrogate.process.predict(x)[0]
    return {
        item.number: float(mean + SHRINKAGE_WEIGHT * (item.score - mean))
        for item, mean in zip(complete, means, strict=True)
    }


def choose_incumbent(
    space: CandidateSpace,
    observations: Sequence[Observation],
    is_eligible: Callable[[Observation], bool] = lambda observation: True,
    fitter: SurrogateFitter | None = None,
) -> Observation | None:
    """Return the complete trial with the best estimated score, the smaller network on a tie.

    Args:
        space: The space that the observations come from.
        observations: Finished trials of one study.
        is_eligible: Tells which may be chosen, for example those under a smaller budget; all
            observations inform the model.
        fitter: A fitter of the same space, where one is at hand.
    """
    estimates = estimate_scores(fitter or make_fitter(space), observations)
    eligible = [item for item in observations if item.number in estimates and is_eligible(item)]
    return max(
        eligible,
        key=lambda item: (estimates[item.number], -space.num_params(item.choices)),
        default=None,
    )
