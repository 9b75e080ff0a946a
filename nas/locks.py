"""Locks that the kernel releases when their process ends, however it ends.

They are advisory `flock`s on files and folders, held by open file descriptors: a killed
process leaves none behind, and other containers on the same machine see them. POSIX only.

A process that is stopped or hangs keeps its locks. So a holder touches what it has locked while it
runs, and who waits goes by that: a lock whose holder shows no life has expired.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from nas.errors import StorageError
from nas.machine import read_text

logger = logging.getLogger(__name__)

BEAT_SECONDS = 1.0  # between two signs of life
SAY_SECONDS = 10.0  # a wait that is longer is said
# Without a sign of life: a machine that swaps, or a network file system that caches times for a
# minute, is slow and not dead
LEASE_SECONDS = 120.0
HAS_CLOCK = hasattr(time, "pthread_getcpuclockid")  # else only what is stopped shows no life


class Stall:
    """How long something has not changed, by one who looks at it again and again.

    Two looks count at most a second: time in which the one who looks was stopped says nothing.
    """

    def __init__(self) -> None:
        self._value: object = None
        self._seconds = 0.0
        self._looked_at = time.monotonic()

    def look(self, value: object) -> float:
        """Return `SAY_SECONDS` or `LEASE_SECONDS` once, when so long has passed; else 0."""
        now, before = time.monotonic(), self._seconds
        self._seconds += min(now - self._looked_at, 1.0)
        if value != self._value:
            before = self._seconds = 0.0
        self._value, self._looked_at = value, now
        marks = (LEASE_SECONDS, SAY_SECONDS)
        return next((mark for mark in marks if before < mark <= self._seconds), 0.0)


@contextmanager
def locked(
    path: Path, waiting: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[None]:
    """Hold the lock of a file or of a folder, waiting for it; a signal's exception ends the wait.

    A file, and the folder it lies in, are made where absent; the file stays. Where the lease of
    its holder has expired, another file takes its place.

    Args:
        path: The file, or a folder that exists.
        waiting: Makes the context in which is waited.

    Raises:
        OSError: The file cannot be made or opened for writing, or the file system has no locks.
        StorageError: The lease of a folder's holder has expired.
    """
    is_folder = path.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                with waiting():
                    take_lock(descriptor, path)
            except StorageError:
                if is_folder:
                    raise
                if os.fstat(descriptor).st_nlink:
                    path.unlink(missing_ok=True)  # its holder has what has no name
            if os.fstat(descriptor).st_nlink:  # else it was removed before it was locked
                with _beating(descriptor):
                    yield
                return
        finally:
            os.close(descriptor)  # releases the lock


def take_lock(descriptor: int, path: Path) -> None:
    """Take the lock of an open file, waiting for it; a long wait is said. Closing gives it back.

    Raises:
        OSError: The file system has no locks.
        StorageError: Another process has it and has not written for `LEASE_SECONDS`.
    """
    waited, stall = Stall(), Stall()
    while not try_lock(descriptor):
        if stall.look(os.fstat(descriptor).st_mtime) == LEASE_SECONDS:
            raise StorageError(f"{_describe_holder(descriptor, path)}; end it or let it go on")
        if waited.look(None) == SAY_SECONDS:
            logger.warning("waiting: %s", _describe_holder(descriptor, path))
        time.sleep(0.01)


def _describe_holder(descriptor: int, path: Path) -> str:
    """Say who holds a lock that this process waits for, as far as Linux tells, and since when."""
    status, elsewhere = os.fstat(descriptor), "a process of another machine or container"
    # 1: FLOCK ADVISORY WRITE <process> <device>:<inode> 0 EOF
    locks = [line.split() for line in read_text(Path("/proc/locks")).splitlines()]
    own = (lock for lock in locks if lock[1] == "FLOCK" and lock[5].endswith(f":{status.st_ino}"))
    holder = next((f"process {lock[4]}" for lock in own), elsewhere)
    return f"{holder} has locked {path}, its last sign of life was at {clock_of(status.st_mtime)}"


def clock_of(seconds: float) -> str:
    """Return the time of day of a file's time."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


@contextmanager
def _beating(descriptor: int) -> Iterator[None]:
    """Touch an open file or folder again and again, as long as the calling thread runs."""
    has_ended, holder = threading.Event(), threading.get_ident()
    thread = threading.Thread(target=_beat, args=(descriptor, holder, has_ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _beat(descriptor: int, holder: int, has_ended: threading.Event) -> None:
    stall, before = Stall(), -1.0
    while True:
        # what hangs, in a read or in a library, uses no processor time at all
        now = time.clock_gettime(time.pthread_getcpuclockid(holder)) if HAS_CLOCK else before + 1
        if now != before:
            with suppress(OSError):  # a full disk, a folder that is gone
                os.utime(descriptor)
        if stall.look(now) == LEASE_SECONDS:
            logger.warning("process %d hangs, for %d s by now", os.getpid(), LEASE_SECONDS)
        before = now
        if has_ended.wait(BEAT_SECONDS):
            return


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file if nobody holds it; closing the file gives it back.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unheld(path: Path) -> None:
    """Remove a file whose lock nobody holds; what may not be removed stays."""
    with suppress(OSError), path.open("rb") as file:
        if try_lock(file.fileno()):
            path.unlink()


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock of a file.

    An absent file's is held by nobody; what may not be read, or is a folder, counts as held.
    """
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # others may look at the same time
            return False
    except FileNotFoundError:
        return False
    except (BlockingIOError, IsADirectoryError, PermissionError):
        return True
