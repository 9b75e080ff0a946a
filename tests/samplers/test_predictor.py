import numpy as np

from nas.samplers.contract import History, Observation, ProposalRequest
from nas.samplers.predictor import NUM_STARTUP_TRIALS, PredictorProposer
from nas.samplers.surrogate import MIN_COMPLETE, make_fitter
from nas.training.result import Ending
from tests.support.sampling import score_of, small_space

SPACE = small_space()


def observe(num, seed=0, status=Ending.FINISHED):
    rng = np.random.default_rng(seed)
    nets = [SPACE.canonical(SPACE.sample(rng)) for _ in range(num)]
    return tuple(
        Observation(n, net, SPACE.key(net), score_of(SPACE, net), status, ((0, 0.4),))
        for n, net in enumerate(nets)
    )


class _Trial:
    number = 50


def ranked(observations, pending=None):
    pending = pending or {}
    seen = frozenset({item.key for item in observations} | pending.keys())
    history = History(observations, pending, seen)
    request = ProposalRequest(None, _Trial(), history, 0, np.random.default_rng(0))
    draws = PredictorProposer(SPACE).draws(request)
    return [next(draws) for _ in range(20)]


def test_it_starts_uniformly_and_while_too_few_are_complete():
    assert ranked(observe(NUM_STARTUP_TRIALS - 1))[0][0] == "uniform"
    pruned = observe(20, status=Ending.STOPPED)
    assert ranked(pruned)[0][0] == "uniform"
    assert ranked(pruned + observe(MIN_COMPLETE, seed=1))[0][0] == "predictor"


def test_candidates_are_feasible_unmeasured_and_better_than_a_uniform_draw():
    observations = observe(40)
    drawn = [choices for _, choices in ranked(observations)]
    assert all(SPACE.is_feasible(choices) for choices in drawn)
    assert not {SPACE.key(choices) for choices in drawn} & {item.key for item in observations}
    uniform = [item.score for item in observe(200, seed=9)]
    assert np.mean([score_of(SPACE, choices) for choices in drawn]) > np.quantile(uniform, 0.9)


def test_a_pending_network_is_surer_and_neither_better_nor_worse():
    observations, other = observe(30), observe(1, seed=4)[0]
    fitter = make_fitter(SPACE)
    x = fitter.features([other.choices])
    before, after = (
        fitter.fit(observations, pending).process.predict(x)
        for pending in ({}, {other.key: other.choices})
    )
    np.testing.assert_allclose(after[0], before[0], rtol=1e-6)
    assert after[1] < before[1]


def test_what_a_fitter_keeps_changes_nothing():
    observations = observe(37)
    kept = make_fitter(SPACE)
    for size in range(4, 38):
        surrogate = kept.fit(observations[:size], {})
    fresh = make_fitter(SPACE).fit(observations, {})
    assert surrogate.process.hyperparameters == fresh.process.hyperparameters
    np.testing.assert_array_equal(surrogate.process.weights, fresh.process.weights)


def test_a_long_history_is_fitted_as_well():
    surrogate = make_fitter(SPACE).fit(observe(400), {})
    x = make_fitter(SPACE).features([item.choices for item in observe(50, seed=8)])
    truth = [item.score for item in observe(50, seed=8)]
    assert np.corrcoef(surrogate.process.predict(x)[0], truth)[0, 1] > 0.95
