"""The plan of a study: sized for the machine, whole for the data."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from nas.data.split import stratified_split, stratified_subset
from nas.search.plan import (
    GOOD_IMAGES,
    GOOD_TAU,
    TAUS,
    choose_folds,
    choose_plan,
    default_rungs,
    expected_tau,
    grow_rungs,
    seconds_a_trial,
    seconds_to_rank,
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
    assert plan.epochs == epochs or (epochs is None and 2 <= plan.epochs <= 10)
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


def test_images_are_seen_again_only_where_there_are_no_more():
    speed = Speed(0.001, 0.0003)
    many = choose_plan(CPU, speed, 45_000, 5_000, 10)
    assert (many.epochs, many.val_images) == (2, 5_000)
    assert many.train_images >= 10_000
    few = choose_plan(CPU, speed, 6_000, 600, 10)
    assert (few.train_images, few.val_images) == (6_000, 600)
    assert few.epochs > 2
    assert 30 < trial_seconds(speed, few) < 40


def test_a_long_time_budget_gets_200_trials_then_longer_ones():
    # rungs cost 3 x 1/6, 9 x 1/18 and 27 x 1/54 of the search: 2.5 times its seconds in sum
    hour = 3_600
    assert seconds_a_trial(0) == seconds_a_trial(hour) == seconds_a_trial(2.5 * 200 * 40) == 40
    assert seconds_a_trial(2.5 * 200 * 100) == pytest.approx(100)
    assert seconds_a_trial(2.5 * 20 * 100, num_trials=20) == pytest.approx(100)
    assert seconds_a_trial(200 * 100, num_rungs=0) == pytest.approx(100)
    speed = Speed(0.01, 0.003)
    plans = [choose_plan(CPU, speed, 45_000, 5_000, 10, seconds=s) for s in (40, 100)]
    assert plans[0].train_images < plans[1].train_images
    assert trial_seconds(speed, plans[1]) <= 100


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


def test_a_short_training_gets_a_batch_that_leaves_it_300_steps():
    fitted = fit_batch(RECIPE, 10_000, epochs=2)
    assert 2 * (10_000 // fitted.batch_size) >= 300 > 2 * (10_000 // (2 * fitted.batch_size))
    assert fit_batch(RECIPE, 1_000, epochs=200) == fit_batch(RECIPE, 1_000, epochs=10)
    assert fit_batch(RECIPE, 45_000, epochs=1) == RECIPE


def test_a_batch_of_512_takes_twice_the_rate_of_128_where_30_steps_are_left():
    large = fit_batch(RECIPE, 45_000, largest=512)
    assert (large.batch_size, large.learning_rate) == (512, 2 * RECIPE.learning_rate)
    assert fit_batch(RECIPE, 15_360, largest=512) == large  # 30 x 512
    half = fit_batch(RECIPE, 15_359, largest=512)
    assert half.batch_size == 256
    assert half.learning_rate == pytest.approx(RECIPE.learning_rate * 2**0.5)
    assert fit_batch(RECIPE, 1_000, largest=512) == fit_batch(RECIPE, 1_000)
    assert fit_recipe(RECIPE, ["batch_size=128"], 45_000, largest=512) == RECIPE


def test_the_highest_rung_of_a_slice_sees_enough_images_to_rank_or_five_times_as_many_each():
    plan = Plan("cpu", 1, train_images=2_000, val_images=1_000, epochs=2)
    for num_trials, num_rungs in ((18, 1), (54, 2), (162, 3)):
        rungs = default_rungs(plan, 45_000, num_trials)
        seen = [4_000, *(rung.epochs * (rung.images or 2_000) for rung in rungs)]
        factors = [after / before for before, after in pairwise(seen)]
        assert len(rungs) == num_rungs
        assert all(2.3 < factor < 5.5 for factor in factors)  # images and epochs are rounded
        if num_rungs == 3:
            assert seen[-1] > 0.8 * GOOD_IMAGES
    assert default_rungs(plan, 2_000, 54) == (RungSpec(9, 6), RungSpec(3, 18))
    # nothing was measured on small data sets, where more images seen are the same ones again
    assert default_rungs(plan, 2_400, 18) == (RungSpec(3, 5, 2_400),)


def test_rungs_keep_their_lengths_when_a_study_gets_more_trials():
    plan = Plan("cpu", 1, train_images=5_000, val_images=2_500, epochs=2)
    seen = lambda rung: rung.epochs * rung.images  # noqa: E731
    for before, now in ((36, 60), (36, 200), (60, 200), (18, 54), (160, 162)):
        old = default_rungs(plan, 45_000, before)
        new = grow_rungs(old, plan, 45_000, before, now)
        assert [rung.label for rung in new[: len(old)]] == [rung.label for rung in old]
        counts = [rung.count for rung in default_rungs(plan, 45_000, now)]
        assert [rung.count for rung in new] == counts[: len(new)]
        assert len(new) >= len(old)
        assert all(seen(low) < seen(high) for low, high in pairwise(new))
        assert grow_rungs(new, plan, 45_000, now, before) == new  # fewer trials take none away
    asked = (RungSpec(7, 9),)
    assert grow_rungs(asked, plan, 45_000, 36, 60) == asked


def test_a_search_is_as_long_as_its_highest_rung_needs_to_rank():
    # an image takes 1 s / 250: a trial sees 10,000, so 18 of them and 3 that see ten times as many
    # are too few by a rung of 5 times; with two rungs 54 + 9 x sqrt(10) + 3 x 10 trials of 40 s
    speed, good = Speed(0.004, 0.0), GOOD_IMAGES / 10_000
    factor = max(good**0.5, 3)
    expected = 40 * (54 + 9 * factor + 3 * factor**2) if good > 5 else 40 * (18 + 3 * good)
    assert seconds_to_rank(speed) == pytest.approx(expected)
    assert seconds_to_rank(Speed(1.0, 0.0)) == math.inf  # 125 times 40 images are not enough


def test_what_short_trainings_are_worth_is_what_was_measured_and_rises_with_their_length():
    assert [expected_tau(seen) for seen in TAUS] == pytest.approx(list(TAUS.values()), abs=0.02)
    assert expected_tau(1) == 0.0
    assert expected_tau(5_000) < expected_tau(20_000) < expected_tau(60_000) < GOOD_TAU
    assert expected_tau(10**9) == GOOD_TAU
    # a line in the logarithm: as much for every doubling
    doublings = [expected_tau(2 * seen) - expected_tau(seen) for seen in (5_000, 10_000, 20_000)]
    assert doublings == pytest.approx([doublings[0]] * 3)


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
    # one rung would see 30,000 images: up to five times the search's, for the sake of its ranks
    assert default_rungs(plan, 45_000, 53) == (RungSpec(8, 1, 45_000),)
    assert default_rungs(plan, 45_000, 17) == ()
    whole = Plan("cuda", 1, train_images=45_000, val_images=5_000, epochs=10)
    assert default_rungs(whole, 45_000, 54) == (RungSpec(9, 30), RungSpec(3, 90))


def test_folds_are_proposed_where_one_split_tells_no_10_points_apart():
    # near 90%, by the plain binomial error: 1.96 x sqrt(2 x .9 x .1 / n), 10 points at n = 69
    binomial = {n: 1.96 * math.sqrt(2 * 0.9 * 0.1 / n) for n in (16, 50, 90, 144, 5_000)}
    for num_val, resolved in binomial.items():
        folds = 5 if resolved > 0.1 else 1
        assert choose_folds("accuracy", [num_val], 1_000) == folds
    # 4 of 144 are of the second class: half of sqrt(.9 x .1 / 4) alone is more than 10 points
    assert choose_folds("accuracy", [140, 4], 1_000) == 1
    assert choose_folds("balanced_accuracy", [140, 4], 1_000) == 5
    assert choose_folds("balanced_accuracy", [140, 140], 1_000) == 1


def test_folds_have_50_epochs_where_their_seconds_hold_them_and_never_below_10():
    for seconds, epochs in ((1e-5, 50), (0.002, 25), (1.0, 10)):  # of an image trained on
        plan = choose_plan(CPU, Speed(seconds, 0.0), 160, 200, 10, folds=5)
        assert plan.epochs == epochs  # 40 s a trial, of 5 x 160 images an epoch
    assert choose_plan(Engine("cuda", 2), Speed(1.0, 1.0), 160, 200, 10, folds=5).epochs == 50


def test_the_seconds_of_a_trial_count_every_fold():
    speed = Speed(0.01, 0.003)
    plan = choose_plan(CPU, speed, 160, 200, 10, epochs=10, folds=5)
    # 10 epochs of 5 x 160 images trained on, and of 200 that are validated on once
    assert trial_seconds(speed, plan) == pytest.approx(10 * (5 * 160 * 0.01 + 200 * 0.003))
    assert (plan.train_images, plan.val_images, plan.folds) == (160, 200, 5)
