"""Rungs above the search: what long trainings say of networks that had a short one."""

import math

import numpy as np
import pytest

from nas.samplers import make_sampler
from nas.samplers.contract import Observation
from nas.samplers.gp import GAIN, LEVEL, LINEAR_WEIGHT, Hyperparameters, condition
from nas.samplers.gp import choose_hyperparameters as choose
from nas.samplers.history import HistoryReader
from nas.samplers.incumbent import estimate_scores
from nas.samplers.surrogate import make_fitter
from nas.statistics import kendall_tau
from nas.training.result import Ending
from tests.support.sampling import ask, finished, new_study, small_space

SPACE = small_space()
LONG = 1.0


def accuracy(choices, fidelity):
    """Log odds linear in the fidelity: wide first stages learn fast, many blocks end high."""
    stages = SPACE.decode(choices).stages
    fast = math.log2(stages[0].width) - 4
    high = sum(stage.depth for stage in stages) - 6
    odds = 0.2 * fast - 0.1 * high + fidelity * (1.0 + 0.25 * high - 0.2 * fast)
    return 1 / (1 + math.exp(-odds))


def networks(num, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < num:
        choices = SPACE.canonical(SPACE.sample(rng))
        found[SPACE.key(choices)] = choices
    return list(found.values())


def observe(nets, fidelity, noise=0.005):
    rng = np.random.default_rng(int(100 * fidelity))
    return [
        Observation(
            number,
            net,
            SPACE.key(net),
            accuracy(net, fidelity) + noise * rng.normal(),
            Ending.FINISHED,
            fidelity=fidelity,
        )
        for number, net in enumerate(nets)
    ]


def best(nets, num):
    """What a rung trains again that goes by the search's own accuracies."""
    return sorted(nets, key=lambda net: -accuracy(net, 0.0))[:num]


def climb(nets, num):
    """Those of the middle rung and of the top one, each the best estimate when its turn came."""
    fitter, middle, top = make_fitter(SPACE), [], []

    def promote(below, above):
        observations = [*observe(nets, 0.0), *observe(middle, 0.5), *observe(top, LONG)]
        found = estimate_scores(fitter, observations)
        ranked = sorted(below, key=lambda net: -found[SPACE.key(net)].score)
        above.append(next(net for net in ranked if net not in above))

    for _ in range(num):
        promote(nets, middle)
        promote(nets, middle)
        promote(middle, top)
    return middle, top


def filled(nets, fidelity):
    study = new_study(None)
    study.add_trials([finished(SPACE, net, score=accuracy(net, fidelity)) for net in nets])
    return study


def proposals(rungs, num=12):
    """Proposals after 30 short trainings; rungs as (fidelity, study)."""
    sampler = make_sampler("predictor", [SPACE], 0, upper=lambda study: rungs)
    study = new_study(sampler)
    study.add_trials(filled(networks(30), 0.0).get_trials())
    return [ask(study, SPACE).params for _ in range(num)]


def test_once_a_handful_have_climbed_proposals_move_to_what_ends_high():
    middle, top = climb(networks(30), 6)
    short = proposals([])
    long = proposals([(0.5, filled(middle, 0.5)), (LONG, filled(top, LONG))])
    ends = [accuracy(net, LONG) for net in networks(300, seed=5)]
    assert np.mean([accuracy(net, LONG) for net in short]) < np.quantile(ends, 0.5)
    assert np.mean([accuracy(net, LONG) for net in long]) > np.quantile(ends, 0.9)
    first = [accuracy(net, 0.0) for net in networks(300, seed=5)]
    assert np.mean([accuracy(net, 0.0) for net in short]) > np.quantile(first, 0.9)


def test_a_rung_without_a_finished_training_changes_no_proposal():
    assert proposals([(LONG, new_study(None))], 3) == proposals([], 3)


def test_estimates_rank_as_long_trainings_do_where_short_ones_do_not():
    nets = networks(40)
    observations = [*observe(nets, 0.0), *observe(nets[:10], 0.5), *observe(nets[:5], LONG)]
    found = estimate_scores(make_fitter(SPACE), observations)
    truth = [accuracy(net, LONG) for net in nets[10:]]
    estimates = [found[SPACE.key(net)] for net in nets[10:]]
    assert kendall_tau([accuracy(net, 0.0) for net in nets[10:]], truth) < 0
    assert kendall_tau([item.score for item in estimates], truth) > 0.5
    errors = [(item.score - end) / item.sd for item, end in zip(estimates, truth, strict=True)]
    assert np.mean(np.abs(errors) < 2) > 0.8
    climbed = [found[SPACE.key(net)].sd for net in nets[:5]]
    assert np.mean(climbed) < np.mean([item.sd for item in estimates])


def test_a_middle_rung_above_or_below_the_line_favours_no_network():
    """What all networks of a rung have gained is no merit of theirs."""
    nets = networks(40)
    climbed = nets[:12]

    def estimated(shift):
        middle = [
            Observation(o.number, o.choices, o.key, o.score + shift, o.status, (), 0.5)
            for o in observe(climbed, 0.5, noise=0.0)
        ]
        return estimate_scores(
            make_fitter(SPACE), [*observe(nets, 0.0), *middle, *observe(climbed[:6], LONG)]
        )

    straight, bent = estimated(0.0), estimated(0.1)
    gained = {
        name: np.mean([bent[SPACE.key(n)].score - straight[SPACE.key(n)].score for n in own])
        for name, own in (("middle", climbed[6:]), ("short", nets[12:]))
    }
    assert abs(gained["middle"] - gained["short"]) < 0.01  # a tenth of the shift


def test_the_posterior_is_that_of_the_stated_kernel():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(25, 4)), rng.normal(size=(7, 4))
    u, v = rng.choice([0.0, 0.4, 1.0], size=25), np.full(7, 1.0)
    y, ratios = rng.normal(size=25) + 3 * u, np.linspace(1.0, 4.0, 25)

    def stated(a, s, b, t):
        r = math.sqrt(5) * math.dist(a, b) / 1.5
        matern = (1 + r + r * r / 3) * math.exp(-r)
        linear = sum(a * b) / 4
        return matern + (LINEAR_WEIGHT + 2.0 * s * t) * linear + LEVEL * (s * t + min(s, t))

    def matrix(a, s, b, t):
        rows = [
            [stated(p, i, q, j) for q, j in zip(b, t, strict=True)]
            for p, i in zip(a, s, strict=True)
        ]
        return np.array(rows)

    process = condition(x, y, ratios, Hyperparameters(1.5, 0.3, 2.0), u)
    mean, deviation = process.predict(z, v)
    inverse = np.linalg.inv(matrix(x, u, x, u) + 0.3 * np.diag(ratios))
    cross = matrix(z, v, x, u)
    np.testing.assert_allclose(mean, cross @ inverse @ y, rtol=1e-6, atol=1e-9)
    known = matrix(z, v, z, v) - cross @ inverse @ cross.T
    variance = process.signal_variance * np.diag(known)
    np.testing.assert_allclose(deviation, np.sqrt(variance), rtol=1e-5)


def test_the_gain_is_large_where_the_trend_turns_and_small_where_it_stays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5))
    u = np.repeat([0.0, 1.0], 40)
    chosen = {
        slope: choose(x, x[:, 0] * (1 + slope * u) + 0.1 * rng.normal(size=80), np.ones(80), u)
        for slope in (0.0, -4.0)
    }
    assert chosen[0.0].gain < GAIN <= chosen[-4.0].gain


def test_a_history_has_what_the_rungs_trained_and_what_runs_there():
    nets = networks(5)
    study, rung = filled(nets, 0.0), new_study(None)
    rung.add_trials(
        [
            finished(SPACE, nets[0], score=0.8),
            finished(SPACE, nets[1], score=0.0, reason="diverged"),
            finished(SPACE, nets[2], "failed"),
        ]
    )
    rung.enqueue_trial(nets[3])
    reader = HistoryReader(SPACE, lambda study: [(LONG, rung)])
    history = reader.read(study, {})
    assert len(history.observations) == len(history.seen) == 5
    assert history.pending == {}
    assert [(o.key, o.score, o.fidelity) for o in history.upper] == [
        (SPACE.key(nets[0]), 0.8, LONG)
    ]
    assert history.climbing == ((SPACE.key(nets[3]), nets[3], LONG),)
    rung.add_trial(finished(SPACE, nets[4], score=0.9))
    grown = reader.read(study, {})
    assert [o.score for o in grown.upper] == [0.8, 0.9]
    assert grown == HistoryReader(SPACE, lambda study: [(LONG, rung)]).read(study, {})


def test_a_network_that_climbs_is_surer_at_the_top_and_no_better():
    nets = networks(30)
    observations = [*observe(nets, 0.0), *observe(best(nets, 6), LONG)]
    other = networks(1, seed=7)[0]
    fitter = make_fitter(SPACE)
    x = fitter.features([other])
    before, after = (
        fitter.fit(observations, {}, climbing).predict(x)
        for climbing in ((), [(SPACE.key(other), other, LONG)])
    )
    assert after[0] == pytest.approx(before[0], rel=1e-4)
    assert after[1] < before[1]
