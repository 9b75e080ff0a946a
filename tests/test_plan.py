"""The plan of a study: sized for the machine, whole for the data."""

from dataclasses import replace

import pytest
import torch
from small_training import NET, SPEC

from nas.architecture import Architecture, Stage, Stem
from nas.data.split import stratified_split, stratified_subset
from nas.device import Engine
from nas.plan import (
    Speed,
    choose_plan,
    choose_threads,
    fit_batch,
    measure_speed,
    typical_speed,
)
from nas.recipe import get_recipe

CPU = Engine("cpu", 1)
RECIPE = get_recipe("short")


@pytest.mark.parametrize("speed", [1e-6, 1e-4, 1e-3, 1e-2, 1.0])
@pytest.mark.parametrize(("num_images", "num_classes"), [(40, 2), (1438, 10), (50_000, 1000)])
@pytest.mark.parametrize("epochs", [None, 1, 7])
def test_a_plan_takes_no_more_images_than_there_are_and_some_of_each_class(
    speed, num_images, num_classes, epochs
):
    labels = torch.arange(num_images) % num_classes
    train, val = stratified_split(labels, 0.1, 0)
    plan = choose_plan(CPU, Speed(speed, speed / 3), len(train), len(val), num_classes, epochs)
    assert plan.epochs == epochs or (epochs is None and plan.epochs >= 4)
    for part, size in ((train, plan.train_images), (val, plan.val_images)):
        chosen = stratified_subset(labels[part], size, 0)  # refuses too few and too many
        assert len(labels[part][chosen].unique()) == num_classes


def test_a_slow_network_gets_a_small_slice_and_a_fast_one_all_images():
    slow = choose_plan(CPU, Speed(0.02, 0.005), 45_000, 5_000, 10)
    fast = choose_plan(CPU, Speed(1e-6, 1e-6), 45_000, 5_000, 10)
    assert slow.train_images < fast.train_images == 45_000
    assert slow.epochs < fast.epochs
    assert (slow.num_threads, slow.device) == (1, "cpu")
    seconds = Speed(0.002, 0.0005).trial_seconds(
        choose_plan(CPU, Speed(0.002, 0.0005), 45_000, 5_000, 10)
    )
    assert 20 < seconds < 60  # the plan aims at 40 seconds a trial


def test_on_a_gpu_the_whole_split_is_trained_on():
    plan = choose_plan(Engine("cuda", 2), Speed(1.0, 1.0), 45_000, 5_000, 10)
    assert (plan.train_images, plan.val_images) == (45_000, 5_000)


def test_a_small_slice_gets_a_smaller_batch_and_never_a_higher_rate():
    assert fit_batch(RECIPE, 45_000) == RECIPE
    fitted = fit_batch(RECIPE, 1_000)
    assert 1_000 // fitted.batch_size >= 30 > 1_000 // (2 * fitted.batch_size)
    assert fitted.learning_rate < RECIPE.learning_rate
    assert replace(fitted, batch_size=128, learning_rate=0.1) == RECIPE
    assert fit_batch(RECIPE, 10).batch_size == 16


def test_speeds_are_measured_and_leave_pytorch_as_it_was():
    before = torch.get_rng_state(), torch.get_num_threads()
    speed = measure_speed(NET, SPEC, RECIPE, Engine("cpu", 1))
    assert 0 < speed.val_seconds < speed.train_seconds < 1
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_threads_are_chosen_from_one_and_all():
    assert choose_threads([NET], SPEC, RECIPE, "cpu", 1) == 1
    assert choose_threads([NET], SPEC, RECIPE, "cpu", 2) in (1, 2)
    assert choose_threads([NET], SPEC, RECIPE, "cuda", 8) == 8


def test_a_typical_speed_follows_the_cost():
    speeds = [Speed(1.0, 0.5), Speed(3.0, 1.5)]
    assert typical_speed(speeds, [10.0, 30.0], 20.0) == Speed(2.0, 1.0)
    assert typical_speed(speeds, [10.0, 30.0], 60.0) == Speed(6.0, 3.0)


@pytest.mark.slow
def test_a_cost_unit_takes_about_the_same_time_in_every_network():
    from nas.forecast import cost_units

    nets = [
        Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 16, 1), Stage("basic", 2, 64, 2))),
        Architecture(Stem("conv3x3", 64), (Stage("bottleneck", 8, 128, 1),)),
        Architecture(Stem("conv3x3", 8), (Stage("bottleneck", 20, 8, 1),)),
    ]
    spec = replace(SPEC, image_size=16)
    per_unit = [
        measure_speed(net, spec, RECIPE, CPU).train_seconds / cost_units(net, spec, False)
        for net in nets
    ]
    assert max(per_unit) < 5 * min(per_unit)
