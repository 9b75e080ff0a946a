"""Lock files: held while their process lives, removed when it does not."""

import fcntl
import signal
import time
from functools import partial

from nas import locks
from nas.locks import holding, is_held, locked, remove_unheld
from tests.support.searching import PATIENCE_SECONDS, Running, wait_until


def _hold(path):
    with holding(path):
        time.sleep(PATIENCE_SECONDS)


def test_a_file_is_removed_when_the_process_that_held_it_was_killed_and_not_before(tmp_path):
    path = tmp_path / "own.lock"
    child = Running([], tmp_path / "out", partial(_hold, path))
    wait_until(lambda: is_held(path))
    remove_unheld(path)
    assert path.exists()
    child.kill_group()
    assert child.wait() == -signal.SIGKILL
    remove_unheld(path)
    assert not path.exists()
    remove_unheld(path)  # another was faster


def remove_before_the_first_lock(monkeypatch, path):
    """Let another process find a file that was just made and is not locked yet."""
    flock, calls = fcntl.flock, []

    def flock_later(descriptor, operation):
        calls.append(operation)
        if len(calls) == 1:
            remove_unheld(path)
            assert not path.exists()
        return flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", flock_later)


def test_a_file_removed_between_its_making_and_its_locking_is_made_again(tmp_path, monkeypatch):
    path = tmp_path / "own.lock"
    remove_before_the_first_lock(monkeypatch, path)
    with holding(path):
        assert is_held(path)
    assert not path.exists()


def test_two_processes_never_hold_one_lock_though_its_file_was_removed(tmp_path, monkeypatch):
    path = tmp_path / "turn.lock"
    remove_before_the_first_lock(monkeypatch, path)
    with locked(path), path.open("rb") as file:
        assert not locks.try_lock(file.fileno())
