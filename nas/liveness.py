"""Whether the process that trains a trial still lives."""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from typing import Any

import psutil
from optuna.trial import FrozenTrial

WORKER = "worker"  # user attribute {"host", "pid", "started_at"} of a trial
UNCLAIMED_GRACE = timedelta(seconds=30)  # a trial without a worker's name is dead after this


def describe_process() -> dict[str, Any]:
    """Return what tells this process from every other one, now and later."""
    pid = os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "started_at": psutil.Process(pid).create_time(),
    }


def is_dead(trial: FrozenTrial) -> bool:
    """Tell whether the process that trained a RUNNING trial is gone; of another host, no."""
    worker = trial.user_attrs.get(WORKER)
    if worker is None:  # killed between the asking and the claim
        started = trial.datetime_start
        return started is not None and datetime.now() - started > UNCLAIMED_GRACE
    if worker["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(worker["pid"])
        is_same = abs(process.create_time() - worker["started_at"]) < 1.0
        return not is_same or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
