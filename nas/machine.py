"""What of this machine the process may use. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


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
    for folder in control_groups(root, "cpu"):
        v1 = f"{read_text(folder / 'cpu.cfs_quota_us')} {read_text(folder / 'cpu.cfs_period_us')}"
        quota, _, period = (read_text(folder / "cpu.max") or v1).partition(" ")
        if quota.isdecimal():  # neither "max" nor -1
            quotas.append(int(quota) // int(period))
    return max(1, min([cores, *quotas]))


def oom_kills(root: Path = Path("/")) -> int:
    """Return how many processes Linux has killed for want of memory since it started; else 0.

    Args:
        root: Where ``proc`` lies.
    """
    words = read_text(root / "proc/vmstat").split()
    return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the groups whose limits hold: the process's own, and all above it.

    In a container the path may be the host's, of which only the top folder is there.
    """
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue  # version 2 names none
        group = PurePosixPath(path.lstrip("/"))
        for own in (group, *group.parents):
            yield root / "sys/fs/cgroup" / controllers / own


def read_text(path: Path) -> str:
    """Return a file's text without the blanks around it; empty where it cannot be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
