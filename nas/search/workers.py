"""How many trainings a search runs at once: bounded by cores, memory, trials and time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

# Before a worker process trains, it imports PyTorch and Optuna and reads the data. On two AMD EPYC
# cores the imports alone took 2.8 s of processor time.
START_SECONDS = 5.0
# One training step of three networks of 0.27 to 5 million parameters at two batches each, in
# float32: 0.7 GiB beside 10 to 11 bytes an activation and image
PROCESS_BYTES, ACTIVATION_BYTES = 3 * 2**28, 12.0


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use, at least 1.

    Counted are those of its affinity, within the CPU quotas of its control groups; of a quota,
    whole cores.

    Args:
        root: Where ``proc`` and ``sys`` lie.

    Source: cgroups(7); kernel documentation, cgroup-v2, "cpu.max", and scheduler/sched-bwc.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = []
    for folder in _control_groups(root, "cpu"):
        v1 = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
        quota, _, period = (_read(folder / "cpu.max") or v1).partition(" ")
        if quota.isdecimal():  # neither "max" nor -1
            quotas.append(int(quota) // int(period))
    return max(1, min([cores, *quotas]))


def workers_in_memory(activations: float, batch_size: int, root: Path = Path("/")) -> int:
    """Return how many worker processes fit in the memory that is available, at least 1.

    Args:
        activations: Output elements of a typical network's convolutions for one image.
        batch_size: Images a step.
        root: Where ``proc`` and ``sys`` lie.
    """
    limits = [int(psutil.virtual_memory().available)]
    for folder in _control_groups(root, "memory"):
        limit = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if limit.isdecimal():
            limits.append(int(limit) - PROCESS_BYTES)  # the search itself is in the group too
    return max(1, int(min(limits) / (PROCESS_BYTES + ACTIVATION_BYTES * activations * batch_size)))


def pays_off(workers: int, seconds: float, limit: float | None = None) -> bool:
    """Tell whether several processes end sooner than one, their start included.

    Args:
        workers: Processes.
        seconds: What a single one would train, with as many threads as each of them.
        limit: Seconds after which no trial is begun; None is never.
    """
    if limit is not None:
        seconds = min(seconds, limit)
    return workers == 1 or seconds * (1 - 1 / workers) > START_SECONDS


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups whose limits hold: the process's own, and all above it.

    In a container the path may be the host's, of which only the top folder is there.
    """
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue  # version 2 names none
        group = PurePosixPath(path.lstrip("/"))
        for own in (group, *group.parents):
            yield root / "sys/fs/cgroup" / controllers / own


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
