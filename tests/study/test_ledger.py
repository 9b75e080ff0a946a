"""The rules that keep workers apart, on a real store with trials in every state."""

import json
import os
import signal
import socket
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nas.study import ledger as claims
from nas.study.attributes import GIVEN_BACK, ID, NUM_PARAMS, REASON, RESUMES, WORKER
from nas.study.folder import StudyFolder
from nas.study.ledger import Ledger
from nas.study.lineage import (
    STARVED,
    ancestors,
    count_equal_failures,
    count_failed_attempts,
    num_claimed,
)
from nas.study.liveness import heartbeat, is_dead, is_elsewhere
from nas.study.storage import open_storage
from tests.support.searching import PATIENCE_SECONDS, Running, wait_until

X = optuna.distributions.IntDistribution(0, 9)


@pytest.fixture(params=["journal", "sqlite"])
def ledger(request, tmp_path):
    folder = StudyFolder(tmp_path / "study")
    folder.workers.mkdir(parents=True)
    url = None if request.param == "journal" else f"sqlite:///{tmp_path}/x.db"
    storage = open_storage(url, folder.journal)
    study = optuna.create_study(
        study_name="s",
        storage=storage,
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(0),
    )
    return Ledger(study, storage, folder, frozenset({"x"}), is_local=True, seed=0)


def add(ledger, state, x=None, steps=0, **attrs):
    """Add a trial as another process would have left it."""
    value = 0.5 if state == TrialState.COMPLETE else None
    params = {} if x is None else {"x": x}
    ledger.study.add_trial(
        create_trial(
            state=state,
            value=value,
            params=params,
            distributions={name: X for name in params},
            intermediate_values={step: 0.5 for step in range(steps)},
            user_attrs=attrs,
        )
    )
    return len(ledger.trials()) - 1


def test_what_was_requeued_begins_before_what_waited_longer(ledger):
    ledger.study.enqueue_trial({"x": 1})
    dead = add(ledger, TrialState.RUNNING, x=2, id="two", worker={"host": "h", "pid": 1})
    ledger.study.enqueue_trial({"x": 3})
    ledger.requeue(dead, "killed")
    begun = [ledger.begin({"host": "h"}) for _ in range(4)]
    assert [trial.suggest_int("x", 0, 9) for trial in begun[:3]] == [2, 1, 3]
    assert [trial.number for trial in begun] == [3, 0, 2, 4]
    assert begun[0].user_attrs[RESUMES] == dead
    assert all(trial.user_attrs[WORKER] == {"host": "h"} for trial in begun)


def test_requeueing_is_finished_by_whoever_comes_next_and_done_once(ledger):
    number = add(ledger, TrialState.RUNNING, x=2)
    ledger.withdraw(number, "killed", **{GIVEN_BACK: True})  # and here the process died
    for _ in range(3):
        ledger.requeue_dead()
    waiting = ledger.trials(TrialState.WAITING)
    assert [trial.system_attrs["fixed_params"] for trial in waiting] == [{"x": 2}]
    ledger.requeue(number, "killed")
    assert len(ledger.trials()) == 2


def test_a_trial_without_a_network_is_not_enqueued_again(ledger):
    number = add(ledger, TrialState.RUNNING)
    ledger.requeue(number, "killed")
    assert [trial.state for trial in ledger.trials()] == [TrialState.FAIL]


def test_an_ended_trial_stays_as_it_is(ledger):
    number = add(ledger, TrialState.COMPLETE, x=1)
    ledger.withdraw(number, "surplus")
    ledger.requeue(number, "killed")
    (trial,) = ledger.trials()
    assert trial.state == TrialState.COMPLETE
    assert REASON not in trial.user_attrs


def test_of_two_trials_with_one_network_the_lower_number_trains(ledger):
    low = add(ledger, TrialState.RUNNING, x=1, id="a")
    high = add(ledger, TrialState.RUNNING, x=1, id="a")
    other = add(ledger, TrialState.RUNNING, x=2, id="b")
    assert ledger.refusal(low, num_trials=9) is None
    assert ledger.refusal(high, num_trials=9) == f"repeat of trial {low}"
    assert ledger.refusal(other, num_trials=9) is None


def test_another_seed_of_a_network_is_another_training(ledger):
    add(ledger, TrialState.COMPLETE, x=1, id="a")  # an older trial: the study's seed, 0
    again = add(ledger, TrialState.RUNNING, x=1, id="a", seed=0)
    other = add(ledger, TrialState.RUNNING, x=1, id="a", seed=1)
    twice = add(ledger, TrialState.RUNNING, x=1, id="a", seed=1)
    assert ledger.refusal(again, num_trials=9) == "repeat of trial 0"
    assert ledger.refusal(other, num_trials=9) is None
    assert ledger.refusal(twice, num_trials=9) == f"repeat of trial {other}"


@pytest.mark.parametrize(
    ("state", "steps", "is_repeat"),
    [
        (TrialState.COMPLETE, 0, True),
        (TrialState.PRUNED, 2, True),
        (TrialState.PRUNED, 0, False),  # over budget: never trained
        (TrialState.FAIL, 2, False),  # killed: to be trained again
    ],
)
def test_a_network_is_a_repeat_if_it_was_measured(ledger, state, steps, is_repeat):
    add(ledger, state, x=1, steps=steps, id="a")
    number = add(ledger, TrialState.RUNNING, x=1, id="a")
    assert (ledger.refusal(number, num_trials=9) is not None) == is_repeat


def test_beyond_the_target_the_higher_numbers_are_withdrawn(ledger):
    add(ledger, TrialState.COMPLETE, x=1, id="a")
    add(ledger, TrialState.FAIL, x=2, id="b")
    add(ledger, TrialState.PRUNED, x=3, id="c")
    numbers = [add(ledger, TrialState.RUNNING, x=x, id=str(x)) for x in (4, 5, 6)]
    refusals = [ledger.refusal(number, num_trials=3) for number in numbers]
    assert [refusal is None for refusal in refusals] == [True, True, False]
    assert "surplus" in refusals[2]
    assert num_claimed(ledger.trials()) == 4


def test_between_machines_a_trial_waits_until_the_lower_ones_have_said_what_they_train(
    ledger, monkeypatch
):
    shared = replace(ledger, is_local=False)
    low = add(ledger, TrialState.RUNNING, x=1)  # just begun by another machine
    high = add(ledger, TrialState.RUNNING, x=1, id="a")
    waits = []

    def say_it_in_the_third_wait(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            ledger.storage.set_trial_user_attr(ledger._trial_id(low), ID, "a")

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=say_it_in_the_third_wait)
    monkeypatch.setattr(claims, "time", clock)
    monkeypatch.setattr(claims, "SETTLE_SECONDS", PATIENCE_SECONDS)
    assert shared.refusal(high, num_trials=9) == f"repeat of trial {low}"
    assert len(waits) == 3


def test_a_trial_continues_earlier_ones_alone_whatever_it_says(ledger):
    for resumes in (0, 2, 1, "../0", [0], -1, 2):
        add(ledger, TrialState.RUNNING, resumes=resumes)
    trials = ledger.trials()
    assert [ancestors(trials, number) for number in range(7)] == [[], [], [1], [], [], [], [2, 1]]


def test_deaths_count_while_no_epoch_ends_between_them(ledger):
    begun = {NUM_PARAMS: 10}
    first = add(ledger, TrialState.FAIL, x=1, reason=STARVED, **begun)
    second = add(ledger, TrialState.FAIL, x=1, reason="error: Boom", resumes=first, **begun)
    third = add(ledger, TrialState.RUNNING, x=1, resumes=second, **begun)
    assert count_failed_attempts(ledger.trials(), third, STARVED) == 3
    assert count_failed_attempts(ledger.trials(), third, "killed") == 0
    assert count_failed_attempts(ledger.trials(), third, "interrupted") == 0
    assert count_failed_attempts(ledger.trials(), third, "machine: disk full") == 0
    ahead = add(ledger, TrialState.RUNNING, x=1, steps=1, resumes=second, **begun)
    assert count_failed_attempts(ledger.trials(), ahead, STARVED) == 0
    heir = add(ledger, TrialState.RUNNING, x=1, steps=1, resumes=ahead, **begun)
    assert count_failed_attempts(ledger.trials(), heir, STARVED) == 1


def test_a_network_that_is_killed_ten_times_before_an_epoch_is_left(ledger):
    attrs = {ID: "a", NUM_PARAMS: 10}
    number = add(ledger, TrialState.FAIL, x=1, reason="killed", **attrs)
    for _ in range(8):
        number = add(ledger, TrialState.FAIL, x=1, reason="killed", resumes=number, **attrs)
    last = add(ledger, TrialState.RUNNING, x=1, resumes=number, **attrs)
    assert ledger.requeue(last, "killed")
    left = ledger.trials()[last]
    assert left.state == TrialState.FAIL
    assert left.user_attrs["reason"] == "killed, 10 times before an epoch ended: given up"
    assert not ledger.trials(TrialState.WAITING)


def test_equal_failures_in_a_row_are_the_machine_s_alone_and_end_with_a_trial_that_counts(ledger):
    def fail(reason):
        number = add(ledger, TrialState.RUNNING)
        ledger.withdraw(number, reason)

    fail("machine: OSError: trials/1 is gone")
    ledger.study.tell(add(ledger, TrialState.RUNNING, x=1), 0.5)
    fail("machine: OSError: trials/3 is gone")
    fail("interrupted")
    fail("repeat of trial 0")
    fail("machine: OSError: trials/10 is gone")
    alike, other = "machine: OSError: trials/7 is gone", "machine: OSError: trials/10 is full"
    assert count_equal_failures(ledger.trials(), alike) == 2
    assert count_equal_failures(ledger.trials(), other) == 0
    fail("killed")
    assert count_equal_failures(ledger.trials(), alike) == 0


def _live_and_wait(workers, record_path):
    with heartbeat(workers) as worker:
        record_path.write_text(json.dumps(worker))
        time.sleep(PATIENCE_SECONDS)


def test_a_process_lives_until_the_kernel_says_it_is_gone(tmp_path):
    workers, record = tmp_path / "workers", tmp_path / "record.json"
    child = Running([], tmp_path / "out", partial(_live_and_wait, workers, record))
    wait_until(lambda: record.exists() and record.read_text())
    worker = json.loads(record.read_text())
    trial = create_trial(state=TrialState.RUNNING, user_attrs={WORKER: worker})
    renamed = create_trial(
        state=TrialState.RUNNING, user_attrs={WORKER: {**worker, "host": "a-container", "pid": 1}}
    )
    assert not is_dead(trial, workers)
    elsewhere = tmp_path / "no such folder"
    assert not is_dead(trial, elsewhere)  # by its process number alone
    assert not is_dead(renamed, workers)
    assert not is_elsewhere(renamed, workers)
    os.kill(child.process.pid, signal.SIGSTOP)
    assert not is_dead(trial, workers)  # asleep is not dead
    child.kill_group()
    assert is_dead(trial, workers)
    assert is_dead(trial, elsewhere)
    assert is_dead(renamed, workers)
    (workers / worker["lock"]).unlink()
    assert is_dead(trial, workers)
    assert not is_dead(renamed, workers)  # of a machine without this folder nothing is known
    assert is_elsewhere(renamed, workers)


@pytest.mark.parametrize(
    "worker",
    [
        "text",
        [],
        {},
        {"pid": 1},
        {"host": None, "pid": "1", "started_at": None},
        {"host": socket.gethostname(), "pid": -1, "started_at": 0.0, "oom_kills": "many"},
        {"host": socket.gethostname(), "pid": 2**70, "started_at": 0.0, "lock": 5},
        {"host": socket.gethostname(), "pid": 1, "started_at": 0.0, "lock": "x" * 5000 + ".lock"},
    ],
)
def test_a_trial_whose_process_cannot_be_read_is_dead(ledger, worker):
    trial = create_trial(state=TrialState.RUNNING, user_attrs={WORKER: worker})
    ledger.study.add_trial(trial)
    assert not is_elsewhere(trial, ledger.folder.workers)
    assert ledger.requeue_dead() == [0]
    (ended,) = ledger.trials(TrialState.FAIL)
    assert ended.user_attrs["reason"] == "killed"


def test_a_process_number_that_was_given_to_another_process_is_not_the_worker(tmp_path):
    with heartbeat(tmp_path) as worker:
        old = {**worker, "started_at": worker["started_at"] - 100, "lock": "gone.lock"}
        trial = create_trial(state=TrialState.RUNNING, user_attrs={WORKER: old})
        assert is_dead(trial, tmp_path)
    assert not list(tmp_path.iterdir())
