"""Real searches with rungs: trained again, resumed, shared, and what goes by the highest one."""

import json
import os
import re
import signal
from functools import partial

import optuna
import pytest
from optuna.trial import TrialState
from scipy.stats import kendalltau

from nas.commands import main
from nas.results.forecast import Forecast
from nas.search.open_rungs import OpenRungs
from nas.study.folder import StudyFolder
from nas.study.storage import open_storage
from nas.study.trials import is_counted
from nas.training.batches import place_search_splits
from nas.training.timing import Speed
from tests.support.deaths import die_after_promotion, die_at_write, die_in_training
from tests.support.searching import (
    Folder,
    Running,
    assert_sound,
    count_deaths,
    hold,
    in_workers,
    snapshot,
    take_an_hour_each,
    training,
    words,
)
from tests.support.small_study import add_trial, create_study, net


def rung_trials(folder, epochs):
    """The trials of a rung, none where it was not begun."""
    study = folder.study()
    try:
        name = f"{study.study_name}@{epochs}"
        return optuna.load_study(study_name=name, storage=study._storage).get_trials()
    except KeyError:
        return []


def trained(trials):
    """What a rung has trained: accuracy by the search's trial."""
    counted = [trial for trial in trials if is_counted(trial)]
    return {trial.user_attrs["search_trial"]: trial.value for trial in counted}


def foretell(monkeypatch, own, upper):
    """Let every training of the search, and of its rungs, be expected to take so many seconds."""

    def _sum(forecast, index, epochs, trainings, workers=1):
        seconds = len(trainings) * (upper if index else own)
        return seconds / max(min(workers, len(trainings)), 1)

    monkeypatch.setattr(Forecast, "_sum", _sum)


def assert_sound_rung(folder, epochs, count, below=None):
    """What holds of every rung that reached its number of trials, whatever happened on the way.

    It has its count, as far as networks were trained to the end in the rung below, and at most
    three that are owed on top.
    """
    own = folder.trials()
    complete = [
        trial
        for trial in (own if below is None else rung_trials(folder, below))
        if trial.state == TrialState.COMPLETE and "reason" not in trial.user_attrs
    ]
    trials = rung_trials(folder, epochs)
    counted = [trial for trial in trials if is_counted(trial)]
    assert len(counted) == len(trained(trials)), "a network was trained twice"
    assert min(count, len(complete)) <= len(counted) <= count + 3
    for trial in counted:
        origin = own[trial.user_attrs["search_trial"]]
        for name in ("id", "architecture", "num_params", "source"):
            assert trial.user_attrs[name] == origin.user_attrs[name]
        assert trial.params == origin.params
        if "reason" not in trial.user_attrs:
            assert sorted(trial.intermediate_values) == list(range(epochs))
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    return trials


def record(capsys, *argv):
    capsys.readouterr()
    assert main([*argv, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def wait_for_rung(folder, epochs, condition):
    """Wait until a condition on the trials of a rung holds."""
    return folder.wait_for(lambda trials: trials and condition(rung_trials(folder, epochs)))


def has_epochs(epochs, number=0):
    def holds(trials):
        return len(trials) > number and (
            trials[number].state == TrialState.RUNNING
            and len(trials[number].intermediate_values) >= epochs
        )

    return holds


def test_what_the_rungs_train_counts_to_the_studys_hours(folder, images, capsys):
    argv = [*words(images, trials=3), "--no-baselines"]
    assert main([*argv, "--rungs", "2x3"]) == 0
    rung = rung_trials(folder, 3)
    seconds = [trial.user_attrs["device_seconds"] for trial in (*folder.trials(), *rung)]
    assert len(seconds) == 5
    spending = record(capsys, "status")["spending"]
    assert spending["total_seconds"] == pytest.approx(sum(seconds))

    own = sum(seconds[:3]) / 3600
    ended = record(capsys, *argv, "--rungs", "2x3,1x4", "--gpu-hours", f"{1.01 * own:.9f}")
    assert ended["stopped"] == "device hours spent"
    assert not trained(rung_trials(folder, 4))
    assert main([*argv, "--gpu-hours", "none"]) == 0
    assert len(trained(rung_trials(folder, 4))) == 1


@pytest.mark.slow
def test_the_best_of_a_search_on_digits_are_trained_again_and_decide(folder, capsys):
    folder = Folder(folder.path, "digits")
    space = words("x")[2]
    argv = ["search", "--space", space, "--budget", "8k", "--dataset", "digits", "--workers", "1"]
    argv += ["--trials", "5", "--epochs", "1", "--set", "batch_size=256"]
    argv += ["--rungs", "3x2,1x3", "--study", "digits"]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert "rungs     the best again, and the best baseline: 3 x 2 epochs about" in shown.err
    # the first is promoted when two of five have ended, of which three are to be promoted
    order = ["2/5 trained · @2 0/3 · ", "2/5 trained · @2 1/3 · @3 0/1 · ", "3/5 trained · @2 "]
    assert sorted(order, key=shown.err.index) == order
    trials = assert_sound(folder, 5)
    assert all(len(trial.intermediate_values) == 1 for trial in trials)

    ranked = sorted(trials, key=lambda t: (-t.value, t.user_attrs["num_params"]))
    promoted = trained(rung_trials(folder, 2))
    assert 0 in promoted  # the baseline, the one that fits
    assert {ranked[0].number, next(t.number for t in ranked if t.number)} <= promoted.keys()
    assert_sound_rung(folder, 2, 3)
    last = assert_sound_rung(folder, 3, 1, below=2)
    leader = max(promoted, key=promoted.get)
    assert (
        {0, leader} <= trained(last).keys() != {0}
    )  # one found and one baseline, whichever leads
    curve = json.loads((folder.study_folder.path / "rungs/3/0/curve.json").read_text())
    rates = [epoch["learning_rate"] for epoch in curve]
    assert len(rates) == 3
    assert rates[-1] < rates[1] / 10  # annealed within the rung's own epochs

    best = record(capsys, "best", "--study", "digits")
    assert (best["rung"], best["epochs"]) == ("digits@3", 3)
    assert best["best"]["trial"] in trained(last)
    assert best["best"]["val_accuracy"] == trained(last)[best["best"]["trial"]]
    own = {trial.number: trial.value for trial in trials}
    pair = best["rank_correlations"][0]
    assert (pair["low_epochs"], pair["high_epochs"]) == (1, 2)
    expected = kendalltau([own[n] for n in promoted], list(promoted.values())).statistic
    assert pair["tau"] == pytest.approx(expected, nan_ok=True)
    assert pair["num_networks"] == len(promoted)
    status = record(capsys, "status", "--study", "digits")
    assert [rung["counted"] for rung in status["rungs"]] == [len(promoted), len(last)]
    assert sum(status["rungs_seconds_left"]) == 0
    assert main(["status", "--study", "digits"]) == 0
    assert f"rung @2   {len(promoted)} of {len(promoted)} trained" in capsys.readouterr().out

    before = snapshot(folder.path)
    assert main(argv) == 0  # again
    assert "finished" in capsys.readouterr().err
    assert main(["search", "--study", "digits", "--dry-run"]) == 0
    assert "2 x" not in capsys.readouterr().err
    assert snapshot(folder.path) == before


@pytest.mark.slow
def test_rungs_are_added_to_a_finished_study_changed_and_left_out(folder, images, capsys):
    assert main(words(images, trials=6)) == 0
    own = [trial.value for trial in folder.trials()]
    again = ["search", "--study", "tiny-8k-folder", "--workers", "1"]
    before = snapshot(folder.path)
    assert main([*again, "--rungs", "2x2", "--dry-run"]) == 0
    assert "2 x 2 epochs about" in capsys.readouterr().err
    assert snapshot(folder.path) == before
    assert main([*again, "--rungs", "2x2"]) == 0
    assert [trial.value for trial in assert_sound(folder, 6)] == own
    first = trained(rung_trials(folder, 2))
    assert_sound_rung(folder, 2, 2)
    changes = folder.attrs()["changes"]
    assert changes == [{"trial": 6, "name": "rungs", "from": "none yet", "to": "2x2"}]

    assert main([*again, "--rungs", "4x2,2x3"]) == 0
    more = trained(rung_trials(folder, 2))
    assert len(more) > len(first)
    assert more.items() >= first.items()  # what was trained is not trained again
    assert_sound_rung(folder, 2, 4)
    assert_sound_rung(folder, 3, 2, below=2)
    assert main([*again, "--rungs", "none"]) == 0
    assert record(capsys, "best")["rung"] is None
    assert main([*again, "--trials", "8", "--rungs", "4x2"]) == 0  # better ones may turn up
    assert_sound(folder, 8)
    assert trained(rung_trials(folder, 2)).items() >= more.items()


def test_a_rung_that_is_killed_goes_on_from_its_checkpoint(folder, images, tmp_path):
    argv = [*words(images, trials=3), "--rungs", "2x20"]
    running = Running(argv, tmp_path / "out", partial(hold, tmp_path / "gate", "rungs/20/0"))
    wait_for_rung(folder, 20, has_epochs(4))
    running.kill_group()
    dead = json.loads((folder.study_folder.path / "rungs/20/0/curve.json").read_text())
    assert main(argv) == 0
    assert_sound(folder, 3)
    trials = assert_sound_rung(folder, 20, 2)
    assert trials[0].user_attrs["reason"] == "killed"
    heir = next(trial for trial in trials if trial.user_attrs.get("resumes") == 0)
    assert heir.user_attrs["search_trial"] == trials[0].user_attrs["search_trial"]
    path = folder.study_folder.path / f"rungs/20/{heir.number}/curve.json"
    continued = json.loads(path.read_text())
    assert continued[: len(dead)] == dead  # no epoch was trained again
    assert not path.with_name("checkpoint.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 7, 40])
def test_killed_at_any_write_the_rungs_are_filled_and_nothing_is_trained_twice(
    folder, images, tmp_path, step
):
    argv = [*words(images, trials=3), "--rungs", "2x2,1x3"]
    deaths = count_deaths(argv, tmp_path / "out", die_at_write, step)
    assert deaths >= 2
    assert_sound(folder, 3)
    assert_sound_rung(folder, 2, 2)
    assert_sound_rung(folder, 3, 1, below=2)


@pytest.mark.slow
def test_an_interrupt_in_a_rung_gives_its_trial_back(folder, images, tmp_path):
    argv = [*words(images, trials=2), "--rungs", "1x20"]
    running = Running(argv, tmp_path / "out", partial(hold, tmp_path / "gate", "rungs/20/0"))
    wait_for_rung(folder, 20, has_epochs(3))
    running.signal(signal.SIGINT)
    assert running.wait() == 130, running.errors()
    assert "the same command resumes" in running.errors()
    trials = rung_trials(folder, 20)
    assert trials[0].user_attrs["reason"] == "interrupted"
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert main(argv) == 0
    assert_sound_rung(folder, 20, 1)


@pytest.mark.slow
def test_two_searches_at_once_share_the_rungs(folder, images, tmp_path):
    argv = [*words(images, trials=5), "--rungs", "4x15"]
    gate = tmp_path / "gate"
    both = [Running(argv, tmp_path / name, partial(hold, gate, "rungs/15/*")) for name in "ab"]
    wait_for_rung(folder, 15, lambda trials: len(training(trials)) == 2)
    gate.touch()
    assert [running.wait() for running in both] == [0, 0], both[0].errors() + both[1].errors()
    assert_sound(folder, 5)
    trials = assert_sound_rung(folder, 15, 4)
    assert len({trial.user_attrs["worker"]["pid"] for trial in trials}) == 2


@pytest.mark.slow
def test_workers_share_a_rung_though_one_is_killed(folder, images, tmp_path):
    argv = [*words(images, trials=5), "--rungs", "4x40", "--workers", "2"]
    prepare = partial(hold, tmp_path / "gate", "rungs/40/1")
    running = Running(argv, tmp_path / "out", partial(in_workers, prepare))
    wait_for_rung(folder, 40, has_epochs(2, number=1))
    victim = rung_trials(folder, 40)[1]
    os.kill(victim.user_attrs["worker"]["pid"], signal.SIGKILL)
    assert running.wait() == 0, running.errors()
    assert "trained · @40 " in running.errors()
    assert_sound(folder, 5)
    trials = assert_sound_rung(folder, 40, 4)
    assert trials[1].user_attrs["reason"] == "killed"


def test_a_time_limit_ends_between_the_trials_of_a_rung(folder, images, monkeypatch, capsys):
    assert main(words(images, trials=4)) == 0
    take_an_hour_each(monkeypatch)
    argv = [*words(images, trials=4), "--rungs", "3x5", "--time-limit", "90m"]
    assert main(argv) == 0
    assert "the time limit is reached" in capsys.readouterr().err
    # the second began within the limit
    assert [trial.state for trial in rung_trials(folder, 5)] == 2 * [TrialState.COMPLETE]


@pytest.mark.slow
@pytest.mark.parametrize("are_foretold", [True, False])
def test_a_search_that_a_time_limit_stops_has_results_in_every_rung(
    folder, images, monkeypatch, capsys, are_foretold
):
    take_an_hour_each(monkeypatch)
    if are_foretold:  # by the clock that stops it; else as fast as they are
        foretell(monkeypatch, 3600.0, 3600.0)
    argv = [*words(images, trials=30), "--rungs", "15x2,6x3", "--time-limit", "18h"]
    assert main(argv) == 0
    assert "the time limit is reached" in capsys.readouterr().err
    counts = [len(folder.rows()), *(len(trained(rung_trials(folder, n))) for n in (2, 3))]
    assert min(counts) >= 2
    best = record(capsys, "best")
    if are_foretold:  # then the search ends early enough for its best to reach the top
        assert 12 <= sum(counts) < 18
        assert best["rung"] == "tiny-8k-folder@3"
    else:
        assert sum(counts) == 18


def test_runs_that_are_too_short_for_a_climb_go_on_with_the_search(folder, images, monkeypatch):
    take_an_hour_each(monkeypatch)
    foretell(monkeypatch, 3600.0, 9 * 3600.0)
    argv = [*words(images, trials=12), "--rungs", "4x9", "--time-limit", "200m"]
    for number in (1, 2):
        assert main(argv) == 0
        assert len(folder.rows()) == 3 * number
    assert rung_trials(folder, 9) == []


def test_no_training_is_begun_that_would_outlast_the_limit(folder, images, monkeypatch):
    foretell(monkeypatch, 1.0, 2 * 3600.0)
    take_an_hour_each(monkeypatch)
    argv = [*words(images, trials=30), "--rungs", "15x2", "--time-limit", "4h30m"]
    assert main(argv) == 0  # two of the search, one climbed: an hour and a half is left
    assert len(trained(rung_trials(folder, 2))) == 1
    assert sum(map(is_counted, folder.trials())) == 2


def test_a_training_that_no_run_of_this_length_could_hold_is_begun_all_the_same(
    folder, images, monkeypatch
):
    assert main(words(images, trials=4)) == 0
    foretell(monkeypatch, 1.0, 2 * 3600.0)
    take_an_hour_each(monkeypatch)
    assert main([*words(images, trials=4), "--rungs", "3x5", "--time-limit", "90m"]) == 0
    assert len(trained(rung_trials(folder, 5))) == 2


@pytest.mark.slow
def test_a_search_whose_device_hours_end_has_results_in_every_rung(folder, images, monkeypatch):
    def left(rungs):
        return (18 - sum(rung.num_trained for rung in rungs.read().rungs)) * 3600.0

    monkeypatch.setattr("nas.search.run._device_seconds_left", left)
    foretell(monkeypatch, 3600.0, 3600.0)
    argv = [*words(images, trials=30), "--rungs", "15x2,6x3", "--gpu-hours", "18"]
    assert main(argv) == 0
    counts = [len(folder.rows()), *(len(trained(rung_trials(folder, n))) for n in (2, 3))]
    assert min(counts) >= 2
    assert 12 <= sum(counts) <= 18


def test_the_rungs_of_the_plan_grow_with_the_trials(folder, images):
    def rungs_with(trials, *more):
        assert main([*words(images, trials=trials), "--time-limit", "0.1s", *more]) == 0
        return folder.attrs()["rungs"]

    assert rungs_with(10) == "none yet"
    first = rungs_with(18)
    assert re.fullmatch(r"3x\d+", first)
    assert rungs_with(36) == first.replace("3x", "6x")
    assert rungs_with(20) == first.replace("3x", "6x")
    assert rungs_with(36, "--rungs", "5x50") == "5x50"
    assert rungs_with(72) == "5x50"  # as was asked for
    assert rungs_with(72, "--rungs", "none") == rungs_with(100) == "none"


@pytest.mark.parametrize("limit", ["--time-limit", "--gpu-hours"])
def test_a_search_without_rungs_says_which_limit_ended_it(
    folder, images, monkeypatch, capsys, limit
):
    def left(rungs):
        return (4 - sum(rung.num_trained for rung in rungs.read().rungs)) * 3600.0

    if limit == "--gpu-hours":
        monkeypatch.setattr("nas.search.run._device_seconds_left", left)
    foretell(monkeypatch, 3600.0, 3600.0)
    take_an_hour_each(monkeypatch)
    argv = [*words(images, trials=10), limit, "4h30m" if limit == "--time-limit" else "4"]
    ended = record(capsys, *argv)
    assert ended["stopped"] == ("time limit" if limit == "--time-limit" else "device hours spent")
    assert len(folder.rows()) == 4


@pytest.mark.slow
def test_hours_size_a_new_study_with_its_rungs_and_end_it(folder, images, monkeypatch):
    # about 0.4 s a trial, which is slower than they are
    monkeypatch.setattr("nas.search.sizing.measure_speed", lambda *_: Speed(0.01, 0.01))
    argv = [word for word in words(images) if word not in ("--trials", "3")]
    argv += ["--hours", "0.005"]  # 18 s
    assert main(argv) == 0
    attrs = folder.attrs()
    assert attrs["time_limit_seconds"] == pytest.approx(18)
    assert 18 <= attrs["target_trials"] <= 45
    assert attrs["rungs"].split(",")[0] == f"{attrs['target_trials'] // 6}x3"
    assert sum(trial.user_attrs.get("device_seconds", 0) for trial in folder.trials()) < 18
    assert main([*argv[:-1], "0.0001"]) == 0  # goes on with the trials and rungs it was given
    assert "changes" not in folder.attrs() or {
        change["name"] for change in folder.attrs()["changes"]
    } == {"time_limit_seconds"}


def test_leaders_climb_while_proposals_go_on_and_the_seed_decides_all_of_it(folder, images):
    argv = [*words(images, trials=6), "--rungs", "4x2,2x3", "--no-baselines"]
    searches = []
    for name in "ab":
        assert main([*argv, "--study", name]) == 0
        own = Folder(folder.path, name)
        trials = [own.trials(), rung_trials(own, 2), rung_trials(own, 3)]
        began = [[trial.datetime_start for trial in rung] for rung in trials]
        assert began[1][0] < began[0][-1]
        assert began[2][0] < began[1][-1]
        order = sorted((t.datetime_start, k, t.number) for k in range(3) for t in trials[k])
        values = [[(trial.params, trial.value) for trial in rung] for rung in trials]
        searches.append(([item[1:] for item in order], values))
        assert_sound_rung(own, 2, 4)
        assert_sound_rung(own, 3, 2, below=2)
    assert searches[0] == searches[1]


def test_a_network_that_was_promoted_is_trained_once_though_the_search_died_in_between(
    folder, images, tmp_path
):
    argv = [*words(images, trials=4), "--rungs", "2x2"]
    for number in (1, 2):
        running = Running(argv, tmp_path / "out", die_after_promotion)
        assert running.wait() == -signal.SIGKILL, running.errors()
        states = [trial.state for trial in rung_trials(folder, 2)]
        assert states == (number - 1) * [TrialState.COMPLETE] + [TrialState.WAITING]
    assert main(argv) == 0
    assert_sound(folder, 4)
    assert_sound_rung(folder, 2, 2)


def test_a_network_that_two_machines_promote_at_once_is_trained_once(folder, images, monkeypatch):
    promote = OpenRungs.promote

    def promote_twice(self, rung, number):
        promote(self, rung, number)
        promote(self, rung, number)  # as one that looked before it could see the first

    monkeypatch.setattr(OpenRungs, "promote", promote_twice)
    assert main([*words(images, trials=4), "--rungs", "2x2"]) == 0
    trials = assert_sound_rung(folder, 2, 2)
    refused = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(refused) == len(trials) / 2
    assert all("repeat of trial" in trial.user_attrs["reason"] for trial in refused)


def test_each_rung_trains_on_its_own_images_and_is_measured_on_the_same(
    folder, images, monkeypatch, capsys
):
    placed = []

    def place_and_keep(*args):
        placed.append(place_search_splits(*args))
        return placed[-1]

    monkeypatch.setattr("nas.search.open_rungs.place_search_splits", place_and_keep)
    argv = [*words(images, trials=3), "--rungs", "2x2x40,1x3x40"]  # of 43
    assert main(argv) == 0
    assert [len(data.train) for data in placed] == [43, 40]
    first, second = [data.val.images.tolist() for data in placed]
    assert len(first) == 5
    assert first == second
    assert record(capsys, "status")["rungs"][0]["study"] == "tiny-8k-folder@2x40"
    for label in ("2x40", "3x40"):
        assert trained(rung_trials(folder, label))
        assert (folder.study_folder.path / "rungs" / label).is_dir()
    assert main(["status"]) == 0
    assert ", after 3 epochs on 40 images" in capsys.readouterr().out


@pytest.mark.slow
def test_a_network_that_is_killed_in_a_rung_does_not_count_as_broken(folder, images, tmp_path):
    assert main(words(images, trials=3)) == 0
    argv = [*words(images, trials=3), "--rungs", "2x2"]
    for _ in range(3):
        assert Running(argv, tmp_path / "out", die_in_training).wait() == -signal.SIGKILL
    assert main(argv) == 0
    trials = assert_sound_rung(folder, 2, 2)
    assert not [t for t in trials if is_counted(t) and "reason" in t.user_attrs]


def test_where_every_training_diverged_no_network_is_promoted(folder, images, capsys):
    argv = [*words(images, trials=2), "--set", "learning_rate=100", "--set", "momentum=0.99"]
    argv += ["--set", "warmup_share=0", "--set", "weight_decay=10", "--rungs", "1x2"]
    assert main(argv) == 1
    assert all("diverged" in trial.user_attrs["reason"] for trial in folder.trials())
    (rung,) = record(capsys, "status")["rungs"]
    assert (rung["target_trials"], rung["counted"]) == (0, 0)
    assert rung_trials(folder, 2) == []
    assert main(argv) == 1


@pytest.mark.slow
def test_the_rungs_are_in_the_store_of_the_study_and_leave_anothers_study_alone(
    folder, images, tmp_path, capsys
):
    url = f"sqlite:///{tmp_path}/x.db"
    argv = [*words(images, trials=3), "--storage", url]
    assert main([*argv, "--rungs", "2x2"]) == 0
    assert_sound_rung(folder, 2, 2)
    assert not folder.study_folder.journal.exists()
    storage = open_storage(url, tmp_path / "unused")
    other = optuna.create_study(study_name="tiny-8k-folder@3", storage=storage)
    other.add_trial(optuna.trial.create_trial(value=1.0))
    capsys.readouterr()
    assert main([*argv, "--rungs", "2x3"]) == 2
    assert "'tiny-8k-folder@3' that is no rung of 'tiny-8k-folder'" in capsys.readouterr().err
    assert len(other.trials) == 1


def stated_rung(study, epochs, accuracies):
    """A rung as a search would have left it; accuracies by the search's trial."""
    own = study.get_trials()
    rung = optuna.create_study(
        study_name=f"{study.study_name}@{epochs}", storage=study._storage, direction="maximize"
    )
    rung.set_user_attr("rung_of", study.study_name)
    study.set_user_attr("rungs", f"{len(accuracies)}x{epochs}")
    for number, accuracy in accuracies.items():
        trial = own[number]
        attrs = {**trial.user_attrs, "search_trial": number}
        rung.add_trial(
            optuna.trial.create_trial(
                value=accuracy,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs=attrs,
            )
        )


def test_retrain_takes_the_best_of_the_highest_rung_and_says_so(tmp_path, capsys):
    _, study = create_study(tmp_path)
    for width, accuracy in ((4, 0.80), (8, 0.95), (12, 0.90)):
        add_trial(study, net(width), (accuracy,))
    stated_rung(study, 30, {1: 0.960, 2: 0.999})
    argv = ["--studies", str(tmp_path), "--epochs", "1", "--set", "batch_size=1024"]
    assert main(["retrain", "--best", *argv]) == 0
    told = capsys.readouterr().err
    assert "best: trial 2, found by the search. Accuracies after 30 epochs, of rung @30" in told
    runs = StudyFolder(tmp_path / "stated").path / "retrain"
    (run,) = runs.iterdir()
    assert json.loads((run / "architecture.json").read_text()) == net(12).to_dict()
    assert record(capsys, "best", "--studies", str(tmp_path))["best"]["trial"] == 2
