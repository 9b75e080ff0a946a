import math
import time
from bisect import bisect_right
from collections import Counter
from functools import cache
from itertools import pairwise, product

import numpy as np
import pytest
from scipy.stats import chi2

from nas.errors import ArchitectureError, InfeasibleError
from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.identity import identify
from nas.space import (
    BudgetedSpace,
    SearchSpace,
    StageChoices,
    load_space,
)
from nas.space.index import FeasibleIndex

BOTH = ("basic", "bottleneck")
THREE = SearchSpace(
    stems=("conv3x3", "conv5x5"),
    stages=(StageChoices(BOTH, (1, 2, 4), (8, 12, 16)),) * 3,
    dropouts=(0.0, 0.2),
)
FOUR = SearchSpace(
    stems=("conv5x5",),
    stages=(StageChoices(BOTH, (1, 3), (8, 16)),) * 3 + (StageChoices(BOTH, (2,), (4, 8, 24)),),
)
# unequal lists; kernel 2 has no bottleneck, and no second block on an odd map
MIXED = SearchSpace(
    stems=("conv5x5", "conv3x3"),
    num_stages=(1, 3, 4),
    stages=(
        StageChoices(BOTH, (1, 2), (16, 8), (3, 2)),
        StageChoices(("basic_preact",), (1, 2), (8, 12)),
        StageChoices(BOTH, (2, 1), (16,), (2, 5)),
        StageChoices(("basic", "basic_se"), (1,), (8,)),
    ),
    dropouts=(0.1, 0.0),
)
CASES = {
    "three stages": (THREE, InputSpec()),
    "four stages": (FOUR, InputSpec(1, 28, 7)),
    "mixed": (MIXED, InputSpec(3, 12, 100)),
    "mixed, maps that vanish": (MIXED, InputSpec(3, 2, 10)),
}


@cache
def brute_force(name):
    """Every combination of every list, decoded; id -> what the network costs, None: vanished."""
    space, input_spec = CASES[name]
    networks = {}
    names = [choice.name for choice in space.choices]
    for values in product(*(choice.values for choice in space.choices)):
        architecture = space.decode(dict(zip(names, values, strict=True)))
        try:
            network = identify(architecture).id
        except ArchitectureError:
            continue  # describes no network
        try:
            networks[network] = count(architecture, input_spec)
        except InfeasibleError:
            networks[network] = None
    return networks


def costs_of(name, field=0):
    return sorted(cost[field] for cost in brute_force(name).values() if cost is not None)


def budgeted(name, budget, **caps):
    space, input_spec = CASES[name]
    return BudgetedSpace(space, input_spec, Caps(budget, **caps))


def p_value(observed, expected_each):
    statistic = sum((number - expected_each) ** 2 / expected_each for number in observed)
    return float(chi2.sf(statistic, len(observed) - 1))


@pytest.mark.parametrize("name", CASES)
def test_the_number_of_distinct_networks_equals_enumeration(name):
    assert budgeted(name, 10**9).feasible_set.num_distinct() == len(brute_force(name))


@pytest.mark.parametrize("field", [0, 1, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_number_within_any_cap_equals_enumeration(name, field):
    space, input_spec = CASES[name]
    index = FeasibleIndex(space, input_spec, field)
    costs = costs_of(name, field)
    places = np.linspace(0, len(costs) - 1, 60).astype(int)
    for cap in {costs[place] + offset for place in places for offset in (-1, 0, 1)}:
        assert index.count(cap) * len(space.dropouts) == bisect_right(costs, cap)
    assert index.count(0) == 0
    assert index.count(10**15) * len(space.dropouts) == len(costs)


@pytest.mark.parametrize("name", CASES)
def test_the_histogram_equals_enumeration(name):
    costs = costs_of(name)
    edges = sorted({0, *costs[:: max(1, len(costs) // 17)], costs[-1]})
    expected = [
        bisect_right(costs, high) - bisect_right(costs, low) for low, high in pairwise(edges)
    ]
    assert budgeted(name, 10**9).feasible_set.histogram(edges) == expected


@pytest.mark.parametrize("name", CASES)
def test_the_extremes_equal_enumeration(name):
    space = budgeted(name, 10**9)
    costs = costs_of(name)
    for (architecture, complexity), expected in (
        (space.extreme(is_largest=False), costs[0]),
        (space.extreme(is_largest=True), costs[-1]),
    ):
        assert complexity == count(architecture, space.input_spec)
        assert complexity.num_params == expected


@pytest.mark.parametrize("name", CASES)
def test_enumerate_yields_what_fits_once(name):
    costs = costs_of(name)
    space = budgeted(name, costs[len(costs) // 3])
    found = [space.key(choices) for choices in space.feasible_set.enumerate()]
    expected = {
        network
        for network, cost in brute_force(name).items()
        if cost is not None and cost.num_params <= space.caps.budget
    }
    assert len(found) == len(set(found)) == space.num_feasible()
    assert set(found) == expected


@pytest.mark.parametrize("name", CASES)
def test_draws_are_uniform_over_the_distinct_networks_that_fit(name):
    costs = costs_of(name)
    space = budgeted(name, costs[min(len(costs) - 1, 500)])
    rng = np.random.default_rng(0)
    number = space.num_feasible()
    draws = Counter(space.key(space.sample(rng)) for _ in range(20 * number))
    assert all(brute_force(name)[network].num_params <= space.caps.budget for network in draws)
    observed = list(draws.values()) + [0] * (number - len(draws))
    assert len(observed) == number
    assert p_value(observed, 20) > 1e-3


def test_draws_under_several_caps_are_uniform_too():
    macs = costs_of("three stages", 1)[900]
    params = costs_of("three stages", 0)[900]
    space = budgeted("three stages", params, max_macs=macs)
    expected = {
        network
        for network, cost in brute_force("three stages").items()
        if cost.num_params <= params and cost.macs <= macs
    }
    rng = np.random.default_rng(0)
    draws = Counter(space.key(space.sample(rng)) for _ in range(20 * len(expected)))
    assert set(draws) <= expected
    observed = list(draws.values()) + [0] * (len(expected) - len(draws))
    assert p_value(observed, 20) > 1e-3


def test_a_count_under_several_caps_is_estimated_within_its_error():
    space, input_spec = THREE, InputSpec()
    params, macs = costs_of("three stages", 0)[15_000], costs_of("three stages", 1)[12_000]
    capped = BudgetedSpace(space, input_spec, Caps(params, macs, 10**9))
    counted = capped.feasible_set.count()
    expected = sum(
        cost.num_params <= params and cost.macs <= macs
        for cost in brute_force("three stages").values()
    )
    assert not counted.is_exact
    assert capped.num_feasible() is None
    assert 0 < counted.standard_error < 200
    assert abs(counted.value - expected) < 4 * counted.standard_error


def test_a_count_under_several_caps_is_exact_in_a_small_space():
    params, macs = costs_of("four stages", 0)[1500], costs_of("four stages", 1)[900]
    expected = sum(
        cost.num_params <= params and cost.macs <= macs
        for cost in brute_force("four stages").values()
    )
    assert budgeted("four stages", params, max_macs=macs).num_feasible() == expected


def test_caps_that_only_few_networks_keep_together_still_give_draws_that_fit():
    networks = brute_force("three stages").values()
    params, macs = min((cost.num_params, cost.macs) for cost in networks)
    wider = next(m for m in sorted({cost.macs for cost in networks}) if m >= macs)
    space = budgeted("three stages", params, max_macs=wider)
    rng = np.random.default_rng(0)
    assert all(space.is_feasible(space.sample(rng)) for _ in range(3))


def test_a_space_too_large_to_list_is_drawn_from_and_estimated(monkeypatch):
    monkeypatch.setattr("nas.space.index.MAX_ROWS", 100)
    costs = costs_of("three stages")
    cap = costs[len(costs) // 4]
    space = budgeted("three stages", cap)
    counted = space.feasible_set.count()
    assert not counted.is_exact
    assert abs(counted.value - bisect_right(costs, cap)) < 4 * counted.standard_error
    rng = np.random.default_rng(0)
    drawn = [space.num_params(space.sample(rng)) for _ in range(4000)]
    within = costs[: bisect_right(costs, cap)]
    assert max(drawn) <= cap
    error = math.sqrt(np.var(within) / len(drawn))
    assert abs(np.mean(drawn) - np.mean(within)) < 4 * error
    half = costs[len(costs) // 2]
    below, above = space.feasible_set.histogram([0, half, costs[-1]])
    assert below == pytest.approx(bisect_right(costs, half), rel=0.05)
    assert below + above == pytest.approx(len(costs), rel=1e-3)


def test_the_resnet_space_has_as_many_networks_as_was_counted_for_the_project():
    # FACTS.md, "Counting a space without enumerating it", without dropout
    resnet = load_space("resnet").space
    started = time.process_time()
    index = FeasibleIndex(resnet, InputSpec())
    assert index.count(5_000_000) == 120_015_141_421
    assert index.count(10**12) == 303_713_280_000
    assert time.process_time() - started < 2
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(5):  # the fastest of five: other processes slow this one down
        started = time.process_time()
        for _ in range(400):
            index.draw(5_000_000, rng)
        seconds.append((time.process_time() - started) / 400)
    assert min(seconds) < 100e-6


def test_draws_from_the_resnet_space_follow_its_exact_histogram():
    space = BudgetedSpace(load_space("resnet").space, InputSpec(), Caps(5_000_000))
    edges = [0, 200_000, 500_000, *range(1_000_000, 5_000_001, 500_000)]
    exact = space.feasible_set.histogram(edges)
    assert sum(exact) == space.num_feasible() == 5 * 120_015_141_421
    rng = np.random.default_rng(1)
    drawn = [space.num_params(space.sample(rng)) for _ in range(4000)]
    observed = np.histogram(np.array(drawn) - 0.5, edges)[0]
    expected = np.array(exact) / sum(exact) * len(drawn)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert chi2.sf(statistic, len(exact) - 1) > 1e-3
