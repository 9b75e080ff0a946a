"""The plan of a study: sized for the machine, whole for the data."""

from dataclasses import replace

import pytest
import torch

from nas.data.split import stratified_split, stratified_subset
from nas.search.plan import (
    choose_plan,
    default_rungs,
    trial_seconds,
    typical_speed,
)
from nas.study.definition import Plan
from nas.study.rungs import RungSpec
from nas.training.engine import Engine
from nas.training.fitting import fit_batch, fit_recipe
from nas.training.recipe import get_recipe
from nas.training.timing import Speed

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
    seconds = trial_seconds(
        Speed(0.002, 0.0005), choose_plan(CPU, Speed(0.002, 0.0005), 45_000, 5_000, 10)
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


def test_a_batch_of_512_takes_twice_the_rate_of_128_where_30_steps_are_left():
    large = fit_batch(RECIPE, 45_000, largest=512)
    assert (large.batch_size, large.learning_rate) == (512, 2 * RECIPE.learning_rate)
    assert fit_batch(RECIPE, 15_360, largest=512) == large  # 30 x 512
    half = fit_batch(RECIPE, 15_359, largest=512)
    assert half.batch_size == 256
    assert half.learning_rate == pytest.approx(RECIPE.learning_rate * 2**0.5)
    assert fit_batch(RECIPE, 1_000, largest=512) == fit_batch(RECIPE, 1_000)
    assert fit_recipe(RECIPE, ["batch_size=128"], 45_000, largest=512) == RECIPE


def test_a_typical_speed_follows_the_cost():
    speeds = [Speed(1.0, 0.5), Speed(3.0, 1.5)]
    assert typical_speed(speeds, [10.0, 30.0], 20.0) == Speed(2.0, 1.0)
    assert typical_speed(speeds, [10.0, 30.0], 60.0) == Speed(6.0, 3.0)


def test_rungs_cost_three_times_as_much_each_and_train_a_sixth_then_a_third():
    plan = Plan("cpu", 1, train_images=10_000, val_images=1_000, epochs=1)
    assert default_rungs(plan, 45_000, 162) == (
        RungSpec(27, 1, 30_000),
        RungSpec(9, 2, 45_000),
        RungSpec(3, 6, 45_000),
    )
    assert default_rungs(plan, 45_000, 20_000)[-1].count == 370  # at most three of them
    assert default_rungs(plan, 45_000, 53) == (RungSpec(8, 1, 30_000),)
    assert default_rungs(plan, 45_000, 17) == ()
    whole = Plan("cuda", 1, train_images=45_000, val_images=5_000, epochs=10)
    assert default_rungs(whole, 45_000, 54) == (RungSpec(9, 30), RungSpec(3, 90))
