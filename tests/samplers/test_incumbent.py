import numpy as np
import pytest

from nas.samplers.contract import Observation
from nas.samplers.incumbent import choose_incumbent, estimate_scores
from nas.samplers.surrogate import make_fitter
from tests.support.sampling import score_of, small_space

SPACE = small_space()


def observe(num, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < num:
        choices = SPACE.sample(rng)
        found[SPACE.key(choices)] = choices
    return [
        Observation(n, item, key, score_of(SPACE, item) + noise * rng.normal(), "complete")
        for n, (key, item) in enumerate(found.items())
    ]


def test_few_measurements_are_taken_as_they_are():
    observations = observe(9)
    assert estimate_scores(make_fitter(SPACE), observations) == {
        o.number: o.score for o in observations
    }


def test_without_a_complete_trial_there_is_none():
    assert choose_incumbent(SPACE, []) is None
    pruned = Observation(0, {}, "", 0.5, "pruned", ((0, 0.5),))
    assert choose_incumbent(SPACE, [pruned]) is None


def test_a_pruned_or_diverged_trial_is_never_chosen():
    observations = observe(30)
    best = max(observations, key=lambda item: item.score)
    others = [item for item in observations if item != best]
    for status, curve in (("pruned", ((0, 2.0),)), ("diverged", ())):
        broken = Observation(best.number, best.choices, best.key, 2.0, status, curve)
        assert choose_incumbent(SPACE, [*others, broken]).number != best.number


def test_on_a_tie_the_smaller_network_is_chosen():
    observations = [
        Observation(item.number, item.choices, item.key, 0.5, "complete") for item in observe(6)
    ]
    smallest = min(observations, key=lambda item: SPACE.num_params(item.choices))
    assert choose_incumbent(SPACE, observations) == smallest


def test_only_what_is_eligible_is_chosen():
    observations = observe(40)
    chosen = choose_incumbent(SPACE, observations, lambda item: item.number % 2 == 0)
    assert chosen.number % 2 == 0


def test_estimates_are_nearer_to_the_truth_than_noisy_measurements():
    errors = {"raw": [], "estimated": []}
    for seed in range(5):
        observations = observe(80, noise=0.03, seed=seed)
        estimates = estimate_scores(make_fitter(SPACE), observations)
        for item in observations:
            truth = score_of(SPACE, item.choices)
            errors["raw"].append(item.score - truth)
            errors["estimated"].append(estimates[item.number] - truth)
    assert np.std(errors["estimated"]) < 0.8 * np.std(errors["raw"])


def test_estimates_are_in_the_units_of_the_scores():
    observations = observe(40)
    estimates = estimate_scores(make_fitter(SPACE), observations)
    assert [estimates[item.number] for item in observations] == pytest.approx(
        [item.score for item in observations], abs=0.05
    )
