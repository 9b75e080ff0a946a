"""Checkpoints: tensors and plain values in one file that is whole or absent."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from nas.errors import StorageError
from nas.files import write_atomically

FORMAT_VERSION = 1
MOST_SECONDS_LOST = 20.0  # of training, in a kill
MOST_WRITING = 0.02  # of the time since the last checkpoint, where that is shorter


class CheckpointPace:
    """When the state of a training is worth writing: what a kill loses, against the time.

    After every epoch, or by time: where the last writing took less than `MOST_WRITING` of the
    seconds since, and after `MOST_SECONDS_LOST` whatever it took. The first is always due.
    """

    def __init__(self, by_time: bool, now: Callable[[], float] = time.perf_counter) -> None:
        """Start the clock.

        Args:
            by_time: A GPU's epochs take seconds and its checkpoints a tenth of one.
            now: Returns the time in seconds.
        """
        self._by_time, self._now = by_time, now
        self._written_at, self._cost_seconds = now(), 0.0

    def is_due(self) -> bool:
        """Tell whether to write now."""
        since = self._now() - self._written_at
        is_cheap = self._cost_seconds < MOST_WRITING * since
        return not self._by_time or is_cheap or since >= MOST_SECONDS_LOST

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure what is written in this block."""
        started = self._now()
        yield
        self._written_at = self._now()
        self._cost_seconds = self._written_at - started


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values; a crash leaves the old file or the new one.

    Raises:
        StorageError: The disk is full, or the folder is absent or not writable.
    """
    record = {"format_version": FORMAT_VERSION, **state}
    write_atomically(path, lambda file: torch.save(record, file))


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; runs no code from the file.

    Args:
        path: The file.
        device: Where its tensors go.

    Raises:
        StorageError: The file is absent, damaged, or of another format version.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StorageError(
            f"checkpoint {path} cannot be read ({reason}); remove it to start anew"
        ) from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise StorageError(
            f"checkpoint {path} must have format version {FORMAT_VERSION}, but has {version!r}; "
            "remove it to start anew"
        )
    return state
