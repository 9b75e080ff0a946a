"""Numbers as people write them: durations, fractions, plurals. Standard library only."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from nas.errors import UsageError

_DURATION_PATTERN = re.compile(
    r"(?=\d)(?:(\d+)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?",
    re.ASCII,
)
_SECONDS = (86_400, 3_600, 60, 1)
MOST_HOURS = 1e6  # a century


def parse_duration(text: str, name: str = "time limit") -> float:
    """Read a duration, ``2h``, ``8m``, ``90s``, ``1h30m`` or ``1.5h``, in seconds.

    Args:
        text: The duration as typed: d, h, m, s in this order, each at most once.
        name: What it limits, for the message.

    Raises:
        UsageError: The text is no duration, has no unit, or is zero.
    """
    match = _DURATION_PATTERN.fullmatch(text.strip().lower().replace(" ", ""))
    seconds = 0.0
    if match is not None:
        parts = zip(match.groups(), _SECONDS, strict=True)
        seconds = sum(float(value) * unit for value, unit in parts if value is not None)
    if seconds <= 0.0 or seconds == float("inf"):
        raise UsageError(
            f"{name} must be a duration above zero, but got {text!r}; "
            "write it as 2h, 8m, 90s or 1h30m"
        )
    return seconds


def parse_hours(text: str, name: str = "gpu-hours", has_none: bool = True) -> float:
    """Read a number of hours, ``8`` or ``0.5``; ``none`` is infinity.

    Args:
        text: The number as typed.
        name: What it limits, for the message.
        has_none: Whether it may be ``none``.

    Raises:
        UsageError: The text is no number, none above zero, or more than `MOST_HOURS`.
    """
    if has_none and text.strip().lower() == "none":
        return math.inf
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0.0 < hours <= MOST_HOURS:
        unlimited = ", or none for no limit" if has_none else ""
        raise UsageError(
            f"{name} must be a number of hours above zero, at most {MOST_HOURS:g}{unlimited}, "
            f"but got {text!r}; write it as 8 or 0.5"
        )
    return hours


def parse_fraction(text: str, name: str = "audit") -> float:
    """Read a fraction between 0 and 1, both included.

    Raises:
        UsageError: The text is no such number.
    """
    try:
        fraction = float(text)
    except ValueError:
        fraction = math.nan
    if not 0.0 <= fraction <= 1.0:
        raise UsageError(
            f"{name} must be a fraction between 0 and 1, but got {text!r}; write 5% as 0.05"
        )
    return fraction


def plural(number: int, noun: str, nouns: str = "") -> str:
    """Return ``1 epoch``, ``2 epochs``, ``1,500 images``; `nouns` where it takes no "s"."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def list_words(words: Iterable[object], last: str = "and") -> str:
    """Return ``13``, ``13 and 9`` or ``13, 9 and 4``; `last` stands in place of "and"."""
    *first, end = map(str, words)
    return f"{', '.join(first)} {last} {end}" if first else end


def format_duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``0.4s``, ``12s``, ``8m 05s``, ``2h 10m``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3_600:
        return f"{whole // 60}m {whole % 60:02d}s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    hours = round(seconds / 3_600)
    return f"{hours // 24}d {hours % 24:02d}h"
