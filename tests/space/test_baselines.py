"""What stands beside a budget: baselines, and the cost of a search."""

import statistics

import pytest

from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.identity import identify
from nas.network.presets import PRESETS
from nas.space import BudgetedSpace, load_space
from nas.space.baselines import nearest_baselines, search_cost
from tests.support.small_study import SPACE

INPUT = InputSpec(3, 32, 10)


def budgeted(name, budget):
    loaded = load_space(name)
    return BudgetedSpace(loaded.space, INPUT, Caps(budget), loaded.name), loaded.baseline


def test_the_papers_net_stands_beside_its_budget_with_its_published_counts():
    nearest = {entry.name: entry for entry in nearest_baselines(*budgeted("resnet", 5_000_000))}
    final = nearest["final"]
    assert (final.num_params, final.macs, final.is_in_space) == (4_997_194, 177_139_392, True)
    assert nearest["row1"].num_params == 5_069_130
    assert not nearest["row1"].is_in_space  # 2x2 kernels
    assert "row3" not in nearest  # the final net by another name


@pytest.mark.parametrize("budget", [20_000, 300_000, 10**9])
def test_the_nearest_are_there_and_the_nearest_of_the_space(budget):
    space, baseline = budgeted("resnet", budget)
    names = [entry.name for entry in nearest_baselines(space, baseline)]
    networks = {**{name: preset.architecture for name, preset in PRESETS.items()}}
    sizes = {name: count(network, INPUT).num_params for name, network in networks.items()}
    order = sorted(sizes, key=lambda name: max(sizes[name] / budget, budget / sizes[name]))
    distinct = list({identify(networks[name]).id: name for name in reversed(order)}.values())
    assert set(distinct[::-1][:4]) <= {*names, "row3"}
    inside = [name for name in order if space.encode(networks[name]) is not None]
    assert inside[0] in {*names, "row3"}
    assert [sizes[name] for name in names] == sorted((sizes[name] for name in names), reverse=True)


def test_a_map_too_small_leaves_networks_out():
    loaded = load_space(SPACE)
    space = BudgetedSpace(loaded.space, InputSpec(1, 1, 2), Caps(8_000), loaded.name)
    assert "row1" not in [entry.name for entry in nearest_baselines(space, loaded.baseline)]


def test_the_cost_is_three_forward_passes_of_the_mean_network():
    space, _ = budgeted(SPACE, 8_000)
    macs = [space.complexity(choices).macs for choices in space.feasible_set.enumerate()]
    cost = search_cost(space, num_trials=20, num_epochs=5, num_images=1_000)
    assert abs(cost.mean_macs - statistics.fmean(macs)) < 4 * cost.standard_error
    assert cost.standard_error == pytest.approx(statistics.pstdev(macs) / 16, rel=0.25)
    assert cost.total_macs == pytest.approx(3 * cost.mean_macs * 20 * 5 * 1_000)
