"""Checkpoints: tensors and plain values in one file that is whole or absent."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from nas.errors import StorageError
from nas.files import write_atomically

FORMAT_VERSION = 1


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
