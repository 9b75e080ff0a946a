import math

import pytest
import torch

from nas.training.recipe import Recipe
from nas.training.schedule import SCHEDULES

GRID = [step / 200 for step in range(201)]


def recipe(schedule, peak=0.1, floor=0.0, warmup=0.0, **fields):
    return Recipe(
        schedule=schedule,
        learning_rate=peak,
        floor_learning_rate=floor,
        warmup_share=warmup,
        **fields,
    )


@pytest.mark.parametrize("schedule", ["cosine", "linear", "cyclic", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.025, 0.2])
def test_an_annealing_schedule_ends_at_exactly_zero(schedule, warmup):
    assert recipe(schedule, warmup=warmup).learning_rate_at(1.0) == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_stays_between_floor_and_peak(schedule):
    rates = [recipe(schedule, 0.3, 0.01, cycles=3).learning_rate_at(p) for p in GRID]
    assert min(rates) >= 0.01 - 1e-12
    assert max(rates) <= 0.3 + 1e-12


def test_cosine_is_half_a_cosine():
    for progress in GRID:
        expected = 0.1 * math.cos(progress * math.pi / 2) ** 2
        rate = recipe("cosine").learning_rate_at(progress)
        assert rate == pytest.approx(expected, abs=1e-12)


def test_warm_up_and_linear_annealing_are_two_straight_lines():
    corners = {0.0: 0.0, 0.1: 0.2, 0.2: 0.4, 0.4: 0.3, 0.6: 0.2, 1.0: 0.0}
    for progress, expected in corners.items():
        rate = recipe("linear", 0.4, warmup=0.2).learning_rate_at(progress)
        assert rate == pytest.approx(expected, abs=1e-12)


def test_cosine_with_warm_up_equals_torch_stepping_its_own_schedulers():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    schedulers = torch.optim.lr_scheduler
    anneal = schedulers.CosineAnnealingLR(optimizer, T_max=90)
    for step in range(90):
        rate = recipe("cosine", warmup=0.1).learning_rate_at(0.1 + 0.9 * step / 90)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        anneal.step()


@pytest.mark.parametrize("cycles", [1, 3])
def test_cyclic_equals_torch_with_its_momentum(cycles):
    optimizer = sgd(0.01)
    half = 30 // cycles
    torch_cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.01, max_lr=0.3, step_size_up=half, base_momentum=0.8, max_momentum=0.9
    )
    for step in range(60):
        assert_equal(optimizer, step / 60, "cyclic", 0.3, floor=0.01, dip=0.1, cycles=cycles)
        optimizer.step()
        torch_cyclic.step()


def test_one_cycle_equals_torch_with_its_momentum():
    optimizer = sgd(0.01)
    torch_one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=0.3,
        total_steps=101,
        final_div_factor=math.inf,
        base_momentum=0.85,
        max_momentum=0.95,
        pct_start=31 / 101,  # their peak is at step 0.307 * 101 - 1 = 30
    )
    for step in range(101):
        assert_equal(optimizer, step / 100, "one_cycle", 0.3, momentum=0.95, dip=0.1)
        optimizer.step()
        if step < 100:
            torch_one_cycle.step()


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_linear_and_constant_equal_torch(schedule):
    optimizer = sgd(0.2)
    end = 0.0 if schedule == "linear" else 1.0
    torch_linear = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=end, total_iters=50
    )
    for step in range(51):
        assert_equal(optimizer, step / 50, schedule, 0.2)
        optimizer.step()
        torch_linear.step()


def test_momentum_waits_for_the_warm_up_and_stays_where_no_schedule_moves_it():
    for progress in GRID:
        for schedule in ("cosine", "linear", "constant"):
            assert recipe(schedule).momentum_at(progress) == 0.9
    cycled = recipe("cyclic", warmup=0.2, momentum_dip=0.1)
    assert cycled.momentum_at(0.1) == 0.9
    assert cycled.momentum_at(0.6) == pytest.approx(0.8)


def sgd(rate):
    parameter = torch.nn.Parameter(torch.zeros(1))
    return torch.optim.SGD([parameter], lr=rate, momentum=0.9)


def assert_equal(
    optimizer, progress, schedule, peak, *, floor=0.0, momentum=0.9, dip=0.0, cycles=1
):
    """Rate and momentum are those that PyTorch's scheduler has set."""
    own = recipe(schedule, peak, floor, momentum=momentum, momentum_dip=dip, cycles=cycles)
    (group,) = optimizer.param_groups
    assert own.learning_rate_at(progress) == pytest.approx(group["lr"], abs=1e-9)
    assert own.momentum_at(progress) == pytest.approx(group["momentum"], abs=1e-9)


def test_constant_stays():
    assert {recipe("constant").learning_rate_at(p) for p in GRID} == {0.1}
