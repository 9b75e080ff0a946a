"""Whether the process that trains a trial still lives.

Each worker holds the lock of a file of its own in the study's folder for as long as it lives, and
writes the file's name into its trials. The kernel releases the lock when the process ends, so the
answer holds for every process of this machine, other containers included. Where the file is not
there (another machine without this folder), host and process number decide, and of another host
nothing is known.

What a trial says of its process stands in the store, which others may have written: of the files
it could name, only those that `heartbeat` makes are opened.

A process that is stopped or hangs lives, but its lock file shows no signs of life (`nas.locks`).

Optuna's heartbeat is not used: it works for databases under `study.optimize`, not for a journal.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial

from nas.locks import LEASE_SECONDS, Stall, clock_of, is_held, locked
from nas.machine import oom_kills
from nas.study.attributes import WORKER

logger = logging.getLogger(__name__)

LOCK_NAME = re.compile(r"[!-.0-~]{1,64}-\d{1,9}-[0-9a-f]{8}\.lock")  # as `heartbeat` gives it
UNCLAIMED_GRACE = timedelta(seconds=30)  # a trial without a worker's name is dead after this


@contextmanager
def heartbeat(workers: Path) -> Iterator[dict[str, Any]]:
    """Let others see that this process lives, until the block or the process ends.

    Args:
        workers: The folder of the study's lock files; made where absent.

    Yields:
        What a trial's `WORKER` attribute is to say.

    Raises:
        OSError: The folder cannot be written.
    """
    host, pid = socket.gethostname(), os.getpid()
    name = f"{host}-{pid}-{uuid.uuid4().hex[:8]}.lock"
    with locked(workers / name):
        try:
            started_at = psutil.Process(pid).create_time()
            own = {"host": host, "pid": pid, "started_at": started_at, "lock": name}
            yield {**own, "oom_kills": oom_kills()}  # of the machine, before
        finally:
            (workers / name).unlink(missing_ok=True)


def is_dead(trial: FrozenTrial, workers: Path, grace: timedelta = UNCLAIMED_GRACE) -> bool:
    """Tell whether the process that trained a RUNNING trial is gone.

    Args:
        trial: The trial.
        workers: The folder of the lock files.
        grace: How long a trial may go without a worker's name, between two writes.
    """
    worker = process_of(trial)
    if not worker:  # killed between the asking and the claim
        started = trial.datetime_start
        return started is not None and datetime.now() - started >= grace
    path = lock_path(trial, workers)
    if path is not None and path.exists():
        return not is_held(path)
    return worker["host"] == socket.gethostname() and not _is_running(worker)


def is_elsewhere(trial: FrozenTrial, workers: Path) -> bool:
    """Tell whether a trial belongs to a machine whose processes cannot be seen from here."""
    worker = process_of(trial)
    if not worker or worker["host"] == socket.gethostname():
        return False
    path = lock_path(trial, workers)
    return path is None or not path.exists()


def process_of(trial: FrozenTrial) -> Mapping[str, Any]:
    """Return what a trial says of its process; nothing where it says nothing that can be read."""
    worker: Mapping[str, Any] = trial.user_attrs.get(WORKER, {})
    match worker:
        case {"host": str(), "pid": int(), "started_at": float()}:
            return worker
    return {}


def lock_path(trial: FrozenTrial, workers: Path) -> Path | None:
    """Return the lock file of a trial's process, of the form that `heartbeat` gives it."""
    lock = process_of(trial).get("lock")
    return workers / lock if isinstance(lock, str) and LOCK_NAME.fullmatch(lock) else None


def ran_out_of_memory(trial: FrozenTrial) -> bool:
    """Tell whether the system killed processes for want of memory since a dead one's start."""
    worker = process_of(trial)
    before = worker.get("oom_kills")  # absent of an older version's
    is_here = worker.get("host") == socket.gethostname()
    return is_here and isinstance(before, int) and oom_kills() > before


def expired(stall: Stall, path: Path, who: str) -> str:
    """Return in words that a lock file's holder shows no life, once its lease has expired.

    It is said then, and after `SAY_SECONDS`; until then the text is empty.

    Args:
        stall: Watches this file alone.
        path: The lock file; nothing is known where it cannot be seen from here.
        who: Its holder.
    """
    with suppress(OSError):
        seen_at = path.stat().st_mtime
        if passed := stall.look(seen_at):
            text = f"{who} shows no life since {clock_of(seen_at)}"
            logger.warning(text)
            return text if passed == LEASE_SECONDS else ""
    return ""


def name_process(trial: FrozenTrial) -> str:
    """Return which process trains a trial, and on which host."""
    worker = process_of(trial)
    return f"process {worker.get('pid')} on {worker.get('host')}"


def _is_running(worker: Mapping[str, Any]) -> bool:
    try:
        process = psutil.Process(worker["pid"])
        is_same = bool(abs(process.create_time() - worker["started_at"]) < 1.0)
        return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # no process has such a number
        return False
    except psutil.AccessDenied:
        return True
