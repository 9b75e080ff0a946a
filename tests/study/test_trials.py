"""Rows, funnel, ranking and ties of a study; expected values by hand and by closed formulas."""

import math
from datetime import datetime, timedelta

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from nas.statistics import resolvable_difference, standard_error
from nas.study.trials import (
    WORDS,
    count_funnel,
    gather,
    pareto_front,
    rank,
    read_rows,
    tied_with_first,
)
from nas.training.result import Ending
from tests.support.errors import wilson_error
from tests.support.rows import row


def frozen(state, value=None, steps=(), **attrs):
    return create_trial(
        state=state, value=value, intermediate_values=dict(enumerate(steps)), user_attrs=attrs
    )


def test_every_ending_has_a_word():
    assert WORDS.keys() == set(Ending)


@pytest.mark.parametrize(
    ("trial", "state", "accuracy", "is_counted"),
    [
        (frozen(TrialState.COMPLETE, 0.5, (0.4, 0.5)), "complete", 0.5, True),
        (frozen(TrialState.PRUNED, steps=(0.4, 0.3)), "pruned", 0.3, True),
        (frozen(TrialState.PRUNED, reason="over budget"), "rejected", None, False),
        (frozen(TrialState.COMPLETE, 0.0, (0.1,), reason="diverged"), "broken", 0.0, True),
        (frozen(TrialState.FAIL, steps=(0.4,), reason="killed"), "failed", 0.4, False),
    ],
)
def test_each_optuna_state_has_its_word_and_counts_as_the_design_says(
    trial, state, accuracy, is_counted
):
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial)
    (found,) = read_rows(study)
    assert (found.word, found.val_accuracy, found.is_counted) == (state, accuracy, is_counted)


def test_running_and_waiting_trials_are_told_apart():
    study = optuna.create_study(direction="maximize")
    study.ask()
    study.enqueue_trial({"x": 1})
    assert [found.state for found in read_rows(study)] == ["running", "waiting"]


def test_the_funnel_counts_rejects_as_trials_and_as_redraws():
    rows = [
        row(0, num_over_budget=3, num_repeats=1),
        row(1, state="rejected"),
        row(2, state="pruned"),
        row(3, state="broken"),
        row(4, state="failed"),
        row(5, state="running", num_over_budget=2),
    ]
    funnel = count_funnel(rows)
    assert (funnel.counted, funnel.complete, funnel.pruned, funnel.broken) == (3, 1, 1, 1)
    assert (funnel.failed, funnel.running, funnel.num_over_budget) == (1, 1, 6)
    assert funnel.num_repeats == 1


def test_the_standard_error_is_the_issues_example():
    assert standard_error(0.93, 5_000) == pytest.approx(0.0036, abs=0.00002)  # 0.36 points


@pytest.mark.parametrize(("count", "total"), [(0, 6), (6, 6), (1, 1), (3, 6), (199, 200), (5, 17)])
def test_the_standard_error_is_at_the_centre_of_wilsons_interval_and_never_0(count, total):
    assert standard_error(count / total, total) == pytest.approx(wilson_error(count, total))


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 0.93, 0.99])
def test_of_many_images_the_standard_error_is_the_binomial_one(accuracy):
    expected = math.sqrt(accuracy * (1 - accuracy) / 50_000)
    assert standard_error(accuracy, 50_000) == pytest.approx(expected, rel=2e-3)


def test_of_few_images_a_perfect_network_is_no_clear_winner():
    # 100% has an error of 12.6 points on 6 images, of 0.2 on 600
    assert len(tied_with_first(rank([row(0, 1.0, 900), row(1, 0.9, 500)]), 6)) == 2
    assert len(tied_with_first(rank([row(0, 1.0, 900), row(1, 0.9, 500)]), 600)) == 1


def test_two_equal_networks_differ_by_more_than_the_limit_in_5_percent_of_measurements():
    # independent: 1.96 standard deviations of a difference of two binomials
    assert resolvable_difference(0.9, 1_000) == pytest.approx(
        1.96 * math.sqrt(2 * 0.9 * 0.1 / 1_000), rel=0.01
    )


def test_only_completed_trials_within_the_budget_are_ranked_equal_ones_by_size():
    rows = [
        row(0, 0.8, 500),
        row(1, 0.9, 2_000),
        row(2, 0.8, 400),
        row(3, 0.95, 100, state="pruned"),
        row(4, 0.99, 100, state="broken"),
    ]
    assert [found.number for found in rank(rows, 1_000)] == [2, 0]
    assert [found.number for found in rank(rows)] == [1, 2, 0]


def test_what_is_within_one_standard_error_of_the_best_is_tied():
    # one standard error of 90% on 100 images is 3 points
    ranked = rank([row(0, 0.90, 900), row(1, 0.88, 500), row(2, 0.86, 100)])
    assert [found.number for found in tied_with_first(ranked, 100)] == [0, 1]
    assert tied_with_first([], 100) == []


def test_estimates_rank_and_tie_where_there_are_any():
    rows = [row(0, 0.94, estimate=0.89), row(1, 0.90, estimate=0.91), row(2, 0.80, estimate=0.87)]
    ranked = rank(rows)
    assert [found.number for found in ranked] == [1, 0, 2]
    # one standard error of the best's 90% on 100 images: 3 points below its estimate of 91%
    assert [found.number for found in tied_with_first(ranked, 100)] == [1, 0]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=30))
def test_the_pareto_front_names_the_best_of_every_budget(pairs):
    rows = [row(n, 0.5, size, estimate=value / 20) for n, (value, size) in enumerate(pairs)]
    front = pareto_front(rows)
    for budget in range(min(size for _, size in pairs), 21):
        assert rank(rows, budget)[0] == [one for one in front if one.num_params <= budget][-1]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=30))
def test_the_pareto_front_is_what_nothing_as_small_or_smaller_reaches(pairs):
    rows = [row(n, accuracy / 20, size) for n, (accuracy, size) in enumerate(pairs)]
    front = pareto_front(rows)
    expected = {
        (one.num_params, one.val_accuracy)
        for one in rows
        if not any(
            (other.num_params <= one.num_params and other.val_accuracy > one.val_accuracy)
            or (other.num_params < one.num_params and other.val_accuracy == one.val_accuracy)
            for other in rows
        )
    }
    assert [(one.num_params, one.val_accuracy) for one in front] == sorted(expected)


def test_the_elapsed_time_runs_from_the_asking_to_the_telling():
    study = optuna.create_study(direction="maximize")
    start = datetime(2026, 1, 1)
    trial = create_trial(state=TrialState.COMPLETE, value=0.5)
    trial.datetime_start, trial.datetime_complete = start, start + timedelta(seconds=7)
    study.add_trial(trial)
    assert read_rows(study)[0].elapsed_seconds == 7.0


def test_a_network_has_one_row_whatever_number_of_seeds_it_was_trained_with():
    rows = [
        row(0, 0.90, 900, id="a"),
        row(1, 0.80, 500, id="b", seed=0),
        row(2, 0.70, 900, id="a", seed=1),
        row(3, 0.10, 900, id="a", seed=1),  # of one seed twice the first counts
        row(4, 0.99, 500, state="running", id="b", seed=2),
    ]
    found = {one.id: one for one in gather(rows)}
    assert [found["a"].number, found["a"].num_trainings] == [0, 2]
    assert found["a"].val_accuracy == pytest.approx(0.8)
    assert found["b"] is rows[1]
    assert [one.number for one in rank(rows)] == [1, 0]  # equal accuracies, the smaller first


def test_a_network_whose_trainings_broke_off_has_the_row_of_the_first():
    rows = [row(0, 0.3, state="pruned", id="a"), row(1, 0.2, state="pruned", id="a", seed=1)]
    assert gather(rows) == [rows[0]]
    complete = row(2, 0.5, id="a", seed=2)
    assert gather([*rows, complete]) == [complete]
    assert gather([row(0, state="failed"), row(1, state="rejected")]) == []
