"""Several budgets in one study, through the command line."""

import json

import pytest

from nas.commands import main
from nas.errors import BudgetError
from nas.network.caps import parse_budgets
from nas.results.budgets import budgets_record, describe_budgets
from tests.support.rows import row
from tests.support.searching import Folder, assert_sound, words
from tests.support.small_study import definition

BUDGETS = (2_000, 4_000, 8_000)


def search(images, *more, trials=7):
    argv = words(images, "--no-baselines", "--study", "spread", *more, trials=trials)
    at = argv.index("--budget")
    return [*argv[:at], "--targets", "8k,2e3,4_000", *argv[at + 2 :]]


def test_a_study_spreads_its_trials_over_its_targets_and_answers_for_each(folder, images, capsys):
    own = Folder(folder.path, "spread")
    assert main(search(images)) == 0
    assert own.definition()["budget"] == 8_000
    assert own.definition()["targets"] == list(BUDGETS)
    assert "budgets   2,000, 4,000, 8,000" in capsys.readouterr().err
    assert main(search(images, trials=9)) == 0  # a resume goes on in turn
    trials = assert_sound(own, 9)
    for trial in trials:
        budget = BUDGETS[trial.number % 3]
        assert trial.user_attrs["target_budget"] == budget
        assert trial.user_attrs["num_params"] <= budget
        assert trial.constraints["budget"] == trial.user_attrs["num_params"] / budget - 1
    capsys.readouterr()
    assert main(["best", "--budget", "4k", "--format", "json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert best["best"]["num_params"] <= 4_000
    assert main(["status", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)["targets"]
    assert [(entry["budget"], entry["num_trials"]) for entry in record] == [
        (budget, 3) for budget in BUDGETS
    ]
    assert record[1]["best_trial"] == best["best"]["trial"]
    assert main(["status"]) == 0
    assert f"budget    within 4,000: trial {record[1]['best_trial']}:" in capsys.readouterr().out


def test_other_targets_are_refused_and_those_of_the_study_need_not_be_given(
    folder, images, capsys
):
    assert main(search(images, trials=1)) == 0
    again = ["search", "--study", "spread", "--trials", "2", "--workers", "1"]
    assert main(again) == 0
    assert len(Folder(folder.path, "spread").trials()) == 2
    assert main([*again, "--targets", "4k,8k"]) == 2
    assert "--targets: 2000,4000,8000 -> 4000,8000" in capsys.readouterr().err


def test_a_baseline_counts_for_the_smallest_target_that_holds_it(folder, images):
    argv = [word for word in search(images, trials=1) if word != "--no-baselines"]
    assert main(argv) == 0
    (trial,) = [t for t in Folder(folder.path, "spread").trials() if "num_params" in t.user_attrs]
    assert trial.user_attrs["known_name"] == "baseline"
    expected = min(budget for budget in BUDGETS if trial.user_attrs["num_params"] <= budget)
    assert trial.user_attrs["target_budget"] == expected


def test_under_prune_what_breaks_its_own_target_is_never_trained(folder, images):
    argv = search(images, "--over-budget", "prune", "--sampler", "random", trials=6)
    assert main(argv) == 0
    trials = Folder(folder.path, "spread").trials()
    trained = [trial for trial in trials if trial.intermediate_values]
    assert len(trained) == 6
    for trial in trials:
        fits = trial.user_attrs["num_params"] <= trial.user_attrs["target_budget"]
        assert fits == bool(trial.intermediate_values)


@pytest.mark.parametrize("text", ["", "1e6", "1e6,1e6", "1e6,1M", "1e6,", "1e6;2e6", "1e6,-5"])
def test_what_are_no_targets_is_refused(text):
    with pytest.raises(BudgetError, match="targets must be"):
        parse_budgets(text)


def test_targets_are_read_in_any_order():
    assert parse_budgets("5M, 0.3e6,1_000_000") == (300_000, 1_000_000, 5_000_000)


def test_a_target_s_best_may_come_from_a_smaller_one():
    rows = [row(0, 0.9, 900, target_budget=1_000), row(1, 0.8, 3_000, target_budget=4_000)]
    record = budgets_record(rows, definition(targets=(500, 1_000, 4_000)))
    assert [entry["best_trial"] for entry in record] == [None, 0, 0]
    assert [entry["num_trials"] for entry in record] == [0, 1, 1]
    lines = describe_budgets(rows, definition(targets=(500, 4_000)))
    assert lines == [
        "within 500: no trial was trained to its end; 0 proposed for it",
        # of 100 images: (90 + 1.92) / 103.84 = .8852, sqrt(.8852 (1 - .8852) / 103.84) = .0313
        "within 4,000: trial 0: 90.00 ± 3.13%, 900 parameters; 1 proposed for it",
    ]
