"""What the rungs of a search will train and what that takes, said before its first training."""

from __future__ import annotations

from nas.ahead import read_ahead
from nas.prepare import Search
from nas.request import Request
from nas.study.rungs import Rung
from nas.units import format_duration


def describe_rungs_ahead(search: Search, request: Request) -> list[str]:
    """Return the preflight of a search's rungs: a line, or none; nothing is written.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
        StorageError: The store is damaged, unreachable, or may not be read.
    """
    if search.sizing is not None:
        rungs = request.rungs or ()
        alone = map(search.sizing.rung_seconds, rungs)
        seconds: list[float] | None = [
            time / min(search.workers, rung.count) for time, rung in zip(alone, rungs, strict=True)
        ]
    else:
        rungs, seconds = _read_existing(search, request)
    if not rungs:
        return []
    times = [None] * len(rungs) if seconds is None else seconds
    parts = [_describe(rung, time) for rung, time in zip(rungs, times, strict=True)]
    return [f"rungs     the best again, and the best known: {', then '.join(parts)}"]


def _describe(rung: Rung, seconds: float | None) -> str:
    text = f"{rung.count} x {rung.epochs} epochs"
    if seconds is None:
        return text
    return f"{text} about {format_duration(seconds)}" if seconds else f"{text} done"


def _read_existing(
    search: Search, request: Request
) -> tuple[tuple[Rung, ...], list[float] | None]:
    """Return the rungs that a resumed search will have, and what each still takes, if known."""
    ladder = read_ahead(search.definition, search.folder, request)
    if ladder is None:
        return request.rungs or (), None
    rungs = tuple(level.rung for level in ladder.rungs if level.rung is not None)
    return rungs, ladder.seconds_by_rung(search.workers)
