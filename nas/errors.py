"""The exception tree.

    NasError                    every error a user can cause or meet; its text is rule, value, fix
    ├── UsageError              exit 2: a wrong call, nothing was changed
    │   ├── UnknownNameError    a name that is in no table; the nearest known one is proposed
    │   ├── BudgetError         a budget that is no positive whole number, or below any net
    │   ├── ArchitectureError   values that describe no network
    │   │   └── InfeasibleError a network that cannot be built at this input size
    │   ├── SpaceError          a search-space file that breaks its contract
    │   ├── DataError           a data set that is absent or unusable
    │   ├── RecipeError         a recipe field that is unknown or out of range
    │   └── StudyMismatchError  a study that exists and was defined differently
    └── RunError                exit 1: the call was right and the run failed
        ├── StorageError        a damaged store, no permission, a full disk
        ├── DeviceError         a process in which the GPU computes no more
        │   └── BrokenCaptureError  one that a CUDA graph's failed capture has left so
        └── DownloadError       a host that refused, throttled or sent something else

The command line prints the text without a traceback; `--debug` shows the traceback.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120  # characters


class NasError(Exception):
    """Base of every error whose text is meant for the user."""

    exit_code = 1
    line_breaks = "\n"  # that a text may have
    most_characters: int | None = None

    def __str__(self) -> str:
        """Return the text, as `printable` makes it; one that quotes too much loses its middle."""
        text, most = super().__str__(), self.most_characters
        if most is not None and len(text) > most:
            text = f"{text[: most - 300]} ... {text[-300:]}"
        return printable(text, self.line_breaks)


class UsageError(NasError):
    """A wrong call; nothing was changed. It quotes what was given, so its text is one line."""

    exit_code = 2
    line_breaks = ""
    most_characters = 1_000


class UnknownNameError(UsageError):
    """A name that stands in no table."""


class BudgetError(UsageError):
    """A budget that is no positive whole number, or below the smallest network."""


class ArchitectureError(UsageError):
    """Values that describe no network."""


class InfeasibleError(ArchitectureError):
    """A network that cannot be built at this input size; the search treats it as over budget."""


class SpaceError(UsageError):
    """A search-space file that breaks its contract."""


class DataError(UsageError):
    """A data set that is absent or unusable."""


class RecipeError(UsageError):
    """A recipe field that is unknown or out of range."""


class StudyMismatchError(UsageError):
    """A study that exists and was defined differently."""


class RunError(NasError):
    """The call was right and the run failed."""


class StorageError(RunError):
    """A damaged store, a missing permission or a full disk."""

    most_characters = 1_000


class DeviceError(RunError):
    """A process in which the GPU computes no more; a fresh one goes on."""


class BrokenCaptureError(DeviceError):
    """A capture of a CUDA graph that could not be ended: what is wrong now is the process.

    PyTorch ends a capture before it puts allocator and random generator back; where the former
    fails the latter never happens. A fresh process goes on without graphs.
    """


class DownloadError(RunError):
    """A host that refused, throttled or sent something else."""


def printable(text: str, line_breaks: str = "") -> str:
    """Return a text in which what could act on a terminal is written as in a Python string.

    Names of files, classes, studies and networks come from disk, and may hold any character.

    Args:
        text: The text.
        line_breaks: Characters that stay as they are.
    """
    return "".join(c if c.isprintable() or c in line_breaks else repr(c)[1:-1] for c in text)


def shown(value: Any) -> str:
    """Return a value as a message shows it; what is long or deeply nested is cut."""
    return _SHORT.repr(value)


def unknown_name(
    what: str, name: str, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> UnknownNameError:
    """Return the error for a name that stands in no table, the nearest known one proposed.

    Args:
        what: What the name should have named, for example ``"search space"``.
        name: The name as given.
        known: The names that exist.
        aliases: What others call them, in small letters.
    """
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in names}
    nearest = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.5)
    meant = (aliases or {}).get(name.lower()) or (lowered[nearest[0]] if nearest else None)
    hint = f"; did you mean {meant!r}?" if meant else ";"
    return UnknownNameError(f"unknown {what} {shown(name)}{hint} known: {', '.join(names)}")
