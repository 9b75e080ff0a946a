import math

import pytest
import torch

from nas.schedule import SCHEDULES, learning_rate_at

GRID = [step / 200 for step in range(201)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "cyclic"])
@pytest.mark.parametrize("warmup", [0.0, 0.025, 0.2])
def test_an_annealing_schedule_ends_at_exactly_zero(schedule, warmup):
    rate = learning_rate_at(1.0, schedule=schedule, peak=0.1, warmup_share=warmup)
    assert rate == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_stays_between_floor_and_peak(schedule):
    rates = [learning_rate_at(p, schedule=schedule, peak=0.3, floor=0.01, cycles=3) for p in GRID]
    assert min(rates) >= 0.01 - 1e-12
    assert max(rates) <= 0.3 + 1e-12


def test_cosine_is_half_a_cosine():
    for progress in GRID:
        expected = 0.1 * math.cos(progress * math.pi / 2) ** 2
        rate = learning_rate_at(progress, schedule="cosine", peak=0.1)
        assert rate == pytest.approx(expected, abs=1e-12)


def test_warm_up_and_linear_annealing_are_two_straight_lines():
    corners = {0.0: 0.0, 0.1: 0.2, 0.2: 0.4, 0.4: 0.3, 0.6: 0.2, 1.0: 0.0}
    for progress, expected in corners.items():
        rate = learning_rate_at(progress, schedule="linear", peak=0.4, warmup_share=0.2)
        assert rate == pytest.approx(expected, abs=1e-12)


def test_cosine_with_warm_up_equals_torch_stepping_its_own_schedulers():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedulers = torch.optim.lr_scheduler
    anneal = schedulers.CosineAnnealingLR(optimizer, T_max=90)
    for step in range(90):
        rate = learning_rate_at(
            0.1 + 0.9 * step / 90, schedule="cosine", peak=0.1, warmup_share=0.1
        )
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        anneal.step()


def test_cyclic_equals_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.01)
    torch_cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.01, max_lr=0.3, step_size_up=10, cycle_momentum=False
    )
    for step in range(60):  # three triangles of 20 steps
        rate = learning_rate_at(step / 60, schedule="cyclic", peak=0.3, floor=0.01, cycles=3)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        torch_cyclic.step()


def test_constant_stays():
    assert {learning_rate_at(p, schedule="constant", peak=0.1) for p in GRID} == {0.1}
