"""A lock is waited for with a word, and not for ever: its holder shows that it runs."""

import fcntl
import os
import signal
import threading
import time
from functools import partial

import pytest

from nas import locks
from nas.errors import StorageError
from nas.locks import (
    Stall,
    is_held,
    locked,
    remove_unheld,
    take_lock,
)
from nas.study.journal import MendingJournal
from tests.support.deaths import expire_soon
from tests.support.searching import PATIENCE_SECONDS, Running, wait_until


def _hold(way, path, ready):
    """In the child: hold a lock for ever, in one of several ways."""
    with locked(path):
        ready.touch()
        if way == "hangs":
            expire_soon()
            os.read(os.pipe()[0], 1)
        while True:
            time.sleep(0.01)


def _hold_journal(path, ready):
    with path.open("r+b") as file:
        take_lock(file.fileno(), path)
        ready.touch()
        time.sleep(3600)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a child that holds a lock; ends it with the test."""
    monkeypatch.setattr(locks, "SAY_SECONDS", 0.5)
    monkeypatch.setattr(locks, "LEASE_SECONDS", 3.0)
    children = []

    def start(hold):
        ready = tmp_path / "ready"
        children.append(Running([], tmp_path / "out", partial(hold, ready=ready)))
        wait_until(ready.exists)
        return children[-1]

    yield start
    for child in children:
        child.kill_group()


@pytest.mark.parametrize("way", ["is stopped", "hangs"])
def test_a_holder_without_a_sign_of_life_is_named_and_loses_its_lock(tmp_path, start, way, caplog):
    path = tmp_path / "turn.lock"
    child = start(partial(_hold, way, path))
    if way == "is stopped":
        child.signal(signal.SIGSTOP)
    began = time.monotonic()
    with locked(path):
        assert time.monotonic() - began >= 3.0
        (said,) = caplog.messages
        assert said.startswith(f"waiting: process {child.process.pid} has locked {path}")
        child.signal(signal.SIGCONT)  # what it holds now is not this
        assert locks.is_held(path)
    with locked(path):
        assert time.monotonic() - began < 60
    if way == "hangs":
        wait_until(lambda: f"process {child.process.pid} hangs" in child.errors())


@pytest.mark.slow
def test_a_holder_that_runs_keeps_its_lock_however_long(tmp_path, start):
    path, taken = tmp_path / "turn.lock", threading.Event()
    child = start(partial(_hold, "runs", path))

    def take():
        with locked(path):
            taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(6.0)  # twice the lease
    child.kill_group()
    assert taken.wait(60)
    waiting.join()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["journal.log", "unpacked"])
def test_what_cannot_be_replaced_is_waited_for_until_the_lease_ends(tmp_path, start, name):
    path = tmp_path / name
    if path.suffix:
        path.touch()
        child = start(partial(_hold_journal, path))
    else:
        path.mkdir()
        child = start(partial(_hold, "is stopped", path))
    child.signal(signal.SIGSTOP)

    def write():
        if path.suffix:
            MendingJournal(path).append_logs([{"op_code": 0}])
        with locked(path):
            pass

    with pytest.raises(StorageError) as caught:
        write()
    assert str(caught.value).startswith(f"process {child.process.pid} has locked {path}, ")
    assert str(caught.value).endswith("; end it or let it go on")
    assert path.is_dir() or path.read_bytes() == b""


def test_time_in_which_the_observer_was_stopped_does_not_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(locks, "LEASE_SECONDS", 3.0)
    stall, passed = Stall(), []
    for second in (0, 1, 2, 3600, 3601):  # at 3600 it has looked for 3 seconds
        now[0] = second
        passed.append(stall.look("a sign"))
    assert passed == [0.0, 0.0, 0.0, 3.0, 0.0]
    assert stall.look("another") == 0.0


def _hold_own(path):
    with locked(path):
        time.sleep(PATIENCE_SECONDS)


def test_a_file_is_removed_when_the_process_that_held_it_was_killed_and_not_before(tmp_path):
    path = tmp_path / "own.lock"
    child = Running([], tmp_path / "out", partial(_hold_own, path))
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
    with locked(path):
        assert is_held(path)


def test_two_processes_never_hold_one_lock_though_its_file_was_removed(tmp_path, monkeypatch):
    path = tmp_path / "turn.lock"
    remove_before_the_first_lock(monkeypatch, path)
    with locked(path), path.open("rb") as file:
        assert not locks.try_lock(file.fileno())
