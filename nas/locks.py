"""Locks that the kernel releases when their process ends, however it ends.

They are advisory `flock`s on files and folders, held by open file descriptors: a killed
process leaves none behind, and other containers on the same machine see them. POSIX only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

Context = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked(path: Path, waiting: Context = nullcontext) -> Iterator[None]:
    """Hold a file's lock, waiting for it as long as it takes; a signal's exception ends the wait.

    The file and its folder are made where absent; the file stays.

    Args:
        path: The file.
        waiting: Makes the context in which is waited.

    Raises:
        OSError: The file cannot be made or opened for writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path, os.O_RDWR | os.O_CREAT, waiting):
        yield


@contextmanager
def locked_folder(path: Path) -> Iterator[None]:
    """Hold the lock of a folder itself, waiting for it; no file is made for it.

    Raises:
        OSError: The folder is absent, or its file system has no locks.
    """
    with _locked(path, os.O_RDONLY):
        yield


@contextmanager
def _locked(path: Path, flags: int, waiting: Context = nullcontext) -> Iterator[None]:
    while True:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        try:
            with waiting():
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else it was removed before it was locked
                yield
                return
        finally:
            os.close(descriptor)  # releases the lock


def lock_file(file: IO[bytes]) -> None:
    """Take the lock of an open file, waiting for it; closing the file gives it back."""
    fcntl.flock(file.fileno(), fcntl.LOCK_EX)


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


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the lock of a file of one's own, which is made first and removed at the end.

    Raises:
        OSError: The file cannot be made.
    """
    with locked(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_unheld(path: Path) -> None:
    """Remove a file whose lock nobody holds; what may not be removed stays."""
    with suppress(OSError), path.open("rb") as file:
        if try_lock(file.fileno()):
            path.unlink()


def is_held(path: Path) -> bool:
    """Tell whether some process holds the lock of a file.

    An absent file's is held by nobody; one that may not be read counts as held.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
