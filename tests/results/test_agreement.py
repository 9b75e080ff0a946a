"""Kendall's tau against SciPy's, and its interval against published figures."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from nas.results.rungs_text import MIN_FOR_INTERVAL, compare_rungs, describe_agreement
from nas.results.study_rungs import Rung
from nas.statistics import kendall_tau, tau_interval
from nas.study.rungs import RungSpec
from tests.support.rows import row
from tests.support.small_study import definition


def rung(epochs, accuracies):
    spec, rows = RungSpec(9, epochs), [row(*item) for item in accuracies.items()]
    return Rung(spec, definition().at_rung(spec), 9, tuple(rows))


def compare(low_epochs, low, high_epochs, high):
    return compare_rungs(rung(low_epochs, low), rung(high_epochs, high))


def test_tau_is_scipys_on_known_numbers():
    left, right = [12, 2, 1, 12, 2], [1, 4, 7, 1, 0]  # the example of SciPy's documentation
    assert kendall_tau(left, right) == pytest.approx(-0.4714045207910316)


@pytest.mark.parametrize("levels", [3, 10, 1_000])
def test_tau_is_scipys_with_few_and_many_ties(levels):
    rng = np.random.default_rng(levels)
    for size in (2, 5, 24, 60):
        left, right = rng.integers(0, levels, (2, size)).tolist()
        expected = kendalltau(left, right).statistic
        tau = kendall_tau(left, right)
        assert (tau is None and math.isnan(expected)) or tau == pytest.approx(expected)


def test_an_interval_covers_the_truth_about_as_often_as_it_says():
    # of a bivariate normal, tau = 2/pi asin(rho)
    rng, rho, hits = np.random.default_rng(0), 0.6, 0
    for _ in range(400):
        x, noise = rng.normal(size=(2, 24))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        low, high = tau_interval(kendalltau(x, y).statistic, 24)
        hits += low <= 2 / math.pi * math.asin(rho) <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_two_equal_rankings_have_an_interval_that_holds_the_truth_too():
    # of 8 networks that agree this well, every ninth measurement ranks them all alike
    rng, rho, found = np.random.default_rng(0), 0.99, []
    for _ in range(400):
        x, noise = rng.normal(size=(2, 8))
        y = rho * x + math.sqrt(1 - rho**2) * noise
        tau = kendall_tau(x.tolist(), y.tolist())
        low, high = tau_interval(tau, 8)
        found.append((tau, low <= 2 / math.pi * math.asin(rho) <= high))
    assert all(holds for tau, holds in found if tau == 1)
    assert sum(tau == 1 for tau, _ in found) > 20
    assert sum(holds for _, holds in found) / 400 > 0.95


def test_only_networks_of_both_rungs_are_compared():
    low = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.9}
    item = compare(10, low, 30, {0: 0.5, 1: 0.7, 2: 0.6})
    assert (item.low_epochs, item.high_epochs, item.num_networks) == (10, 30, 3)
    assert item.tau == pytest.approx(kendalltau([1, 2, 3], [5, 7, 6]).statistic)
    assert (item.low, item.high) == (None, None)
    assert "over 3 networks, too few for an interval" in describe_agreement(item)


def test_an_interval_is_given_from_enough_networks_on():
    same = {number: number / 10 for number in range(MIN_FOR_INTERVAL)}
    item = compare(10, same, 30, same)
    assert item.tau == 1.0
    # of 28 pairs, half a step below 1 is 27 / 28, of which Fisher's z is log(55) / 2
    low = math.tanh(math.log(55) / 2 - 1.96 * math.sqrt(0.437 / 4))
    assert (item.low, item.high) == (pytest.approx(low, abs=1e-4), 1.0)
    assert f"over {MIN_FOR_INTERVAL} networks." in describe_agreement(item)


def test_what_cannot_be_compared_is_said():
    assert "1 trained to the end in both" in describe_agreement(compare(1, {4: 0.1}, 2, {4: 0.2}))
    flat = compare(1, {4: 0.1, 5: 0.1}, 2, {4: 0.2, 5: 0.3})
    assert flat.tau is None
    assert "all 2 networks are equal" in describe_agreement(flat)
