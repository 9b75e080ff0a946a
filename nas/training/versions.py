"""The versions that are recorded of a training, and with which of them it may go on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from nas import __version__


def versions() -> dict[str, str]:
    """Return the versions that decide the numbers of a training, by name."""
    return {"nas": __version__, "python": platform.python_version(), "torch": torch.__version__}


def other_torch(recorded: Any) -> str | None:
    """Return why a training is not gone on with: a PyTorch of another major.minor; else None.

    Args:
        recorded: The `versions` it was begun with; without torch's, nothing speaks against it.
    """
    now = str(torch.__version__)
    began = str(recorded.get("torch", now)) if isinstance(recorded, Mapping) else now
    series, own = (".".join(version.split(".")[:2]) for version in (began, now))
    text = f"was begun with torch {began}, and torch {now} here trains to other numbers."
    return f"{text} Install torch {series} to resume it" if series != own else None
