"""Who answers for a trial: through signals, kills, and other processes that end it."""

import os
import signal
from functools import partial

import psutil
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.search import processes, worker
from nas.search.objective import Objective
from nas.search.open_rungs import OpenRungs
from nas.search.open_study import load_ledger
from nas.search.prepare import prepare
from nas.search.request import make_request
from nas.study.ledger import Ledger
from nas.study.liveness import heartbeat
from nas.study.storage import open_storage
from tests.support.searching import (
    PATIENCE_SECONDS,
    Running,
    assert_sound,
    hold,
    wait_until,
    words,
)

BOTH = [signal.SIGINT, signal.SIGTERM]
SAVED = "interrupted; the state is saved: the same command resumes"


def lock_files(folder):
    return {path.name for path in folder.study_folder.workers.iterdir()} - {"turn.lock"}


def running(folder):
    return [trial.number for trial in folder.trials() if trial.state == TrialState.RUNNING]


def around_the_first(monkeypatch, owner, name, begin, end):
    """Do something when a function begins for the first time, and again when it has ended."""
    real, calls = getattr(owner, name), []

    def wrapped(*args, **more):
        calls.append(name)
        if len(calls) > 1:
            return real(*args, **more)
        begin()
        result = real(*args, **more)
        end()
        return result

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [
        (worker, "_next", signal.SIGINT),  # at its end the trial is claimed and not in training
        (worker, "_next", signal.SIGTERM),
        (Ledger, "begin", signal.SIGTERM),
        (Objective, "_is_to_be_stopped", signal.SIGTERM),  # reads the store
        (Ledger, "tell", signal.SIGTERM),
        pytest.param(Objective, "describe", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(OpenRungs, "promote", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(Objective, "_prepare_folder", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(Objective, "finish", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(Objective, "clear", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_while_a_trial_is_claimed_or_told_leaves_none_running(
    folder, images, monkeypatch, capsys, owner, name, number
):
    argv = [*words(images, trials=3, epochs=2), "--rungs", "1x3"]
    send, ended = partial(os.kill, os.getpid(), number), []

    def end():
        send()
        ended.append(name)

    with monkeypatch.context() as patched:
        around_the_first(patched, owner, name, send, end)
        assert main(argv) == 130
    assert ended == [name]
    assert SAVED in capsys.readouterr().err
    assert not running(folder)
    assert lock_files(folder) == set()
    assert main(argv) == 0
    assert_sound(folder, 3)


def stop_once_claimed():
    """In the child: stop in the moment in which a trial is claimed and nothing has begun yet."""
    find = worker._next

    def find_and_stop(context):
        step = find(context)
        if isinstance(step, worker.ClaimedTrial):
            os.kill(os.getpid(), signal.SIGSTOP)
        return step

    worker._next = find_and_stop


@pytest.mark.parametrize("number", BOTH)
def test_a_process_that_is_told_to_end_just_when_it_has_claimed_gives_its_trial_back(
    folder, images, tmp_path, number
):
    argv = words(images, trials=2)
    child = Running(argv, tmp_path / "out", stop_once_claimed)
    process = psutil.Process(child.process.pid)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
    assert running(folder) == [0]
    child.signal(number)
    child.signal(signal.SIGCONT)
    assert child.wait() == 130, child.errors()
    assert SAVED in child.errors()
    assert not running(folder)
    assert folder.trials()[0].user_attrs["reason"] == "interrupted"
    assert lock_files(folder) == set()
    assert main(argv) == 0
    assert_sound(folder, 2)


@pytest.mark.slow
def test_a_signal_while_the_workers_are_started_leaves_no_process(folder, images, monkeypatch):
    started = []

    class Signalled(processes.WorkerProcess):
        def __init__(self, process, *files):
            os.kill(os.getpid(), signal.SIGTERM)  # it runs, and nobody has taken note of it
            started.append(process)
            super().__init__(process, *files)

    monkeypatch.setattr(processes, "WorkerProcess", Signalled)
    assert main([*words(images), "--workers", "2"]) == 130
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
    assert not running(folder)


def live_and_wait(workers, gate):
    with heartbeat(workers):
        gate.touch()
        wait_until(lambda: False)


def test_lock_files_that_nobody_holds_go_with_the_next_command_and_others_stay(
    folder, images, tmp_path
):
    argv = words(images, trials=1)
    assert main(argv) == 0
    workers, gates = folder.study_folder.workers, [tmp_path / name for name in "ab"]
    dead, alive = (
        Running([], gate.with_suffix(".out"), partial(live_and_wait, workers, gate))
        for gate in gates
    )
    wait_until(lambda: all(gate.exists() for gate in gates))
    dead.kill_group()  # between two trials: no trial names its file
    assert len(lock_files(folder)) == 2
    for command in (argv, ["worker"]):
        assert main(command) == 0
        (name,) = lock_files(folder)
        assert f"-{alive.process.pid}-" in name
    alive.kill_group()
    assert main(["worker"]) == 0
    assert lock_files(folder) == set()


def die_when_told():
    """In the child: die when the second trial was told and nothing is tidied up yet."""
    clear = Objective.clear

    def clear_or_die(self, study):
        if len(study.get_trials(states=[TrialState.COMPLETE])) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        clear(self, study)

    Objective.clear = clear_or_die


def test_what_the_process_of_the_last_trial_left_goes_with_the_next_command(
    folder, images, tmp_path
):
    argv = words(images, trials=2)
    child = Running(argv, tmp_path / "out", die_when_told)
    assert child.wait() == -signal.SIGKILL
    assert (folder.study_folder.trial(1) / "checkpoint.pt").exists()
    assert main(argv) == 0
    assert_sound(folder, 2)
    assert len(folder.trials()) == 2
    assert not list(folder.study_folder.path.rglob("checkpoint.pt"))
    assert lock_files(folder) == set()


def ledger_of(folder):
    """The trials as another process sees them that may end them."""
    search = prepare(make_request({"study": folder.study_folder.name}))
    return load_ledger(search, open_storage(search.url, search.folder.journal))


def wait_at(owner, name, reached, gate):
    """In the child: wait once, where a function has ended."""
    real = getattr(owner, name)

    def real_and_wait(*args, **more):
        result = real(*args, **more)
        if not reached.exists():
            reached.touch()
            wait_until(gate.exists)
        return result

    setattr(owner, name, real_and_wait)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Objective, "finish"),  # between the last write and the tell
        (Objective, "describe"),  # in the middle of the claim
        (Ledger, "begin"),
        pytest.param(Objective, "_prepare_folder", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("is_given_back", [False, True])
def test_a_trial_that_another_process_fails_is_said_in_a_line_and_the_worker_goes_on(
    folder, images, tmp_path, owner, name, is_given_back
):
    reached, gate = tmp_path / "reached", tmp_path / "gate"
    child = Running(
        words(images, trials=2), tmp_path / "out", partial(wait_at, owner, name, reached, gate)
    )
    wait_until(reached.exists)
    assert running(folder) == [0]
    if is_given_back:
        ledger_of(folder).requeue(0, "killed")
    else:
        folder.study().tell(0, state=TrialState.FAIL)
    gate.touch()
    assert child.wait() == 0, child.errors()
    assert child.errors().count("trial 0 was given to another process\n") == 1
    assert "Traceback" not in child.errors()
    trials = folder.trials()
    assert trials[0].state == TrialState.FAIL
    heirs = [trial for trial in trials if trial.user_attrs.get("resumes") == 0]
    assert len(heirs) == is_given_back
    assert len([trial for trial in trials if trial.state == TrialState.COMPLETE]) == 2
    assert lock_files(folder) == set()


@pytest.mark.slow
def test_a_trial_that_was_trained_elsewhere_meanwhile_has_no_folder_and_ends_no_worker(
    folder, images, tmp_path
):
    argv, gate = words(images, trials=1, epochs=3), tmp_path / "gate"
    child = Running(argv, tmp_path / "out", partial(hold, gate, "trials/0"))
    folder.wait_for(lambda trials: trials and len(trials[0].intermediate_values) == 2)
    ledger_of(folder).requeue(0, "killed")
    assert main(argv) == 0
    assert not folder.study_folder.trial(0).exists()
    gate.touch()
    assert child.wait(PATIENCE_SECONDS) == 0, child.errors()
    assert "trial 0 was given to another process\n" in child.errors()
    assert [trial.state for trial in folder.trials()][:1] == [TrialState.FAIL]
    assert_sound(folder, 1)
    assert not folder.study_folder.trial(0).exists()
