"""Where the device time went; expected values by hand, and from real trainings."""

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.errors import UsageError
from nas.results.spending import account, describe_spending
from nas.units import parse_hours
from tests.support.rows import row
from tests.support.searching import words


def test_every_second_stands_where_it_went():
    rows = [
        row(0, device_seconds=40.0, num_epochs=4, source="known"),
        row(1, device_seconds=8.0, num_epochs=4, num_over_budget=3, num_repeats=1),
        row(2, device_seconds=3.0, num_epochs=1, state="pruned"),
        row(3, device_seconds=5.0, num_epochs=2, state="broken"),
        row(4, device_seconds=6.0, num_epochs=3, state="failed", reason="interrupted"),
        row(5, device_seconds=2.0, num_epochs=4, resumes=4),
        row(6, device_seconds=None, state="rejected"),
        row(7, device_seconds=1.0, num_epochs=1, state="running"),
    ]
    spending = account(rows, epochs=4)
    assert describe_spending(spending) == [
        "1m 05s of training: 50s finished, 3.0s pruned, 0.0s repeated, 5.0s broken, "
        "6.0s failed (6.0s continued in other trials), 1.0s running",
        "about 22s by rejecting 5 candidates before training, 9.0s by pruning (estimated)",
    ]
    assert spending.finished_seconds == 40 + 8 + 2
    assert spending.pruned_seconds == 3
    assert spending.broken_seconds == 5
    assert spending.failed_seconds == 6
    assert spending.continued_seconds == 6
    assert spending.estimated_seconds == 0
    assert spending.running_seconds == 1
    assert spending.repeated_seconds == 0
    assert spending.total_seconds == 65
    assert spending.num_rejected == 5  # four redrawn, one recorded
    # five average trials; the sampled ones that ended took 8, 3, 5 and 2 seconds
    assert spending.saved_by_rejecting_seconds == pytest.approx(5 * 4.5)
    assert spending.saved_by_pruning_seconds == pytest.approx(3 * 3)  # three epochs of 3 seconds


def test_a_killed_trial_has_its_whole_epochs_and_half_of_one_is_estimated():
    killed = row(0, device_seconds=6.0, num_epochs=3, state="failed", reason="killed")
    spending = account([killed], epochs=4)
    assert (spending.failed_seconds, spending.estimated_seconds) == (7.0, 1.0)
    assert describe_spending(spending)[0].endswith("7.0s failed (1.0s estimated)")
    first = row(1, device_seconds=None, num_epochs=0, state="failed", reason="killed")
    assert account([killed, first], epochs=4).estimated_seconds == 2.0  # at the study's pace
    surplus = row(2, device_seconds=None, num_epochs=0, state="failed", reason="surplus")
    never = replace(surplus, num_params=None)
    assert account([killed, never], epochs=4).estimated_seconds == 1.0  # had not begun


def test_a_continued_trial_goes_at_the_pace_of_its_own_epochs():
    rows = [
        row(0, device_seconds=6.0, num_epochs=2, state="failed", reason="interrupted"),
        row(1, device_seconds=3.0, num_epochs=3, state="pruned", resumes=0),
    ]
    assert account(rows, epochs=5).saved_by_pruning_seconds == pytest.approx(2 * 3.0)


def test_a_network_trained_twice_is_told():
    rows = [row(0, device_seconds=2.0), row(1, device_seconds=3.0, id=row(0).id)]
    spending = account(rows, epochs=4)
    assert spending.repeated_seconds == 3.0
    assert "3.0s repeated" in describe_spending(spending)[0]


def test_running_trials_count_until_now_where_that_is_asked():
    started = datetime(2026, 1, 1)
    running = row(0, state="running", device_seconds=2.0, started_at=started)
    assert account([running], epochs=4).running_seconds == 2.0
    later = started + timedelta(seconds=9)
    assert account([running], 4, now=later).running_seconds == 9.0


def test_a_study_without_trials_has_spent_nothing():
    spending = account([], epochs=4)
    assert spending.total_seconds == 0.0
    assert describe_spending(spending)[1] == "nothing was rejected or pruned yet"


def test_the_limit_on_device_hours_holds_over_restarts_until_it_is_lifted(folder, images, capsys):
    argv = [*words(images, trials=3), "--no-baselines"]
    hours = "1e-6"  # less than any training
    started = time.perf_counter()
    assert main([*argv, "--gpu-hours", hours]) == 0
    elapsed_seconds = time.perf_counter() - started
    assert "the study's device hours are spent" in capsys.readouterr().err
    (trial,) = folder.trials()  # the one that began when nothing was spent yet
    assert trial.state == TrialState.COMPLETE
    assert 0 < trial.user_attrs["device_seconds"] < elapsed_seconds
    assert folder.attrs()["device_hours"] == float(hours)

    capsys.readouterr()
    assert main([*argv, "--format", "json"]) == 0  # not given: it stays
    record = json.loads(capsys.readouterr().out)
    assert record["stopped"] == "device hours spent"
    assert record["spending"]["total_seconds"] == trial.user_attrs["device_seconds"]
    assert len(folder.trials()) == 1

    assert main([*argv, "--gpu-hours", "none"]) == 0
    assert len(folder.trials()) == 3
    changes = folder.attrs()["changes"]
    assert {"trial": 1, "name": "device_hours", "from": float(hours), "to": None} in changes
    assert main(["status", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))
    total = sum(trial.user_attrs["device_seconds"] for trial in folder.trials())
    assert record["spending"]["finished_seconds"] == pytest.approx(total)
    assert record["spending"]["repeated_seconds"] == 0


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "2h", "soon"])
def test_what_is_no_number_of_hours_is_refused(text):
    with pytest.raises(UsageError, match="gpu-hours must be a number of hours above zero"):
        parse_hours(text)


def test_hours_are_read():
    assert (parse_hours("8"), parse_hours(" 0.5 "), parse_hours("None")) == (
        8.0,
        0.5,
        float("inf"),
    )
