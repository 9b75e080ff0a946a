"""Workers that are killed, stopped or orphaned; none is waited for for ever, none is left."""

import contextlib
import os
import signal
from functools import partial

import psutil
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.search import objective
from tests.support.deaths import die_in_training, expire_soon
from tests.support.searching import (
    Running,
    assert_sound,
    hold,
    in_workers,
    training,
    wait_until,
    words,
)


def _hold_and_expire(gate):
    expire_soon()
    hold(gate)


def _workers_of(running):
    return psutil.Process(running.process.pid).children(recursive=True)


def _all_ended(processes):
    return not [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.slow
def test_a_killed_search_leaves_no_process_and_no_running_trial(folder, images, tmp_path):
    argv, gate = [*words(images, trials=6, epochs=3), "--workers", "2"], tmp_path / "gate"
    running = Running(argv, tmp_path / "out", partial(in_workers, partial(hold, gate)))
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    workers = _workers_of(running)
    running.signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    wait_until(lambda: _all_ended(workers))  # in the middle of their trials: the gate is closed
    trials = folder.trials()
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert [t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL] == [
        "interrupted"
    ] * 2
    assert main(words(images, trials=6, epochs=3)) == 0
    assert_sound(folder, 6)


@pytest.mark.slow
def test_a_killed_worker_is_replaced(folder, images, tmp_path):
    argv, gate = [*words(images, trials=4, epochs=3), "--workers", "2"], tmp_path / "gate"
    running = Running(argv, tmp_path / "out", partial(in_workers, partial(hold, gate)))
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    before = {process.pid for process in _workers_of(running)}
    os.kill(min(before), signal.SIGKILL)
    trials = folder.wait_for(lambda trials: training(trials) - before)  # before any ends
    gate.touch()
    assert running.wait() == 0, running.errors()
    assert "a worker is replaced, 1 of 3 times in a row: killed by SIGKILL" in running.errors()
    trials = assert_sound(folder, 4)
    assert [t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL] == ["killed"]


@pytest.mark.slow
def test_workers_that_are_killed_again_and_again_end_the_search_with_the_cause(
    folder, images, tmp_path, capsys
):
    argv = [*words(images, trials=4), "--workers", "2"]
    running = Running(argv, tmp_path / "out", partial(in_workers, die_in_training))
    assert running.wait() == 1
    errors = running.errors()
    assert errors.count("a worker is replaced") == 3
    assert errors.splitlines()[-1].startswith(
        "error: all 2 workers failed; the first: killed by SIGKILL"
    )
    assert "Traceback" not in errors
    assert main(words(images, trials=4)) == 0
    trials = assert_sound(folder, 4)
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert [trial.number for trial in trials if trial.value == 0.0] == []
    capsys.readouterr()
    assert main(["status"]) == 0
    assert "the machine's, not a network's; trial" in capsys.readouterr().out


@pytest.mark.slow
def test_a_stopped_worker_is_killed_and_replaced_when_its_lease_ends(folder, images, tmp_path):
    argv, gate = [*words(images, trials=4, epochs=3), "--workers", "2"], tmp_path / "gate"
    prepare = partial(_expire_here_and_prepare_workers, partial(hold, gate))
    running = Running(argv, tmp_path / "out", prepare)
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    workers = _workers_of(running)
    victim = min(process.pid for process in workers)
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: f"worker process {victim} shows no life since" in running.errors())
    gate.touch()
    assert running.wait() == 0, running.errors()
    assert _all_ended(workers)
    assert_sound(folder, 4)


def _expire_here_and_prepare_workers(prepare):
    expire_soon()
    in_workers(prepare)


@pytest.mark.slow
def test_a_search_takes_over_what_a_stopped_one_trains_and_that_one_ends_well(
    folder, images, tmp_path
):
    argv, gate = words(images, trials=4, epochs=3), tmp_path / "gate"
    both = [Running(argv, tmp_path / name, partial(_hold_and_expire, gate)) for name in "ab"]
    trials = folder.wait_for(lambda trials: len(training(trials)) == 2)
    victim = next(trial for trial in trials if training([trial]))
    stopped = next(r for r in both if r.process.pid == victim.user_attrs["worker"]["pid"])
    stopped.signal(signal.SIGSTOP)
    gate.touch()
    (other,) = (running for running in both if running is not stopped)
    assert other.wait() == 0, other.errors()
    trials = assert_sound(folder, 4)
    reason = trials[victim.number].user_attrs["reason"]
    assert reason.startswith(f"machine: process {stopped.process.pid} on ")
    assert "shows no life since" in reason
    assert reason in other.errors()
    stopped.signal(signal.SIGCONT)
    assert stopped.wait() == 0, stopped.errors()
    assert "Traceback" not in stopped.errors()
    assert assert_sound(folder, 4) == trials


def _hang_once(marker):
    """In the child: the first training waits for a file that never comes."""
    train = objective.train

    def train_or_hang(*args, **more):
        with contextlib.suppress(FileExistsError):
            marker.touch(exist_ok=False)
            os.read(os.pipe()[0], 1)
        return train(*args, **more)

    objective.train = train_or_hang


@pytest.mark.slow
def test_a_worker_whose_loader_hangs_is_killed_and_replaced(folder, images, tmp_path):
    prepare = partial(_expire_here_and_prepare_workers, partial(_hang_once, tmp_path / "marker"))
    argv = [*words(images, trials=4), "--workers", "2"]
    running = Running(argv, tmp_path / "out", prepare)
    assert running.wait() == 0, running.errors()
    assert "shows no life since" in running.errors()
    assert "a worker is replaced, 1 of 3 times in a row" in running.errors()
    trials = assert_sound(folder, 4)
    assert [t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL] == ["killed"]


@pytest.mark.slow
def test_a_search_ends_though_a_worker_is_stopped_when_it_is_interrupted(folder, images, tmp_path):
    argv, gate = [*words(images, trials=4, epochs=3), "--workers", "2"], tmp_path / "gate"
    running = Running(argv, tmp_path / "out", partial(in_workers, partial(hold, gate)))
    folder.wait_for(lambda trials: len(training(trials)) == 2)
    workers = _workers_of(running)
    os.kill(workers[0].pid, signal.SIGSTOP)
    running.signal(signal.SIGINT)
    assert running.wait() == 130
    assert _all_ended(workers)
