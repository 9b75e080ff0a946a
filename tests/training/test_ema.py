import copy

import pytest
import torch
from torch import nn

from nas.training.ema import WeightAverage


def test_the_average_follows_the_closed_form():
    model = nn.Linear(3, 2).double()
    states = [copy.deepcopy(model.state_dict())]
    average = WeightAverage(model, half_life_steps=2.5)
    for step in range(7):
        torch.manual_seed(step)
        nn.init.normal_(model.weight)
        states.append(copy.deepcopy(model.state_dict()))
        average.update(model)
    decay = 2 ** (-1 / 2.5)
    # s_n = decay^n x_0 + (1 - decay) sum_k decay^(n-k) x_k
    expected = decay**7 * states[0]["weight"] + sum(
        (1 - decay) * decay ** (7 - k) * states[k]["weight"] for k in range(1, 8)
    )
    torch.testing.assert_close(average.shadow.weight.detach(), expected)


@pytest.mark.parametrize("half_life", [1, 5, 40])
def test_a_jump_is_half_forgotten_after_the_half_life(half_life):
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    average = WeightAverage(model, half_life)
    nn.init.zeros_(model.weight)
    for _ in range(half_life):
        average.update(model)
    assert average.shadow.weight.item() == pytest.approx(0.5)


def test_running_statistics_are_averaged_and_counters_stay():
    model = nn.BatchNorm2d(2)
    average = WeightAverage(model, 1.0)
    model(torch.randn(8, 2, 4, 4) + 3)
    model(torch.randn(8, 2, 4, 4) + 3)
    average.update(model)
    torch.testing.assert_close(average.shadow.running_mean, model.running_mean / 2)
    assert average.shadow.num_batches_tracked == 0


def test_the_shadow_evaluates_and_wants_no_gradient():
    average = WeightAverage(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train(), 3.0)
    assert not any(module.training for module in average.shadow.modules())
    assert not any(parameter.requires_grad for parameter in average.shadow.parameters())
