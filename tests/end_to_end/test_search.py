"""A search from an empty folder to its last trial, through the command line."""

import itertools
import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.identity import identify
from nas.network.model import build_model
from nas.space import load_space
from nas.study.trials import is_counted
from tests.support.searching import (
    BUDGET,
    TINY,
    Folder,
    Running,
    assert_sound,
    hold,
    in_workers,
    snapshot,
    take_an_hour_each,
    training,
    words,
)


def num_fitting_networks(budget):
    """By brute force: one or two stages of every kind, depth and width of `TINY`."""
    stages = list(itertools.product(("basic", "bottleneck"), (1, 2), (8, 16)))
    ways = [(first,) for first in stages] + list(itertools.product(stages, stages))
    networks = [
        Architecture(
            Stem("conv3x3", way[0][2]),
            tuple(
                Stage(kind, depth, width, stride=1 + (index > 0))
                for index, (kind, depth, width) in enumerate(way)
            ),
        )
        for way in ways
    ]
    models = [build_model(network, InputSpec(1, 8, 2)) for network in networks]
    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    return sum(size <= budget for size in sizes)


def test_a_search_on_digits_keeps_every_promise_and_ends_at_once_when_run_again(
    folder, monkeypatch, capsys
):
    folder = Folder(folder.path, "tiny-8k-digits")
    argv = [
        *("search", "--space", TINY, "--budget", "8k", "--dataset", "digits"),
        *("--trials", "4", "--epochs", "1", "--workers", "1", "--set", "batch_size=256"),
    ]
    assert main(argv) == 0
    trials = assert_sound(folder, 4)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert all(len(trial.intermediate_values) == 1 for trial in trials)
    assert trials[0].user_attrs["known_name"] == "baseline"
    assert trials[0].user_attrs["id"] == identify(load_space(TINY).baseline).id
    definition = folder.definition()
    assert definition["budget"] == BUDGET
    assert definition["plan"]["train_images"] + definition["plan"]["val_images"] == 1797 - 359
    assert definition["recipe"]["batch_size"] == 256
    shown = capsys.readouterr()
    first = shown.out.split(":")[0]
    assert "better than the baseline" in first or "ahead of the baseline" in first
    assert "short trainings rank networks only roughly" in shown.out
    assert "next: python cli.py retrain --best --study tiny-8k-digits" in shown.out
    assert shown.err.index("space ") < shown.err.index("0/4 trained") < shown.err.index("4/4")

    before = snapshot(folder.path)
    assert main(argv) == 0
    assert "finished" in capsys.readouterr().err
    assert snapshot(folder.path) == before


def test_more_trials_go_on_and_a_change_is_logged_with_its_trial(folder, images, capsys):
    assert main(words(images, trials=2)) == 0
    assert main([*words(images, trials=4), "--sampler", "random", "--format", "json"]) == 0
    assert_sound(folder, 4)
    changes = folder.attrs()["changes"]
    assert {"trial": 2, "name": "target_trials", "from": 2, "to": 4} in changes
    assert {"trial": 2, "name": "sampler", "from": "predictor", "to": "random"} in changes
    out = capsys.readouterr().out
    record = json.loads(out[out.index("\n{") :])  # the first search printed a table
    assert record["stopped"] == "finished"


def test_with_json_standard_output_holds_json_alone(folder, images, capsys):
    assert main([*words(images, trials=1), "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["funnel"]["counted"] == 1


def test_a_dry_run_writes_nothing(folder, images, capsys):
    assert main([*words(images), "--dry-run"]) == 0
    assert not folder.path.exists()
    assert main(words(images, trials=1)) == 0
    before = snapshot(folder.path)
    assert main([*words(images, trials=5), "--dry-run"]) == 0
    assert snapshot(folder.path) == before
    assert "nothing was written" in capsys.readouterr().err


def test_a_time_limit_ends_at_a_trial_s_edge(folder, images, monkeypatch, capsys):
    take_an_hour_each(monkeypatch)
    assert main([*words(images, trials=50, epochs=2), "--time-limit", "150m"]) == 0
    states = [trial.state for trial in folder.trials() if trial.state != TrialState.WAITING]
    assert states == [TrialState.COMPLETE] * 3  # the third began within the limit
    assert "time limit" in capsys.readouterr().err


def test_over_budget_networks_are_recorded_and_not_counted_under_prune(folder, images):
    argv = [*words(images, trials=6, budget=3000), "--over-budget", "prune"]
    argv += ["--sampler", "random", "--study", "pruning", "--no-baselines"]
    assert main(argv) == 0
    own = Folder(folder.path, "pruning")
    trials = assert_sound(own, 6, budget=3000)
    rejected = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert rejected
    for trial in rejected:
        assert not trial.intermediate_values
        assert trial.constraints["budget"] > 0
        assert trial.user_attrs["num_params"] > 3000
        assert "over budget" in trial.user_attrs["reason"]


def test_a_space_with_fewer_networks_than_trials_ends_well(folder, images, capsys):
    assert main([*words(images, trials=500, budget=600), "--study", "all"]) == 0
    own = Folder(folder.path, "all")
    num_trained = len(assert_sound(own, len(own.trials()), budget=600))
    assert num_trained == num_fitting_networks(600) > 1
    assert "every architecture within the budget was tried" in capsys.readouterr().err
    assert main([*words(images, trials=500, budget=600), "--study", "all"]) == 0
    assert len(own.trials()) == num_trained


def diverging(images, *more, **options):
    """A search whose rate makes every training diverge."""
    settings = ("learning_rate=100", "momentum=0.99", "warmup_share=0", "weight_decay=10")
    settings += ("batch_size=4",)
    own = [word for setting in settings for word in ("--set", setting)]
    return words(images, *own, *more, epochs=2, **options)


def test_trainings_that_diverge_count_with_the_worst_value_and_are_not_called_trained(
    folder, images, capsys
):
    assert main(diverging(images, trials=2)) == 1
    trials = folder.trials()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    for trial in trials:
        assert trial.value == 0.0
        assert "diverged" in trial.user_attrs["reason"]
    shown = capsys.readouterr()
    assert "finished, the study has its trials: 0 trained, 2 broken" in shown.err
    assert (
        "0/2 trained · 0 pruned · 0 rejected before training · 0 repeats · 2 broken" in shown.err
    )
    assert "was trained to its end: 2 diverged (trial 0: diverged in epoch 1 of 2" in shown.out


def test_a_search_whose_first_trials_all_break_stops_and_says_why(folder, images, capsys):
    argv = diverging(images, trials=40)
    for _ in range(2):  # the same command trains no more
        assert main(argv) == 1
        assert [is_counted(trial) for trial in folder.trials()] == [True] * 8
        shown = capsys.readouterr()
        assert "stopped for good, the first trials all broke: 0 trained, 8 broken" in shown.err
        first = shown.out.splitlines()[0]
        assert first.startswith("No trial within 8,000 parameters was trained to its end: 8 div")
        assert "--set learning_rate=" in first
        assert "next:" not in shown.out
    assert main(["best"]) == 1
    assert capsys.readouterr().out.splitlines() == [first]
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"best      {first}" in {f"{line}." for line in lines}
    assert "trained   0 of 40: 0 to the end, 0 pruned; 8 broken" in lines
    assert "time      the search was stopped, its first trials all broke" in "\n".join(lines)
    assert main(["retrain", "--best"]) == 2
    assert first.removesuffix(".") in capsys.readouterr().err


@pytest.mark.slow
def test_workers_stop_where_the_first_trials_all_break_and_one_more_begins_none(
    folder, images, capsys
):
    argv = [*diverging(images, trials=40), "--workers", "2", "--format", "json"]
    assert main(argv) == 1
    record = json.loads(capsys.readouterr().out)
    assert record["stopped"] == "the first trials all broke"
    # a trial that the second worker had begun by then is trained
    assert 8 <= record["funnel"]["broken"] == record["funnel"]["counted"] <= 9
    assert "diverged" in record["no_best"]
    assert main(["worker"]) == 0
    assert "the first trials all broke" in capsys.readouterr().out
    assert len([t for t in folder.trials() if is_counted(t)]) == record["funnel"]["counted"]


def test_the_same_seed_proposes_the_same_networks_in_another_process(folder, images, tmp_path):
    argv = [*words(images, trials=5), "--sampler", "random", "--study", "one"]
    running = Running(argv, tmp_path / "one")
    assert main([*argv[:-1], "two"]) == 0
    assert main([*argv[:-1], "three", "--seed", "1"]) == 0
    assert running.wait() == 0
    ids = [
        [trial.user_attrs["id"] for trial in Folder(folder.path, name).trials()]
        for name in ("one", "two", "three")
    ]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_the_median_pruner_prunes_and_never_before_a_fifth_of_the_epochs(folder, images):
    assert main([*words(images, trials=20, epochs=5), "--sampler", "random"]) == 0
    trials = assert_sound(folder, 20)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    assert min(trial.number for trial in pruned) >= 10
    assert all(len(trial.intermediate_values) >= 2 for trial in pruned)


def test_two_searches_on_one_study_at_once_share_its_trials(folder, images, tmp_path):
    argv, gate = words(images, trials=8, epochs=2), tmp_path / "gate"
    both = [Running(argv, tmp_path / name, partial(hold, gate)) for name in "ab"]
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    gate.touch()
    assert [running.wait() for running in both] == [0, 0], both[0].errors() + both[1].errors()
    trials = assert_sound(folder, 8)
    assert len({trial.user_attrs["worker"]["pid"] for trial in trials}) == 2
    assert not list(folder.study_folder.workers.glob("*-*.lock"))


@pytest.mark.slow
def test_workers_reach_the_target_together_though_one_is_killed(folder, images, tmp_path):
    argv, gate = [*words(images, trials=12, epochs=20), "--workers", "2"], tmp_path / "gate"
    running = Running(argv, tmp_path / "out", partial(in_workers, partial(hold, gate)))
    trials = folder.wait_for(lambda trials: len(training(trials)) == 2)
    victim = next(trial for trial in trials if training([trial]))
    os.kill(victim.user_attrs["worker"]["pid"], signal.SIGKILL)
    gate.touch()
    assert running.wait() == 0, running.errors()
    trials = assert_sound(folder, 12)
    assert trials[victim.number].state == TrialState.FAIL
    assert trials[victim.number].user_attrs["reason"] == "killed"
    assert "a worker is replaced, 1 of 3 times in a row" in running.errors()


def _without_python():
    sys.executable = "/bin/false"


def test_workers_that_all_fail_fail_the_search(folder, images, tmp_path):
    running = Running([*words(images), "--workers", "2"], tmp_path / "out", _without_python)
    assert running.wait() == 1
    assert "all 2 workers failed" in running.errors()
    assert main(words(images)) == 0
    assert_sound(folder, 3)


def test_a_search_takes_over_the_network_of_one_that_is_killed(folder, images, tmp_path):
    argv, gate = words(images, trials=8, epochs=15), tmp_path / "gate"
    both = [Running(argv, tmp_path / name, partial(hold, gate)) for name in "ab"]
    trials = folder.wait_for(lambda trials: len(training(trials)) == 2)
    victim = next(trial for trial in trials if training([trial]))
    pid = victim.user_attrs["worker"]["pid"]
    next(running for running in both if running.process.pid == pid).kill_group()
    gate.touch()
    assert sorted(running.wait() for running in both) == [-signal.SIGKILL, 0]
    trials = assert_sound(folder, 8)
    assert trials[victim.number].user_attrs["reason"] == "killed"
    heir = next(t for t in trials if t.user_attrs.get("resumes") == victim.number)
    assert heir.user_attrs["id"] == victim.user_attrs["id"]


@pytest.mark.slow
def test_workers_end_with_their_search_and_requeue_what_they_train(folder, images, tmp_path):
    argv, gate = [*words(images, trials=6, epochs=40), "--workers", "2"], tmp_path / "gate"
    running = Running(argv, tmp_path / "out", partial(in_workers, partial(hold, gate)))
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    running.signal(signal.SIGINT)
    assert running.wait() == 130
    trials = folder.trials()
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert {t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL} == {
        "interrupted"
    }
    assert main(words(images, trials=6, epochs=40)) == 0
    assert_sound(folder, 6)


@pytest.mark.slow
def test_a_fresh_process_says_how_to_install_what_is_missing_and_runs_when_it_is_there(
    folder, images
):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, "cli.py", *words(images, trials=2)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_sound(folder, 2)
