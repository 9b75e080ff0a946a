import numpy as np
import pytest

from nas.samplers.contract import Observation
from nas.samplers.incumbent import Estimate, estimate_scores
from nas.samplers.surrogate import make_fitter
from nas.training.result import Ending
from tests.support.sampling import score_of, small_space

SPACE = small_space()


def observe(num, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < num:
        choices = SPACE.sample(rng)
        found[SPACE.key(choices)] = choices
    return [
        Observation(n, item, key, score_of(SPACE, item) + noise * rng.normal(), Ending.FINISHED)
        for n, (key, item) in enumerate(found.items())
    ]


def test_few_measurements_are_taken_as_they_are():
    observations = observe(9)
    assert estimate_scores(make_fitter(SPACE), observations) == {
        o.key: Estimate(o.score) for o in observations
    }


def test_a_pruned_or_diverged_trial_has_no_estimate():
    observations = observe(30)
    first, *others = observations
    for status, curve in ((Ending.STOPPED, ((0, 2.0),)), (Ending.DIVERGED, ())):
        broken = Observation(first.number, first.choices, first.key, 2.0, status, curve)
        estimates = estimate_scores(make_fitter(SPACE), [broken, *others])
        assert set(estimates) == {item.key for item in others}


def test_estimates_are_nearer_to_the_truth_than_noisy_measurements():
    errors = {"raw": [], "estimated": []}
    for seed in range(5):
        observations = observe(80, noise=0.03, seed=seed)
        estimates = estimate_scores(make_fitter(SPACE), observations)
        for item in observations:
            truth = score_of(SPACE, item.choices)
            errors["raw"].append(item.score - truth)
            errors["estimated"].append(estimates[item.key].score - truth)
    assert np.std(errors["estimated"]) < 0.8 * np.std(errors["raw"])


def test_estimates_are_in_the_units_of_the_scores():
    observations = observe(40)
    estimates = estimate_scores(make_fitter(SPACE), observations)
    assert [estimates[item.key].score for item in observations] == pytest.approx(
        [item.score for item in observations], abs=0.05
    )
