"""How many trainings a search runs at once: bounded by cores, memory, trials and time."""

from __future__ import annotations

from pathlib import Path

import psutil

from nas.machine import control_groups, read_text

# Before a worker process trains, it imports PyTorch and Optuna and reads the data. On two AMD EPYC
# cores the imports alone took 2.8 s of processor time.
START_SECONDS = 5.0
# One training step of three networks of 0.27 to 5 million parameters at two batches each, in
# float32: 0.7 GiB beside 10 to 11 bytes an activation and image
PROCESS_BYTES, ACTIVATION_BYTES = 3 * 2**28, 12.0


def workers_in_memory(activations: float, batch_size: int, root: Path = Path("/")) -> int:
    """Return how many worker processes fit in the memory that is available, at least 1.

    Args:
        activations: Output elements of a typical network's convolutions for one image.
        batch_size: Images a step.
        root: Where ``proc`` and ``sys`` lie.
    """
    limits = [int(psutil.virtual_memory().available)]
    for folder in control_groups(root, "memory"):
        limit = read_text(folder / "memory.max") or read_text(folder / "memory.limit_in_bytes")
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
